"""What of a run's record a tracker is given."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.errors import MissingError
from bench.store.record import Metric
from bench.store.runs import Run
from bench.store.samples import Sample
from reports.table.cells import clean
from reports.table.comparable import flat
from reports.table.forms import FORMS
from reports.table.forms.latex import LatexOptions
from reports.table.forms.markdown import escape
from reports.table.opening import arranged
from reports.trackers import Setting, Tracked

_NONE = "\N{EN DASH}"
_FILES = ("manifest.json", "result.json")
_LONG = 500  # characters of a setting


def content(runs: Sequence[Run], *, samples: bool = False) -> list[Tracked]:
    """What is sent of each of some runs that may share a table.

    Args:
        runs: Finished runs.
        samples: Whether continuations are sent, offensive ones included.

    Raises:
        MissingError: a run has not finished, a record is damaged, or the runs were not measured alike.
    """
    for run in runs:
        if run.result is None:
            raise MissingError(f"{run.id} has not finished", mend="the command that began it resumes it")
    table, sheet = arranged(runs)
    together = FORMS["markdown"](table, sheet, LatexOptions())
    return [_of(run, together, samples=samples) for run in runs]


def _of(run: Run, together: str, *, samples: bool) -> Tracked:
    metrics = run.result.metrics if run.result else []
    return Tracked(
        id=run.path.resolve().name,  # a name that a folder has leads nowhere else, whatever the record says
        settings=dict(_settings(run)),
        figures={key: value for one in metrics for key, value in _figures(one)},
        training=dict(_training(run)),
        tables={"figures": _table(metrics), "comparison": together},
        files={name: run.path / name for name in _FILES},
        samples=[row for task in run.tasks for row in _samples(run, task)] if samples else None,
    )


def _settings(run: Run) -> Iterator[tuple[str, Setting]]:
    manifest = run.manifest
    facts: dict[str, Any] = {
        "suite": manifest.suite.get("name"),
        "suite_hash": manifest.suite_hash,
        "label": run.label,
        "seed": manifest.seed,
        "publishable": bool(run.result and run.result.publishable),
        "key": manifest.key,
        "created": manifest.created,
        "method": {"name": run.method, **(manifest.method.get("config") or {})},
        "model": manifest.model,
        "scorer": {key: manifest.scorer.get(key) for key in ("name", "label", "threshold", "hash")},
        "decoding": manifest.decoding,
        "engine": manifest.engine,
        "code": manifest.code,
    }
    for name, value in flat(facts).items():
        if value is not None:
            yield clean(name, _LONG), value if isinstance(value, bool | int | float) else clean(value, _LONG)


def _figures(metric: Metric) -> Iterator[tuple[str, float]]:
    ends = {"": metric.value, "/lower": metric.ci_low, "/upper": metric.ci_high, "/n_failed": metric.n_failed or None}
    for end, value in ends.items():
        if value is not None:
            yield f"{clean(metric.key)}{end}", float(value)


def _training(run: Run) -> Iterator[tuple[str, list[float]]]:
    for part, log in run.training.items():
        for name in dict.fromkeys(key for step in log for key in step):
            if all(name in step for step in log):
                yield clean(f"{part}/{name}"), [step[name] for step in log]


def _table(metrics: Sequence[Metric]) -> str:
    lines = ["| metric | value | lower | upper | n | failed |", "|:--|--:|--:|--:|--:|--:|"]
    for one in metrics:
        ends = (_NONE if end is None else f"{end:.4g}" for end in (one.value, one.ci_low, one.ci_high))
        cells = (escape(clean(one.key)), *ends, str(one.n), str(one.n_failed))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _samples(run: Run, task: str) -> Iterator[dict[str, Setting | None]]:
    for one in run.samples(task):
        yield {
            "task": task,
            "prompt_id": one.prompt_id,
            "sample": one.sample,
            "prompt": one.prompt,
            "continuation": one.continuation,
            **dict(_scores(one)),
        }


def _scores(sample: Sample) -> Iterator[tuple[str, float]]:
    every = {"score": sample.scores, **{f"score.{key}": one for key, one in sample.further.items()}}
    for place, found in every.items():
        for name, score in (found or {}).items():
            yield f"{place}.{name}", score
