"""`bench compare`: two runs, metric by metric and sample by sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import LAST, of_methods, of_name
from bench.printed import echo

if TYPE_CHECKING:
    from bench.store.runs import Run

_FORMS = ("terminal", "markdown", "json")
_Side = (
    "A run, or the runs of one method, comma-separated: ids, beginnings of ids, folders, or 'last': the edited ones of "
    "the last request."
)


def compare(  # noqa: PLR0913, PLR0917 - one parameter a flag
    a: Annotated[str | None, typer.Argument(help=_Side, metavar="A")] = None,
    b: Annotated[str | None, typer.Argument(help="The same; differences are B - A.", metavar="B")] = None,
    task: Annotated[str | None, typer.Option(help="Look at this task alone.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many questions and prompts are listed of each kind.")] = 5,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show prompts and continuations, offensive ones included.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare what is not comparable, with a mark that says so.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Compare two runs on the same prompts and questions: each metric, which answers flipped, which prompts got worse.

    Without A and B: the base and the method of the last request. Runs that were not measured alike are refused (exit
    3).
    """
    from bench.errors import UsageError, did_you_mean
    from reports.compare.comparison import compare as compared
    from reports.compare.comparison import to_json
    from reports.compare.terminal import print_comparison, to_markdown

    form = "json" if json else form
    if form not in _FORMS:
        raise UsageError(f"no form '{form}'", mend=did_you_mean(form, _FORMS))
    if (a, b) == (LAST, None):
        a = None
    if a is not None and b is None:
        raise UsageError("one run is not compared with itself", mend="name a second one")
    named = [of_methods(runs_dir, text.split(",")) for text in (a, b) if text is not None]
    sides = named or _last_two(runs_dir)
    found = compared(*sides, task=task, force=force, texts=show_text)
    if form == "json":
        print_json(to_json(found))
    elif form == "markdown":
        echo(to_markdown(found, limit), end="")
    else:
        print_comparison(found, limit)


def _last_two(runs_dir: Path) -> "list[list[Run]]":
    """The two systems of the last request, the base first."""
    from bench.errors import UsageError
    from reports.table.cells import listed
    from reports.table.columns import Notes, columns_of

    systems = columns_of(of_name(runs_dir, LAST), Notes())
    if len(systems) != len(("A", "B")):
        labels = listed([one.label for one in systems])
        raise UsageError(f"the last request has {len(systems)} systems ({labels})", mend="name two runs")
    return [one.runs for one in systems]
