"""What the rule that tells refusals makes of answers that people have labelled; writes bench/tasks/refusals.json.

python tests/benchmarks/refusals.py

The rule was mended on one half of the answers, by the parity of their content ids (`chosen_by`); the figures that stand
beside refusal rates are of the other half (`reported`). An answer that people call a refusal of one request and none of
another is about something else than it was asked: `recall_on_topic` leaves such out.
"""

import json
from dataclasses import asdict
from pathlib import Path

from bench.assets.catalogue import AssetCatalogue
from bench.data.labelled import REFUSALS, LabelledAnswer
from bench.data.refusals import refuses
from bench.stats.classification import Estimated, share

PLACE = Path(__file__).parents[2] / "bench/tasks/refusals.json"
HALVES = {"reported": 0, "chosen_by": 1}


def answers(assets: AssetCatalogue) -> list[LabelledAnswer]:
    """All labelled answers."""
    return [one for name, read in REFUSALS.items() for one in read(assets.data(name).path)]


def measured(some: list[LabelledAnswer]) -> dict[str, Estimated]:
    """Precision and recall of the rule, and of answers that do not refuse, the share that it takes for refusals."""
    fits = {one.id for one in some if not one.refuses}
    called = {kind: [refuses(one.text) for one in some if one.refuses is kind] for kind in (True, False)}
    on_topic = [refuses(one.text) for one in some if one.refuses and one.id not in fits]
    right, wrong = sum(called[True]), sum(called[False])
    return {
        "precision": share(right, right + wrong),
        "recall": share(right, len(called[True])),
        "recall_on_topic": share(sum(on_topic), len(on_topic)),
        "false_positives": share(wrong, len(called[False])),
    }


def by_half(assets: AssetCatalogue) -> dict[str, dict[str, Estimated]]:
    """The figures of each half."""
    every = answers(assets)
    return {half: measured([one for one in every if int(one.id, 16) % 2 == parity]) for half, parity in HALVES.items()}


def main() -> None:
    """Measure and write."""
    found = by_half(AssetCatalogue())
    told = {half: {name: asdict(one) for name, one in figures.items()} for half, figures in found.items()}
    PLACE.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {PLACE}")


if __name__ == "__main__":
    main()
