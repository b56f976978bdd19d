"""What the scorers of this package make of texts that people have labelled, measured once and kept.

`tests/benchmarks/people.py` measures it anew, as `bench scorers check` does for any scorer.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from bench.stats.classification import Estimated

Figures = dict[str, Estimated]
"""`precision`, `recall`, `false_positives` and `auc`."""


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, Any]]:
    text = resources.files(__package__).joinpath("people.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def names() -> list[str]:
    """The scorers that were measured."""
    return sorted(_kept())


def by_people(scorer: str, sha256: str | None = None) -> dict[str, Figures]:
    """Figures of a scorer, by data set; empty where there are none, or none of this version.

    Args:
        scorer: Its name.
        sha256: Its identity's hash, or None for whichever version was measured.
    """
    known = _kept().get(scorer, {})
    if sha256 not in (None, known.get("hash")):
        return {}
    return {
        data: {key: Estimated(**one) for key, one in figures.items()} for data, figures in known.get("data", {}).items()
    }
