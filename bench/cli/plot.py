"""`bench plot`: figures from records."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo


def plot(  # noqa: PLR0913, PLR0917 - one parameter a flag
    figure: Annotated[
        str,
        typer.Argument(
            help="tradeoff, sweep, scores, groups, training, cost, or one that a package brings.", metavar="FIGURE"
        ),
    ],
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o", "--output", help="A file to write, in the form of its suffix: .svg, .pdf, .png; repeatable."
        ),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="As wide as a page's text, not as a column.")] = False,
    metric: Annotated[
        str | None, typer.Option(help="tradeoff, groups: a metric of what is controlled (toxic_fraction).")
    ] = None,
    utility: Annotated[str | None, typer.Option(help="tradeoff, sweep: perplexity or accuracy.")] = None,
    over: Annotated[str | None, typer.Option(help="sweep: the option that a curve's points differ in.")] = None,
    attribute: Annotated[str | None, typer.Option(help="scores: what was scored; what its scorers score.")] = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Draw a figure from runs, at a paper's column or text width.

    tradeoff: toxicity against utility, with the Pareto front. sweep: the same along an option. scores: how scores are
    distributed. groups: toxicity by group of prompts and by attribute. training: loss and log-perplexity by step. cost:
    time, memory, parameters. Without -o, FIGURE.svg in this folder.
    """
    from bench.errors import UsageError, did_you_mean
    from reports.plots import FIGURES, draw, form_of, save

    if figure not in FIGURES:
        raise UsageError(f"there is no figure '{figure}'", mend=did_you_mean(figure, FIGURES))
    paths = output or [Path(f"{figure}.svg")]
    for path in paths:
        form_of(path)
    runs = chosen(runs_dir, run, suite, every=every, or_last=True)
    drawn = draw(figure, runs, wide=wide, metric=metric, utility=utility, over=over, attribute=attribute)
    for path in paths:
        save(drawn, path)
    if json:
        print_json({"written": [str(path) for path in paths]})
    else:
        for path in paths:
            echo(f"written: {path}")
