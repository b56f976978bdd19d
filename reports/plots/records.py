"""What figures read from records, beyond what a table holds."""

from collections.abc import Iterable, Sequence

from bench.errors import MissingError, UsageError, did_you_mean
from bench.store.record import Metric
from bench.store.runs import Run
from bench.store.samples import Sample
from reports.table.cells import Caption, System, clean
from reports.table.columns import Column, Notes
from reports.table.models import across, columns_across
from reports.table.roles import all_metrics, primary

MOST = 48
"""Systems that a figure with a row or a pane for each can hold."""
_LISTED = 4


def attribute_metric(runs: Sequence[Run], name: str | None) -> Metric:
    """A metric of the attribute by its name, or the one that speaks for it.

    It is the one over all of its data, or over the first group where no run has that.

    Raises:
        UsageError: the attribute has no metric of that name.
        MissingError: no run has measured the attribute.
    """
    known = [metric for metric in all_metrics(runs) if metric.role == "attribute" and metric.scorer is None]
    if name is None and (speaking := primary(known, "attribute")) is not None:
        return speaking
    named_so = [metric for metric in known if metric.name == name]
    if named_so:
        return min(named_so, key=lambda metric: metric.group is not None)
    if not any(run.result for run in runs):
        raise MissingError("none of these runs has finished", mend="'bench run' resumes an experiment where it stopped")
    attribute = next(run.attribute for run in runs if run.result)
    if known and name is not None:
        what = f"no metric of {clean(attribute, 60)} is called '{name}'"
        raise UsageError(what, mend=did_you_mean(name, {metric.name for metric in known}))
    what = f"these runs have not measured {clean(attribute, 60)}"
    raise MissingError(what, mend="take a suite with a task that does, as 'rtp'")


def named(key: str) -> str:
    """A metric's key as an axis tells it: `rtp/toxic/toxic_fraction` is "toxic fraction (toxic prompts)"."""
    *_, name = parts = clean(key).split("/")
    group = parts[1:-1]
    told = name.replace("_", " ")
    return f"{told} ({group[0]} prompts)" if group else told


def listed(names: Sequence[str]) -> str:
    """Some names in a row, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(clean(name, 40) for name in names[:_LISTED])}{more}"


def systems_of(runs: Sequence[Run]) -> tuple[list[Column], list[str]]:
    """The systems of some runs as in a table, a model's base first: as many as a figure can hold, and a note on that.

    Raises:
        MissingError: no run has finished, or two are not comparable.
    """
    columns = columns_across(runs, Notes())
    return columns[:MOST], too_many(len(columns))


def too_many(count: int) -> list[str]:
    """The note that a figure shows some systems only."""
    return [f"The first {MOST} of {count} systems."] if count > MOST else []


def flagged(systems: Iterable[System]) -> list[str]:
    """The note that names the systems whose texts are no answers; nothing where there are none."""
    names = [system.label for system in systems if system.flags]
    return [f"Flagged, so that no figure of it is a success: {listed(names)}."] if names else []


def caption_of(runs: Sequence[Run]) -> Caption:
    """What all figures of some runs share."""
    return across(runs, wanted=lambda _: False).caption


def scores_of(run: Run) -> list[Sample]:
    """The scored texts of a run; none where they are not kept.

    They are of the task that the attribute is measured by; where no scorer scores that, of the first with scored texts.

    Raises:
        MissingError: the file is damaged.
    """
    speaking = primary(all_metrics([run]), "attribute")
    if run.scored.controlled is None:
        return run.samples(speaking.task) if speaking else []
    found = (run.samples(task) for task in dict.fromkeys(metric.task for metric in all_metrics([run])))
    return next((rows for rows in found if any(row.scores for row in rows)), [])
