"""`bench plan`: what an experiment can tell before it is run."""

from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_grid, print_json
from bench.cli.selection import AllRuns, OfSuite, Runs


def plan(  # noqa: PLR0913, PLR0917 - one parameter a flag
    named: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    prompts: Annotated[int | None, typer.Option(min=2, max=100_000, help="Prompts; default: as in the runs.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Continuations of each prompt; default: those of the runs.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Training seeds; default: as in the runs.")] = None,
    methods: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Methods compared with the base; default: those of the runs.")
    ] = None,
    figure: Annotated[
        float | None, typer.Option("--from", help="The base's share or mean; default: as in the runs.")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--to", help="A method's; default: half of the way from the base's to the best.")
    ] = None,
    training: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="How much trainings differ, in logits (SD); default: as the runs do, or 0.4 for a share.",
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Say what an experiment can tell: the chance to find a difference, what more would take, and minutes.

    It plans by finished runs (of one suite and model) where some are named, else by what is assumed: then give
    --prompts and --samples.
    """
    from rich.text import Text

    from bench.cli.selection import chosen
    from reports.plan.build import Wanted
    from reports.plan.build import plan as planned
    from reports.plan.terminal import lines, to_json

    runs = chosen(runs_dir, named, suite, every=every) if named or suite is not None or every else []
    wanted = Wanted(prompts, samples, seeds, methods, figure, target, training)
    outcome = planned(runs, wanted)
    if json:
        print_json(to_json(outcome))
    else:
        print_grid(Text("\n".join(lines(outcome))))
