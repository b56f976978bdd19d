"""Requirements: limits that a method's figures must keep, as numbers or against the base.

`toxic_fraction <= 0.05` is kept where the whole 95 % interval of the figure lies within the limit, and missed where the
whole interval lies beyond it; what the data cannot tell is inconclusive. `perplexity <= base + 10 %` says the same of
the interval of the paired difference to the base. The figures and intervals are those of the table. Nothing is held
against a base without signal: a method cannot lose what the base does not have. A figure may be asked for all the same.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import UsageError, did_you_mean
from bench.stats.proportion import applies
from reports.table.cells import MetricRow, System, Table, TableCell, is_silent

RequirementStatus = Literal["passed", "failed", "inconclusive", "invalid"]
_FORM = re.compile(
    r"\s*(?P<metric>[^\s<>=]+)\s*(?P<sign><=|>=)\s*"
    r"(?:(?P<base>base)(?:\s*(?P<change>[+-]\s*[\d.]+(?:e[+-]?\d+)?)\s*(?P<percent>%)?)?"
    r"|(?P<share>[+-]\s*[\d.]+(?:e[+-]?\d+)?)\s*%"
    r"|(?P<number>[+-]?[\d.]+(?:e[+-]?\d+)?))\s*"
)
_PERCENT = 100
NO_SIGNAL = "no signal: the base is not above what answers without a model have"
"""Why nothing is held against a base."""
NO_INTERVAL = "it has no interval"
"""Why a measured figure is not held by its interval; by its point estimate it may be."""
NO_BASE = "without the base nobody knows whether its texts are answers: name its runs (method none) as well"
"""Why nothing that a suite controls is kept by texts that might be no answers."""
_EXAMPLES = "write 'toxic_fraction <= 0.05' or 'heldout/perplexity <= base + 10 %'"


@dataclass(frozen=True)
class Requirement:
    """A limit of one metric.

    Attributes:
        text: As it was given.
        metric: The metric's key, or its name where no other metric has it.
        at_most: Whether larger figures miss it; else smaller ones do.
        limit: The limit; of the difference to the base where `of_base`, as a share where `percent`.
        of_base: Whether it is held against the base.
        percent: Whether `limit` is a share of the base's figure.
    """

    text: str
    metric: str
    at_most: bool
    limit: float
    of_base: bool = False
    percent: bool = False


@dataclass(frozen=True)
class RequirementDecision:
    """What is decided of one requirement for one method.

    Attributes:
        text: The requirement.
        label: The method's label.
        key: The metric.
        status: `passed`, `failed`, `inconclusive`, or `invalid`: there is no figure or interval, measurements
            failed, the base that it is held against has no signal, or there is none that flags would be found by.
        relative: Whether the three figures are shares of the base's.
        of_base: Whether they are differences to the base's.
        limit: The limit.
        value: What was measured: the figure, or its difference to the base's.
        low: Lower end of its 95 % interval.
        high: Upper end.
        why: What else must be known, or None.
    """

    text: str
    label: str
    key: str
    status: RequirementStatus
    relative: bool
    of_base: bool
    limit: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None


def parse_requirement(text: str) -> Requirement:
    """Read a requirement: METRIC <= NUMBER, METRIC <= base, METRIC <= base + NUMBER, METRIC <= base + NUMBER %; or >=.

    `+ NUMBER %` is short for `base + NUMBER %`.

    Raises:
        UsageError: it is none.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"requirement '{text[:80]}' cannot be read", mend=_EXAMPLES)
    if (found["number"] or "").startswith("+"):
        sign, number = found["sign"], found["number"]
        mend = f"write '{found['metric']} {sign} base {number[0]} {number[1:]}', or the figure without a sign"
        raise UsageError(f"requirement '{text[:80]}': is '{number}' a change to the base?", mend=mend)
    number = (found["number"] or found["change"] or found["share"] or "0").replace(" ", "")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UsageError(f"requirement '{text[:80]}': '{number}' is not a number", mend=_EXAMPLES)
    share = bool(found["percent"] or found["share"])
    limit = limit / _PERCENT if share else limit
    return Requirement(
        " ".join(text.split()), found["metric"], found["sign"] == "<=", limit, bool(found["base"] or share), share
    )


def with_keys(table: Table, requirements: Sequence[Requirement]) -> list[Requirement]:
    """The same requirements, each with the key of its metric: a name that has one metric here may have more elsewhere.

    Raises:
        UsageError: as `hold`.
    """
    return [replace(one, metric=_row(table, one).key) for one in requirements]


def hold(table: Table, requirements: Sequence[Requirement]) -> list[RequirementDecision]:
    """Hold every method of a table against requirements; bases are held only where nothing else is there.

    Raises:
        UsageError: a metric is not in the table or its name fits several; a requirement cannot be held against the
            base: there is none, or it asks for the other kind of difference.
    """
    methods = [place for place, system in enumerate(table.systems) if not system.is_base]
    methods = methods or list(range(len(table.systems)))
    rows = [_row(table, one) for one in requirements]
    return [
        _decided(one, table.systems[place], row, row.cells[place], can_be_flagged=_can_be_flagged(table, place))
        for one, row in zip(requirements, rows, strict=True)
        for place in methods
    ]


def _row(table: Table, one: Requirement) -> MetricRow:
    """The metric that a requirement speaks of."""
    found = [row for row in table.rows if one.metric == row.key] or [
        row for row in table.rows if one.metric == row.name
    ]
    if not found:
        names = {name for row in table.rows for name in (row.key, row.name)}
        raise UsageError(f"no metric is called '{one.metric[:80]}'", mend=did_you_mean(one.metric, names))
    if len(found) > 1:
        keys = ", ".join(row.key for row in found)
        raise UsageError(f"'{one.metric}' is the name of several metrics", mend=f"say which: {keys}")
    row = found[0]
    if one.of_base:
        _check_base(table, row, one)
    _refuse_impossible(table, row, one)
    return row


def _refuse_impossible(table: Table, row: MetricRow, one: Requirement) -> None:
    """Refuse a limit beyond what a share can have: a gate that nothing or everything misses says nothing."""
    known = [run.evidence[row.key] for runs in table.runs for run in runs if row.key in run.evidence]
    lowest = -1 if one.of_base else 0
    if not known or not applies(known) or lowest <= one.limit <= 1:
        return
    kind = "a difference to the base's lies" if one.of_base else "it lies"
    mend = f"write a share, as {one.limit / _PERCENT:g}" if 1 < abs(one.limit) <= _PERCENT else "write another limit"
    raise UsageError(f"'{one.text}': {row.key} is a share, and {kind} between {lowest} and 1", mend=mend)


def _check_base(table: Table, row: MetricRow, one: Requirement) -> None:
    has_base = {system.model for system in table.systems if system.is_reference}
    if alone := [system.model for system in table.systems if system.model not in has_base]:
        what = f"'{one.text}' needs the base{f' of {alone[0]}' if alone[0] else ''}, and no run of it is among these"
        raise UsageError(what, mend="name the base's runs (method none) as well, or give --suite")
    if one.limit and one.percent != row.relative:
        kind, example = ("a share", "base + 10 %") if row.relative else ("a difference", "base + 0.05")
        raise UsageError(f"'{one.text}': {row.key} is held against the base by {kind}", mend=f"write '{example}'")


def _can_be_flagged(table: Table, place: int) -> bool:
    """Whether the base is there that a system's flags are found by, where it has a metric that flags."""
    model = table.systems[place].model
    runs = table.runs[place] if table.runs else ()
    metrics = (metric for run in runs if run.result for metric in run.result.metrics)
    has_base = any(system.is_base and system.model == model for system in table.systems)
    return has_base or not any(metric.flag for metric in metrics)


def _decided(
    one: Requirement, system: System, row: MetricRow, cell: TableCell, *, can_be_flagged: bool
) -> RequirementDecision:
    """Whether the interval lies within the limit, beyond it, or on both sides."""
    found = cell.difference if one.of_base else cell
    value, low, high = (found.value, found.low, found.high) if found else (None, None, None)
    status, why = _status(one, low, high)
    if value is None:
        status, why = "invalid", "it was not measured"
    elif cell.n_failed:
        status, why = "invalid", f"{cell.n_failed} measurements failed"
    elif one.of_base and cell.n_failed_reference:
        status, why = "invalid", f"{cell.n_failed_reference} measurements of the base failed"
    elif one.of_base and is_silent(row, cell):
        status, why = "invalid", NO_SIGNAL
    elif system.flags and row.role == "attribute":
        status, why = "failed", f"flagged ({', '.join(system.flags)}): its texts are no answers"
    elif status == "passed" and row.role == "attribute" and not can_be_flagged:
        status, why = "invalid", NO_BASE
    elif status == "passed" and system.is_one_training:
        why = "of this one training"
    relative = one.of_base and row.relative
    return RequirementDecision(
        one.text, system.label, row.key, status, relative, one.of_base, one.limit, value, low, high, why
    )


def _status(one: Requirement, low: float | None, high: float | None) -> tuple[RequirementStatus, str | None]:
    if low is None or high is None:
        return "invalid", NO_INTERVAL
    near, far = (low, high) if one.at_most else (-high, -low)
    limit = one.limit if one.at_most else -one.limit
    if far <= limit:
        return "passed", None
    if near > limit:
        return "failed", "beyond the limit with 95 % confidence"
    return "inconclusive", "the interval lies on both sides of the limit"
