"""`bench plot`: figures from records."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo
from reports.plots import FORMS, OWN

HELP = f"""Draw a figure from runs, at a paper's column or text width.

{" ".join(f"{one.name}: {one.summary}." for one in OWN.values())}

Without -o, FIGURE.{FORMS[0]} in this folder.
"""


def _with(option: str) -> str:
    """The figures that have an option."""
    return ", ".join(one.name for one in OWN.values() if option in one.options)


def plot(  # noqa: PLR0913, PLR0917 - one parameter a flag
    figure: Annotated[
        str,
        typer.Argument(help=f"{', '.join(OWN)}, or one that a package brings.", metavar="FIGURE"),
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
        str | None, typer.Option(help=f"{_with('metric')}: a metric of what is controlled (toxic_fraction).")
    ] = None,
    utility: Annotated[str | None, typer.Option(help=f"{_with('utility')}: perplexity or accuracy.")] = None,
    over: Annotated[
        str | None, typer.Option(help=f"{_with('over')}: the option that a curve's points differ in.")
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(help=f"{_with('attribute')}: what was scored; what its scorers score.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Draw a figure; `HELP` says which there are."""
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
