"""`bench run`: methods on a suite, to records and a table."""

import os
import warnings
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from bench.cli.common import (
    RUNS,
    SCORING_TIMEOUT,
    CacheDir,
    Config,
    Json,
    Offline,
    RunsDir,
    ScoringTimeout,
    console_progress,
)
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_json
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.progress import Progress
    from bench.run.environment import Environment
    from bench.run.launch.local import ExperimentOutcome, Sharing
    from bench.run.plan import Experiment, Request
    from bench.spec import SuiteSpec

SOME_FAILED = 4
"""The exit code where some experiments failed and others did not."""


def methods_option(stacks: str) -> Any:
    """The flag `--method`; `stacks` is what its help says of stacked methods."""
    return typer.Option(
        "--method",
        "-m",
        envvar="BENCH_METHOD",
        help="Methods, comma-separated, each with options of its own where wanted: "
        f"contrastive,contrastive:objective=paper:steps=20; {stacks}. The base is measured as well.",
    )


Methods = Annotated[
    str, methods_option("several stacked: contrastive+steering; or a kind of methods (fine-tuning), or all")
]
SuiteName = Annotated[str, typer.Option("--suite", "-s", envvar="BENCH_SUITE", help="A suite's name or file.")]
Model = Annotated[
    str | None, typer.Option("--model", envvar="BENCH_MODEL", help="ID[@REVISION], in place of the suite's model.")
]
Seeds = Annotated[str, typer.Option("--seeds", envvar="BENCH_SEEDS", help="Seeds, as 0-2 or 0,3,5.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the methods (lr=1e-4), of one (contrastive.lr=1e-4), or of the suite "
        "(suite.decoding.top_p=1). Repeatable.",
    ),
]
Searched = Annotated[
    list[str] | None,
    typer.Option(
        "--searched",
        metavar="METHOD=TRIALS",
        help="By how many trials a method's settings were chosen, for the record; METHOD as in --method, or its name "
        "for all of its variants. 'bench tune' writes it. Repeatable.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", envvar="BENCH_LIMIT", min=1, help="The most prompts and documents of each task."),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        envvar="BENCH_BATCH_TOKENS",
        min=1,
        help="The most tokens that are read at once, padding included: fewer take less memory.",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Reuse nothing of earlier runs.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        envvar="BENCH_WORKERS",
        min=1,
        help="Processes that share the experiments; each loads the model. Default: 1, or all that --on has room for.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        envvar="BENCH_ON",
        metavar="ray[:ADDRESS]",
        help="Where workers run: ray starts Ray on this machine; ray:auto, ray:HOST:PORT join a cluster.",
    ),
]
WorkerGpus = Annotated[
    float | None,
    typer.Option(
        "--worker-gpus",
        envvar="BENCH_WORKER_GPUS",
        min=0,
        help="GPUs of each worker of --on ray, or a part of one. Default: 1 where there are any.",
    ),
]


def run(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    method: Methods,
    suite: SuiteName = "mini",
    model: Model = None,
    seeds: Seeds = "0",
    settings: Settings = None,
    limit: Limit = None,
    searched: Searched = None,
    base: Annotated[bool, typer.Option(help="Measure the base model as well.")] = True,
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
    """Edit the model by each method, measure everything, and compare in a table.

    What is finished is reused; what was interrupted is resumed.
    """
    del config, method, suite, model, seeds, settings, limit, searched, scoring_timeout  # the context has them
    settle_process(offline=offline)
    from bench.engine.processes import is_main

    spread = Spread(workers, on, worker_gpus, device)
    place = Place(cache_dir, runs_dir, offline=offline, fresh=fresh, batch_tokens=batch_tokens)
    outcomes = carry_out(request_of(context, base=base), place, spread)
    remember_last(outcomes, runs_dir)
    hint = "all figures: bench table --layout full; samples side by side: bench report"
    return report(outcomes, hint, json=json) if is_main() else 0


def request_of(context: typer.Context, *, base: bool = True) -> "Request":
    """What the flags that `bench run` shares with other verbs ask for."""
    from bench.run.plan import Request, parse_seeds, split

    asked = context.params
    request = Request(
        methods=split(asked["method"]),
        suite=asked["suite"],
        model=asked["model"],
        seeds=parse_seeds(asked["seeds"]),
        settings=asked["settings"] or [],
        max_items=asked["limit"],
        base=base,
        searched=asked.get("searched") or [],
        origins={"methods": origin_of(context, "method"), **{n: origin_of(context, n) for n in ("model", "settings")}},
    )
    return expanded(request)


def expanded(request: "Request") -> "Request":
    """A request with the methods that families stand for; what is left out is said."""
    from bench.run.families import expand

    request, notes = expand(request)
    for note in notes:
        console_progress().note(note)
    return request


class Place(NamedTuple):
    """Where and how experiments are carried out: what the flags of that name say."""

    cache_dir: "Path | None"
    runs_dir: "Path"
    offline: bool
    fresh: bool
    batch_tokens: int | None


class Spread(NamedTuple):
    """By which processes experiments are carried out: what the flags of that name say."""

    workers: int | None = None
    on: str | None = None
    worker_gpus: float | None = None
    device: str = AUTO


ALONE = Spread()
"""This process alone."""


def carry_out(request: "Request", place: Place, spread: Spread = ALONE) -> "list[ExperimentOutcome]":
    """All experiments of a request, found or made.

    Raises:
        UsageError: flags do not go together.
    """
    from bench.errors import UsageError
    from bench.run.plan import make_experiments
    from bench.run.searched import unsearched

    experiments = make_experiments(request)
    for note in unsearched(experiments):
        console_progress().note(note)
    if spread.worker_gpus is not None and spread.on is None:
        raise UsageError("--worker-gpus is for workers in a Ray cluster", mend="add --on ray, or leave it out")
    if spread.on is not None or (spread.workers or 1) > 1:
        from bench.cli.workers import carry_out_with

        return carry_out_with(request, experiments, place, spread)
    return in_this_process(experiments, place, console_progress())


def in_this_process(
    experiments: "Sequence[Experiment]",
    place: Place,
    progress: "Progress",
    *,
    sharing: "Sharing | None" = None,
    since: int | None = None,
) -> "list[ExperimentOutcome]":
    """Carry the experiments out; `sharing` and `since` come from whoever started this process with others."""
    from bench.engine.processes import is_main
    from bench.run.launch.local import run_experiments

    env = environment_of(experiments[0].suite, place, progress, shares=sharing is not None, since=since)
    outcomes = run_experiments(experiments, env, place.runs_dir, fresh=place.fresh, sharing=sharing)
    if is_main():
        env.assets.sweep(place.runs_dir)  # other machines' leases that nobody has touched since the sweep at the start
    return outcomes


def environment_of(
    suite: "SuiteSpec",
    place: Place,
    progress: "Progress",
    *,
    shares: bool = False,
    since: int | None = None,
    resolve: bool = True,
) -> "Environment":
    """What experiments of a suite share, found or fetched; without `resolve`, each part when it is asked for."""
    from bench.assets.catalogue import AssetCatalogue
    from bench.engine.processes import is_main
    from bench.run.environment import Environment
    from bench.run.reuse import Reuse

    assets = AssetCatalogue(place.cache_dir, offline=place.offline, progress=progress)
    if is_main():
        assets.sweep(place.runs_dir)
    batch_tokens = place.batch_tokens
    env = Environment(suite, assets, progress, place.offline, Reuse(since), batch_tokens=batch_tokens, shares=shares)
    if resolve:
        env.resolve()
    return env


def origin_of(context: typer.Context, name: str) -> str:
    """Where an option's value comes from, in the record's words."""
    source = context.get_parameter_source(name)
    return {"ENVIRONMENT": "environment", "DEFAULT_MAP": "config file"}.get(source.name if source else "", "flag")


def settle_process(*, offline: bool) -> None:
    """Set what libraries read from the environment when they are loaded; our own bars take the place of theirs."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Bit by bit the same product wherever its operands lie in memory; it costs no measurable time.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore", FutureWarning)  # what libraries plan is nothing that a user can act on
    if offline:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ[name] = "1"


class Named(Protocol):
    """An experiment, or a file of continuations."""

    @property
    def label(self) -> str:
        """What the system is called."""

    @property
    def seed(self) -> int:
        """Which of its runs it is."""


class Outcome(Protocol):
    """What became of an experiment, or of a file of continuations."""

    @property
    def experiment(self) -> Named:
        """Which one."""

    @property
    def folder(self) -> "Path | None":
        """Its record, or None where it failed."""

    @property
    def error(self) -> Exception | None:
        """Why it failed, or None."""


def report(outcomes: "Sequence[Outcome]", hint: str, *, json: bool) -> int:
    """Print the table, a hint, and where the records lie; the exit code says whether all experiments are in it."""
    from bench.store.runs import load_run
    from reports.table.forms.json import json_values
    from reports.table.layout import load_layout
    from reports.table.opening import arranged
    from reports.table.terminal import print_sheet

    done = [one.folder for one in outcomes if one.folder]
    made = arranged([load_run(folder) for folder in done], load_layout("full") if json else None) if done else None
    if json:
        print_json(told(outcomes) | {"table": json_values(made[0]) if made else None})
    elif made:
        print_sheet(made[1])
        echo(hint)
        print_records(done)
    return close(outcomes)


def remember_last(outcomes: "Sequence[Outcome]", runs_dir: "Path") -> None:
    """Keep which runs were asked for, for commands that are given none."""
    from bench.store.latest import remember

    remember(runs_dir, [one.folder for one in outcomes if one.folder])


def told(outcomes: "Sequence[Outcome]") -> dict[str, Any]:
    """What became of the experiments, as JSON values."""
    from bench.cli.explaining import explain

    failed = [(one.experiment, explain(one.error)) for one in outcomes if one.error]
    return {
        "runs": [str(one.folder) for one in outcomes if one.folder],
        "failed": [
            {"method": experiment.label, "seed": experiment.seed, "error": failure.what, "mend": failure.mend}
            for experiment, failure in failed
        ],
    }


def close(outcomes: "Sequence[Outcome]") -> int:
    """Tell of the experiments that failed on stderr, a line each, and return the exit code."""
    from bench.cli.explaining import explain

    failed = [(one.experiment, explain(one.error)) for one in outcomes if one.error]
    for experiment, failure in failed:
        echo(f"{failure.line()} (experiment: {experiment.label}, seed {experiment.seed})", err=True)
    if not failed:
        return 0
    return SOME_FAILED if len(failed) < len(outcomes) else failed[0][1].exit_code


def print_records(folders: "Sequence[Path]") -> None:
    """Say where the records lie."""
    echo("records:" if len(folders) > 1 else "record:")
    for folder in folders:
        echo(f"  {folder}")
