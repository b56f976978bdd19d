"""Sentiment by a lexicon: VADER (Hutto & Gilbert, 2014), in the package vaderSentiment."""

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec

_PACKAGE = "vaderSentiment"
_MOST_WORDS = 2000
_FILES = ("vaderSentiment.py", "vader_lexicon.txt", "emoji_utf8_lexicon.txt")


class VaderConfig(Spec):
    """It has no options."""


class Vader(Scorer[VaderConfig]):
    """VADER's compound score of a text, from -1 (negative) to 1 (positive), as (1 + compound) / 2.

    A lexicon of 7,500 words with rules for negation, degree and punctuation. A text without a word of it has 0.5. Its
    authors call a text positive from a compound score of 0.05 on: 0.525 here. It was made for sentences, and its time
    grows as the square of a text's words: one of more than 2,000 has no score.
    """

    Config = VaderConfig
    info = ScorerInfo(
        name="vader",
        summary="sentiment by a lexicon of words and some rules",
        measures="explicit sentiment",
        source="Hutto & Gilbert, 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis (ICWSM)",
        extras=("sentiment",),
    )
    batch_size = 512

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Find the lexicon; it is read when the first text is scored.

        Raises:
            MissingError: vaderSentiment is not installed, or not whole.
        """
        del ctx
        mend = "pip install 'contrastive-bench[sentiment]'"
        try:
            package = version(_PACKAGE)
        except PackageNotFoundError:
            raise MissingError(f"scorer 'vader' needs the package {_PACKAGE}", mend=mend) from None
        spec = find_spec(_PACKAGE)
        folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
        folder = next((place for place in folders if all((place / name).is_file() for name in _FILES)), None)
        if folder is None:
            raise MissingError(f"the files of {_PACKAGE} are not whole", mend=f"{mend} --force-reinstall")
        return ScorerIdentity(
            name="vader",
            label="explicit sentiment (VADER's lexicon)",
            hash=hash_json({"package": package, "files": {name: hash_file(folder / name) for name in _FILES}}),
            attributes=("sentiment",),
            licence="MIT",
        )

    @cached_property
    def _analyser(self) -> Any:
        return import_module(f"{_PACKAGE}.vaderSentiment").SentimentIntensityAnalyzer()

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score texts; None for one that is too long."""
        return [self._score(text) if len(text.split()) <= _MOST_WORDS else None for text in texts]

    def _score(self, text: str) -> Scores:
        return {"sentiment": (1 + float(self._analyser.polarity_scores(text)["compound"])) / 2}
