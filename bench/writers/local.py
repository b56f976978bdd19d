"""A causal language model that is loaded here and answers through the engine."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from bench.engine.chat import chat_tokens
from bench.engine.generation import Continuation, Prompt, encode_prompt, generate
from bench.errors import UsageError
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.spec import Decoding, GeneratorSpec, ModelSpec
from bench.writers.base import Answer, Done, Order, cut

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue


class LocalWriter:
    """A model that is loaded here.

    Attributes:
        policy: The model.
    """

    def __init__(
        self, policy: Policy, chat: Literal["auto", "always", "never"] = "auto", until: str | None = None
    ) -> None:
        """Take the model.

        Args:
            policy: The model.
            chat: Whether it is asked by a user's message; auto: where the tokenizer has a chat template.
            until: An answer ends where this begins.

        Raises:
            UsageError: it is to be a chat, and the tokenizer has no chat template.
        """
        self.policy, self._until = policy, until
        has = bool(policy.tokenizer.chat_template)
        if chat == "always" and not has:
            raise UsageError("the generator's tokenizer has no chat template", mend="set templates.chat=never")
        self._chat = has and chat != "never"

    def write(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, *, known_good: bool
    ) -> Iterator[list[Done]]:
        """Yield orders batch by batch."""
        del known_good
        by_id = {order.id: order for order in orders}
        count, prompts = decoding.num_samples, [self._prompt(order) for order in orders]
        for batch in generate(self.policy, prompts, decoding, seed, until=self._until):
            yield [
                (order, {number: self._answer(batch[start + number]) for number in order.samples})
                for start in range(0, len(batch), count)
                for order in [by_id[batch[start].prompt_id]]
            ]

    def _answer(self, written: Continuation) -> Answer:
        text, was_cut = cut(written.text, self._until)
        return Answer(text, was_cut or written.ended)

    def _prompt(self, order: Order) -> Prompt:
        if self._chat:
            return Prompt(order.id, order.message, as_message(self.policy, order.message))
        return Prompt(order.id, order.prompt)


def as_message(policy: Policy, text: str) -> tuple[int, ...]:
    """Tokens of a text as a user's message, up to where the answer begins; the tokenizer has a chat template."""
    return chat_tokens(policy.tokenizer, text)


def asked(policy: Policy, message: str, prompt: str) -> tuple[int, ...]:
    """Tokens of a request: a user's message where the tokenizer has a chat template, else what it continues."""
    return as_message(policy, message) if policy.tokenizer.chat_template else tuple(encode_prompt(policy, prompt))


def load_local(spec: GeneratorSpec, assets: "AssetCatalogue", progress: Progress = SILENT) -> Policy:
    """The generator as a policy, loaded here.

    Raises:
        BenchError: it is not available.
    """
    from bench.engine.model import load_model
    from bench.policy import HFPolicy

    resolved = assets.model(spec.model, spec.revision)
    with progress.bar(f"load {spec.model}"):
        base = load_model(ModelSpec(id=spec.model, revision=spec.revision, dtype=spec.dtype), resolved)
    return HFPolicy(base.model, base.tokenizer)
