"""Likelihoods of texts by an OpenAI-compatible API that gives those of a prompt (`echo` with `logprobs`), as vLLM."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import MissingError
from bench.spec import Decoding
from bench.writers.base import Answer, Order
from bench.writers.endpoint import SURROUNDINGS, EndpointWriter, first_choice

_CLOSE = 1e-6
_OF_A_CHARACTER = 256
"""Bytes of a reply for each character of its prompt: that of a token has its text twice, and two numbers."""


@dataclass(frozen=True)
class Heard(Answer):
    """A continuation with its log-likelihood by the server, in nats; None where the server gives none."""

    logprob: float | None = None
    greedy: bool = False


def echo_of(name: str, context: str, continuation: str) -> Order:
    """The order to read a continuation after its context: its message is what is read, its prompt all of the text.

    Blanks between the two belong to the continuation, as lm-eval has it.
    """
    whole = context + continuation
    return Order(name, whole[len(context.rstrip()) :], whole)


class EchoReader(EndpointWriter):
    """Reads texts and writes none. Each answer is `Heard`."""

    def _most(self, orders: Sequence[Order], decoding: Decoding) -> int:
        del decoding
        return SURROUNDINGS + _OF_A_CHARACTER * max((len(order.prompt) for order in orders), default=0)

    async def _sent(self, client: Any, order: Order, how: Mapping[str, Any]) -> Any:
        asked = {"model": how["model"], "max_tokens": 0, "temperature": 0.0, "echo": True, "logprobs": 1}
        return await client.completions.with_raw_response.create(prompt=order.prompt, **asked)

    def _read(self, order: Order, body: bytes, most: int) -> Heard:
        """The likelihood in a reply.

        Raises:
            MissingError: the first reply has none of the prompt's tokens: nor will another.
            ValueError: the reply is none of the API.
        """
        choice, usage = first_choice(body, most)
        heard = _heard(choice, usage, order)
        if heard is None and not self._answers:
            raise MissingError(
                f"{self._spec.endpoint} gives no likelihoods of a prompt's tokens (echo with logprobs)",
                mend="ask a server that does, as vLLM, or leave suite.model.logprobs out with the tasks that need it",
            )
        return heard or Heard(order.message)


def _heard(choice: Any, usage: Any, order: Order) -> Heard | None:
    """The likelihood of an order's message; None where the reply does not hold the prompt's tokens with likelihoods."""
    try:
        found = choice["logprobs"]
        tokens, logprobs, likeliest = found["tokens"], found["token_logprobs"], found["top_logprobs"]
        read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        tokens = tokens[: read if isinstance(read, int) else len(tokens)]  # some servers add one that they sampled
        told = logprobs[: len(tokens)]
        is_mute = len(told) < len(tokens) or (len(tokens) > 1 and all(one is None for one in told))
        if not tokens or is_mute or not "".join(tokens).endswith(order.prompt):
            return None
        first, length = len(tokens), 0
        while length < len(order.message):
            first -= 1
            length += len(tokens[first])
        if told[first] is None:  # of a text's first token nobody knows a likelihood
            return Heard(order.message)
        own = [float(one) for one in told[first:]]
        best = [max(one.values()) for one in likeliest[first : len(tokens)]]
        if len(own) != len(best) or not all(map(math.isfinite, own)):
            return None
        greedy = all(one >= top - _CLOSE for one, top in zip(own, best, strict=True))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return Heard(order.message, logprob=math.fsum(own), greedy=greedy)
