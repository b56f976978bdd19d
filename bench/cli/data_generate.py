"""`bench data generate`: contrastive sets of sentences, written by a language model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import SCORING_TIMEOUT, CacheDir, Json, Offline, ScoringTimeout, console_progress
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_grid, print_json
from bench.printed import echo, plain

if TYPE_CHECKING:
    from bench.data.sentences import Sentence
    from bench.sets.written.recipe import Recipe


Half = Annotated[str, typer.Option("--half", help="all, or train: the half that no task of ours evaluates on.")]
Label = Annotated[
    str, typer.Option("--label", help="all, neutral or toxic: what the data calls them, where it says so.")
]


def generate(  # noqa: PLR0913, PLR0917 - one parameter a flag
    sentences: Annotated[
        str, typer.Argument(help="Sentences: an asset, a file (.jsonl, .csv, .tsv, .txt), or hub:OWNER/NAME:FILE.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to work in; what was begun there goes on.")],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="A YAML file (generator, templates, decoding, filters, ...), or few-shot."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A value of the recipe (filters.similarity_above=0.5)."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The generator, in place of the recipe's.")] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Base URL of an OpenAI-compatible API that has the model.")
    ] = None,
    field: Annotated[str | None, typer.Option("--field", help="The key or column of the sentence.")] = None,
    half: Half = "all",
    label: Label = "all",
    skip: Annotated[int, typer.Option("--skip", min=0, help="Sentences to pass over first.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The most sentences to take.")] = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    device: Device = AUTO,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what was begun in the folder.")] = False,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Have a language model write contrastive sets: benign and adversarial paraphrases of each sentence.

    The folder gets sets.jsonl, and what it came from: candidates.jsonl (each with what was measured of it),
    verdicts.jsonl (why it was dropped), report.json (the yield of each filter), recipe.json. What is there is not
    written twice; filters can be changed afterwards.
    """
    del scoring_timeout, device  # their callbacks have taken them
    # Imported here: `bench --help` needs none of it.
    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.run import settle_process
    from bench.data.sentences import load_sentences
    from bench.errors import UsageError
    from bench.sets.written.runner import RecipeRunner

    _check_choices(half, label)
    settle_process(offline=offline)
    asked = _recipe(recipe, settings or [], model, endpoint)
    progress = console_progress()
    assets = AssetCatalogue(cache_dir, offline=offline, progress=progress)
    assets.sweep(out)
    every = load_sentences(assets.data(sentences).path, field)
    chosen = _of_kind(every, sentences, half, label)
    taken = chosen[skip:][:limit]
    if not taken:
        raise UsageError(f"--skip {skip} leaves none of {len(chosen)} sentences")
    runner = RecipeRunner(asked, assets, progress, offline=offline)
    report = runner.carry_out(taken, out, fresh=fresh)
    if json:
        print_json(report | {"written": str(out / "sets.jsonl")})
    else:
        _print(report, out)


def _check_choices(half: str, label: str) -> None:
    from bench.errors import UsageError

    if half not in ("all", "train"):
        raise UsageError(f"--half {half} is neither 'all' nor 'train'")
    if label not in ("all", "neutral", "toxic"):
        raise UsageError(f"--label {label} is none of 'all', 'neutral', 'toxic'")


def _of_kind(every: "list[Sentence]", source: str, half: str, label: str) -> "list[Sentence]":
    """The sentences of a half and of what the data calls them."""
    from bench.data.sentences import assert_labels
    from bench.data.splits import part
    from bench.errors import UsageError

    chosen = part(every, "train") if half == "train" else every
    if label == "all":
        return chosen
    assert_labels(every)
    chosen = [sentence for sentence in chosen if sentence.toxic is (label == "toxic")]
    if not chosen:
        raise UsageError(f"{source} has no sentence that it calls {label}", mend="see docs/sets.md for labels")
    return chosen


def _recipe(name: str | None, settings: list[str], model: str | None, endpoint: str | None) -> "Recipe":
    """The file's values, then `--set`, then the flags."""
    from bench.parsing import read_yaml
    from bench.run.plan import parse_setting, put
    from bench.sets.written import BUILT_IN
    from bench.sets.written.recipe import Recipe
    from bench.spec import validate

    path = None if name is None else BUILT_IN.get(name, Path(name))
    raw: dict[str, Any] = read_yaml(path) if path else {}
    for text in settings:
        key, value = parse_setting(text)
        put(raw, key.split("."), value, key)
    for key, flag in (("model", model), ("endpoint", endpoint)):
        if flag is not None:
            put(raw, ["generator", key], flag, f"generator.{key}")
    return validate(Recipe, raw, name or "recipe")


def _print(report: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("kind", "filter", "in", "dropped", "yield"):
        table.add_column(column, justify="left" if column in ("kind", "filter") else "right", no_wrap=True)
    for row in report["yields"]:
        share = "" if row["yield"] is None else f"{row['yield']:.1%}"
        style = "bold" if row["filter"] == "all" else None
        table.add_row(row["kind"], row["filter"], f"{row['in']:,}", f"{row['dropped']:,}", share, style=style)
    print_grid(table)
    texts = ", ".join(f"{count} {kind}s" for kind, count in sorted(report["texts"].items(), reverse=True))
    echo(f"{report['sets']} sets ({texts}) of {report['sentences']} sentences; {report['too_small']} have too few")
    for cause, count in report["failed_requests"].items():
        echo(f"{count} requests failed: {plain(cause)}; run it again to ask them anew")
    if report["unscored"]:
        echo(f"{report['unscored']} candidates have no score: they are dropped")
    echo(f"written: {out / 'sets.jsonl'}")
