"""Which runs a report is made of: named ones, those of a suite, all, or those of the last request."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS

if TYPE_CHECKING:
    from bench.store.runs import Run

LAST = "last"
"""Stands for the runs of the last `bench run` or `bench sweep` in the folder."""


def ids(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of runs that begin so, for the shell to complete; no record is read."""
    root = Path(context.params.get("runs_dir") or os.environ.get("BENCH_RUNS") or RUNS)
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
OfSuite = Annotated[str | None, typer.Option("--suite", help="All finished runs of this suite, in place of RUN….")]
AllRuns = Annotated[bool, typer.Option("--all", help="All finished runs, in place of RUN….")]


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
    from bench.store.runs import find_run, list_runs, load_run

    if or_last and not named and suite is None and not every and latest(runs_dir):
        named = [LAST]
    if (bool(named) + (suite is not None) + every) != 1:
        raise UsageError("say which runs", mend="name them, or give --suite NAME, or --all")
    if named:
        expanded = [folder for text in named for folder in (_last(runs_dir) if text == LAST else [text])]
        return [load_run(one) if isinstance(one, Path) else find_run(runs_dir, one) for one in expanded]
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


def _last(runs_dir: Path) -> list[Path]:
    from bench.errors import UsageError
    from bench.store.latest import latest

    found = latest(runs_dir)
    if not found:
        raise UsageError(f"{runs_dir} has no last request", mend="'bench runs' lists what there is")
    return found
