"""`bench baseline`: what a method is measured at, written down for `bench check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import ids, of_methods

if TYPE_CHECKING:
    from reports.gate import Baseline


def baseline(  # noqa: PLR0917 - one parameter a flag
    run: Annotated[
        list[str],
        typer.Argument(
            help="Runs of one method, one a seed, or 'last': the edited ones of the last request.",
            metavar="RUN…",
            autocompletion=ids,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; baselines/SUITE-METHOD.json unless told otherwise.")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Tolerated loss of a metric (0.05; of a perplexity: 5 %). Repeatable."
        ),
    ] = None,
    primary: Annotated[
        str | None, typer.Option(help="The metric that has half of the false alarms to itself.", metavar="METRIC")
    ] = None,
    check_seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds that a check will have; as many as RUN… unless told otherwise.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write one that can see nothing; no check against it passes.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Write down what a method is measured at, for 'bench check' to hold later runs against.

    All runs are of one method with one configuration, finished and without a failed measurement.
    """
    import bench
    from bench.errors import UsageError
    from bench.store.runs import list_runs
    from reports.gate import make_baseline, save_baseline
    from reports.gate.foresight import foresee
    from reports.gate.terminal import print_baseline
    from reports.gate.writing import Plan

    plan = Plan(_tolerances(tolerance or []), check_seeds, primary, bench.__version__, force=force)
    made, notes = make_baseline(of_methods(runs_dir, run), plan)
    notes += foresee(made, list_runs(runs_dir))
    path = output or Path("baselines") / f"{_file(made.facts.get('suite.name'))}-{_file(made.method.name)}.json"
    if output is None:
        _refuse_other(path, made)
    try:
        save_baseline(path, made)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise UsageError(f"no file can be written at {path}", mend="name another with --output") from None
    if json:
        print_json({"path": str(path), "notes": notes, "baseline": made.model_dump()})
    else:
        print_baseline(made, path, notes)


def _refuse_other(path: Path, made: "Baseline") -> None:
    """Refuse to put a baseline in the place of one of another configuration or model, whose name is the same.

    One that cannot be read holds nothing against it.

    Raises:
        UsageError: such a one is there.
    """
    from bench.errors import MissingError, UsageError
    from reports.gate import load_baseline
    from reports.gate.runs import differing_methods
    from reports.table.comparable import differing, told

    try:
        there = load_baseline(path)
    except MissingError:
        return
    of_model = [one for one in differing(there.facts, made.facts) if one.key.startswith("model.")]
    methods = (one.method.model_dump(exclude={"label"}) for one in (there, made))
    if differ := [*of_model, *differing_methods(*methods)]:
        what = f"{path} is the baseline of another configuration or model: {told(differ)}"
        raise UsageError(what, mend=f"name another file with --output, or replace this one with --output {path}")


def _tolerances(asked: list[str]) -> dict[str, float]:
    from bench.errors import UsageError

    found: dict[str, float] = {}
    for text in asked:
        key, equals, value = text.rpartition("=")
        try:
            found[key] = float(value)
        except ValueError:
            found[key] = -1.0
        if not equals or not key or not 0 <= found[key] < float("inf"):
            raise UsageError(f"tolerance '{text}' is not METRIC=VALUE with a value of 0 or more")
    return found


def _file(text: object) -> str:
    """A part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in str(text or "run"))[:60]
