"""`bench score`: continuations that another programme made become runs, without a model."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from bench.cli.output import write_output
from bench.cli.run import Limit, SuiteName
from bench.printed import echo

if TYPE_CHECKING:
    from bench.run.elsewhere import Elsewhere, Given
    from bench.spec import SuiteSpec

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Files of prompts with their continuations: JSON lines, a JSON array, CSV, TSV or parquet.",
        metavar="FILE…",
    ),
]
_Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="What the system is called; the file's name if not said. Of several files: they are its seeds, 0 first.",
    ),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="An option of the suite (suite.decoding.num_samples=3). Repeatable."
    ),
]


def score(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    files: _Files = None,
    label: _Label = None,
    suite: SuiteName = "mini",
    settings: _Settings = None,
    limit: Limit = None,
    field: Annotated[
        str | None,
        typer.Option("--field", help="Where the prompt stands in a row, as prompt.text; if not 'prompt' or 'text'."),
    ] = None,
    own_prompts: Annotated[
        bool, typer.Option("--own-prompts", help="Measure the file's prompts, whatever the suite's are.")
    ] = False,
    write_prompts: Annotated[
        Path | None,
        typer.Option(
            "--write-prompts",
            help="Write the suite's prompts here, to be continued, and score nothing.",
            metavar="FILE",
        ),
    ] = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
    config: Config = None,
) -> int:
    """Score continuations that another programme made, and record each file as a run beside those of bench run.

    A row has a prompt and its continuations: {"prompt": "...", "continuations": ["...", "..."]}; or one of them, under
    "continuation". The suite says which prompts, how many continuations of each, which scorers and which thresholds.
    No model is loaded: what asks one (perplexity, tasks with questions) is not measured.
    """
    del config, scoring_timeout  # the context has them
    from bench.cli.run import Place, environment_of, origin_of, remember_last, report, settle_process
    from bench.errors import UsageError
    from bench.run.elsewhere import Elsewhere, Given, score_all

    settle_process(offline=offline)
    if bool(files) == bool(write_prompts):
        raise UsageError("say what to score", mend="name a file of continuations, or give --write-prompts FILE alone")
    spec, origins = _suite(suite, settings or [], origin_of(context, "settings"))
    place = Place(cache_dir, runs_dir, offline=offline, fresh=False, batch_tokens=None)
    env = environment_of(spec, place, console_progress(), resolve=False)
    if write_prompts:
        _write_prompts(Elsewhere(Given(write_prompts, ""), env, runs_dir, limit), write_prompts)
        return 0
    given = _systems(files or [], label, origins, field)
    every = [Elsewhere(one, env, runs_dir, limit, own_prompts) for one in given]
    for one in every:
        one.check()
    _refuse_twice(every)
    outcomes = score_all(every)
    remember_last(outcomes, runs_dir)
    hint = "beside other runs of the suite: bench table RUN RUN, or --suite NAME; all figures: --layout full"
    return report(outcomes, hint, json=json)


def _suite(name: str, settings: Sequence[str], origin: str) -> "tuple[SuiteSpec, dict[str, str]]":
    """The suite with its overrides, and where these come from."""
    from bench.errors import UsageError
    from bench.run.plan import Request, parse_setting, suite_of

    parsed = [parse_setting(text) for text in settings]
    if odd := [key for key, _ in parsed if not key.startswith("suite.")]:
        raise UsageError(f"'{odd[0]}' is no option of the suite", mend="write it as suite.KEY=VALUE")
    return suite_of(Request([], name, settings=settings, origins={"settings": origin}), parsed)


def _systems(files: Sequence[Path], label: str | None, origins: dict[str, str], field: str | None) -> "list[Given]":
    """A system a file; of one label, its seeds."""
    from bench.errors import UsageError
    from bench.run.elsewhere import Given
    from bench.run.plan import BASE

    if label is not None:
        found = [Given(path, label, seed, origins, field) for seed, path in enumerate(files)]
    else:
        found = [Given(path, path.stem, 0, origins, field) for path in files]
    for one in found:
        if not one.label.strip() or one.label.strip() == BASE:
            what = f"a system cannot be called '{one.label}'"
            raise UsageError(what, mend="name it by --label; 'none' is the base model, which bench run measures")
    labels = [one.label for one in found]
    if label is None and (twice := next((name for name in labels if labels.count(name) > 1), None)):
        raise UsageError(f"two files are called '{twice}'", mend="score each with a --label of its own")
    return found


def _refuse_twice(every: "Sequence[Elsewhere]") -> None:
    """Refuse one content as two systems or seeds: it would count twice."""
    from bench.errors import UsageError

    hashes = [one.sha256 for one in every]
    for place, one in enumerate(every):
        if (first := hashes.index(one.sha256)) != place:
            both = f"{every[first].given.file} and {one.given.file}"
            raise UsageError(f"{both} hold the same", mend="name one of them")


def _write_prompts(every: "Elsewhere", path: Path) -> None:
    prompts = every.prompts()
    write_output(path, "".join(json_module.dumps({"prompt": one.text}, ensure_ascii=False) + "\n" for one in prompts))
    decoding = every.env.suite.decoding
    how = f"{decoding.num_samples} of each, of up to {decoding.max_new_tokens} tokens, top-p {decoding.top_p:g}"
    how += f", temperature {decoding.temperature:g}" + (f", top-k {decoding.top_k}" if decoding.top_k else "")
    if chat := every.env.suite.chat:
        how += "; each prompt is a user's turn"
        if chat.system is not None:
            how += f", after the system message {json_module.dumps(chat.system, ensure_ascii=False)}"
    echo(f"{path}: {len(prompts)} prompts; runs of the suite sample {how}", err=True)
