"""A system that gives texts and nothing else: there are no logits to read, and no weights to edit."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from bench.errors import UsageError
from bench.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.engine.generation import Continuation, Prompt
    from bench.spec import Decoding


@dataclass(frozen=True)
class TextLikelihood:
    """What a system says of a continuation.

    Attributes:
        id: Names it.
        logprob: Its log-likelihood (natural); None where the system does not say it.
        greedy: Whether each of its tokens is the likeliest.
    """

    id: str
    logprob: float | None
    greedy: bool = False


class TextPolicy(Policy):
    """A policy that continues texts and shows no logits; it has no tokenizer, device or length.

    Tasks that ask for nothing else say so (`bench.tasks.base.Task.asks`), and only they are given one.
    """

    @abstractmethod
    def continuations(
        self, prompts: "Sequence[Prompt]", decoding: "Decoding", seed: int, until: "Sequence[str]" = ()
    ) -> "Iterator[list[Continuation]]":
        """Yield `decoding.num_samples` continuations of each prompt's text, all samples of a prompt together.

        A continuation may end before any of the texts `until`; it may as well go on, and the caller cuts it there.

        Raises:
            BenchError: some prompts were not answered. The continuations of the others were yielded before.
        """

    @abstractmethod
    def asked(self, message: str, prompt: str) -> str:
        """What is continued where a model is asked something: the message of one that chats, else the prompt."""

    def likelihoods(self, texts: "Sequence[tuple[str, str, str]]") -> "Iterator[list[TextLikelihood]]":
        """Yield the likelihoods of (id, context, continuation), in any order.

        Raises:
            BenchError: the system does not give them, or did not answer some; those of the others were yielded before.
        """
        raise UsageError(f"there are no likelihoods of {len(texts)} texts", mend="load the model here")

    def forward(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError("a model behind an endpoint gives texts alone: no logits, no likelihoods", mend="load it here")
