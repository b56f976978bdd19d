"""`bench judge`: which system's outputs a language model prefers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, CacheDir, Json, Offline, RunsDir, console_progress
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_grid, print_json
from bench.cli.selection import AllRuns, OfSuite, Runs, chosen
from bench.printed import echo, plain

_DASH = "\N{EN DASH}"
if TYPE_CHECKING:
    from bench.judging.tournament import Outputs, Tournament
    from bench.store.runs import Run


def judge(  # noqa: PLR0913, PLR0917 - one parameter a flag
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to work in; what was begun there goes on.")],
    run: Runs = None,
    suite: OfSuite = None,
    every: AllRuns = False,
    task: Annotated[str, typer.Option("--task", help="Whose outputs: continuation, paraphrase, rtp.")] = "continuation",
    model: Annotated[
        str, typer.Option("--model", help="Who judges: an asset, a hub id, a folder, or the endpoint's name for it.")
    ] = "smollm2-135m-instruct",
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Base URL of an OpenAI-compatible API that has the model.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option("--template", help="A text file: the question, with {text}, {a} and {b}.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that a request to the endpoint may take.")] = 60,
    prompts: Annotated[int | None, typer.Option("--prompts", min=1, help="The most prompts, by id.")] = None,
    device: Device = AUTO,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Have a language model compare every two systems' outputs on the same prompts, in both orders.

    Texts of several base models are compared as well, where all else was measured alike.
    Prints Bradley-Terry scores with 95 % intervals, how often both orders agree, and how often the first answer won.
    """
    # Imported here: `bench --help` needs none of it.
    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.run import settle_process
    from bench.data.files import read_text
    from bench.judging.tournament import play
    from bench.judging.verdicts import TEMPLATE
    from bench.spec import GeneratorSpec, validate

    del device  # its callback has taken it
    settle_process(offline=offline)
    spec = validate(GeneratorSpec, {"model": model, "endpoint": endpoint, "timeout": timeout}, "judge")
    question = TEMPLATE if template is None else read_text(template)
    outputs = outputs_of(chosen(runs_dir, run, suite, every=every, or_last=True), task)
    progress = console_progress()
    assets = AssetCatalogue(cache_dir, offline=offline, progress=progress)
    assets.sweep(out)
    found = play(outputs, spec, question, out, assets, progress, prompts)
    if json:
        from dataclasses import asdict

        print_json(asdict(found) | {"written": str(out / "result.json")})
    else:
        _print(found, out)


def outputs_of(runs: "list[Run]", task: str) -> "dict[str, Outputs]":
    """What each system wrote in a task, by its label; seeds of one configuration and base model are one system.

    What an endpoint's filter declined is left out, and that is said.

    Raises:
        BenchError: the runs are not comparable, or have no such texts.
    """
    from bench.errors import UsageError
    from bench.store.files import files_in
    from reports.table.columns import Notes
    from reports.table.models import columns_across, longer_texts

    progress, notes = console_progress(), Notes()
    columns = columns_across(runs, notes)
    notes.texts += longer_texts([column.runs[0] for column in columns])
    for note in notes.texts:
        progress.note(note)
    found: dict[str, Outputs] = {}
    for column in columns:
        rows, declined = {}, 0
        for run in column.runs:
            path = run.path / "samples" / f"{task}.jsonl"
            if not path.exists():
                has = ", ".join(one.stem for one in files_in(path.parent, ".jsonl")) or "none"
                raise UsageError(f"run {run.id} has no samples of '{task}'", mend=f"it has those of: {has}")
            samples = run.samples(task)
            if not samples and path.stat().st_size:
                raise UsageError(f"the samples of '{task}' are no texts", mend="name another --task")
            for sample in samples:
                declined += sample.declined
                if not sample.declined:  # a filter's refusal is nobody's answer
                    key = (run.manifest.seed, sample.prompt_id, sample.sample)
                    rows[key] = (sample.prompt, sample.continuation)
        if declined:
            answers = f"{declined:,} answer{'s' if declined > 1 else ''}"
            progress.note(f"{column.label}: a filter of the endpoint declined {answers}, which no pair is made of")
        found[column.label] = rows
    return found


def _print(found: "Tournament", out: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("system", "Bradley-Terry", "95 % interval", "preferred", *(["failed"] if found.failed else [])):
        table.add_column(column, justify="left" if column == "system" else "right")
    for one in found.standings:
        score = _DASH if one.score is None else f"{one.score:+.2f}"
        bounds = _DASH if one.ci_low is None else f"[{one.ci_low:+.2f}, {one.ci_high:+.2f}]"
        share = _DASH if one.preferred is None else f"{one.preferred:.1%}"
        cells = [plain(one.system), score, bounds, share, *([str(one.failed)] if found.failed else [])]
        table.add_row(*map(Text, cells))
    print_grid(table)
    told = [f"{found.pairs:,} pairs, {found.equal:,} of them of the same text"]
    for part, what in (
        (found.order_agreement, "of the others have the same verdict in both orders"),
        (found.tie_share, "are ties"),
        (found.first_position_share, "of the verdicts that are no tie went to the answer shown first"),
    ):
        told += [] if part is None else [f"{part:.0%} {what}"]
    print_grid(Text("; ".join(told)))
    if found.failed:
        left = f"{found.failed:,} pairs have no verdict and are in no figure; the same command asks about them anew"
        print_grid(Text(left))
    echo(f"written: {out / 'result.json'}")
