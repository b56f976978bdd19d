"""`bench table`: records side by side."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import write_output
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo

_SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "terminal"}

_DATA = ("csv", "json")
"""Forms that programs read, which get everything."""

_Bare = Annotated[
    bool, typer.Option("--bare", help="LaTeX: the table alone, for a document with booktabs, siunitx, graphicx.")
]
_Caption = Annotated[str | None, typer.Option(help="LaTeX: the caption, in LaTeX, in place of what all figures share.")]
_Label = Annotated[str | None, typer.Option(help="LaTeX: the table's label, as tab:toxicity.")]


def table(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    layout: Annotated[
        str | None,
        typer.Option(
            help="What to show: a layout's name, or a YAML file of your own. By default brief; full as CSV and JSON."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="The order of the methods, the best first: by a metric such as rtp/toxic_fraction."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="terminal, markdown, latex, csv, json or html; by default as --output ends."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write, in place of stdout.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this column (its label or method) instead of the base.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Put together what is not comparable, with a mark that says so.")
    ] = False,
    bare: _Bare = False,
    caption: _Caption = None,
    label: _Label = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Compare runs: the base and each method, with intervals and the difference to the base or another method.

    Runs of one method that differ in their seed alone share a column. Runs of several models stand side by side, each
    compared with the base of its own. Runs of different suites, scorers, data or decoding are refused (exit 3).

    Layouts: brief, full, summary, toxicity, utility, ablation, cost, sweep, paper.
    """
    from bench.paths import expanded
    from reports.table.forms import FORMS
    from reports.table.forms.latex import LatexOptions
    from reports.table.layout import load_layout
    from reports.table.opening import arranged
    from reports.table.terminal import print_sheet, text_of

    latex = LatexOptions(bare, caption, label)
    wanted = _form("json" if json else form, output, for_latex=latex != LatexOptions())
    name = layout or ("full" if wanted in _DATA else None)
    shown = load_layout(str(expanded(name))) if name else None
    runs = chosen(runs_dir, run, suite, every=every, or_last=True)
    built, sheet = arranged(runs, shown, sort_by=sort, against=against, force=force)
    if wanted == "terminal" and output is None:
        print_sheet(sheet)
        return
    text = text_of(sheet) if wanted == "terminal" else FORMS[wanted](built, sheet, latex)
    if output is None:
        echo(text, end="")
    else:
        write_output(output, text)


def _form(named: str | None, output: Path | None, *, for_latex: bool) -> str:
    """The form to write: the named one, or what the file's name ends in."""
    from bench.errors import UsageError, did_you_mean
    from reports.table.forms import FORMS

    wanted = named or (_SUFFIXES.get(output.suffix.lower()) if output else "terminal")
    if wanted is None:
        raise UsageError(f"'{output}' does not say which form to write", mend=f"end it in {', '.join(_SUFFIXES)}")
    if wanted not in ("terminal", *FORMS):
        raise UsageError(f"no form '{wanted}'", mend=did_you_mean(wanted, ["terminal", *FORMS]))
    if for_latex and wanted != "latex":
        raise UsageError("--bare, --caption and --label are for LaTeX", mend="add --format latex")
    return wanted
