"""An HTTP client for servers that nobody vouches for: a reply has a largest size, and a time for the whole of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from openai import DefaultAsyncHttpxClient


class BoundedClient(DefaultAsyncHttpxClient):
    """openai's own client (proxies, redirects), with bounds.

    Its own timeout is for each wait alone, so that a server that sends a byte a second would hold a request for ever;
    and it holds a body of any size in memory.
    """

    def __init__(self, seconds: float, most: int) -> None:
        """Bound each reply.

        Args:
            seconds: For a whole try: connecting, redirects, headers and body.
            most: Bytes of a body that are read. A longer one is left after them, so that it holds more than `most`.
        """
        super().__init__(
            event_hooks={"response": [self._bound]},
            # A body that is compressed may stand for one a thousand times as large.
            headers={"Accept-Encoding": "identity"},
        )
        self._seconds, self._most = seconds, most

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """Send a request and read the whole reply, in time.

        Raises:
            httpx2.ReadTimeout: it takes longer than that.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await super().send(request, **how)
        except TimeoutError:
            raise httpx2.ReadTimeout("the reply is not whole in time", request=request) from None

    async def _bound(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101
        response.stream = _Beginning(response.stream, self._most)
        # The body is read as plain UTF-8, whatever is said about it: a codec such as zlib would unpack it.
        response.headers.pop("Content-Encoding", None)
        response.headers["Content-Type"] = "application/json"


class _Beginning(httpx2.AsyncByteStream):
    """The first bytes of a body: at most `most` and one piece more."""

    def __init__(self, body: httpx2.AsyncByteStream, most: int) -> None:
        self._body, self._most = body, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._body:
            yield piece
            read += len(piece)
            if read > self._most:
                return

    async def aclose(self) -> None:
        """Leave the rest unread."""
        await self._body.aclose()
