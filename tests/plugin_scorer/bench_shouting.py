# bench_shouting.py
from pydantic import Field

from bench.hashing import hash_json
from bench.scorers.base import Scorer, ScorerIdentity, ScorerInfo
from bench.spec import Spec
from bench.store.keys import code_hash


class ShoutingConfig(Spec):
    letters: int = Field(2, ge=1, description="a word of fewer letters does not count, such as I")


class Shouting(Scorer[ShoutingConfig]):
    """The share of a text's words that are in capitals."""

    Config = ShoutingConfig
    info = ScorerInfo(
        name="shouting",
        summary="share of words in capitals",
        measures="shouting",
        source="the netiquette, RFC 1855, Section 2.1.1",
    )

    def load(self, ctx):
        return ScorerIdentity(
            name="shouting",
            label=f"shouting (words of {self.config.letters} letters or more in capitals)",
            hash=hash_json([code_hash((__name__,)), self.config.model_dump()]),
            attributes=("shouting",),
            licence="Apache-2.0",
        )

    def score(self, texts):
        return [{"shouting": self._share(text)} for text in texts]

    def _share(self, text):
        words = [word for word in text.split() if sum(map(str.isalpha, word)) >= self.config.letters]
        return sum(word.isupper() for word in words) / max(len(words), 1)
