"""Which runs a report is made of: named ones, or those of a suite, or all."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.store.runs import Run

Runs = Annotated[list[str] | None, typer.Argument(help="Runs: ids, beginnings of ids, or folders.", metavar="RUN…")]
OfSuite = Annotated[str | None, typer.Option("--suite", help="All finished runs of this suite, in place of RUN….")]
AllRuns = Annotated[bool, typer.Option("--all", help="All finished runs, in place of RUN….")]


def chosen(runs_dir: Path, named: list[str] | None, suite: str | None, *, every: bool) -> "list[Run]":
    """The runs that a command line asks for; of a suite, or of all, the finished ones alone.

    Raises:
        UsageError: none or two of the ways are used, or there is no such run.
        MissingError: a named run's record cannot be read.
    """
    # Imported here: both bring pydantic.
    from bench.cli.common import console_progress
    from bench.errors import UsageError, did_you_mean
    from bench.store.runs import find_run, list_runs

    if (bool(named) + (suite is not None) + every) != 1:
        raise UsageError("say which runs", mend="name them, or give --suite NAME, or --all")
    if named:
        return [find_run(runs_dir, text) for text in named]
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
