"""Replies of an endpoint: a real server on loopback that says anything."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

from fuzz.driver import Call, Case, Kind, Trial
from fuzz.mutation import as_json, mutated, spoilt, texts

from bench.spec import Decoding, GeneratorSpec
from bench.writers.base import Order
from bench.writers.endpoint import EndpointWriter

_HEADERS = (
    *(
        (),
        (),
        (),
        (("Content-Type", "text/html; charset=zlib"),),
        (("Content-Encoding", "gzip"),),
        (("Content-Encoding", "zstd"),),
    ),
    *(
        (("Retry-After", "1e9"),),
        (("Retry-After", "Tue, 99 Nov"),),
        (("Location", "http://[::"),),
        (("Location", "/"),),
    ),
    *(
        (("Transfer-Encoding", "chunked"),),
        (("Content-Length", "-1"),),
        (("Set-Cookie", "a=\xff"),),
        (("x-should-retry", "true"),),
    ),
)
_STATUSES = (
    200,
    200,
    200,
    200,
    200,
    200,
    201,
    204,
    206,
    301,
    307,
    400,
    401,
    403,
    404,
    408,
    409,
    422,
    429,
    500,
    503,
    999,
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    reply: bytes = b""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with suppress(OSError):
            self.wfile.write(self.server.reply)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


def _reply(chance: Random) -> bytes:
    """Bytes of a whole reply, its head included."""
    text = next(texts(chance))
    body: Any = {
        "id": "x",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}],
        "usage": {"n": 1},
    }
    if chance.random() < 0.6:
        body = mutated(chance, body)
    data = as_json(body)
    if chance.random() < 0.4:
        data = spoilt(chance, data)
    status, more = chance.choice(_STATUSES), dict(chance.choice(_HEADERS))
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), "Connection": "close", **more}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    whole = head.encode("latin-1") + data
    return spoilt(chance, whole) if chance.random() < 0.15 else whole


def _replies(folder: Path) -> Case:
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}/v1"
    writer = EndpointWriter(GeneratorSpec(model="m", endpoint=endpoint, retries=0, timeout=1))
    orders = [Order("a", "Say something.", "Say something.")]
    path = folder / "reply.http"

    def asked(*, known_good: bool) -> None:
        ((_, answers),) = next(writer.write(orders, Decoding(num_samples=1), 0, known_good=known_good))
        answer = answers[0]
        if (answer.text is None) == (answer.failure is None) or "\n" in (answer.failure or ""):
            raise AssertionError(f"neither an answer nor one line: {answer!r:.200}")
        (answer.text or "").encode()

    @contextmanager
    def case(chance: Random) -> Iterator[Trial]:
        server.reply = _reply(chance)
        path.write_bytes(server.reply)
        known_good = chance.random() < 0.5
        yield Trial([path], [Call("EndpointWriter.write", lambda: asked(known_good=known_good))])

    return case


REPLIES = Kind("replies", 500, _replies)
