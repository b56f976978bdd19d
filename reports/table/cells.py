"""The table before it has a form: every renderer draws from this and decides nothing about figures."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.attribute import TOXICITY, Attribute
from bench.stats import Difference
from bench.store.record import Role, metric_key
from bench.store.runs import Run

_ROOM = 20
WHOLE = 400
"""Characters of a name out of a record that is compared with others: more than any name or label has."""
SENTENCE = 1_500
"""Characters of a sentence about records: more than one with two names and their figures has."""
OWN = "that of its own model"
"""What each system is compared with in a table of several models."""
DifferenceVerdict = Literal["better", "worse", "unclear"]
TableStanding = Literal["best", "may_be_best"]
Claim = Literal["method", "training"]


@dataclass(frozen=True)
class TableCell:
    """One metric of one system.

    Attributes:
        value: The figure, averaged over seeds; None where it could not be measured.
        low: Lower end of its 95 % interval, or None.
        high: Upper end, or None.
        n_failed: Observations that are missing, over all seeds.
        n_failed_reference: Those of the reference; 0 for itself.
        difference: To the table's reference, on the clusters that both have; None for the reference itself and where
            there is none.
        verdict: What the difference's interval says; None where no direction is better, or without a difference.
        p_value: Of the test that the two do not differ, not corrected; None without a difference.
        p_holm: The same by Holm's correction over the systems that the row compares with the reference.
        test: `mcnemar` or `permutation`; None without a difference.
        claim: What the test allows to be said where `p_holm` is at most 0.05 and no observation of either side failed:
            that the `method` differs, or that this `training` does (one seed of a method that depends on it).
        rank_low: The best rank that it may have in its row, 1 being the best; the ranks of a row hold together with
            95 %. None where no direction is better, or observations failed.
        rank_high: The worst rank that it may have.
        n_ranked: How many figures of the row were ranked.
        standing: `best` where it is clearly better than every other figure of its row, `may_be_best` where none is
            clearly better than it; None for the others.
        footnotes: Indices into the table's footnotes.
        loss_at_most: Of a metric of utility that has signal: the upper end of the one-sided 95 % interval of what it
            loses to the reference.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n_failed: int = 0
    n_failed_reference: int = 0
    difference: Difference | None = None
    verdict: DifferenceVerdict | None = None
    p_value: float | None = None
    p_holm: float | None = None
    test: str | None = None
    claim: Claim | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    n_ranked: int | None = None
    standing: TableStanding | None = None
    footnotes: tuple[int, ...] = ()
    loss_at_most: float | None = None

    @property
    def failed_of_both(self) -> int:
        """Observations that are missing on either side of its difference: where some are, it shows nothing."""
        return self.n_failed + self.n_failed_reference

    @property
    def is_significant(self) -> bool:
        """Whether the method differs, by the test."""
        return self.claim == "method"


@dataclass(frozen=True)
class MetricRow:
    """One metric over all systems.

    Attributes:
        task: The task that measured it.
        group: The part of the data, or None for all of it.
        name: The metric.
        higher_is_better: Its direction, or None.
        relative: Whether differences are shares of the base's figure (perplexities), not differences.
        cells: One a system, in the table's order.
        role: What it stands for in a verdict.
        primary: Whether it speaks for its role.
        baselines: What answers without a model have on the same questions, by name.
        has_signal: Whether the base is above all of these; None where that cannot be said.
        scorer: Which of the suite's further scorers it is by, or None.
    """

    task: str
    group: str | None
    name: str
    higher_is_better: bool | None
    relative: bool
    cells: tuple[TableCell, ...]
    role: Role
    primary: bool = False
    baselines: dict[str, float] = field(default_factory=dict)
    has_signal: bool | None = None
    scorer: str | None = None

    @property
    def key(self) -> str:
        """The metric's identity, as in the record: whole, however long its label may be."""
        return metric_key(self.task, self.group, self.name, self.scorer)


@dataclass(frozen=True)
class System:
    """One column: a method with one configuration, over its seeds.

    Attributes:
        label: What stands above the column.
        method: The method's name.
        config: Its configuration.
        seeds: Its seeds, sorted.
        run_ids: Its runs, in the seeds' order.
        is_base: Whether it is the model without an edit.
        is_one_training: Whether it depends on the seed and was run with one: what another training would do is not
            known.
        is_reference: Whether the others are compared with it.
        publishable: False where any measurement of any of its runs failed.
        n_failed: Measurements that failed, over its metrics and runs.
        seconds: Wall seconds of its runs; None where one does not know its own.
        flags: What its texts are instead of answers ("ignores the prompt"); a system that has any is never best.
        model: What its base model is called, where the table has several.
        variant: The options that name its method's form, and their values.
    """

    label: str
    method: str
    config: dict[str, Any]
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    is_base: bool
    is_one_training: bool
    is_reference: bool
    publishable: bool
    n_failed: int
    seconds: float | None
    flags: tuple[str, ...] = ()
    model: str = ""
    variant: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Caption:
    """What all figures of a table share.

    `attribute`, `adjective` and `lower_is_wanted` are of what the suite controls, `scored` is what its scorers score.
    `dtype` is None where no model is known.
    """

    suite: str
    model: str
    revision: str | None
    dtype: str | None
    scorer: str
    attribute: str
    adjective: str
    lower_is_wanted: bool
    threshold: float | None
    decoding: dict[str, Any]
    num_prompts: int | None
    seeds: tuple[int, ...]
    further: tuple[str, ...] = ()
    scored: Attribute = TOXICITY


@dataclass(frozen=True)
class Table:
    """A table: systems as columns, the base first; metrics as rows, in the tasks' order.

    Attributes:
        caption: What all figures share.
        systems: The columns.
        rows: The metrics.
        footnotes: What the cells' footnotes say.
        reference: The label of the system that differences are to, or None; `OWN` where each is compared with that of
            its own model.
        forced: Where the runs are not comparable and were put together all the same: what they differ in.
        runs: Each system's runs, in the seeds' order.
        n_data_notes: How many footnotes, the last ones, say what was taken of the data.
    """

    caption: Caption
    systems: tuple[System, ...]
    rows: tuple[MetricRow, ...]
    footnotes: tuple[str, ...]
    reference: str | None = None
    forced: tuple[str, ...] = ()
    runs: tuple[tuple[Run, ...], ...] = field(default=(), repr=False)
    n_data_notes: int = 0


def clean(text: object, limit: int = 200) -> str:
    """Text out of a record that is safe to show: one line, nothing that steers a terminal or turns its direction.

    It ends in an ellipsis where more was to be said.
    """
    line = " ".join(str(text)[: _ROOM * limit].split())  # what is cut off anyway need not be looked at, be it 10 MB
    told = "".join(c for c in line if not unicodedata.category(c).startswith("C"))
    return told if len(told) <= limit else f"{told[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def is_silent(row: MetricRow, cell: TableCell) -> bool:
    """Whether the base that a cell is held against has no signal; of several models some may have it."""
    return row.has_signal is False and cell.difference is not None and cell.verdict is None


def verdict(difference: Difference, *, higher_is_better: bool | None) -> DifferenceVerdict | None:
    """What a difference's interval says of the system that it belongs to."""
    if higher_is_better is None:
        return None
    if not difference.excludes_zero:
        return "unclear"
    return "better" if (difference.value > 0) == higher_is_better else "worse"
