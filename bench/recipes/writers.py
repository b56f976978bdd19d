"""Who writes candidates: a causal language model through the engine, or one behind an endpoint."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.engine.generation import Continuation, Prompt, generate
from bench.engine.sampling import stream
from bench.errors import MissingError, UsageError
from bench.policy import Policy
from bench.recipes.recipe import GeneratorSpec, Kind, Templates
from bench.recipes.sentences import Sentence
from bench.spec import Decoding

_HOPELESS = 16  # requests that fail, before any has succeeded, until it is given up


@dataclass(frozen=True)
class Order:
    """A sentence to be rewritten as one kind."""

    sentence: Sentence
    kind: Kind

    @property
    def id(self) -> str:
        """What names its random streams."""
        return f"{self.sentence.id}/{self.kind}"


@dataclass(frozen=True)
class Answer:
    """One of an order's candidates.

    Attributes:
        text: What was written; None where the request failed.
        ended: Whether the generator ended the text itself.
        failure: Why the request failed.
    """

    text: str | None
    ended: bool = False
    failure: str | None = None


Done = tuple[Order, list[Answer]]
"""An order with all of its candidates."""


class Writer(Protocol):
    """Writes candidates."""

    def write(self, orders: Sequence[Order], decoding: Decoding, seed: int) -> Iterator[list[Done]]:
        """Yield orders as they are done, each with all of its candidates."""


class LocalWriter:
    """A model that is loaded here."""

    def __init__(self, policy: Policy, templates: Templates) -> None:
        """Take the model.

        Raises:
            UsageError: the templates are to be a chat's, and the tokenizer has no chat template.
        """
        self._policy, self._templates = policy, templates
        has = bool(policy.tokenizer.chat_template)
        if templates.chat == "always" and not has:
            raise UsageError("the generator's tokenizer has no chat template", mend="set templates.chat=never")
        self._chat = has and templates.chat != "never"

    def write(self, orders: Sequence[Order], decoding: Decoding, seed: int) -> Iterator[list[Done]]:
        """Yield orders batch by batch."""
        by_id = {order.id: order for order in orders}
        count, prompts = decoding.num_samples, [self._prompt(order) for order in orders]
        for batch in generate(self._policy, prompts, decoding, seed, until=self._templates.until):
            yield [
                (by_id[batch[start].prompt_id], [self._answer(one) for one in batch[start : start + count]])
                for start in range(0, len(batch), count)
            ]

    def _answer(self, written: Continuation) -> Answer:
        text, found = self._templates.cut(written.text)
        return Answer(text, found or written.ended)

    def _prompt(self, order: Order) -> Prompt:
        text = self._templates.render(order.kind, order.sentence.text)
        if self._chat:
            return Prompt(order.id, text, as_message(self._policy, text))
        # A template that ends with the sentence would have it gone on with.
        whole = getattr(self._templates, order.kind).endswith("{sentence}")
        return Prompt(order.id, f"{text}\n" if whole else text)


def as_message(policy: Policy, text: str) -> tuple[int, ...]:
    """Tokens of a text as a user's message, up to where the answer begins; the tokenizer has a chat template."""
    tokens: Any = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    return tuple(tokens)


class EndpointWriter:
    """A model behind an OpenAI-compatible API; its key is read from the environment and goes nowhere else."""

    def __init__(self, spec: GeneratorSpec, templates: Templates) -> None:
        """Open a client; nothing is asked yet.

        Raises:
            MissingError: the package `openai` is missing.
        """
        try:
            import openai
        except ImportError:
            raise MissingError(
                "an endpoint needs the package openai", mend="pip install contrastive-bench[endpoint]"
            ) from None
        self._openai, self._spec, self._templates = openai, spec, templates

    def write(self, orders: Sequence[Order], decoding: Decoding, seed: int) -> Iterator[list[Done]]:
        """Yield orders as their last candidate comes in.

        Raises:
            MissingError: the endpoint refuses the key or the model, or fails on everything that it is first asked.
        """
        answers = self._all(orders, decoding, seed)
        with asyncio.Runner() as runner:
            while (done := runner.run(_next(answers))) is not None:
                yield [done]

    async def _all(self, orders: Sequence[Order], decoding: Decoding, seed: int) -> AsyncIterator[Done]:
        spec, gate = self._spec, asyncio.Semaphore(self._spec.concurrency)
        client = self._openai.AsyncOpenAI(
            base_url=spec.endpoint,
            api_key=os.environ.get(spec.key_variable) or "none",  # servers on one's own machine ask for none
            timeout=spec.timeout,
            max_retries=spec.retries,
        )
        count = decoding.num_samples
        failed = succeeded = 0

        async def one(order: Order, sample: int) -> Answer:
            async with gate:
                return await self._ask(client, order, decoding, stream(seed, order.id, sample) % (1 << 31))

        async def whole(order: Order) -> Done:
            return order, list(await asyncio.gather(*(one(order, sample) for sample in range(count))))

        async with client:
            waiting = iter(orders)
            running: set[asyncio.Task[Done]] = set()
            try:
                while True:
                    while len(running) * count < 2 * spec.concurrency + count and (order := next(waiting, None)):
                        running.add(asyncio.create_task(whole(order)))
                    if not running:
                        return
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        order, answers = task.result()
                        causes = [answer.failure for answer in answers if answer.failure]
                        failed, succeeded = failed + len(causes), succeeded + len(answers) - len(causes)
                        if causes and not succeeded and failed >= min(_HOPELESS, count * len(orders)):
                            raise MissingError(
                                f"{spec.endpoint} has answered none of {failed} requests ({causes[-1]})",
                                mend="check that it is up, or raise generator.timeout",
                            )
                        yield order, answers
            finally:
                for task in running:
                    task.cancel()

    async def _ask(self, client: Any, order: Order, decoding: Decoding, seed: int) -> Answer:
        api = self._openai
        try:
            reply = await client.chat.completions.create(
                model=self._spec.model,
                messages=[{"role": "user", "content": self._templates.render(order.kind, order.sentence.text)}],
                max_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                seed=seed,
            )
            choice = reply.choices[0]
            text = choice.message.content
            if not isinstance(text, str):
                return Answer(None, failure="the reply has no text")
            text, found = self._templates.cut(text)
            return Answer(text, ended=found or choice.finish_reason == "stop")
        except (api.AuthenticationError, api.PermissionDeniedError) as error:
            raise MissingError(
                f"{self._spec.endpoint} refuses the key (HTTP {error.status_code})",
                mend=f"set {self._spec.key_variable} in the environment",
            ) from None
        except api.NotFoundError:
            raise MissingError(
                f"{self._spec.endpoint} has no model '{self._spec.model}', or no /chat/completions",
                mend="check generator.endpoint and generator.model",
            ) from None
        except api.APITimeoutError:
            return Answer(None, failure="timeout")
        except api.APIStatusError as error:
            return Answer(None, failure=f"HTTP {error.status_code}")
        except api.APIConnectionError:
            return Answer(None, failure="no connection")
        except (api.APIError, ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Answer(None, failure="the reply is none of an OpenAI-compatible API")


async def _next(answers: AsyncIterator[Done]) -> Done | None:
    return await anext(answers, None)
