"""What keeps training and evaluation apart: all data has two halves, and no training text meets an evaluation text."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from bench.data.counted import BEGINS_ALIKE, OTHER_HALF, Counted
from bench.errors import MissingError
from bench.hashing import content_id, normalise
from bench.words import words

if TYPE_CHECKING:
    from bench.spec import Half

PREFIX_WORDS = 5
"""Two texts meet when one begins the other with at least so many words."""


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
    """One half of some texts, by the parity of their content ids: no suite can train on another's evaluation prompts.

    A training prompt that begins as an evaluation prompt does, or the other way round, is left out of training.
    """
    held_out = [prompt for prompt in prompts if int(prompt.id, 16) % 2 == 0]
    if which == "eval":
        return held_out
    rest = [prompt for prompt in prompts if int(prompt.id, 16) % 2 == 1]
    met = overlap([prompt.text for prompt in rest], [prompt.text for prompt in held_out])
    return [prompt for prompt in rest if prompt.id not in met]


def halved(texts: Counted[N], which: "Half") -> Counted[N]:
    """One half, as `part` takes it, with a count of the other and of what begins alike; or all, as they are."""
    if which == "all":
        return texts
    own = texts.keep([text for text in texts if int(text.id, 16) % 2 == (which == "train")], OTHER_HALF[which])
    return own.keep(part(texts, which), BEGINS_ALIKE)


def within(half: "Half", whole: str = "half: all") -> str:
    """Where texts are looked for, as a message ends that finds too few; `whole` is what to say to take both halves."""
    if half == "all":
        return ""
    return f" in the half that is kept for {'evaluation' if half == 'eval' else 'training'} ({whole} takes both)"


def overlap(training: Iterable[str], evaluation: Iterable[str]) -> set[str]:
    """Content ids of training texts that equal an evaluation text, or of which one begins with the other.

    Both are compared in normalised form (case, punctuation and white space folded); a beginning counts from
    `PREFIX_WORDS` whole words on. Sorting puts a text right before those that it begins, so that one pass is enough.
    """
    rows = sorted({(*_as_compared(text), kind) for kind, texts in ((0, training), (1, evaluation)) for text in texts})
    met: set[str] = set()
    open_beginnings: list[tuple[str, int, str]] = []
    for text, name, kind in rows:
        while open_beginnings and not text.startswith(open_beginnings[-1][0]):
            open_beginnings.pop()
        for earlier, other, other_name in open_beginnings:
            if other != kind and (earlier == text or earlier.count(" ") >= PREFIX_WORDS):
                met.add(name if kind == 0 else other_name)
        open_beginnings.append((text, kind, name))
    return met


@lru_cache(maxsize=2**16)  # each experiment of a request is held against the same thousands of evaluation texts
def _as_compared(text: str) -> tuple[str, str]:
    """The words of a text, a space after each, and its content id."""
    return "".join(f"{word} " for word in words(normalise(text))), content_id(text)


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
