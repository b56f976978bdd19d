"""What a writer is: it answers orders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.spec import Decoding


@dataclass(frozen=True)
class Order:
    """A request.

    Attributes:
        id: Names its random streams.
        message: What a model that chats is asked.
        prompt: What a model that does not chat continues.
        samples: The numbers of the answers that are wanted.
    """

    id: str
    message: str
    prompt: str
    samples: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, name: str, template: str, sentence: str, samples: tuple[int, ...] = (0,)) -> "Order":
        """Fill in a template.

        Where it asks for something and ends with the sentence, a line break follows: else a model would continue that.
        """
        message = template.replace("{sentence}", sentence)
        asks = template.endswith("{sentence}") and template != "{sentence}"
        return cls(name, message, f"{message}\n" if asks else message, samples)


@dataclass(frozen=True)
class Answer:
    """One of an order's answers.

    Attributes:
        text: What was written; None where the request failed.
        ended: Whether the generator ended the text itself.
        failure: Why the request failed.
        tokens: How many tokens were sampled, as an endpoint counts them; None where nobody says.
    """

    text: str | None
    ended: bool = False
    failure: str | None = None
    tokens: int | None = None


Done = tuple[Order, dict[int, Answer]]
"""An order with the answers that were wanted, by number."""


class Writer(Protocol):
    """Answers orders."""

    def write(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, *, known_good: bool
    ) -> Iterator[list[Done]]:
        """Yield orders as they are done; `known_good` says that the generator has answered before."""


def cut(text: str, until: str | None) -> tuple[str, bool]:
    """What stands before `until`, and whether there was one."""
    before, separator, _ = text.lstrip().partition(until) if until else (text, "", "")
    return before, bool(separator)
