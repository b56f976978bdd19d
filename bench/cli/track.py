"""`bench track`: finished runs, to a tracker of experiments."""

from typing import Annotated

import typer

from bench.cli.common import RUNS, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo, plain


def track(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    to: Annotated[str, typer.Option("--to", help="The tracker: mlflow, tensorboard or wandb.", metavar="TRACKER")] = "",
    at: Annotated[
        str | None, typer.Option("--at", help="Where it is: an address or a folder, as the tracker has it.")
    ] = None,
    project: Annotated[str, typer.Option(help="The project, or experiment, to put them under.")] = "contrastive-bench",
    samples: Annotated[
        bool, typer.Option("--samples", help="Send what the models wrote as well, offensive texts included.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Send finished runs to MLflow, TensorBoard or Weights & Biases: figures with intervals, settings, tables.

    Samples are never sent unless --samples asks for it. A run that was sent before is replaced.
    """
    from bench import registry
    from bench.errors import UsageError
    from reports.trackers.content import content

    if not to:
        raise UsageError("say which tracker", mend=f"--to {' or '.join(registry.names('trackers'))}")
    kind = registry.load("trackers", to)
    registry.check_extras("trackers", to, kind.info.extras)
    if samples and not kind.info.samples:
        raise UsageError(f"{to} has no place for samples", mend="leave --samples out")
    found = content(chosen(runs_dir, run, suite, every=every, or_last=True), samples=samples)
    tracker = kind(project, at)
    sent = []
    for one in found:
        where = tracker.send(one)
        sent.append({"run": one.id, "at": where, "samples": len(one.samples or ())})
        if not json:
            echo(f"{one.id}: {plain(where)}")
    if json:
        print_json(sent)
