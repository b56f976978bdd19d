"""What a scorer is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

Scores = dict[str, float]
"""Attribute to score in [0, 1]; every scorer has the attribute `toxicity`."""


@dataclass(frozen=True)
class ScorerInfo:
    """What stands in the record of every run that used the scorer.

    Attributes:
        name: As asked for (`svm`, `detoxify`, ...), with its variant where it has one (`detoxify:original`).
        label: What it really measures, for people; shown wherever its scores are.
        hash: SHA-256 (hex) over everything that decides a score: weights, versions, the label picked.
        attributes: The attributes that it scores; the first is `toxicity`.
        licence: Licence of its weights.
    """

    name: str
    label: str
    hash: str
    attributes: tuple[str, ...]
    licence: str


class Scorer(ABC):
    """Scores texts; see `bench.scorers.checked` for retries and the cache, which no scorer does itself.

    Attributes:
        info: What stands in the record.
        batch_size: How many texts it likes to be given at once.
    """

    info: ScorerInfo
    batch_size: int = 32

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts: one dict a text in the same order, None where a score cannot be had."""
