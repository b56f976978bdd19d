"""A system that gives texts and nothing else: there are no logits to read, and no weights to edit."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

from bench.errors import UsageError
from bench.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.engine.generation import Continuation, Prompt
    from bench.spec import Decoding


class TextPolicy(Policy):
    """A policy that continues texts and shows no logits; it has no tokenizer, device or length.

    Tasks that ask for nothing else say so (`bench.tasks.base.TaskInfo.asks`), and only they are given one.
    """

    @abstractmethod
    def continuations(
        self, prompts: "Sequence[Prompt]", decoding: "Decoding", seed: int
    ) -> "Iterator[list[Continuation]]":
        """Yield `decoding.num_samples` continuations of each prompt's text, all samples of a prompt together.

        Raises:
            BenchError: some prompts were not answered. The continuations of the others were yielded before.
        """

    @abstractmethod
    def asked(self, message: str, prompt: str) -> str:
        """What is continued where a model is asked something: the message of one that chats, else the prompt."""

    def forward(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError("a model behind an endpoint gives texts alone: no logits, no likelihoods", mend="load it here")
