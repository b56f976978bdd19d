"""The verbs of `bench`. Their files import nothing heavy, so that the help comes at once."""

from typing import Annotated

import typer

import bench
from bench.cli import data, show
from bench.cli.audit import audit
from bench.cli.baseline import baseline
from bench.cli.chat import chat
from bench.cli.check import check
from bench.cli.common import Commands
from bench.cli.compare import compare
from bench.cli.doctor import doctor
from bench.cli.export import export
from bench.cli.generate import generate
from bench.cli.judge import judge
from bench.cli.plan import plan
from bench.cli.plot import HELP as FIGURES
from bench.cli.plot import plot
from bench.cli.report import report
from bench.cli.reproduce import reproduce
from bench.cli.run import run
from bench.cli.runs import runs
from bench.cli.score import score
from bench.cli.scorer_check import check as check_scorer
from bench.cli.sweep import sweep
from bench.cli.table import table
from bench.cli.track import track
from bench.cli.tune import tune
from bench.cli.upkeep import du, gc, rm
from bench.printed import echo

app = Commands(
    # Plain help: loading rich would double the time that help takes.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        echo(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Which way of editing a language model makes it less toxic, at what cost, and is the difference real?

    Results go to stdout, progress to stderr. Exit codes: 0 done, 1 a gate failed, 2 usage, 3 something needed is
    missing or not comparable, 4 some experiments failed, 5 a straw man is not exposed, 130 interrupted.
    """
    del version
    if context.invoked_subcommand is None:
        echo(context.get_help())


app.command("run")(run)
app.command("sweep")(sweep)
app.command("tune")(tune)
app.command("score")(score)
app.command("table")(table)
app.command("plan")(plan)
app.command("plot", help=FIGURES)(plot)
app.command("report")(report)
app.command("compare")(compare)
app.command("judge")(judge)
app.command("reproduce")(reproduce)
app.command("baseline")(baseline)
app.command("check")(check)
app.command("track")(track)
app.command("export")(export)
app.command("generate")(generate)
app.command("chat")(chat)
app.command("runs")(runs)
app.command("du")(du)
app.command("rm")(rm)
app.command("gc")(gc)
app.command("doctor")(doctor)
show.suites.command("audit")(audit)
app.add_typer(show.methods)
app.add_typer(show.tasks)
app.add_typer(show.suites)
app.add_typer(show.scorers)
show.scorers.command("check")(check_scorer)
app.add_typer(data.app)
