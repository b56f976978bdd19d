"""Flags: what stands beside the name of a system whose texts are no answers to the prompts.

A metric declares what it exposes, and from how far off the base on (`bench.store.record.Flag`). A system is flagged
where the whole 95 % interval of its paired difference to the base lies beyond that margin: chance flags nobody.
"""

from bench.errors import MissingError
from bench.stats import Systems
from bench.store.record import Metric
from reports.table.columns import BASE, Column


def flags_of(column: Column, base: Column) -> tuple[str, ...]:
    """The flags of a system, in its metrics' order; none where nothing that flags was measured.

    Args:
        column: The system; the base has no flags.
        base: The base, on the same prompts; any other system is nothing to measure it by.
    """
    if column is base or base.method != BASE:
        return ()
    found = {metric.key: metric for metric in column.all_metrics if metric.flag}
    texts = (metric.flag.text for metric in found.values() if metric.flag and _is_beyond(metric, column, base))
    return tuple(dict.fromkeys(texts))


def _is_beyond(metric: Metric, column: Column, base: Column) -> bool:
    """Whether the difference to the base lies beyond the metric's margin, all of its interval."""
    flag, higher = metric.flag, metric.higher_is_better
    own, its = (_figure(metric, side) for side in (column, base))
    relative = metric.difference == "ratio"
    if flag is None or higher is None or own is None or its is None or (relative and its <= 0):
        return False
    margin = flag.margin * its if flag.of_base else flag.margin
    loss = (its - own if higher else own - its) / (its if relative else 1)
    if loss <= margin:  # the interval is about the figure: there is no need to draw it
        return False
    systems = Systems([base.evidence(metric.key), column.evidence(metric.key)])
    ends = systems.interval(0)
    if flag.of_base and (ends is None or ends.low <= 0):  # the base's figure may be none: it has no share
        return False
    try:
        gap = systems.difference(1, 0, relative=relative)
    except MissingError:  # nothing in common
        return False
    near = gap.high if higher else gap.low
    return near is not None and (-near if higher else near) > margin


def _figure(metric: Metric, column: Column) -> float | None:
    """The metric's figure, averaged over seeds; None where it is not known of each."""
    values = [one.value for one in column.metrics(metric.key) if one.value is not None]
    return sum(values) / len(values) if values and len(values) == len(column.runs) else None
