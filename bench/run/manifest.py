"""What a record says of an experiment before any work is done."""

import datetime
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.assets.local import tokenizer_hash
from bench.run.stack import variant_of
from bench.scorers.base import ScorerIdentity
from bench.scorers.people import by_people
from bench.spec import ScorerSpec, SuiteSpec
from bench.store.record import Manifest

if TYPE_CHECKING:
    from bench.run.environment import Environment
    from bench.run.runner import Runner


def manifest_of(runner: "Runner") -> Manifest:
    """The manifest of an experiment that is about to be carried out."""
    experiment, env, suite = runner.experiment, runner.env, runner.experiment.suite
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
            **({"outside_turns": outside} if (outside := runner.outside_turns) else {}),
            **({"along": along} if (along := runner.method.along) else {}),
            **({"variant": variant} if (variant := variant_of(experiment.method, experiment.config)) else {}),
            "config": experiment.config.model_dump(),
            "origins": experiment.origins,
            **({"trials": experiment.trials} if experiment.trials else {}),
            "hash": env.method_code(experiment.method),
            "artifact_key": runner.artifact_key,
            **({"artifact_keys": keys} if (keys := runner.preparation.keys_of_parts) else {}),
            "sets_key": runner.identity.sets_key,
            "inputs": {
                option: {"id": one.id, "sha256": one.sha256, "revision": one.revision, "licence": one.licence}
                for option, one in runner.inputs.items()
            },
        },
        seed=experiment.seed,
        model={
            **suite.model.model_dump(),
            **({"dtype": None, "quantization": None} if suite.model.endpoint else {}),
            "sha256": env.model.sha256,
            "tokenizer_sha256": tokenizer_hash(env.model.path),
            "revision": env.model.revision,
            "licence": env.model.licence,
            "source": env.model.source,
        },
        data=env.data,
        scorer=scorer_facts(suite, suite.scorer, env.scorer.identity),
        further={key: scorer_facts(suite, spec, env.further[key].identity) for key, spec in suite.further.items()},
        decoding=suite.decoding.model_dump(),
        engine=_engine(suite, env),
        code=env.code(experiment.method),
        packages=env.packages,
        hardware=env.hardware,
    )


def _engine(suite: SuiteSpec, env: "Environment") -> dict[str, Any]:
    """What samples; of an endpoint nobody knows how it computes, or whether a seed gives the same text again."""
    if suite.model.endpoint:
        return {"name": "endpoint", "api": suite.model.api, "reproducible": False}
    return {
        "name": suite.engine,
        "dtype": suite.model.dtype,
        "batch_tokens": env.batch_budget.tokens,
        "batch_rule": env.batch_budget.rule,
    }


def scorer_facts(suite: SuiteSpec, spec: ScorerSpec, scorer: ScorerIdentity) -> dict[str, Any]:
    """A scorer, whether it split the sets that the suite's methods learn from, and what it makes of people's labels."""
    return {
        "name": scorer.name,
        "label": scorer.label,
        "hash": scorer.hash,
        "threshold": spec.threshold,
        "licence": scorer.licence,
        "labels_sets": suite.sets.source == "self" and spec is suite.labelling,
        "by_people": {
            data: {key: asdict(one) for key, one in figures.items()}
            for data, figures in by_people(scorer.name, scorer.hash).items()
        },
    }
