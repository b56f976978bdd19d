"""`bench data convert`: preference data, or sets in another form of file, as contrastive sets."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import CacheDir, Json, Offline, console_progress
from bench.cli.output import check_output, print_json, write_output
from bench.printed import echo


def convert(
    data: Annotated[str, typer.Argument(help="Preference data or contrastive sets: a file, or hub:OWNER/NAME:FILE.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of sets: JSON lines.", metavar="FILE")],
    offline: Offline = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Write contrastive sets from preference data: a set for each prompt, with what was chosen and what was rejected.

    Rows have prompt, chosen and rejected, or prompt, completion and label: texts, or conversations of one turn. A suite
    takes such a file as it is, too: this shows what it makes of it.
    """
    from bench.assets.catalogue import AssetCatalogue
    from bench.sets import load_sets, sets_text

    check_output(output)
    assets = AssetCatalogue(cache_dir, offline=offline, progress=console_progress())
    found = load_sets(assets.data(data).path, source=data)
    write_output(output, sets_text(found.sets))
    counts = {
        "sets": len(found),
        "positives": sum(len(one.positives) for one in found.sets),
        "negatives": sum(len(one.negatives) for one in found.sets),
    }
    if json:
        print_json({"path": str(output), **counts, "taken": found.taken})
        return
    echo(f"{output}: {', '.join(f'{count} {name}' for name, count in counts.items())}")
    for why, count in (found.taken or {}).get("left_out", {}).items():
        echo(f"texts left out: {count} {why}")
