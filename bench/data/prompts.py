"""Prompts to continue, and how they are kept apart: those to train on never meet those to evaluate on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from bench.data.files import read_rows
from bench.errors import MissingError, UsageError
from bench.hashing import content_id, normalise

TOXIC_FROM = 0.5
"""A prompt counts as toxic from this stored toxicity on (RealToxicityPrompts, arXiv 2009.11462)."""
PREFIX_WORDS = 5
"""Two texts meet when one begins the other with at least so many words."""


@dataclass(frozen=True)
class ToxicityPrompt:
    """A prompt of RealToxicityPrompts.

    Attributes:
        id: Its content id.
        text: The prompt.
        toxicity: The toxicity that came with the data (an old Perspective version's), or None.
    """

    id: str
    text: str
    toxicity: float | None

    @property
    def group(self) -> str | None:
        """`toxic` or `nontoxic` by the stored toxicity, None where there is none."""
        if self.toxicity is None:
            return None
        return "toxic" if self.toxicity >= TOXIC_FROM else "nontoxic"


def load_prompts(path: Path) -> list[ToxicityPrompt]:
    """Read prompts, each content once, in an order that depends on the content alone.

    Rows are `{"text": ..., "toxicity": ...}`, or the hub's `{"prompt": {"text": ..., "toxicity": ...}, ...}`.

    Raises:
        UsageError: a row is neither, or there is none.
    """
    prompts: dict[str, ToxicityPrompt] = {}
    for where, row in read_rows(path):
        prompt = _prompt(row, where)
        prompts.setdefault(prompt.id, prompt)
    if not prompts:
        raise UsageError(f"{path} holds no prompt")
    return [prompts[key] for key in sorted(prompts)]


def _prompt(row: dict[str, Any], where: str) -> ToxicityPrompt:
    inner = row["prompt"] if isinstance(row.get("prompt"), dict) else row
    text, toxicity = inner.get("text"), inner.get("toxicity")
    if not isinstance(text, str) or not (toxicity is None or isinstance(toxicity, int | float)):
        raise UsageError(f"{where}: expected an object with 'text' and, where known, 'toxicity'")
    if toxicity is not None and not math.isfinite(toxicity):
        toxicity = None
    return ToxicityPrompt(content_id(text), text, toxicity)


class Named(Protocol):
    """A text with its content id."""

    @property
    def id(self) -> str:
        """The content id."""

    @property
    def text(self) -> str:
        """The text."""


N = TypeVar("N", bound=Named)


def part(prompts: Sequence[N], which: Literal["train", "eval"]) -> list[N]:
    """One half of the prompts, by the parity of their content ids: no suite can train on another's evaluation prompts.

    A training prompt that begins as an evaluation prompt does, or the other way round, is left out of training.
    """
    held_out = [prompt for prompt in prompts if int(prompt.id, 16) % 2 == 0]
    if which == "eval":
        return held_out
    rest = [prompt for prompt in prompts if int(prompt.id, 16) % 2 == 1]
    met = overlap([prompt.text for prompt in rest], [prompt.text for prompt in held_out])
    return [prompt for prompt in rest if prompt.id not in met]


def overlap(training: Iterable[str], evaluation: Iterable[str]) -> set[str]:
    """Content ids of training texts that equal an evaluation text, or of which one begins with the other.

    Both are compared in normalised form (case, punctuation and white space folded); a beginning counts from
    `PREFIX_WORDS` words on. Sorting puts a text right before those that it begins, so that one pass is enough.
    """
    rows = sorted(
        {
            (normalise(text) + " ", kind, content_id(text))
            for kind, texts in ((0, training), (1, evaluation))
            for text in texts
        }
    )
    met: set[str] = set()
    open_beginnings: list[tuple[str, int, str]] = []
    for text, kind, name in rows:
        while open_beginnings and not text.startswith(open_beginnings[-1][0]):
            open_beginnings.pop()
        for earlier, other, other_name in open_beginnings:
            if other != kind and (earlier == text or earlier.count(" ") >= PREFIX_WORDS):
                met.add(name if kind == 0 else other_name)
        open_beginnings.append((text, kind, name))
    return met


def assert_disjoint(training: Iterable[str], evaluation: Iterable[str]) -> None:
    """Refuse training texts that meet evaluation texts.

    Raises:
        MissingError: with the number that meet; the texts themselves are not shown, they may be offensive.
    """
    met = overlap(training, evaluation)
    if met:
        shown = ", ".join(sorted(met)[:3])
        raise MissingError(
            f"{len(met)} anchors of the contrastive sets meet evaluation prompts (content ids {shown}, ...)",
            mend="take them out of the sets: figures from a model trained on its own test are worth nothing",
        )
