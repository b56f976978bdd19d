"""`bench scorers check`: a scorer against people's labels."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import SCORING_TIMEOUT, CacheDir, Json, Offline, ScoringTimeout, console_progress
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_grid, print_json
from bench.printed import echo

if TYPE_CHECKING:
    from bench.scorers.check import Checked


def check(  # noqa: PLR0913, PLR0917 - one parameter a flag
    name: Annotated[str, typer.Argument(help="A scorer.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, an option of it.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Which of its scores; its main one unless told.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="The score from which a text counts as toxic.")] = 0.5,
    groups: Annotated[bool, typer.Option("--groups", help="By identity group as well.")] = False,
    json: Json = False,
    offline: Offline = False,
    cache: CacheDir = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    device: Device = AUTO,
) -> None:
    """Check a scorer on texts that people have labelled: precision, recall, false positives, AUC."""
    del scoring_timeout, device  # their callbacks have taken them
    from bench.assets.catalogue import AssetCatalogue
    from bench.data.labelled import LABELLED
    from bench.errors import UsageError, did_you_mean
    from bench.run.plan import parse_setting
    from bench.scorers import load_scorer
    from bench.scorers.check import check as checked
    from bench.spec import ScorerSpec

    progress = console_progress()
    assets = AssetCatalogue(cache, offline=offline, progress=progress)
    spec = ScorerSpec(name=name, options=dict(map(parse_setting, settings or ())))
    scorer = load_scorer(spec, assets.cache, offline=offline, progress=progress, option="--set {name}={value}")
    known = scorer.identity.attributes
    asked = known[0] if attribute is None else attribute
    if asked not in known:
        raise UsageError(f"scorer '{name}' does not score '{asked}'", mend=did_you_mean(asked, known))
    found = {data: checked(scorer, read(assets.data(data).path), asked, threshold) for data, read in LABELLED.items()}
    if json:
        print_json(
            {
                "scorer": asdict(scorer.identity),
                "attribute": asked,
                "threshold": threshold,
                "data": {data: [asdict(one) for one in some] for data, some in found.items()},
            }
        )
    else:
        echo(f"{scorer.identity.label}: {asked}, toxic from {threshold:g}; [95 % interval]")
        for data, some in found.items():
            _print(data, some if groups else some[:1])


def _print(data: str, rows: "list[Checked]") -> None:
    from rich.table import Table

    from bench.stats.classification import told

    whole = rows[0]
    echo(f"\n{data}: {whole.n} texts, {whole.toxic} toxic, {whole.failed} without a score")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("about", "precision", "recall", "false positives", "AUC"):
        table.add_column(column)
    for row in rows:
        figures = [told(one) for one in (row.precision, row.recall, row.false_positives, row.auc)]
        table.add_row(f"{row.group} ({row.n})" if row.group else "all", *figures)
    print_grid(table)
