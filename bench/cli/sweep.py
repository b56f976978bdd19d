"""`bench sweep`: methods along an option of theirs, and what less toxicity costs."""

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, SCORING_TIMEOUT, CacheDir, Config, Json, Offline, RunsDir, ScoringTimeout
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_json
from bench.cli.run import (
    BatchTokens,
    Fresh,
    Limit,
    Methods,
    Model,
    On,
    Place,
    Searched,
    Seeds,
    Settings,
    Spread,
    SuiteName,
    WorkerCount,
    WorkerGpus,
    carry_out,
    close,
    print_records,
    remember_last,
    request_of,
    settle_process,
    told,
)
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run.launch.local import ExperimentOutcome
    from bench.run.sweep import Sweep


_POINTS = 5


def sweep(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    method: Methods,
    over: Annotated[
        str, typer.Option("--over", help="What the points differ in: each method's strength, or an option by name.")
    ] = "strength",
    points: Annotated[
        int | None,
        typer.Option("--points", min=2, help="The most points of a method beside the base; 5 if left out."),
    ] = None,
    values: Annotated[
        str | None, typer.Option("--values", help="The option's values, comma-separated, in place of --points.")
    ] = None,
    along: Annotated[
        int | None,
        typer.Option("--along", min=2, help="Points along each method's training, evenly spaced, not strengths."),
    ] = None,
    suite: SuiteName = "mini",
    model: Model = None,
    seeds: Seeds = "0",
    settings: Settings = None,
    limit: Limit = None,
    searched: Searched = None,
    fresh: Fresh = False,
    workers: WorkerCount = None,
    on: On = None,
    worker_gpus: WorkerGpus = None,
    batch_tokens: BatchTokens = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    device: Device = AUTO,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
    config: Config = None,
) -> int:
    """Measure each method at several strengths, and show what less toxicity costs in perplexity and accuracy.

    Every point is a run like any other: it is kept, found again and resumed. An artifact is made once where the
    option matters only when it is applied.
    """
    del config, method, suite, model, seeds, settings, limit, searched, scoring_timeout  # the context has them
    settle_process(offline=offline)
    from bench.engine.processes import is_main

    plan = _planned(context, over, values, points, along)
    if is_main() and along is None:
        _say_single(plan, over)
    spread = Spread(workers, on, worker_gpus, device)
    place = Place(cache_dir, runs_dir, offline=offline, fresh=fresh, batch_tokens=batch_tokens)
    outcomes = carry_out(plan.request, place, spread)
    remember_last(outcomes, runs_dir)
    return _report(plan, outcomes, json=json) if is_main() else 0


def _planned(context: typer.Context, over: str, values: str | None, points: int | None, along: int | None) -> "Sweep":
    """The points that the flags ask for."""
    from bench.errors import UsageError
    from bench.run.plan import split
    from bench.run.sweep import STRENGTH, make_along, make_sweep

    if along is not None:
        if over != STRENGTH or values is not None or points is not None:
            raise UsageError("--along chooses the points itself", mend="leave out --over, --values and --points")
        return make_along(request_of(context), along)
    listed = None if values is None else split(values)
    if listed == []:
        raise UsageError("--values names none", mend="write them as 0.5,1,2")
    if listed and points is not None:
        raise UsageError("--values chooses the points itself", mend="leave out --points, or --values")
    return make_sweep(request_of(context), over, listed, points or _POINTS)


def _say_single(plan: "Sweep", over: str) -> None:
    """Say which stacked methods have one point, and what would give them more."""
    from bench.run.stack import strengths_of
    from bench.run.sweep import STRENGTH

    for method, option in plan.over.items():
        if over == STRENGTH and option is None and (known := strengths_of(method)):
            what = f"{method} has no strength of its own, so it has one point"
            echo(f"bench: note: {what}; --over {' or '.join(known)} gives it more", err=True)


def _report(plan: "Sweep", outcomes: "Sequence[ExperimentOutcome]", *, json: bool) -> int:
    """Print what the points cost and where the records lie; the exit code says whether all points are in it."""
    from bench.store.runs import load_run
    from reports.tradeoff.build import build, to_json
    from reports.tradeoff.terminal import print_tradeoff

    done = [one.folder for one in outcomes if one.folder]
    has_base = any(one.folder and one.experiment.method == "none" for one in outcomes)
    found = build([load_run(folder) for folder in done], plan.over) if has_base else None
    if json:
        print_json(told(outcomes) | {"tradeoff": to_json(found) if found else None})
    elif found:
        print_tradeoff(found)
        print_records(done)
    return close(outcomes)
