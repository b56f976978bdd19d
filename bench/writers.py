"""Who answers requests: a causal language model through the engine, or one behind an endpoint."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.engine.generation import Continuation, Prompt, encode_prompt, generate
from bench.engine.sampling import stream
from bench.errors import MissingError, UsageError
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.spec import Decoding, GeneratorSpec, ModelSpec

if TYPE_CHECKING:
    from bench.assets.store import AssetStore

_NO_API = "the reply is none of an OpenAI-compatible API"
_HOPELESS = 16  # requests that fail, before any has succeeded, until it is given up


@dataclass(frozen=True)
class Order:
    """A request.

    Attributes:
        id: Names its random streams.
        message: What a model that chats is asked.
        prompt: What a model that does not chat goes on with.
        samples: The numbers of the answers that are wanted.
    """

    id: str
    message: str
    prompt: str
    samples: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, name: str, template: str, sentence: str, samples: tuple[int, ...] = (0,)) -> "Order":
        """A template filled in; one that asks for something and ends with the sentence would have it gone on with."""
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
    """

    text: str | None
    ended: bool = False
    failure: str | None = None


Done = tuple[Order, dict[int, Answer]]
"""An order with the answers that were wanted, by number."""


class Writer(Protocol):
    """Answers orders."""

    def write(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, *, known_good: bool
    ) -> Iterator[list[Done]]:
        """Yield orders as they are done; `known_good` says that the generator has answered before."""


class LocalWriter:
    """A model that is loaded here."""

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
        self._policy, self._until = policy, until
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
        for batch in generate(self._policy, prompts, decoding, seed, until=self._until):
            yield [
                (order, {number: self._answer(batch[start + number]) for number in order.samples})
                for start in range(0, len(batch), count)
                for order in [by_id[batch[start].prompt_id]]
            ]

    def _answer(self, written: Continuation) -> Answer:
        text, found = cut(written.text, self._until)
        return Answer(text, found or written.ended)

    def _prompt(self, order: Order) -> Prompt:
        if self._chat:
            return Prompt(order.id, order.message, as_message(self._policy, order.message))
        return Prompt(order.id, order.prompt)


def cut(text: str, until: str | None) -> tuple[str, bool]:
    """What stands before `until`, and whether there was one."""
    before, found, _ = text.lstrip().partition(until) if until else (text, "", "")
    return before, bool(found)


def as_message(policy: Policy, text: str) -> tuple[int, ...]:
    """Tokens of a text as a user's message, up to where the answer begins; the tokenizer has a chat template."""
    tokens: Any = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    return tuple(tokens)


def asked(policy: Policy, message: str, prompt: str) -> tuple[int, ...]:
    """Tokens of a request: a user's message where the tokenizer has a chat template, else what is gone on with."""
    return as_message(policy, message) if policy.tokenizer.chat_template else tuple(encode_prompt(policy, prompt))


class EndpointWriter:
    """A model behind an OpenAI-compatible API; its key is read from the environment and goes nowhere else."""

    def __init__(self, spec: GeneratorSpec, until: str | None = None) -> None:
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
        self._openai, self._spec, self._until = openai, spec, until
        self._answers = False

    def write(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, *, known_good: bool
    ) -> Iterator[list[Done]]:
        """Yield orders as their last answer comes in.

        Raises:
            MissingError: the endpoint refuses the key, or has never answered and fails on all that it is first asked.
        """
        self._answers = known_good
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
        failed, wanted = 0, sum(len(order.samples) for order in orders)
        batch = decoding.num_samples

        async def one(order: Order, sample: int) -> Answer:
            async with gate:
                return await self._ask(client, order, decoding, stream(seed, order.id, sample) % (1 << 31))

        async def whole(order: Order) -> Done:
            answers = await asyncio.gather(*(one(order, sample) for sample in order.samples))
            return order, dict(zip(order.samples, answers, strict=True))

        async with client:
            waiting = iter(orders)
            running: set[asyncio.Task[Done]] = set()
            try:
                while True:
                    while len(running) * batch < 2 * spec.concurrency + batch and (order := next(waiting, None)):
                        running.add(asyncio.create_task(whole(order)))
                    if not running:
                        return
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    finished = [task.result() for task in done]
                    for _, answers in finished:
                        causes = [answer.failure for answer in answers.values() if answer.failure]
                        failed += len(causes)
                        if causes and not self._answers and failed >= min(_HOPELESS, wanted):
                            raise MissingError(
                                f"{spec.endpoint} has answered none of {failed} requests ({causes[-1]})",
                                mend="check that it is up, or give it more time (timeout)",
                            )
                    for one_done in finished:
                        yield one_done
            finally:
                for task in running:
                    task.cancel()

    async def _ask(self, client: Any, order: Order, decoding: Decoding, seed: int) -> Answer:
        try:
            reply = await client.chat.completions.create(
                model=self._spec.model,
                messages=[{"role": "user", "content": order.message}],
                max_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                seed=seed,
            )
            choice = reply.choices[0]
            text = choice.message.content
        except self._openai.APIError as error:
            return Answer(None, failure=self._cause(error))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Answer(None, failure=_NO_API)
        if not isinstance(text, str):
            return Answer(None, failure="the reply has no text")
        self._answers = True
        text, found = cut(text, self._until)
        return Answer(text, ended=found or choice.finish_reason == "stop")

    def _cause(self, error: Exception) -> str:
        """Why a request failed.

        Raises:
            MissingError: no other request would do better: the key is refused, or nothing has been answered yet and
                there is no such model. (A moderated endpoint refuses single requests by 403, too.)
        """
        api, status = self._openai, getattr(error, "status_code", None)
        if isinstance(error, api.AuthenticationError) or (
            isinstance(error, api.PermissionDeniedError) and not self._answers
        ):
            raise MissingError(
                f"{self._spec.endpoint} refuses the key (HTTP {status})",
                mend=f"set {self._spec.key_variable} in the environment",
            ) from None
        if isinstance(error, api.NotFoundError) and not self._answers:
            raise MissingError(
                f"{self._spec.endpoint} has no model '{self._spec.model}', or no /chat/completions",
                mend="check generator.endpoint and generator.model",
            ) from None
        if isinstance(error, api.APITimeoutError):
            return "timeout"
        if isinstance(error, api.APIConnectionError):
            return "no connection"
        return f"HTTP {status}" if status else _NO_API


async def _next(answers: AsyncIterator[Done]) -> Done | None:
    return await anext(answers, None)


def load_local(spec: GeneratorSpec, assets: "AssetStore", progress: Progress = SILENT) -> Policy:
    """The generator as a policy, loaded here.

    Raises:
        BenchError: it cannot be had.
    """
    from bench.model import load_model
    from bench.policy import HFPolicy

    found = assets.model(spec.model, spec.revision)
    with progress.bar(f"load {spec.model}"):
        base = load_model(ModelSpec(id=spec.model, revision=spec.revision, dtype=spec.dtype), found)
    return HFPolicy(base.model, base.tokenizer)
