"""`bench table`: records side by side."""

from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir, print_json
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen


def table(
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    against: Annotated[
        str | None, typer.Option(help="Compare with this column (its label or method) instead of the base.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Compare runs: the base and each method, with intervals and the difference to the base or another method.

    Runs of one method that differ in their seed alone share a column. Runs of different suites, models, scorers,
    data or decoding are refused (exit 3).
    """
    from reports.table import build, to_json
    from reports.terminal import print_table

    built = build(chosen(runs_dir, run, suite, every=every), against)
    if json:
        print_json(to_json(built))
    else:
        print_table(built)
