"""What a record says of an experiment before any work is done."""

import datetime
from typing import TYPE_CHECKING

from bench.store.record import Manifest

if TYPE_CHECKING:
    from bench.run.runner import Runner


def manifest_of(runner: "Runner") -> Manifest:
    """The manifest of an experiment that is about to be carried out."""
    experiment, env, suite, scorer = runner.experiment, runner.env, runner.experiment.suite, runner.env.scorer.identity
    return Manifest(
        run_id=runner.run_id,
        key=runner.key,
        status="started",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        suite={**suite.model_dump(), "limit": experiment.max_items},
        suite_hash=runner.identity.suite_hash,
        method={
            "name": experiment.method,
            "label": experiment.label,
            "seeded": runner.method.info.seeded,
            "config": experiment.config.model_dump(),
            "origins": experiment.origins,
            "hash": env.method_code(experiment.method),
            "artifact_key": runner.artifact_key,
            "sets_key": runner.identity.sets_key,
            "inputs": {
                option: {"id": one.id, "sha256": one.sha256, "revision": one.revision, "licence": one.licence}
                for option, one in runner.inputs.items()
            },
        },
        seed=experiment.seed,
        model={
            **suite.model.model_dump(),
            "sha256": env.model.sha256,
            "revision": env.model.revision,
            "licence": env.model.licence,
            "source": env.model.source,
        },
        data=env.data,
        scorer={
            "name": scorer.name,
            "label": scorer.label,
            "hash": scorer.hash,
            "threshold": suite.scorer.threshold,
            "licence": scorer.licence,
        },
        decoding=suite.decoding.model_dump(),
        engine={"name": suite.engine, "dtype": suite.model.dtype, "batch_tokens": env.batch_budget.tokens},
        code=env.code(experiment.method),
        packages=env.packages,
        hardware=env.hardware,
    )
