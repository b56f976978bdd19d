"""`bench data stats`: what contrastive sets are like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import CacheDir, Json, Offline, console_progress
from bench.cli.output import check_output, print_grid, print_json
from bench.printed import echo

if TYPE_CHECKING:
    from bench.sets.written.stats import SetStats


def stats(  # noqa: PLR0917 - one parameter a flag
    sets: Annotated[str, typer.Argument(help="Contrastive sets: a file, or hub:OWNER/NAME:FILE.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Measure log-perplexities under this model: an asset, folder, hub id.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Measure each text's likeness to its sentence by this encoder.")
    ] = None,
    evaluation: Annotated[
        list[str] | None,
        typer.Option("--evaluation", help="Prompts that no text should meet (rtp), or none."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw the distributions into this file: .svg, .pdf or .png.")
    ] = None,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Say what contrastive sets are like: sizes, scores, lengths, likeness, perplexities, overlap with evaluation."""
    # Imported here: `bench --help` needs none of it.
    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.run import settle_process
    from bench.data.prompts import load_prompts
    from bench.data.splits import part
    from bench.sets import load_sets
    from bench.sets.written.stats import statistics
    from reports.plots import form_of

    if output:
        form_of(output)
        check_output(output)
    settle_process(offline=offline)
    assets = AssetCatalogue(cache_dir, offline=offline, progress=console_progress())
    loaded = load_sets(assets.data(sets).path, source=sets)
    names = [name for name in evaluation or ["rtp"] if name != "none"]
    prompts = [one.text for name in names for one in part(load_prompts(assets.data(name).path), "eval")]
    found = statistics(
        loaded, encoder=_encoder(assets, encoder), policy=_policy(assets, model), evaluation=prompts or None
    )
    if output:
        from reports.plots import save
        from reports.plots.sets import draw_sets

        save(draw_sets(found.values, Path(sets).name), output)
    if json:
        print_json(_facts(found))
    else:
        _print(found, output)


def _encoder(assets: Any, name: str | None) -> Any:
    if name is None:
        return None
    from bench.engine.encoder import SentenceEncoder

    return SentenceEncoder(assets.encoder(name))


def _policy(assets: Any, name: str | None) -> Any:
    if name is None:
        return None
    from bench.engine.model import load_model
    from bench.policy import HFPolicy
    from bench.spec import ModelSpec

    base = load_model(ModelSpec(id=name), assets.model(name))
    return HFPolicy(base.model, base.tokenizer)


def _facts(found: "SetStats") -> dict[str, Any]:
    return {
        "sizes": found.sizes,
        "measures": found.table(),
        "log_perplexity_gap": sum(found.gaps) / len(found.gaps) if found.gaps else None,
        "unscored": found.unscored,
        "doubled": found.doubled,
        "meet_evaluation": found.met,
    }


def _print(found: "SetStats", output: Path | None) -> None:
    from rich.table import Table

    sizes = found.sizes
    for kind in ("positives", "negatives"):
        least, middle, most, without = (
            sizes[f"{name}_{kind}"] for name in ("least", "median", "most", "anchors_without")
        )
        echo(
            f"{sizes[kind]:,} {kind} of {sizes['anchors']:,} anchors: {least} to {most} each, median {middle}; "
            f"{without} without"
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ("kind", "measure", "texts", "mean", "lower_quartile", "median", "upper_quartile")
    for column in columns:
        justify: Any = "left" if column in columns[:2] else "right"
        table.add_column(column.replace("_quartile", " q."), justify=justify, no_wrap=True)
    for row in found.table():
        numbers = [f"{row[column]:.3g}" for column in columns[3:]]
        table.add_row(row["kind"], row["measure"].replace("_", "-"), f"{row['texts']:,}", *numbers)
    print_grid(table)
    if found.gaps:
        gap = sum(found.gaps) / len(found.gaps)
        echo(f"log-perplexity of negatives less that of positives: {gap:+.3f}, mean of {len(found.gaps)} sets")
    if found.unscored:
        echo(f"{found.unscored} texts have no score")
    if found.doubled:
        echo(f"{found.doubled} texts are there already")
    if found.met is not None:
        echo(f"{found.met} anchors and texts meet evaluation prompts")
    if output:
        echo(f"written: {output}")
