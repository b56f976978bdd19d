"""Records as a DataFrame: one line for each metric of each run, to go on with in pandas."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.paths import expanded
from bench.store.runs import Run, folders, load_run

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "run_id",
    "suite",
    "model",
    "method",
    "label",
    "seed",
    "task",
    "group",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "n_failed",
    "n_empty",
    "higher_is_better",
    "publishable",
    "scorer",
    "suite_hash",
    "created",
    "seconds",
    "path",
)


def load(*runs: "str | Path | Run | Iterable[str | Path | Run]") -> "pd.DataFrame":
    """Finished runs as a tidy DataFrame: one line for each metric of each run.

    Args:
        runs: Folders of runs, folders that hold runs (`runs/`), runs that are already read, or lists of these.

    Returns:
        Columns run_id, suite, model, method, label, seed, task, group (of the data, or None), metric, value (NaN where
        it could not be measured, never 0), ci_low, ci_high (95 %), n, n_failed, n_empty, higher_is_better (or None),
        publishable, scorer (the label of the one that the metric is by, else of the headline), suite_hash, created,
        seconds, path; and `config.OPTION` for each option of the methods.
        Runs that have not finished are left out; without any, the frame is empty and has these columns.

    Raises:
        MissingError: a path is no run and holds none, or a record is damaged.
    """
    import pandas as pd

    lines = [line for run in _each(runs) for line in _lines(run)]
    options = dict.fromkeys(key for line in lines for key in line if key.startswith("config."))
    return pd.DataFrame(lines, columns=[*_COLUMNS, *options])


def _each(runs: Iterable[Any]) -> Iterable[Run]:
    for one in runs:
        if isinstance(one, Run):
            yield one
        elif isinstance(one, str | Path):
            path = expanded(one)
            inside = [] if (path / "manifest.json").is_file() else folders(path)
            yield from sorted(map(load_run, inside or [path]), key=lambda run: (run.manifest.created, run.id))
        else:
            yield from _each(one)


def _lines(run: Run) -> Iterable[dict[str, Any]]:
    manifest, result = run.manifest, run.result
    if result is None:
        return
    shared = {
        "run_id": run.id,
        "suite": manifest.suite.get("name"),
        "model": manifest.model.get("id"),
        "method": run.method,
        "label": run.label,
        "seed": manifest.seed,
        "publishable": result.publishable,
        "suite_hash": manifest.suite_hash,
        "created": manifest.created,
        "seconds": run.seconds,
        "path": str(run.path),
        **{f"config.{key}": value for key, value in (manifest.method.get("config") or {}).items()},
    }
    for metric in result.metrics:
        figures = metric.model_dump()
        figures["metric"] = figures.pop("name")
        figures["scorer"] = manifest.further.get(metric.scorer or "", manifest.scorer).get("label")
        yield {**shared, **figures}
