"""`bench generate`: continuations of prompts of one's own by the edited model of a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, CacheDir, Offline, RunsDir, console_progress
from bench.cli.output import check_output, print_json_lines, write_output
from bench.cli.selection import OneRun, the_one

if TYPE_CHECKING:
    from bench.engine.generation import Continuation
    from bench.policy import Policy
    from bench.progress import Progress
    from bench.spec import ChatSpec, Decoding


def generate(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: OneRun,
    prompts: Annotated[
        Path, typer.Option("--prompts", help="A file of prompts: a text a line, or rows with 'text'.", metavar="FILE")
    ],
    field: Annotated[
        str | None, typer.Option("--field", help="Where the prompt stands in a row, as prompt.text; if not 'text'.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Of each prompt; the run's if not said.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Of each continuation; the run's if not said.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random streams; the run's own gives its own texts.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON lines here, not on stdout.", metavar="FILE")
    ] = None,
    runs_dir: RunsDir = RUNS,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Continue prompts with the edited model of a run, sampled as the run was: a JSON line for each continuation.

    The run of the base (method none) gives the base model's continuations, by the same random numbers.
    """
    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.run import settle_process
    from bench.data.prompts import read_prompts
    from bench.run.edited import edited

    settle_process(offline=offline)
    if output:
        check_output(output)
    texts = [prompt.text for prompt in read_prompts(prompts, field)]
    progress = console_progress()
    found = edited(the_one(runs_dir, run), AssetCatalogue(cache_dir, offline=offline, progress=progress))
    changes = {"num_samples": samples, "max_new_tokens": max_new_tokens}
    decoding = found.decoding.model_copy(update={key: value for key, value in changes.items() if value})
    with found.worn() as policy:
        by_text = _sampled(policy, texts, decoding, seed, progress, found.chat)
    rows = [
        {"prompt": text, "sample": one.sample, "continuation": one.text, "ended": one.ended}
        for text in texts
        for one in by_text[text]
    ]
    if output:
        write_output(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        print_json_lines(rows)


def _sampled(
    policy: "Policy",
    texts: Sequence[str],
    decoding: "Decoding",
    seed: int,
    progress: "Progress",
    chat: "ChatSpec | None",
) -> "dict[str, list[Continuation]]":
    """The continuations of each text, by the random streams that a run with this seed gives it."""
    from bench.engine.chat import turn_tokens
    from bench.engine.generation import Prompt
    from bench.engine.generation import generate as sample
    from bench.hashing import content_id, hash_text

    named: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        key = content_id(text)  # one text in two spellings is two prompts here
        named[f"{key}/{hash_text(text)}" if key in named else key] = text
    found: dict[str, list[Continuation]] = {}
    with progress.bar("generate", len(named), "prompts") as bar:
        asked = [Prompt(key, text, turn_tokens(policy, text, chat)) for key, text in named.items()]
        for batch in sample(policy, asked, decoding, seed):
            for one in batch:
                found.setdefault(named[one.prompt_id], []).append(one)
            bar.advance(len({one.prompt_id for one in batch}))
    return found
