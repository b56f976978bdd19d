"""`bench report`: one HTML file to read runs in."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json, write_output
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo

_STDOUT = "-"


def report(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - for stdout.", metavar="FILE")
    ] = "report.html",
    title: Annotated[str | None, typer.Option(help="What stands at the page's head.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this column (its label or method) instead of the base.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples/--no-samples", help="Whether prompts and continuations go into the file.")
    ] = True,
    max_samples: Annotated[
        int, typer.Option(min=0, help="About how many of them, of whole prompts and questions; 0 for all.")
    ] = 100_000,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Whether figures are drawn.")] = True,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Write one self-contained HTML file: tables, figures, provenance, and the samples of all runs side by side.

    The file needs no network. It holds the samples word by word, offensive ones included, veiled until you ask for
    them; --no-samples leaves them out.
    """
    from bench.errors import UsageError
    from reports.page.page import build_page

    if output == _STDOUT and json:
        raise UsageError("--json and the page cannot both go to stdout", mend="name a file with --output")
    if output != _STDOUT and Path(output).is_dir():
        raise UsageError(f"{output} is a folder", mend="name a file with --output")
    found = chosen(runs_dir, run, suite, every=every, or_last=True)
    page = build_page(found, title=title, against=against, samples=samples, most=max_samples, figures=figures)
    if output == _STDOUT:
        print(page.html, end="")  # for a browser, and inert as the page makes it
    else:
        write_output(Path(output), page.html)
    if page.num_samples:
        what = f"{'the page' if output == _STDOUT else output} holds {page.num_samples:,} samples word by word"
        echo(f"bench: warning: {what}, offensive ones included; --no-samples leaves them out", err=True)
        if page.num_samples < page.of:
            part = f"{page.num_samples:,} of {page.of:,} samples are on the page, of whole prompts and questions"
            echo(f"bench: note: {part}; --max-samples 0 takes all", err=True)
    if json:
        print_json({"written": output, "samples": page.num_samples, "of": page.of, "systems": list(page.systems)})
    elif output != _STDOUT:
        echo(f"written: {output}")
