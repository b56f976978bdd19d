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
    systems = Systems([base.evidence(metric.key), column.evidence(metric.key)])
    own = systems.interval(0)
    figures = [one.value for one in base.metrics(metric.key) if one.value is not None]
    if metric.flag is None or metric.higher_is_better is None or own is None or not figures:
        return False
    margin = metric.flag.margin
    if metric.flag.of_base:
        if own.low <= 0:  # the base's own figure may be none: there is nothing to have a share of
            return False
        margin *= sum(figures) / len(figures)
    try:
        gap = systems.difference(1, 0, relative=metric.difference == "ratio")
    except MissingError:  # nothing in common
        return False
    if gap.low is None or gap.high is None:
        return False
    return (-gap.high if metric.higher_is_better else gap.low) > margin
