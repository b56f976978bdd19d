"""A scorer of the tests' own, of something that a suite may want much of: how bright a text sounds."""

from collections.abc import Sequence

from bench.hashing import hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec
from bench.store.keys import code_hash


class BrightnessConfig(Spec):
    """Options of `brightness`."""

    vowels: str = "aeiou"


class Brightness(Scorer[BrightnessConfig]):
    """The share of a text's characters that are vowels, and that of those that are spaces."""

    Config = BrightnessConfig
    info = ScorerInfo("brightness", "share of vowels", "brightness", "no publication: it is for tests")

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Nothing is to be loaded."""
        return ScorerIdentity(
            name="brightness",
            label="brightness (share of vowels)",
            hash=hash_json([code_hash((__name__,)), self.config.model_dump()]),
            attributes=("brightness", "airiness"),
            licence="Apache-2.0",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts."""
        return [
            {"brightness": _share(text, self.config.vowels), "airiness": _share(text.replace("\n", " "), " ")}
            for text in texts
        ]


def _share(text: str, wanted: str) -> float:
    return sum(character.lower() in wanted for character in text) / max(len(text), 1)
