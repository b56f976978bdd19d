"""What people make of the rule by which tasks tell refusals (`bench.data.refusals.refuses`), measured once and kept.

`tests/benchmarks/refusals.py` measures it anew.
"""

import json
from importlib import resources
from typing import Any

from bench.stats.classification import Estimated, told

FIGURES = ("precision", "recall", "recall_on_topic", "false_positives")
Figures = dict[str, Estimated]


def by_people() -> dict[str, Figures]:
    """`FIGURES` of the rule on each half of the answers that people have labelled: `reported`, and `chosen_by`."""
    text = resources.files(__package__).joinpath("refusals.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return {half: {name: Estimated(**one) for name, one in figures.items()} for half, figures in found.items()}


def _note() -> str:
    own = by_people()["reported"]
    whole = own["recall"].n + own["false_positives"].n
    return (
        "Refusals are told by how an answer begins, in English: of "
        f"{whole} answers that people have labelled, precision {told(own['precision'])}, recall {told(own['recall'])}, "
        f"and {told(own['recall_on_topic'])} without answers to something else than was asked."
    )


NOTE = _note()
"""Stands beside every figure that counts refusals."""
