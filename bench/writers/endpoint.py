"""A language model behind an OpenAI-compatible API."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from bench.engine.sampling import stream
from bench.errors import MissingError
from bench.parsing import parse_json
from bench.spec import Decoding, GeneratorSpec
from bench.writers.base import Answer, Done, Order, cut

_NO_API = "the reply is none of an OpenAI-compatible API"
_BY_FILTER = "content_filter"
FILTERED = f"declined by the endpoint's own filter ({_BY_FILTER})"
"""The failure of a request that an endpoint's moderation declines, or whose answer it withholds, all or in part."""
_PATHS = {"chat": "/chat/completions", "completions": "/completions"}
_MOST_STOPS = 4  # that the API takes
_HOPELESS = 16  # so many requests that fail, before any succeeds, end the work
SURROUNDINGS, _OF_A_TOKEN = 1 << 20, 64
"""Bytes of a reply's largest body: for what stands around the answer (ids, usage), and for each token that is wanted.
Texts have some 4 bytes a token, and up to six times as many where every character is escaped."""


class EndpointWriter:
    """A model behind an OpenAI-compatible API; its key is read from the environment and goes nowhere else."""

    def __init__(
        self,
        spec: GeneratorSpec,
        until: str | None = None,
        api: Literal["completions", "chat"] = "chat",
        mend: str = "check generator.endpoint and generator.model",
    ) -> None:
        """Open a client; nothing is asked yet.

        Args:
            spec: The model, and how it is reached.
            until: An answer ends where this begins.
            api: Whether it is asked an order's message (`/chat/completions`), or to continue its prompt
                (`/completions`).
            mend: What to do where there is no such model, or no such API.

        Raises:
            MissingError: the package `openai` is missing.
        """
        try:
            import openai

            from bench.writers.bounded import BoundedClient
        except ImportError:
            raise MissingError(
                "an endpoint needs the package openai", mend="pip install 'contrastive-bench[endpoint]'"
            ) from None
        self._openai, self._spec, self._until, self._api, self._mend = openai, spec, until, api, mend
        self._client = BoundedClient
        self._answers = False

    def write(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, *, known_good: bool, stop: Sequence[str] = ()
    ) -> Iterator[list[Done]]:
        """Yield orders as their last answer comes in.

        The endpoint is told to end an answer before the first few of the texts `stop`, as many as the API takes.

        Raises:
            MissingError: the endpoint refuses the key, or has never answered and fails on all that it is first asked.
        """
        self._answers = known_good
        answers = self._all(orders, decoding, seed, {"stop": list(stop[:_MOST_STOPS])} if stop else {})
        with asyncio.Runner() as runner:
            while (done := runner.run(_next(answers))) is not None:
                yield [done]

    async def _all(
        self, orders: Sequence[Order], decoding: Decoding, seed: int, more: Mapping[str, Any]
    ) -> AsyncIterator[Done]:
        spec, gate = self._spec, asyncio.Semaphore(self._spec.concurrency)
        most = self._most(orders, decoding)
        client = self._openai.AsyncOpenAI(
            base_url=spec.endpoint,
            api_key=os.environ.get(spec.key_variable) or "none",  # servers on one's own machine ask for none
            timeout=spec.timeout,
            max_retries=spec.retries,
            http_client=self._client(spec.timeout, most),
        )
        failed, wanted = 0, sum(len(order.samples) for order in orders)
        batch = decoding.num_samples

        async def answer_to(order: Order, sample: int) -> Answer:
            async with gate:
                own = {"seed": stream(seed, order.id, sample) % (1 << 31), **more}
                return await self._ask(client, order, decoding, own, most)

        async def whole(order: Order) -> Done:
            answers = await asyncio.gather(*(answer_to(order, sample) for sample in order.samples))
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
                    finished = _results(done)
                    for _, answers in finished:
                        causes = [answer.failure for answer in answers.values() if answer.failure]
                        failed += len(causes)
                        if causes and not self._answers and failed >= min(_HOPELESS, wanted):
                            raise MissingError(
                                f"{spec.endpoint} has answered none of {failed} requests ({causes[-1]})",
                                mend="check that it is up, or give it more time (timeout)",
                            )
                    for order_done in finished:
                        yield order_done
            finally:
                for task in running:
                    task.cancel()

    async def _ask(self, client: Any, order: Order, decoding: Decoding, own: Mapping[str, Any], most: int) -> Answer:
        sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p}
        how = {"model": self._spec.model, "max_tokens": decoding.max_new_tokens, **sampling, **own}
        try:
            reply = await self._sent(client, order, how)
        except self._openai.APIError as error:
            return Answer(None, failure=self._cause(error))
        except UnicodeEncodeError:  # half a character, which a model may write
            return Answer(None, failure="the message is no text that can be sent")
        try:
            answer = self._read(order, reply.content, most)
        except ValueError as error:
            return Answer(None, failure=str(error))
        self._answers = True
        return answer

    def _most(self, orders: Sequence[Order], decoding: Decoding) -> int:
        """Bytes of a reply's largest body."""
        del orders
        return SURROUNDINGS + _OF_A_TOKEN * decoding.max_new_tokens

    async def _sent(self, client: Any, order: Order, how: Mapping[str, Any]) -> Any:
        """The raw reply to an order."""
        if self._api == "chat":
            messages = [{"role": "user", "content": order.message}]
            return await client.chat.completions.with_raw_response.create(messages=messages, **how)
        return await client.completions.with_raw_response.create(prompt=order.prompt, **how)

    def _read(self, order: Order, body: bytes, most: int) -> Answer:
        """The answer in a reply.

        Raises:
            ValueError: there is none.
        """
        del order
        text, reason, tokens = _said(body, most, self._api)
        if text is None:
            return Answer(None, failure=FILTERED)
        text, was_cut = cut(text, self._until)
        return Answer(text, ended=was_cut or reason == "stop", tokens=tokens)

    def _cause(self, error: Exception) -> str:
        """Why a request failed.

        Raises:
            MissingError: no other request would do better: the key is refused, or nothing has been answered yet and
                there is no such model. (A moderated endpoint refuses single requests by 403, too.)
        """
        api, status = self._openai, getattr(error, "status_code", None)
        if getattr(error, "code", None) == _BY_FILTER:
            self._answers = True
            return FILTERED
        if isinstance(error, api.AuthenticationError) or (
            isinstance(error, api.PermissionDeniedError) and not self._answers
        ):
            raise MissingError(
                f"{self._spec.endpoint} refuses the key (HTTP {status})",
                mend=f"set {self._spec.key_variable} in the environment",
            ) from None
        if isinstance(error, api.NotFoundError) and not self._answers:
            raise MissingError(
                f"{self._spec.endpoint} has no model '{self._spec.model}', or no {_PATHS[self._api]}", mend=self._mend
            ) from None
        if isinstance(error, api.APITimeoutError):
            return "timeout"
        if isinstance(error, api.APIConnectionError):
            return "no connection"
        return f"HTTP {status}" if status else _NO_API


def first_choice(body: bytes, most: int) -> tuple[Any, Any]:
    """The first choice of a reply, and what it says of its use.

    Raises:
        ValueError: the reply is larger than `most` bytes, or is no JSON of the API's form.
    """
    if len(body) > most:
        raise ValueError(f"the reply is larger than {most:,} bytes")
    try:
        reply = parse_json(body.decode("utf-8"), halves=False)
        return reply["choices"][0], reply.get("usage")
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        raise ValueError(_NO_API) from None
    except ValueError as error:
        raise ValueError(f"the reply is no answer: {error}") from None


def _said(body: bytes, most: int, api: str) -> tuple[str | None, object, int | None]:
    """The text of a reply, why it ended, and how many tokens it says to have; no text where a filter ended it.

    Raises:
        ValueError: the reply is too large, is no JSON of the API's form, or has no text.
    """
    try:
        choice, usage = first_choice(body, most)
        reason = choice.get("finish_reason")
        if reason == _BY_FILTER:
            return None, reason, None
        text = choice["message"]["content"] if api == "chat" else choice["text"]
    except (LookupError, TypeError, AttributeError):
        raise ValueError(_NO_API) from None
    if not isinstance(text, str):
        raise ValueError("the reply has no text")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    is_number = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0
    return text, reason, tokens if is_number else None


def _results(done: Collection[asyncio.Task[Done]]) -> list[Done]:
    """What tasks return; each is asked for its error, or asyncio would print those behind the first."""
    if errors := [error for task in done if (error := task.exception())]:
        raise errors[0]
    return [task.result() for task in done]


async def _next(answers: AsyncIterator[Done]) -> Done | None:
    return await anext(answers, None)
