"""`bench check`: a gate that holds runs against a baseline."""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json, write_output
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen

if TYPE_CHECKING:
    from bench.store.runs import Run
    from reports.gate import Baseline, CheckOutcome

_Against = Annotated[Path, typer.Option("--against", help="The baseline, a file of 'bench baseline'.")]
_Junit = Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")]
_Markdown = Annotated[Path | None, typer.Option(help="Write a summary for a pull request to this file.")]


def check(  # noqa: PLR0913, PLR0917 - one parameter a flag
    against: _Against,
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    allow_config: Annotated[
        bool, typer.Option("--allow-config", help="Judge another configuration all the same, and say so.")
    ] = False,
    junit: _Junit = None,
    markdown: _Markdown = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations, and append to the job's summary.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Hold runs against a baseline: exit 0 where nothing is worse, 1 where something is, 3 where that cannot be told.

    With --suite or --all, the latest finished run of the baseline's method is taken for each of its seeds.
    """
    from bench.errors import BenchError, UsageError
    from reports.gate import decide, load_baseline, refused

    for path in (junit, markdown):
        if path is not None and path.is_dir():
            raise UsageError(f"{path} is a folder", mend="name a file")
        if path is not None:
            path.unlink(missing_ok=True)  # a report of an earlier check must not be taken for this one's
    try:
        reference = load_baseline(against)
        runs = chosen(runs_dir, run, suite, every=every)
        outcome = decide(runs if run else _of_method(runs, reference), reference, allow_config=allow_config)
    except BenchError as error:
        _write(refused(error), junit, markdown, github=github, json=json)
        raise
    _write(outcome, junit, markdown, github=github, json=json)
    _tell(outcome, github=github, json=json)
    return outcome.exit_code


def _of_method(runs: "list[Run]", reference: "Baseline") -> "list[Run]":
    """The latest of the baseline's method for each of its seeds; whether they are the same method is then decided."""
    from bench.errors import MissingError
    from bench.store.systems import latest

    named = [run for run in runs if run.method == reference.method.name]
    if not named:
        raise MissingError(f"no finished run of the method '{reference.method.name}'", mend="run it, or name the runs")
    counting = latest(named, lambda run: run.method).runs
    return [run for run in counting if run.manifest.seed in reference.seeds] or list(counting)


def _write(outcome: "CheckOutcome", junit: Path | None, markdown: Path | None, *, github: bool, json: bool) -> None:
    """Write the files that were asked for, and GitHub's annotations (on stderr where stdout is JSON)."""
    from reports.gate import forms

    if junit is not None:
        write_output(junit, forms.junit(outcome))
    if markdown is not None:
        write_output(markdown, forms.markdown(outcome))
    if github:
        for line in forms.annotations(outcome):
            typer.echo(line, err=json)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(f"{forms.markdown(outcome)}\n")


def _tell(outcome: "CheckOutcome", *, github: bool, json: bool) -> None:
    """Print the outcome; under GitHub, so that nothing in a record can be taken for a command to its runner."""
    from reports.gate.decision import to_json
    from reports.gate.terminal import print_outcome

    if json:
        print_json(to_json(outcome))
        return
    token = secrets.token_hex(16)
    if github:
        typer.echo(f"::stop-commands::{token}")
    print_outcome(outcome)
    if github:
        typer.echo(f"::{token}::")
