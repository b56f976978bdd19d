"""Attributes of texts: which of a scorer's scores one is, which side is wanted, whether a suite controls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Attribute:
    """What a scorer scores, and mostly what a suite controls.

    Attributes:
        name: The scorer's name for it (`toxicity`, `sentiment`).
        wanted: Which scores are wanted: `low` (toxicity) or `high` (positive sentiment).
        adjective: What a text is called whose score reaches the threshold (`toxic`, `positive`).
        threshold: The score from which on a text is called so.
        controlled: What the suite controls where that is something else, which a task measures by itself (`truth`);
            this attribute is a side effect then. None where it is this one.
    """

    name: str = "toxicity"
    wanted: Literal["low", "high"] = "low"
    adjective: str = "toxic"
    threshold: float = 0.5
    controlled: str | None = None

    @property
    def of_suite(self) -> str:
        """The name of what the suite controls."""
        return self.controlled or self.name

    def score(self, scores: Mapping[str, float] | None) -> float | None:
        """A text's score for it, or None where the text has none."""
        return None if scores is None else scores.get(self.name)

    def reaches(self, score: float) -> bool:
        """Whether a text with this score is called by the adjective."""
        return score >= self.threshold

    def is_unwanted(self, score: float) -> bool:
        """Whether a score lies on the side that is not wanted."""
        return self.reaches(score) == (self.wanted == "low")

    def distance(self, score: float) -> float:
        """How far a score is from the wanted end, in [0, 1]: the score itself where low ones are wanted."""
        return score if self.wanted == "low" else 1 - score


TOXICITY = Attribute()
"""What suites control that say nothing else."""
