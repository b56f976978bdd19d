"""`bench run`: methods on a suite, to records and a table."""

import os
import re
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import RUNS, CacheDir, Config, Json, Offline, RunsDir, console_progress, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.launch.local import Outcome

_SOME_FAILED = 4
_COMMA = re.compile(r",(?![^\[]*\])")  # not within the brackets of a list


def run(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            envvar="BENCH_METHOD",
            help="Methods, comma-separated, each with options of its own where wanted: "
            "contrastive,contrastive:objective=paper:steps=20. The base is measured as well.",
        ),
    ],
    suite: Annotated[str, typer.Option("--suite", "-s", envvar="BENCH_SUITE", help="A suite's name or file.")] = "mini",
    model: Annotated[
        str | None, typer.Option("--model", envvar="BENCH_MODEL", help="ID[@REVISION], in place of the suite's model.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", envvar="BENCH_SEEDS", help="Seeds, as 0-2 or 0,3,5.")] = "0",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the methods (lr=1e-4), of one (contrastive.lr=1e-4), or of the suite "
            "(suite.decoding.top_p=1). Repeatable.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", envvar="BENCH_LIMIT", min=1, help="The most prompts and documents of each task."),
    ] = None,
    base: Annotated[bool, typer.Option(help="Measure the base model as well.")] = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Reuse nothing of earlier runs.")] = False,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
    config: Config = None,
) -> int:
    """Edit the model by each method, measure everything, and compare in a table.

    What is finished is reused; what was interrupted goes on where it stopped.
    """
    del config  # its values have become the other options' defaults
    _settle_process(offline=offline)
    from bench.assets.store import AssetStore
    from bench.environment import Environment
    from bench.launch.local import is_main, run_cells
    from bench.plan import Request, make_cells, parse_seeds

    request = Request(
        methods=[name for name in _COMMA.split(method) if name.strip()],
        suite=suite,
        model=model,
        seeds=parse_seeds(seeds),
        settings=settings or [],
        limit=limit,
        base=base,
        origins={"methods": _origin(context, "method"), **{n: _origin(context, n) for n in ("model", "settings")}},
    )
    cells = make_cells(request)
    progress = console_progress()
    assets = AssetStore(cache_dir, offline=offline, progress=progress)
    env = Environment(cells[0].suite, assets, progress, offline)
    env.resolve()
    outcomes = run_cells(cells, env, runs_dir, fresh=fresh)
    return _report(outcomes, json=json) if is_main() else 0


def _origin(context: typer.Context, name: str) -> str:
    """Where an option's value comes from, in the record's words."""
    source = context.get_parameter_source(name)
    return {"ENVIRONMENT": "environment", "DEFAULT_MAP": "config file"}.get(source.name if source else "", "flag")


def _settle_process(*, offline: bool) -> None:
    """Set what libraries read from the environment when they are loaded; our own bars take the place of theirs."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore", FutureWarning)  # what libraries plan is nothing that a user can act on
    if offline:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ[name] = "1"


def _report(outcomes: "Sequence[Outcome]", *, json: bool) -> int:
    """Print the table and where the records lie; the exit code says whether all cells are in it."""
    from bench.cli.failures import explain
    from bench.store.runs import load_run
    from reports.table import build, to_json
    from reports.terminal import print_table

    failed = [(one, explain(one.error)) for one in outcomes if one.error]
    done = [one.folder for one in outcomes if one.folder]
    table = build([load_run(folder) for folder in done]) if done else None
    if json:
        value: dict[str, Any] = {
            "runs": [str(folder) for folder in done],
            "failed": [
                {"method": one.cell.label, "seed": one.cell.seed, "error": failure.what, "mend": failure.mend}
                for one, failure in failed
            ],
            "table": to_json(table) if table else None,
        }
        print_json(value)
    elif table:
        print_table(table)
        _print_records(done)
    for one, failure in failed:
        typer.echo(f"{failure.line()} (cell: {one.cell.label}, seed {one.cell.seed})", err=True)
    if not failed:
        return 0
    return _SOME_FAILED if done else failed[0][1].exit_code


def _print_records(folders: "Sequence[Path]") -> None:
    typer.echo("records:" if len(folders) > 1 else "record:")
    for folder in folders:
        typer.echo(f"  {folder}")
