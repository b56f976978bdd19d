"""Which runs a report is made of: named ones, those of a suite, all, or those of the last request."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS
from bench.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.store.runs import Run

LAST = "last"
"""Stands for the runs of the last `bench run` or `bench sweep` in the folder."""
_LISTED = 8


def ids(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of runs that begin so, for the shell to complete; no record is read."""
    root = expanded(context.params.get("runs_dir") or os.environ.get("BENCH_RUNS") or RUNS)
    try:
        there = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    except OSError:
        there = []
    return [name for name in (LAST, *there) if name.startswith(incomplete)]


Runs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Runs: ids, beginnings of ids, folders, or 'last': those of the last request.",
        metavar="RUN…",
        autocompletion=ids,
    ),
]
OneRun = Annotated[
    str,
    typer.Argument(
        help="A finished run: its id, the beginning of it, its folder, or 'last': the edited one of the last request.",
        autocompletion=ids,
    ),
]
OfSuite = Annotated[str | None, typer.Option("--suite", help="All finished runs of this suite, in place of RUN….")]
AllRuns = Annotated[bool, typer.Option("--all", help="All finished runs, in place of RUN….")]


def refuse_missing(root: Path, *, is_needed: bool = False) -> None:
    """Refuse a folder of records that is not there; the default one comes with the first run, unless it is needed.

    Raises:
        UsageError: it is not there.
    """
    from bench.errors import UsageError

    if not root.is_dir() and (is_needed or root != RUNS):
        raise UsageError(f"there is no folder of records at {root}", mend="name it by --runs-dir")


def chosen(
    runs_dir: Path, named: list[str] | None, suite: str | None, *, every: bool, or_last: bool = False
) -> "list[Run]":
    """The runs that a command line asks for; of a suite, or of all, the finished ones alone.

    Args:
        runs_dir: Where records are kept.
        named: Runs by name; `LAST` stands for those of the last request.
        suite: A suite's name.
        every: All of them.
        or_last: Whether those of the last request are meant where nothing is said.

    Raises:
        UsageError: none or two of the ways are used, or there is no such run.
        MissingError: a named run's record cannot be read.
    """
    # Imported here: both bring pydantic.
    from bench.cli.common import console_progress
    from bench.errors import UsageError, did_you_mean
    from bench.store.latest import latest
    from bench.store.runs import list_runs

    if or_last and not named and suite is None and not every and latest(runs_dir):
        named = [LAST]
    given = [way for way, is_given in (("names", named), ("--suite", suite is not None), ("--all", every)) if is_given]
    if len(given) > 1:
        raise UsageError(f"runs are chosen in one way, and here are {' and '.join(given)}", mend="keep one of them")
    if not given:
        raise UsageError(
            "say which runs", mend="name them ('last': the last request's), or give --suite NAME, or --all"
        )
    if named:
        return [run for text in named for run in of_name(runs_dir, text)]
    there = [run for run in list_runs(runs_dir, console_progress()) if run.result]
    found = [run for run in there if every or run.manifest.suite.get("name") == suite]
    if not found:
        names = sorted({str(run.manifest.suite.get("name")) for run in there})
        what = f"no finished run of the suite '{suite}' in {runs_dir}" if there and suite else "no finished run"
        raise UsageError(
            what if there else f"{what} in {runs_dir}",
            mend=did_you_mean(suite or "", names) if there else "run 'bench run' first",
        )
    return found


def of_name(runs_dir: Path, text: str) -> "list[Run]":
    """The runs that a text names: one, or for `LAST` those of the last request.

    Raises:
        UsageError: there is none, or the text is the beginning of several ids.
        MissingError: a record cannot be read.
    """
    from bench.errors import UsageError
    from bench.store.latest import latest
    from bench.store.runs import find_run, load_run

    if text != LAST:
        return [find_run(runs_dir, text)]
    folders = latest(runs_dir)
    if not folders:
        raise UsageError(f"{runs_dir} has no last request", mend="'bench runs' lists what there is")
    return [load_run(folder) for folder in folders]


def edited_ones(runs: "Sequence[Run]") -> "list[Run]":
    """Those of edited models among some runs; all where there is none."""
    from reports.table.columns import BASE

    return [run for run in runs if run.method != BASE] or list(runs)


def of_methods(runs_dir: Path, named: list[str]) -> "list[Run]":
    """The runs that are named; `last` stands for those of edited models: of a method, not of the base."""
    found = [(text, of_name(runs_dir, text)) for text in named]
    return [run for text, runs in found for run in (edited_ones(runs) if text == LAST else runs)]


def the_one(runs_dir: Path, text: str) -> "Run":
    """The run that a text names; of the last request its only edited one.

    Raises:
        UsageError: there is none, or more than one.
        MissingError: its record cannot be read.
    """
    from bench.errors import UsageError

    found = edited_ones(of_name(runs_dir, text))
    if len(found) > 1:
        what = f"the last request has {len(found)} runs of edited models, and one is needed"
        raise UsageError(what, mend=f"say which: {ids_of(found)}")
    return found[0]


def ids_of(runs: "Sequence[Run]") -> str:
    """The ids of some runs, or of the first of many, in a line."""
    more = f" and {len(runs) - _LISTED} more" if len(runs) > _LISTED else ""
    return f"{', '.join(run.id for run in runs[:_LISTED])}{more}"
