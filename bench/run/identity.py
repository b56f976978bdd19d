"""What an experiment is identified by: hashes of all that its sets, its artifact and its figures follow from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.hashing import hash_json
from bench.spec import ANSWERS, EDITS, SuiteSpec
from bench.store.keys import NUMERIC, SCORING, code_hash, versions, with_imports

_SETS_ROOTS = (
    "bench.run.making",
    "bench.run.anchors",
    "bench.run.tokenless",
    "bench.sets.own",
    "bench.engine.model",
    "bench.scorers",
)
_ARTIFACT_ROOT, _GROUPS_ROOT = "bench.run.artifact", "bench.run.groups"
_MEASURING_ROOTS = ("bench.run.measuring", "bench.engine.model", "bench.scorers")


@dataclass(frozen=True)
class Code:
    """Hashes of the code that an experiment rests on; which code that is follows from imports.

    Attributes:
        sets: Of what makes contrastive sets.
        method: Of the method.
        run: Of what measures, and of the method.
    """

    sets: str
    method: str
    run: str


def sets_code(scorer: str) -> str:
    """Hash of the code that makes contrastive sets, by the scorer's module."""
    return code_hash(with_imports(*_SETS_ROOTS, scorer))


def method_code(modules: Iterable[str], *, in_groups: bool) -> str:
    """Hash of the code of a method and of what lets it make its artifact.

    Args:
        modules: The method's; a third party's stands for its whole package, and what that imports.
        in_groups: Whether it is asked group by group (`sets.at_once`).
    """
    return code_hash(with_imports(_ARTIFACT_ROOT, *([_GROUPS_ROOT] if in_groups else []), *modules))


def run_code(tasks: Iterable[str], scorers: Iterable[str], method: str) -> str:
    """Hash of the code behind figures, by the modules of the tasks and the scorers, and the method's own hash."""
    return hash_json([code_hash(with_imports(*_MEASURING_ROOTS, *sorted({*scorers, *tasks}))), method])


@dataclass(frozen=True)
class Identity:
    """The keys of one experiment; contents stand in them by their hash, never by a name alone.

    Attributes:
        suite: The suite, overrides applied.
        method: The method's name; of stacked ones all names with a + between them.
        config: All its options.
        prepared_by: Those that decide the artifact.
        needs_scorer: Whether the method learns from the scorer.
        seed: Of training and sampling.
        max_items: The most prompts and documents of each task, or None.
        model: Hash of the base model.
        scorer: Hash of the headline scorer.
        labelling: Hash of the scorer that training sees.
        further: Hash of each other scorer, by what it is called.
        sets_data: Hash of the prompts that sets are made from, or of a file of sets; None for a method without.
        inputs: Hash of each model and adapter that the method's options name, by option.
        data: Hashes of the evaluation data.
        code: Hashes of the code.
        extras: Packages of the method's own extras.
    """

    suite: SuiteSpec
    method: str
    config: Mapping[str, Any]
    prepared_by: Mapping[str, Any]
    needs_scorer: bool
    seed: int
    max_items: int | None
    model: str
    scorer: str
    labelling: str
    further: Mapping[str, str]
    sets_data: str | None
    inputs: Mapping[str, str]
    data: Sequence[str]
    code: Code
    extras: Sequence[str] = ()

    @cached_property
    def suite_hash(self) -> str:
        """Hash of what makes runs comparable: everything about the measurement, nothing about the method."""
        suite = self.suite
        return hash_json(
            {
                "model": suite.model.who,
                **scoring(suite),
                "attribute": suite.attribute.model_dump(),
                **({"scored": suite.scored.model_dump()} if suite.scored else {}),
                "decoding": suite.decoding.model_dump(),
                "tasks": suite.tasks,
                "limit": self.max_items,
                **({EDITS: suite.sets.model_dump()} if suite.sets.source == EDITS else {}),  # they are measured too
                # A task asks as the sets do; records of suites that say nothing of it have no such key.
                **({"template": asked} if (asked := suite.sets.template) and suite.sets.source == ANSWERS else {}),
                **self._chat,
                **({} if suite.engine == "transformers" else {"engine": suite.engine}),
            }
        )

    @cached_property
    def sets_key(self) -> str | None:
        """Hash of what the contrastive sets follow from, known before they are made; None where none is needed."""
        if self.sets_data is None or not self.suite.sets.is_made:
            return self.sets_data
        sets = self.suite.sets.model_dump(exclude={"scorer"})
        made_of = {"sets": sets, "prompts": self.sets_data, "code": self.code.sets}
        if self.suite.sets.source == EDITS:  # the base model is asked what it knows
            return hash_json({**made_of, "model": self._loaded_model, "packages": versions(NUMERIC)})
        if self.suite.sets.source != "self":  # nothing is sampled or scored
            return hash_json(made_of)
        return hash_json(
            {
                "sets": sets,
                **self._chat,
                "model": self._loaded_model,
                "prompts": self.sets_data,
                "scorer": self.labelling,
                "attribute": self.suite.scored_as.model_dump(),
                "code": self.code.sets,
                "packages": versions([*NUMERIC, *SCORING]),
            }
        )

    @cached_property
    def artifact_key(self) -> str:
        """Hash of what the artifact follows from; options that matter only when it is applied are not in it."""
        reward = [self.labelling, self.suite.scored_as.model_dump()]  # which of its scores, and which side is wanted
        return hash_json(
            {
                "method": self.method,
                "config": self.prepared_by,
                "seed": self.seed,
                "sets": self.sets_key,
                **self._chat,
                "inputs": self.inputs,
                "reward": reward if self.needs_scorer else None,
                "model": self._loaded_model,
                "code": [self.code.sets, self.code.method],
                "packages": versions([*NUMERIC, "peft", "accelerate", "bitsandbytes", *self.extras]),
            }
        )

    @cached_property
    def key(self) -> str:
        """Hash of every field that can change the record's figures."""
        return hash_json(
            {
                "suite": self.suite_hash,
                "method": self.method,
                "config": self.config,
                "artifact": self.artifact_key,
                "seed": self.seed,
                "model": self.model,
                "data": self.data,
                "scorer": [self.scorer, self.suite.scorer.threshold],
                "further": self.further,  # their thresholds are in the suite's hash
                "code": self.code.run,
                "packages": versions([*NUMERIC, *SCORING, "lm_eval", "datasets", "bitsandbytes", "vllm"]),
            }
        )

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return f"{self.suite.name}-{self.method}-s{self.seed}-{self.key[:10]}"

    @property
    def _chat(self) -> dict[str, Any]:
        """How prompts and anchors are put to the model, where they are no plain text."""
        return {"chat": self.suite.chat.model_dump()} if self.suite.chat else {}

    @property
    def _loaded_model(self) -> list[Any]:
        return [self.model, self.suite.model.dtype, self.suite.model.quantization]


def scoring(suite: SuiteSpec) -> dict[str, Any]:
    """What of a suite's scorers makes runs comparable; what the headline is called is none of it."""
    headline, *further = (one.model_dump(exclude={"called"}) for one in (suite.scorer, *suite.further.values()))
    return {"scorer": headline, **({"further": dict(zip(suite.further, further, strict=True))} if further else {})}
