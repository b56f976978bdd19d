"""What a task is: it measures a policy and leaves the evidence of every figure."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.attribute import Attribute
from bench.spec import SetsSpec, Spec
from bench.stats import interval, value
from bench.store.record import DifferenceKind, Evidence, Flag, Metric, Role, TaskResult, Within

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.tasks.context import TaskContext


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is, declared by the task that measures it.

    Attributes:
        name: The field's standard term; `{attribute}`, `{adjective}` and `{worst}` stand for the suite's attribute, for
            what a text is called that reaches the threshold, and for the end that is not wanted (`maximum`, `minimum`).
        higher_is_better: Direction, or None where neither is better. It is said for an attribute of which low scores
            are wanted, and turns with that in metrics named for the attribute and in those of the role `attribute`
            without an `attribute` of their own.
        role: What it stands for in a verdict; `safety`, a side effect, where the suite controls another attribute.
        difference: How systems differ in it: by the difference of their figures, or by the ratio (perplexities).
        primary: Whether it is the one that speaks for its role where one metric must.
        flag: What it exposes, where it exposes straw men.
        attribute: The attribute that it measures by itself (`truth`); None for what the suite's scorers score.
        note: What a reader of the figure must know, a sentence that stands below every table that has it.
        within: How far it can be compared: see `bench.store.record.Within`.
    """

    name: str
    higher_is_better: bool | None
    role: Role
    difference: DifferenceKind = "absolute"
    primary: bool = False
    flag: Flag | None = None
    attribute: str | None = None
    note: str | None = None
    within: Within = "any"

    def of(self, attribute: Attribute) -> "MetricSpec":
        """The metric where a suite's scorers score this attribute."""
        low = attribute.wanted == "low"
        is_attribute = self.role == "attribute"
        is_of_scores = "{attribute}" in self.name or (is_attribute and self.attribute is None)
        turns = is_of_scores and not low and self.higher_is_better is not None
        return replace(
            self,
            role="safety" if is_attribute and (self.attribute or attribute.name) != attribute.of_suite else self.role,
            name=self.name.format(
                attribute=attribute.name, adjective=attribute.adjective, worst="maximum" if low else "minimum"
            ),
            higher_is_better=not self.higher_is_better if turns else self.higher_is_better,
        )

    @property
    def declared(self) -> dict[str, Any]:
        """What stands of it in the record of a figure (`bench.store.record.Metric`)."""
        return {name: one for name, one in vars(self).items() if name != "attribute"}


@dataclass(frozen=True)
class TaskInfo:
    """What a task says of itself.

    Attributes:
        name: Its name in a suite.
        summary: One line.
        source: The paper or programme that its protocol comes from.
        needs: Tasks that must come before it: it reads their samples.
        metrics: What it measures; none where only its data decides them (lm-eval's).
        example: Options that an entry of a suite needs besides the task's name.
        measures: `policy` (the edited model), `both` (the base model too, before it is edited: `Task.beside`), or
            `samples` (another task's samples, once the base model is restored; `base` is then at hand).
        asks: What of a model: `logits`, or `texts` alone; where its configuration decides that, `Task.asks` says it.
        as_message: Whether it asks by a user's message where the tokenizer has a chat template, be the suite as it may.
        in_groups: Whether it measures each fact on the model that holds it (`bench.tasks.context.TaskContext.holders`).
    """

    name: str
    summary: str
    source: str
    needs: tuple[str, ...] = ()
    metrics: tuple[MetricSpec, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    measures: Literal["policy", "both", "samples"] = "policy"
    asks: Literal["logits", "texts"] = "logits"
    as_message: bool = False
    in_groups: bool = False


Asks = Literal["logits", "likelihoods", "texts"]
"""What a task asks of a model: `likelihoods` are those of whole texts after others, without their tokens."""


class TaskConfig(Spec):
    """Options of a task in a suite; `task` is its name."""

    task: str


C = TypeVar("C", bound=TaskConfig)


class Task(ABC, Generic[C]):
    """Measures a policy. One instance carries one configuration.

    Attributes:
        info: What it says of itself.
        Config: Its options in a suite.
    """

    info: ClassVar[TaskInfo]
    Config: ClassVar[type[TaskConfig]]

    def __init__(self, config: C) -> None:
        """Take a configuration; nothing is loaded yet."""
        self.config = config

    @property
    def name(self) -> str:
        """What it is called in the record; one run has no two tasks of one name."""
        return self.info.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Tasks that must come before it in a suite: it reads their samples."""
        return self.info.needs

    @property
    def asks(self) -> Asks:
        """What it asks of a model."""
        return self.info.asks

    def measures_controlled(self, attribute: Attribute) -> bool:
        """Whether it measures what a suite controls whose scorers score this attribute."""
        return any(metric.of(attribute).role == "attribute" for metric in self.info.metrics)

    @classmethod
    def from_config(cls, config: C) -> "list[Task[Any]]":
        """The tasks that one entry of a suite stands for."""
        return [cls(config)]

    @classmethod
    def completed(cls, entry: dict[str, Any], sets: SetsSpec) -> dict[str, Any]:
        """An entry of a suite with what follows from the suite's sets.

        Raises:
            UsageError: it does not go with them.
        """
        del sets
        return entry

    def check(self, assets: AssetCatalogue) -> None:
        """Find out before any work whether the data are what it needs.

        Raises:
            BenchError: they are not.
        """

    @abstractmethod
    def data(self, assets: AssetCatalogue) -> list[Resolved]:
        """The data that it reads, fetched where needed; their hashes go into the run's key."""

    @abstractmethod
    def measure(self, policy: "Policy", ctx: "TaskContext") -> TaskResult:
        """Measure; for a task that measures samples, `policy` is the base model."""

    @contextmanager
    def beside(self, base: "Policy", ctx: "TaskContext") -> Iterator[Any]:
        """What a task that measures `both` takes of the base model before that is edited, and needs in `measure`."""
        del base, ctx
        yield None

    def contexts(self, assets: AssetCatalogue, most: int) -> list[tuple[str, str]]:
        """(id, text) of what it gives the model to read before its answers, of at most so many questions."""
        del assets, most
        return []

    def languages(self, assets: AssetCatalogue) -> dict[str, str]:
        """The language of each prompt that it continues, by the prompt's id, where its data say one."""
        del assets
        return {}

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """Prompts that no training text may meet."""
        del assets
        return []


@dataclass
class MetricSheet:
    """Collects a task's metrics with their evidence.

    Attributes:
        task: The task.
        attribute: What the suite's scorers score: it names some metrics, and gives them direction and role.
        taken: What was taken of the data (see `bench.tasks.context.TaskContext.took`).
        lost: How many observations are missing from all of its metrics: each counts them as failed.
    """

    task: str
    attribute: Attribute = field(default_factory=Attribute)
    metrics: list[Metric] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    taken: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0

    def add(
        self,
        spec: MetricSpec,
        evidence: Evidence,
        *,
        group: str | None = None,
        n_failed: int = 0,
        n_empty: int = 0,
        task: str | None = None,
        baselines: Mapping[str, float] | None = None,
        scorer: str | None = None,
    ) -> None:
        """Add a metric: its value and interval follow from the evidence; none of it gives null.

        `baselines` are what answers without a model have on the same questions (see `bench.store.record.Metric`).
        `scorer` is the further scorer that it is by, or None.
        """
        found = value(evidence) if evidence.value else None
        bounds = interval([evidence]) if evidence.value else None
        metric = Metric(
            **spec.of(self.attribute).declared,
            task=task or self.task,
            group=group,
            value=found,
            n=len(evidence.value),
            n_failed=n_failed + self.lost,
            n_empty=n_empty,
            ci_low=bounds.low if bounds else None,
            ci_high=bounds.high if bounds else None,
            baselines=dict(baselines or {}),
            scorer=scorer,
        )
        self.metrics.append(metric)
        self.evidence[metric.key] = evidence

    def add_alone(self, spec: MetricSpec, figure: float, n: int) -> None:
        """Add a figure over `n` observations that is no mean of them, so that there is no evidence to resample.

        A figure that is no finite number is missing, and its `n` observations count as failed.
        """
        lost = 0 if math.isfinite(figure) else n
        metric = Metric(
            **spec.of(self.attribute).declared,
            task=self.task,
            value=figure if n > lost else None,
            n=n - lost,
            n_failed=self.lost + lost,
        )
        self.metrics.append(metric)

    def result(self) -> TaskResult:
        """All of them."""
        return TaskResult(metrics=self.metrics, evidence=self.evidence, taken=self.taken)


def evidence_by_cluster(
    statistic: Literal["mean", "exp_mean", "median"],
    rows: Sequence[tuple[str, float] | tuple[str, float, float]],
    *,
    bounded: bool = False,
) -> Evidence:
    """Evidence from (cluster id, value) or (cluster id, value, weight) rows."""
    places: dict[str, int] = {}
    for row in rows:
        places.setdefault(row[0], len(places))
    weights = [row[2] for row in rows if len(row) == 3]  # noqa: PLR2004
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=list(places),
        cluster=[places[row[0]] for row in rows],
        value=[float(row[1]) for row in rows],
        weight=weights or None,
    )
