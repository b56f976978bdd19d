"""SQuAD's rule for answers in free text (Rajpurkar et al., 2016, arXiv 1606.05250): normalise, then compare words.

Of text in ASCII this is the rule as it is. Punctuation of other scripts goes as well, and where a script has no spaces
between words, each of its characters stands for a word, as in evaluations of Chinese answers (Cui et al., 2019, arXiv
1810.07366).
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.words import words

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_GONE = "\uffff"
"""Stands where words were taken out: those before and behind it do not come to stand beside each other."""
_ASCII = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """An answer without case, punctuation, English articles and extra white space, as SQuAD's evaluation script."""
    plain = answer.lower().translate(_ASCII)
    if not plain.isascii():
        plain = "".join(letter for letter in plain if not unicodedata.category(letter).startswith("P"))
    return " ".join(words(_ARTICLES.sub(" ", plain)))


def exact_match(answer: str, references: Iterable[str]) -> float:
    """1 where the answer equals a reference after normalisation, else 0."""
    own = normalised(answer)
    return float(any(own == normalised(reference) for reference in references))


def f1(answer: str, references: Iterable[str]) -> float:
    """Harmonic mean of precision and recall of the answer's words, against the reference that it is nearest to."""
    own = normalised(answer).split()
    return max((_f1(own, normalised(reference).split()) for reference in references), default=0.0)


def _f1(own: Sequence[str], reference: Sequence[str]) -> float:
    if not own or not reference:
        return float(own == reference)
    shared = (Counter(own) & Counter(reference)).total()
    return 2 * shared / (len(own) + len(reference))


def begins(answer: str, reference: str) -> bool:
    """Whether the answer's first words are the reference's, both normalised."""
    words = normalised(reference)
    return bool(words) and f"{normalised(answer)} ".startswith(f"{words} ")


def contains(answer: str, references: Iterable[str]) -> bool:
    """Whether the words of a reference stand in the answer, one after the other, both normalised."""
    own = f" {normalised(answer)} "
    return any((words := normalised(reference)) and f" {words} " in own for reference in references)


def without(answer: str, references: Iterable[str]) -> str:
    """The answer, normalised, with another mark wherever the words of a reference stand in it, the longest first."""
    own = f" {normalised(answer)} "
    for found in sorted(map(normalised, references), key=len, reverse=True):
        while found and f" {found} " in own:
            own = own.replace(f" {found} ", f" {_GONE} ")
    return own.strip()
