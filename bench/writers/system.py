"""A model behind an endpoint as what is measured: its texts, as anybody gets them."""

from collections.abc import Iterable, Iterator, Sequence

from bench.engine.generation import Continuation, Prompt
from bench.engine.texts import TextLikelihood, TextPolicy
from bench.errors import MissingError
from bench.spec import Decoding, GeneratorSpec, ModelSpec
from bench.writers.base import Answer, Done, Order
from bench.writers.decoding import as_asked
from bench.writers.echo import EchoReader, Heard, echo_of
from bench.writers.endpoint import FILTERED, EndpointWriter

_IN_A_ROW = 16  # so many prompts without a whole answer, one after the other, end the work
_READING = Decoding(num_samples=1, max_new_tokens=1)  # of what is read and not sampled
_MEND = (
    "check suite.model.endpoint and suite.model.id; an API that only chats is asked by --set suite.model.api=chat, "
    "one that only continues by --set suite.model.api=completions"
)


class EndpointSystem(TextPolicy):
    """Asks once for each sample, with a seed of its own; what the endpoint makes of the seed is its own affair."""

    def __init__(self, spec: ModelSpec) -> None:
        """Open a client; nothing is asked yet.

        Raises:
            MissingError: the package `openai` is missing.
        """
        self._spec = spec
        self._reached = GeneratorSpec(model=spec.id, endpoint=spec.endpoint, **spec.requests.model_dump())
        self._writer = EndpointWriter(self._reached, api=spec.api, mend=_MEND)

    def asked(self, message: str, prompt: str) -> str:
        """The message, where it is asked by `chat`; else the prompt."""
        return message if self._spec.api == "chat" else prompt

    def continuations(
        self, prompts: Sequence[Prompt], decoding: Decoding, seed: int, until: Sequence[str] = ()
    ) -> Iterator[list[Continuation]]:
        """Yield the continuations of each prompt as its last one comes in.

        Raises:
            MissingError: the key is refused, there is no such model, replies do not say their numbers of tokens, or
                some prompts were not wholly answered, however often that was tried.
            UsageError: the API knows no such decoding.
        """
        orders = [Order(one.id, one.text, one.text, tuple(range(decoding.num_samples))) for one in prompts]
        batches = self._writer.write(orders, as_asked(decoding), seed, known_good=False, stop=until)
        for order, answers in self._whole(batches, len(orders)):
            yield [self._continuation(order.id, number, answer) for number, answer in sorted(answers.items())]

    def likelihoods(self, texts: Sequence[tuple[str, str, str]]) -> Iterator[list[TextLikelihood]]:
        """Yield the likelihoods of continuations as they come in, by `suite.model.logprobs: echo`.

        Raises:
            MissingError: the server does not give those of a prompt, or as `continuations`.
        """
        reader = EchoReader(self._reached, mend=_MEND)
        batches = reader.write([echo_of(*one) for one in texts], _READING, 0, known_good=False)
        for order, answers in self._whole(batches, len(texts)):
            yield [
                TextLikelihood(order.id, one.logprob, one.greedy)
                if isinstance(one, Heard)
                else TextLikelihood(order.id, None)
                for one in answers.values()
            ]

    def _whole(self, batches: Iterable[list[Done]], count: int) -> Iterator[Done]:
        """The orders that were wholly answered, or declined.

        Raises:
            MissingError: some were not, in the end.
        """
        failures: list[str] = []
        done = failed = in_a_row = 0
        for batch in batches:
            for order, answers in batch:
                causes = [one.failure for one in answers.values() if one.failure and one.failure != FILTERED]
                in_a_row = in_a_row + 1 if causes else 0
                failures += causes
                done, failed = done + (not causes), failed + bool(causes)
                if not causes:
                    yield order, answers
            if in_a_row >= _IN_A_ROW:
                break
        if failures:
            rest = f", and was asked no more after {in_a_row} in a row" if done + failed < count else ""
            raise MissingError(
                f"{self._spec.endpoint} did not answer {failed} of {done + failed} prompts ({failures[-1]}){rest}",
                mend="run the same command again: what was answered is kept, and the rest is asked for",
            )

    def _continuation(self, prompt: str, number: int, answer: Answer) -> Continuation:
        """An answer as a sample; what the endpoint's own filter declines is no text of the model's."""
        if answer.text is None:
            return Continuation(prompt, number, "", 0, ended=True, declined=True)
        if answer.tokens is None:
            raise MissingError(
                f"replies of {self._spec.endpoint} do not say how many tokens they have (usage.completion_tokens)",
                mend="ask a server that gives usage, as the API has it",
            )
        return Continuation(prompt, number, answer.text, answer.tokens, answer.ended)
