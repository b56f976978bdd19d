"""`bench check`: a gate that holds runs against a baseline."""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json, write_output
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen, of_methods

if TYPE_CHECKING:
    from reports.gate import CheckOutcome

_Against = Annotated[Path | None, typer.Option("--against", help="The baseline, a file of 'bench baseline'.")]
_Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        help="A limit, 'toxic_fraction <= 0.05' or 'heldout/perplexity <= base + 10 %'; may be given several times.",
        metavar="LIMIT",
    ),
]
_Junit = Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")]
_Markdown = Annotated[Path | None, typer.Option(help="Write a summary for a pull request to this file.")]


def check(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: Runs = None,
    against: _Against = None,
    require: _Require = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    allow_config: Annotated[
        bool, typer.Option("--allow-config", help="Judge another configuration all the same, and say so.")
    ] = False,
    allow_method: Annotated[
        bool, typer.Option("--allow-method", help="Judge another method by the baseline, and say so.")
    ] = False,
    junit: _Junit = None,
    markdown: _Markdown = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations, and append to the job's summary.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Hold runs against a baseline or limits: exit 0 where they are kept, 1 where not, 3 where that cannot be told.

    With --suite or --all, the latest finished run of the baseline's method is taken for each of its seeds.
    """
    from bench.errors import BenchError, UsageError
    from reports.gate import check as held
    from reports.gate import load_baseline, parse_requirement, refused

    for path in (junit, markdown):
        if path is not None and path.is_dir():
            raise UsageError(f"{path} is a folder", mend="name a file")
        if path is not None:
            path.unlink(missing_ok=True)  # a report of an earlier check must not be taken for this one's
    if against is None and not require:
        mend = "give --against BASELINE, or --require 'toxic_fraction <= 0.05'"
        raise UsageError("say what the runs are held against", mend=mend)
    requirements = [parse_requirement(text) for text in require or []]
    try:
        reference = load_baseline(against) if against else None
        runs = chosen(runs_dir, run, suite, every=every)
        if run and not requirements:  # which need the base
            runs = of_methods(runs_dir, run)
        outcome = held(
            runs, reference, requirements, by_name=bool(run), allow_config=allow_config, allow_method=allow_method
        )
    except BenchError as error:
        _write(refused(error), junit, markdown, github=github, json=json)
        raise
    _write(outcome, junit, markdown, github=github, json=json)
    _tell(outcome, github=github, json=json)
    return outcome.exit_code


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
