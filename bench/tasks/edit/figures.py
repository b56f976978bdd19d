"""What likelihoods and texts say of an edited fact, and nothing else."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.data.squad import normalised
from bench.words import words

_WEIGHTS = {2: 1 / 3, 3: 2 / 3}
"""Of the entropies of bigrams and trigrams: the mean of 2/3 and 4/3 of them, as in the authors' code."""


def success(wanted: float, other: float) -> float:
    """Whether the wanted object is the likelier one, by negative log-likelihoods a token; a tie is none."""
    return float(wanted < other)


def magnitude(wanted: float, other: float) -> float:
    """How much likelier it is: the difference of the probabilities a token, from negative log-likelihoods."""
    return math.exp(-wanted) - math.exp(-other)


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of values that are not negative; 0 where one is."""
    return 0.0 if min(values) <= 0 else len(values) / math.fsum(1 / value for value in values)


def ngram_entropy(text: str) -> float:
    """Entropy of a text's bigrams and trigrams of words in bits, averaged 1 to 2; it falls where a text repeats itself.

    Of a text of W words it is at most about log2(W); 0 where there are too few words.
    """
    said = words(text.casefold())
    return math.fsum(weight * _entropy(said, n) for n, weight in _WEIGHTS.items())


def _entropy(said: Sequence[str], n: int) -> float:
    counts = Counter(tuple(said[place : place + n]) for place in range(len(said) - n + 1))
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values())


def _own_words(text: str) -> list[str]:
    return normalised(text).split()


class Likeness:
    """How much a text's words are those of other texts: the cosine of their TF-IDF, from 0 to 1."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take the frequencies of words from these texts, of which at least one has a word."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(analyzer=_own_words).fit(texts)

    def __call__(self, text: str, others: Sequence[str]) -> float:
        """The likeness of a text to all others together; 0 where they share no word."""
        one, rest = self._words.transform([text, "\n".join(others)])
        return min(float((one @ rest.T).sum()), 1.0)
