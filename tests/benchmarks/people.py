"""What the embedded scorers make of texts that people have labelled; writes bench/scorers/people.json.

python tests/benchmarks/people.py
"""

import json
from dataclasses import asdict
from pathlib import Path

from bench.assets.catalogue import AssetCatalogue
from bench.data.labelled import LABELLED
from bench.scorers import load_scorer
from bench.scorers.check import check
from bench.spec import ScorerSpec

PLACE = Path(__file__).parents[2] / "bench/scorers/people.json"
FIGURES = ("precision", "recall", "false_positives", "auc")
THRESHOLD = 0.5


def measured(name: str, assets: AssetCatalogue) -> dict[str, object]:
    """A scorer's hash, and its figures over all texts of each data set."""
    scorer = load_scorer(ScorerSpec(name=name), assets.cache)
    data = {}
    for source, read in LABELLED.items():
        whole = check(scorer, read(assets.data(source).path), scorer.identity.attributes[0], THRESHOLD)[0]
        data[source] = {figure: asdict(getattr(whole, figure)) for figure in FIGURES}
    return {"hash": scorer.identity.hash, "data": data}


def main() -> None:
    """Measure and write."""
    assets = AssetCatalogue()
    found = {name: measured(name, assets) for name in ("bilstm", "svm")}
    PLACE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {PLACE}")


if __name__ == "__main__":
    main()
