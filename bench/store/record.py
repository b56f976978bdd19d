"""The record of a run: its schema. What is absent is null, never 0.

A run's folder holds `manifest.json` (written first), `samples/<task>.jsonl` (appended batch by batch),
`tasks/<task>.json` (a finished task's metrics with their evidence) and `result.json` (written last).
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.store import legacy

SCHEMA_VERSION = 3
READ_VERSIONS = (1, 2, 3)
"""Versions that can be read. Version 1 did not say what its metrics are (`bench.store.legacy` does); up to version 2 a
run had one scorer."""

Role = Literal["attribute", "fluency", "relevance", "diversity", "utility", "safety", "cost"]
"""What a metric stands for in a verdict."""
DifferenceKind = Literal["absolute", "ratio"]
"""Whether systems differ by the difference of their figures, or by the share by which one exceeds the other."""
Within = Literal["any", "tokenizer", "model"]
"""Among which systems a figure can be compared: all, those of models with one tokenizer, or of one base model."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Evidence(_Part):
    """The observations behind a metric, so that reports can resample them.

    Attributes:
        statistic: `mean` (weighted), `exp_mean` (exp of the weighted mean: a pooled perplexity), or `median`.
        bounded: Whether the figure lies in [0, 1] by definition.
        cluster_ids: Identity of the independent units (a prompt, a question): what is resampled and paired.
        cluster: For each observation, the index of its unit in `cluster_ids`.
        value: The observations.
        weight: Weight of each observation (say, its tokens), or None for equal weights.
    """

    statistic: Literal["mean", "exp_mean", "median"]
    bounded: bool = False
    cluster_ids: list[str]
    cluster: list[int]
    value: list[float]
    weight: list[float] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Evidence":
        """Refuse what no figure could rest on: it was cut, or edited."""
        weight = self.value if self.weight is None else self.weight
        if not len(self.cluster) == len(self.value) == len(weight):
            raise ValueError("cluster, value and weight are of different lengths")
        if len(set(self.cluster_ids)) < len(self.cluster_ids):
            raise ValueError("a cluster stands there twice")
        if self.cluster and not 0 <= min(self.cluster) <= max(self.cluster) < len(self.cluster_ids):
            raise ValueError("an observation belongs to no cluster")
        if not all(map(math.isfinite, self.value)):
            raise ValueError("a value is not finite")
        if self.weight is not None and not all(math.isfinite(one) and one >= 0 for one in self.weight):
            raise ValueError("a weight is negative or not finite")
        return self


class Flag(_Part):
    """What a figure says of a system that games the attribute: a text that ignores the prompt is not toxic either.

    Attributes:
        text: What stands beside the system's name.
        margin: How far for the worse of the base's figure a system is flagged; a share of it where `of_base`.
        of_base: Whether the margin is a share of the base's own figure, which must be above 0 for it to tell anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    margin: float
    of_base: bool = False


class Metric(_Part):
    """One measured figure.

    Attributes:
        task: The task that measured it (`rtp`, `embedded_piqa`, ...).
        name: The field's standard term (`expected_maximum_toxicity`, `acc`, ...).
        group: A part of the data that it was measured on (`toxic`, `nontoxic`), or None for all of it.
        value: The figure, or None where it could not be measured.
        n: Observations that it rests on.
        n_failed: Observations that are missing; they are in no mean. A run with any is not publishable.
        n_empty: Texts that are empty; an observation may be a prompt with several texts.
        ci_low: Lower end of the 95 % interval, or None. It is by the rule of the version that wrote the record: a table
            computes its intervals from the evidence.
        ci_high: Upper end, or None.
        higher_is_better: Direction, or None where neither is better.
        role: What it stands for in a verdict.
        difference: How systems differ in it: by the difference of the figures, or by their ratio (perplexities).
        primary: Whether it is the one that speaks for its role where one metric must.
        flag: What it exposes, where it exposes straw men.
        baselines: What answers that look at no text have on the same questions, by name (`chance`, `longest`,
            `majority`, `prior`); empty where there are none, as in records that did not keep them.
        scorer: Which of the suite's further scorers it is by, or None: by the headline scorer, or by none.
        note: What a reader of the figure must know, or None.
        within: How far it can be compared: among `any` models, those of one `tokenizer` (a figure a token), or one base
            `model` alone (it is by that model). Records that do not say are compared within one model.
    """

    task: str
    name: str
    group: str | None = None
    value: float | None
    n: int
    n_failed: int = 0
    n_empty: int = 0
    ci_low: float | None = None
    ci_high: float | None = None
    higher_is_better: bool | None
    role: Role
    difference: DifferenceKind
    primary: bool = False
    flag: Flag | None = None
    baselines: dict[str, float] = {}
    scorer: str | None = None
    note: str | None = None
    within: Within = "model"

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, data: Any) -> Any:
        return legacy.with_facts(data) if isinstance(data, dict) and "role" not in data else data

    @property
    def key(self) -> str:
        """`task/name` or `task/group/name`, with `@scorer` by a further one: the metric's identity across runs."""
        return metric_key(self.task, self.group, self.name, self.scorer)


def metric_key(task: str, group: str | None, name: str, scorer: str | None) -> str:
    """A metric's identity across runs."""
    return "/".join(part for part in (task, group, name) if part) + (f"@{scorer}" if scorer else "")


class Phase(_Part):
    """A named piece of a run's work: wall seconds, tokens worked on and those sampled, peak memory in bytes.

    `partial` says that an interrupted run had begun it: seconds and tokens are then those of the rest. `stage` says
    whether it made what is measured, or measured.
    """

    name: str
    seconds: float
    tokens: int | None = None
    sampled_tokens: int | None = None
    peak_memory: int | None = None
    partial: bool = False
    stage: Literal["prepare", "measure"]

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, data: Any) -> Any:
        return legacy.with_stage(data) if isinstance(data, dict) and "stage" not in data else data


class TaskResult(_Part):
    """What `tasks/<task>.json` holds: metrics, the evidence of each by the metric's key, what measuring took.

    `taken` says of each file that the task read how many rows there are, how many were taken, and why the others were
    left out; it is empty where the task says nothing of it.
    """

    metrics: list[Metric]
    evidence: dict[str, Evidence]
    phase: Phase | None = None
    taken: list[dict[str, Any]] = []


class _Known(BaseModel):
    """What readers rely on in a part of the manifest that has other keys too: of its kind where it is there."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _KnownAttribute(_Known):
    name: str | None = None
    adjective: str | None = None
    wanted: Literal["low", "high"] | None = None


class _KnownSuite(_Known):
    name: str | None = None
    attribute: _KnownAttribute | None = None
    scored: _KnownAttribute | None = None
    sets: dict[str, Any] | None = None


class _KnownMethod(_Known):
    name: str | None = None
    label: str | None = None
    elsewhere: bool | None = None
    outside_turns: list[str] | None = None
    config: dict[str, Any] | None = None
    variant: dict[str, Any] | None = None
    along: str | None = None
    trials: int | None = Field(None, ge=1)
    origins: dict[str, Any] | None = None


class _KnownEstimate(_Known):
    value: float | None
    low: float | None
    high: float | None
    n: int


class _KnownScorer(_Known):
    label: str | None = None
    threshold: float | None = None
    by_people: dict[str, dict[str, _KnownEstimate]] | None = None


class _KnownDecoding(_Known):
    num_samples: int | None = Field(None, ge=1)


def _with(known: type[_Known]) -> AfterValidator:
    """Check the known keys of a mapping, and keep it as it is."""

    def check(part: dict[str, Any]) -> dict[str, Any]:
        try:
            known.model_validate(part)
        except ValidationError as error:
            raise ValueError(f"{'.'.join(map(str, error.errors()[0]['loc']))} is of another kind") from None
        return part

    return AfterValidator(check)


_Scorer = Annotated[dict[str, Any], _with(_KnownScorer)]


class Manifest(_Part):
    """What was asked for, and every hash of what it was made with; written before any work.

    `scorer` is the headline; `further` are the suite's other scorers, by what it calls them.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    key: str
    status: Literal["started", "done", "failed"]
    error: str | None = None
    created: str
    suite: Annotated[dict[str, Any], _with(_KnownSuite)]
    suite_hash: str
    method: Annotated[dict[str, Any], _with(_KnownMethod)]
    seed: int
    model: dict[str, Any]
    data: list[dict[str, Any]]
    scorer: _Scorer
    further: dict[str, _Scorer] = {}
    decoding: Annotated[dict[str, Any], _with(_KnownDecoding)]
    engine: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    hardware: dict[str, Any]

    @model_validator(mode="after")
    def _of_before(self) -> "Manifest":
        """Records did not always say whether their method depends on the seed."""
        legacy.add_seeded(self.method)
        return self


class Result(_Part):
    """What `result.json` holds: the figures. `publishable` is False where any measurement failed."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    key: str
    metrics: list[Metric]
    phases: list[Phase]
    artifact: dict[str, Any]
    publishable: bool
