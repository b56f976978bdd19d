"""What a record says of a cell before any work is done."""

import datetime
from typing import TYPE_CHECKING

from bench.store.record import Manifest

if TYPE_CHECKING:
    from bench.run.runner import Runner


def manifest_of(runner: "Runner") -> Manifest:
    """The manifest of a cell that is about to be carried out."""
    cell, env, suite, scorer = runner.cell, runner.env, runner.cell.suite, runner.env.scorer.info
    return Manifest(
        run_id=runner.run_id,
        key=runner.key,
        status="started",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        suite={**suite.model_dump(), "limit": cell.limit},
        suite_hash=runner.suite_hash,
        method={
            "name": cell.method,
            "label": cell.label,
            "config": cell.config.model_dump(),
            "origins": cell.origins,
            "hash": env.method_code(cell.method),
            "artifact_key": runner.artifact_key,
            "sets_key": runner.sets_key,
            "inputs": {
                option: {"id": one.id, "sha256": one.sha256, "revision": one.revision, "licence": one.licence}
                for option, one in runner.inputs.items()
            },
        },
        seed=cell.seed,
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
        engine={"name": suite.engine, "dtype": suite.model.dtype, "batch_tokens": env.limit.tokens},
        code=env.code(cell.method),
        packages=env.packages,
        hardware=env.hardware,
    )
