"""The suite from Python: run experiments, read records, and show them in a notebook.

What stands in `__all__` here, with its arguments and attributes, is promised: it changes as versions say (semantic
versioning). All else may change without notice.

    from bench import api

    results = api.run("contrastive,dpo", suite="mini", seeds=range(3))
    print(results)  # the verdict and the table, as a notebook shows them
    results.frame()  # every figure, a line each (pandas)
    results.save_report("report.html")
"""

import html
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, MissingError, UsageError
from bench.packages import refuse_hidden
from bench.parsing import parse_value, written
from bench.paths import expanded
from bench.progress import Quiet
from bench.spec import SuiteSpec as Suite
from bench.store.runs import Run, find_run, list_runs, load_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.cli.run import Place
    from bench.run.plan import Request
    from reports.compare.html import ShownComparison
    from reports.table.shown import ShownTable

__all__ = [
    "BenchError",
    "Failure",
    "MissingError",
    "Results",
    "Suite",
    "UsageError",
    "compare",
    "results",
    "run",
    "suite",
]

_NAMES = "give names, with options where wanted: 'contrastive:tau=0.5', or several in a list"
_SIDE = "give one run by its id or folder, or those of one method as api.results reads them: results.runs"


@dataclass(frozen=True)
class Failure:
    """An experiment that failed.

    Attributes:
        method: The method's label.
        seed: The seed.
        error: Why, in a line.
        mend: What to do, or None.
    """

    method: str
    seed: int
    error: str
    mend: str | None


@dataclass(frozen=True)
class Results:
    """Finished runs, to look at together. A notebook and `print` show the verdict and the table.

    Attributes:
        runs: The runs. `path`, `id`, `method`, `label`, `manifest` and `result` of each are promised.
        failures: Experiments of the same request that failed: they are in no table.
    """

    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()

    def frame(self) -> "pd.DataFrame":
        """Every figure, a line each; the columns are those of `bench.load`."""
        from bench.store.frame import load

        return load(*self.runs)

    def table(self, against: str | None = None) -> "ShownTable":
        """Every figure of every system with intervals, differences, tests and ranks; a notebook shows them in full.

        Args:
            against: The label of the system that the others are compared with, or a method that one system is of; None
                for the base.

        Raises:
            MissingError: the runs were not measured alike.
            UsageError: no system has that label.
        """
        from reports.table.models import across
        from reports.table.shown import ShownTable

        return ShownTable.of(across(self.runs, against))

    def text(self, layout: str | None = None, form: str = "terminal", against: str | None = None) -> str:
        """The table as `bench table` prints it.

        Args:
            layout: A layout's name, or the path of one; None for `brief`.
            form: `terminal`, `markdown`, `latex`, `html`, `csv` or `json`.
            against: See `table`.

        Raises:
            MissingError: the runs were not measured alike.
            UsageError: there is no such layout, form or label.
        """
        from bench.errors import did_you_mean
        from reports.table.forms import FORMS
        from reports.table.forms.latex import LatexOptions
        from reports.table.layout import load_layout
        from reports.table.opening import arranged
        from reports.table.terminal import text_of

        if form not in ("terminal", *FORMS):
            raise UsageError(f"no form '{form}'", mend=did_you_mean(form, ["terminal", *FORMS]))
        table, sheet = arranged(self.runs, load_layout(str(expanded(layout))) if layout else None, against=against)
        return text_of(sheet) if form == "terminal" else FORMS[form](table, sheet, LatexOptions())

    def compare(self, first: str, second: str) -> "ShownComparison":
        """Two systems side by side: differences `second - first`, answers that flipped, prompts that got worse.

        A notebook and `print` show it.

        Args:
            first: A label as `table` and `print` show it (`none`; of several base models `none · MODEL`), or a method
                that one system is of.
            second: Another.

        Raises:
            MissingError: the runs were not measured alike, or all are damaged.
            UsageError: no system has that label (runs that are damaged are left out), or several are of that method.
        """
        from reports.table.models import runs_of

        return compare(*(runs_of(self.runs, label) for label in (first, second)))

    def save_report(self, path: str | Path, *, samples: bool = True) -> Path:
        """Write the page of `bench report`.

        Args:
            path: The file.
            samples: Whether prompts and continuations go into it, veiled, offensive ones included.
        """
        from bench.store.files import write_text
        from reports.page.page import build_page

        target = expanded(path)
        write_text(target, build_page(list(self.runs), samples=samples).html)
        return target

    def __str__(self) -> str:
        """The verdict and the table, in 80 columns."""
        table = self.text() if self.runs else "no finished run\n"
        return "".join([table, *(f"{line}\n" for line in self._failed())]).rstrip("\n")

    def __repr__(self) -> str:
        """How many runs of what; `print` shows the table."""
        labels = ", ".join(dict.fromkeys(one.label for one in self.runs))
        return f"<{len(self.runs)} finished runs: {labels}; {len(self.failures)} failed>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from reports.table.opening import arranged

        table = self.text(form="html") if self.runs else "<p>no finished run</p>"
        said = arranged(self.runs)[1].verdict if self.runs else ()
        verdict = "".join(f"<li>{html.escape(one)}</li>" for one in said)
        failed = "".join(f"<p>{html.escape(line)}</p>" for line in self._failed())
        return f"<ul>{verdict}</ul>{table}{failed}"

    def _failed(self) -> list[str]:
        return [f"failed: {one.method}, seed {one.seed}: {one.error}" for one in self.failures]


def suite(source: str | Path | Mapping[str, Any]) -> Suite:
    """A suite, checked: its fields are those of a suite's file.

    Args:
        source: Its name, its file, or what would stand in one.

    Raises:
        UsageError: there is no such suite, or it is not valid; the message has every error.
    """
    from bench.spec import validate
    from bench.suites import read_suite

    content = source if isinstance(source, Mapping) else None
    raw, where = read_suite(_called(source), content)
    return validate(Suite, raw, where)


def run(  # noqa: PLR0913 - one keyword a flag
    methods: str | Sequence[str],
    *,
    suite: str | Path | Mapping[str, Any] | Suite = "mini",
    model: str | None = None,
    seeds: str | Iterable[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    base: bool = True,
    runs_dir: str | Path = "runs",
    cache_dir: str | Path | None = None,
    offline: bool = False,
    fresh: bool = False,
) -> Results:
    """Edit the model by each method, measure everything, and keep records: `bench run`, in this process.

    What is finished is reused; what was interrupted is resumed. Progress goes to stderr.

    Args:
        methods: As after `--method`: names with options, comma-separated or in a list.
        suite: A suite's name or file, what would stand in one, or what `suite` gave.
        model: ID[@REVISION], in place of the suite's model.
        seeds: Of training and sampling, as numbers, or as after `--seeds`.
        settings: As after `--set`: options by name (`{"contrastive.lr": 1e-4, "suite.decoding.top_p": 1}`).
        limit: The most prompts and documents of each task.
        base: Whether to measure the base model as well.
        runs_dir: Where records are kept.
        cache_dir: Where models, data and artifacts are kept; None for the usual place.
        offline: Fetch nothing, in this call; the environment and the warnings' filters are then as they were.
        fresh: Reuse nothing.

    Raises:
        UsageError: the request is not valid; nothing has been done.
        MissingError: something that every experiment needs is not there.
    """
    from bench.cli.run import Place
    from bench.cli.settling import settled
    from bench.run.plan import Request, parse_seeds

    refuse_hidden()
    _check_types(seeds, settings, limit)
    request = Request(
        methods=_named(methods),
        suite=_called(suite),
        model=model,
        seeds=parse_seeds(seeds if isinstance(seeds, str) else ",".join(map(str, seeds))),
        settings=[f"{key}={_setting(value)}" for key, value in (settings or {}).items()],
        max_items=limit,
        base=base,
        content=suite.model_dump() if isinstance(suite, Suite) else suite if isinstance(suite, Mapping) else None,
    )
    place = Place(expanded(cache_dir) if cache_dir else None, expanded(runs_dir), offline, fresh, None)
    with settled(offline=offline):
        return _carried_out(request, place)


def _named(methods: str | Sequence[str]) -> list[str]:
    """The methods that are asked for, each with its options."""
    from bench.run.plan import split

    named = split(methods) if isinstance(methods, str) else list(_of_type("methods", methods, Iterable, _NAMES))
    return [_of_type("a method", one, str, _NAMES) for one in named]


def _check_types(seeds: object, settings: object, limit: Any) -> None:
    """Refuse what is of another type than the command line would make of it."""
    _of_type("seeds", seeds, Iterable, "give them in a list or a range: seeds=[0, 1]")
    _of_type("settings", settings, Mapping | None, 'give options with their values: settings={"lr": 1e-4}')
    _of_type("limit", limit, Integral | None, "give a number, or leave it out for all")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}", mend="say 1 or more, or leave it out for all")


def _carried_out(request: "Request", place: "Place") -> Results:
    """What comes of a request."""
    from bench.cli import run as carried
    from bench.cli.common import console_progress
    from bench.cli.explaining import explain
    from bench.run.plan import make_experiments

    outcomes = carried.in_this_process(make_experiments(carried.expanded(request)), place, console_progress())
    carried.remember_last(outcomes, place.runs_dir)
    failed = [(one.experiment, explain(one.error)) for one in outcomes if one.error]
    return Results(
        tuple(load_run(one.folder) for one in outcomes if one.folder),
        tuple(Failure(one.label, one.seed, why.what, why.mend) for one, why in failed),
    )


def _called(suite: str | Path | Mapping[str, Any] | Suite) -> str:
    """What messages call a suite, or where it is found."""
    if isinstance(suite, Suite):
        return suite.name
    return str(suite.get("name", "?")) if isinstance(suite, Mapping) else str(suite)


def results(*names: str | Path, runs_dir: str | Path = "runs", suite: str | None = None) -> Results:
    """Runs that are finished.

    Args:
        names: Ids, beginnings of ids, folders, or `last` for the runs of the last request; none for all runs.
        runs_dir: Where records are kept.
        suite: Of this suite alone.

    Raises:
        UsageError: there is no such run.
        MissingError: a named run's record is damaged; without names, what is damaged is left out with a warning.
    """
    from bench.cli.selection import of_name

    refuse_hidden()
    root = expanded(runs_dir)
    found = [run for name in names for run in of_name(root, str(name))] if names else list_runs(root, _Warning())
    return Results(
        tuple(one for one in found if one.result and suite in (None, one.manifest.suite.get("name"))),
    )


def compare(
    first: str | Path | Run | Sequence[Run],
    second: str | Path | Run | Sequence[Run],
    *,
    runs_dir: str | Path = "runs",
    task: str | None = None,
    texts: bool = False,
) -> "ShownComparison":
    """Two systems side by side, as `bench compare`: differences `second - first`, answers that flipped, prompts.

    Args:
        first: A run by its id, the beginning of it or its folder; one that is read; or those of one method by seed.
        second: Another.
        runs_dir: Where records are kept.
        task: Look at this task alone.
        texts: Whether prompts and continuations come along, offensive ones included.

    Raises:
        MissingError: a run is not finished, its record is damaged, or the two were not measured alike.
        UsageError: there is no such run or task, a side has no run, or its runs are of several methods or base models.
    """
    from reports.compare.comparison import compare as compared
    from reports.compare.html import ShownComparison

    sides = []
    for one in (first, second):
        if isinstance(one, str | Path):
            sides.append([find_run(expanded(runs_dir), str(one))])
        else:
            runs = [one] if isinstance(one, Run) else list(_of_type("a side", one, Iterable, _SIDE))
            sides.append([_of_type("a run of a side", run, Run, _SIDE) for run in runs])
    return ShownComparison.of(compared(*sides, task=task, texts=texts))


def _of_type(name: str, value: Any, kind: Any, mend: str) -> Any:
    """A value that is of this type.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is of the type {type(value).__name__}", mend=mend)
    return value


class _Warning(Quiet):
    """Notes as Python's warnings, for whoever called `results`."""

    def note(self, text: str) -> None:
        warnings.warn(text, stacklevel=4)


def _setting(value: Any) -> str:
    """A value as `--set` reads it; a text that is a number, a truth value or null there (`"1e-4"`) is one here too.

    Raises:
        UsageError: it is no JSON value, nor a path or a number of NumPy's.
    """
    if isinstance(value, str):
        with suppress(ValueError):
            if not isinstance(parse_value(value), str | dict | list):
                return value
    try:
        return written(value.item() if hasattr(value, "item") else str(value) if isinstance(value, Path) else value)
    except (TypeError, ValueError):
        what = f"a setting is of the type {type(value).__name__}"
        raise UsageError(what, mend="give a text, a number, a list or a dict of these") from None
