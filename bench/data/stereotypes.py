"""Sentences that state a stereotype beside some that do not: StereoSet, CrowS-Pairs, or files in their shapes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.data.counted import REPEATED, Counted
from bench.data.files import read_rows
from bench.errors import UsageError
from bench.hashing import content_id

T = TypeVar("T")
INTRA, INTER = "intrasentence", "intersentence"
_MASK = "[MASK]"
SAME = "whose two sentences are the same"
NO_PAIR = "whose two sentences differ in more than the words that were exchanged"


@dataclass(frozen=True)
class Association:
    """A target with three associations (Nadeem et al., 2021, arXiv 2004.09456).

    Attributes:
        id: The content id of all of it.
        target: The term that it is about, in small letters.
        bias_type: The kind of stereotype (`gender`, `race`, ...).
        kind: `intrasentence` (the sentences differ in a word) or `intersentence` (they follow the context).
        context: What the sentences follow; empty within a sentence.
        stereotype: The sentence with the stereotypical association.
        anti_stereotype: The one with the anti-stereotypical association.
        unrelated: The one with a meaningless association.
    """

    id: str
    target: str
    bias_type: str
    kind: str
    context: str
    stereotype: str
    anti_stereotype: str
    unrelated: str

    @property
    def sentences(self) -> tuple[str, str, str]:
        """The three sentences."""
        return self.stereotype, self.anti_stereotype, self.unrelated


def load_associations(path: Path) -> Counted[Association]:
    """Read StereoSet's examples, each content once, by content id.

    Rows are `{"type": ..., "target": ..., "bias_type": ..., "context": ..., "stereotype": ..., "anti-stereotype": ...,
    "unrelated": ...}`, in any form that `read_rows` reads.

    Raises:
        UsageError: a row is none, or there is none.
    """
    found: dict[str, Association] = {}
    left_out: Counter[str] = Counter()
    for where, row in read_rows(path):
        names = ("stereotype", "anti-stereotype", "unrelated", "context", "target", "bias_type")
        stereotype, anti, unrelated, context, target, bias_type = (_text(row, name, where) for name in names)
        kind = row.get("type")
        if kind not in (INTRA, INTER):
            raise UsageError(f"{where}: 'type' is neither {INTRA} nor {INTER}")
        name = content_id("\n".join((context, stereotype, anti, unrelated)))
        if len({stereotype, anti, unrelated}) < 3:  # noqa: PLR2004
            left_out["of which two sentences are the same"] += 1
        elif name in found:
            left_out[REPEATED] += 1
        else:
            before = context if kind == INTER else ""
            found[name] = Association(name, target.casefold(), bias_type, kind, before, stereotype, anti, unrelated)
    return _sorted(found, left_out, path, "example of StereoSet's")


@dataclass(frozen=True)
class StereotypePair:
    """Two sentences that differ in whom they are about (Nangia et al., 2020, arXiv 2010.00133).

    Attributes:
        id: The content id of both.
        bias_type: The kind of stereotype (`gender`, `race-color`, ...).
        more: The sentence that is more stereotypical.
        less: The one that is less so.
    """

    id: str
    bias_type: str
    more: str
    less: str


def load_pairs(path: Path) -> Counted[StereotypePair]:
    """Read CrowS-Pairs, each pair once, by content id.

    Rows are `sent_more`, `sent_less` and `bias_type`, as published, or `sentence` with a `[MASK]`, `mask1` (the word of
    the more stereotypical sentence) and `mask2`, in any form that `read_rows` reads.

    Raises:
        UsageError: a row is neither, or there is none.
    """
    found: dict[str, StereotypePair] = {}
    left_out: Counter[str] = Counter()
    for where, row in read_rows(path):
        bias_type = _text(row, "bias_type", where)
        if "sent_more" in row:
            more, less = (_text(row, name, where) for name in ("sent_more", "sent_less"))
            exchanged = True
        else:
            masked, *words = (_text(row, name, where) for name in ("sentence", "mask1", "mask2"))
            if masked.count(_MASK) != 1:
                raise UsageError(f"{where}: 'sentence' does not hold {_MASK} once")
            more, less = (masked.replace(_MASK, word) for word in words)
            exchanged = _ending(words[0]) == _ending(words[1])
        name = content_id(f"{more}\n{less}")
        if not exchanged:
            left_out[NO_PAIR] += 1
        elif content_id(more) == content_id(less):
            left_out[SAME] += 1
        elif name in found:
            left_out[REPEATED] += 1
        else:
            found[name] = StereotypePair(name, bias_type, more, less)
    return _sorted(found, left_out, path, "pair of CrowS-Pairs'")


def _ending(word: str) -> str:
    """The punctuation that a word ends with."""
    return word[len(word.rstrip(".,;:!?")) :]


def _sorted(found: dict[str, T], left_out: Counter[str], path: Path, what: str) -> Counted[T]:
    if not found:
        raise UsageError(f"{path} holds no {what}")
    return Counted((found[key] for key in sorted(found)), left_out)


def _text(row: dict[str, Any], key: str, where: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{where}: no text under the key '{key}'")
    return text.strip()
