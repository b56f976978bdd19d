"""A generator behind an endpoint: a real server on loopback that answers well, late, wrongly or not at all."""

import gzip
import json
import resource
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.data.sentences import Sentence
from bench.errors import MissingError
from bench.hashing import content_id
from bench.judging.verdicts import TEMPLATE, AnswerPair, Verdict, open_judge, verdicts
from bench.progress import SILENT
from bench.sets.written.build import Build
from bench.sets.written.recipe import Recipe, Templates
from bench.spec import Decoding, GeneratorSpec, validate
from bench.store.appended import AppendedFile
from bench.store.files import read_jsonl
from bench.writers.base import Order
from bench.writers.cached_answers import cached_answers
from bench.writers.endpoint import EndpointWriter

pytestmark = pytest.mark.network
KEY = "sk-a-secret-that-nobody-may-see"
SENTENCES = [Sentence(content_id(text), text) for text in (f"Sentence number {number}." for number in range(6))]
ORDERS = [
    Order.of(f"{sentence.id}/{kind}", getattr(Templates(), kind), sentence.text, (0, 1))
    for sentence in SENTENCES
    for kind in ("positive", "negative")
]
DECODING = Decoding(num_samples=2, max_new_tokens=9, temperature=0.7, top_p=0.8)
Reply = tuple[int, dict[str, str], Any]


def said(text: str, reason: str = "stop") -> Reply:
    return (
        200,
        {},
        {"choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}]},
    )


class Server(ThreadingHTTPServer):
    """Answers by `answer`, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply | None]) -> None:
        self.answer, self.asked, self.lock = answer, [], threading.Lock()
        self.now = self.most = 0
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append({**body, "path": self.path, "key": self.headers["Authorization"]})
            number = len(self.server.asked)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            reply = self.server.answer(body, number)
        finally:
            with self.server.lock:
                self.server.now -= 1
        if reply is None:  # a broken connection
            return
        if callable(reply):  # it writes for itself, until nobody listens
            with suppress(OSError):
                reply(self.wfile)
            return
        status, headers, content = reply
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., tuple[Server, EndpointWriter]]]:
    """A server that answers so, and a writer that asks it."""
    monkeypatch.setenv("MY_KEY", KEY)
    servers: list[Server] = []

    def start(answer: Callable[[dict[str, Any], int], Reply | None], **spec: Any) -> tuple[Server, EndpointWriter]:
        server = Server(answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        told = {"model": "m", "key_variable": "MY_KEY", "retries": 1, "timeout": 5, **spec}
        endpoint = f"http://127.0.0.1:{server.server_address[1]}/v1"
        return server, EndpointWriter(GeneratorSpec(endpoint=endpoint, **told))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def written(writer: EndpointWriter, *, known_good: bool = False) -> dict[str, list[Any]]:
    batches = writer.write(ORDERS, DECODING, 3, known_good=known_good)
    return {order.id: [answers[0], answers[1]] for batch in batches for order, answers in batch}


def test_every_candidate_is_asked_for_once_with_the_decoding_and_a_seed_of_its_own(serve):
    def answer(body: dict[str, Any], _: int) -> Reply:
        time.sleep(0.02)
        return said(f"{body['messages'][0]['content'].splitlines()[-1]} {body['seed']}")

    server, writer = serve(answer, concurrency=3)
    found = written(writer)
    assert {name: [one.ended for one in answers] for name, answers in found.items()} == {
        order.id: [True, True] for order in ORDERS
    }
    assert all(answer.text.startswith(order.message.splitlines()[-1]) for order in ORDERS for answer in found[order.id])
    assert len(server.asked) == len({one["seed"] for one in server.asked}) == len(ORDERS) * 2
    assert {(one["path"], one["max_tokens"], one["temperature"], one["top_p"], one["key"]) for one in server.asked} == {
        ("/v1/chat/completions", 9, 0.7, 0.8, f"Bearer {KEY}")
    }
    assert 1 < server.most <= 3
    assert {one.text for answers in found.values() for one in answers} == {
        one.text for answers in written(writer).values() for one in answers
    }, "the same seeds again"


def test_too_many_requests_and_failures_are_tried_again(serve):
    def answer(body: dict[str, Any], number: int) -> Reply | None:
        if number % 3 == 0:
            return 429, {"Retry-After": "0.01"}, {"error": {"message": "slow down"}}
        if number % 7 == 0:
            return 503, {}, {"error": {"message": "busy"}}
        return said("fine", "length")

    _, writer = serve(answer, retries=6)
    found = written(writer)
    assert all((one.text, one.ended, one.failure) == ("fine", False, None) for some in found.values() for one in some)


@pytest.mark.parametrize(
    ("bad", "failure"),
    [
        ((500, {}, {"error": {"message": "no"}}), "HTTP 500"),
        ((200, {}, b"<html>a proxy</html>"), "the reply is none of an OpenAI-compatible API"),
        ((200, {}, {"choices": []}), "the reply is none of an OpenAI-compatible API"),
        ((200, {}, {"choices": [{"finish_reason": "stop", "message": {"content": None}}]}), "the reply has no text"),
        (None, "no connection"),
        ((400, {}, {"error": {"message": "filtered"}}), "HTTP 400"),
        ((403, {}, {"error": {"message": "moderated"}}), "HTTP 403"),
    ],
)
def test_what_fails_is_missing_with_its_cause_and_the_others_are_kept(serve, bad, failure):
    def answer(body: dict[str, Any], _: int) -> Reply | None:
        return bad if "number 1" in body["messages"][0]["content"] else said("fine")

    _, writer = serve(answer, retries=0)
    for name, answers in written(writer, known_good=True).items():
        expected = (None, failure) if name.startswith(SENTENCES[1].id) else ("fine", None)
        assert {(one.text, one.failure) for one in answers} == {expected}


def test_a_server_that_never_answers_is_given_up(serve):
    def answer(body: dict[str, Any], _: int) -> Reply:
        time.sleep(1)
        return said("too late")

    _, writer = serve(answer, retries=0, timeout=0.1)
    with pytest.raises(MissingError, match=r"has answered none of \d+ requests \(timeout\); check that it is up"):
        written(writer)


def test_a_server_that_answered_before_and_is_down_now_leaves_failures_and_no_error(serve):
    _, writer = serve(lambda *_: (500, {}, {"error": {"message": "down"}}), retries=0)
    found = written(writer, known_good=True)
    assert {one.failure for answers in found.values() for one in answers} == {"HTTP 500"}


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the key .HTTP 401.; set MY_KEY"), (403, "refuses the key"), (404, "has no model 'm', or no /chat")],
)
def test_what_no_second_try_mends_ends_at_once(serve, status, said):
    server, writer = serve(lambda *_: (status, {}, {"error": {"message": "no"}}), concurrency=2)
    with pytest.raises(MissingError, match=said) as told:
        written(writer)
    assert KEY not in str(told.value)
    assert len(server.asked) <= 4


def ok(body: str | bytes, **headers: str) -> Reply:
    return 200, headers, body if isinstance(body, bytes) else body.encode()


def around(text: str) -> str:
    """The JSON of a reply, with this for its text."""
    return f'{{"choices": [{{"finish_reason": "stop", "message": {{"content": {text}}}}}]}}'


NO_API = "the reply is none of an OpenAI-compatible API"
BIG = b" " * (1 << 26)  # 64 MB
BAD_REPLIES = {
    "brackets": (ok("[" * 200_000), "the reply is no answer: it is nested too deeply"),
    "brackets, closed": (ok(around("[" * 200_000 + "]" * 200_000)), "the reply is no answer: it is nested too deeply"),
    "braces": (ok('{"a":' * 100_000), "the reply is no answer: it is nested too deeply"),
    "NaN": (ok(around("NaN")), "the reply is no answer: NaN is no JSON"),
    "infinite": (ok(around("1e999")), "the reply is no answer: a number is too large"),
    "digits": (ok(around("9" * 5000)), "the reply is no answer: a number has 5000 digits"),
    "half a character": (
        ok(around('"\\ud800 x"')),
        "the reply is no answer: a text holds half a character (a lone surrogate)",
    ),
    "a number": (ok(around("3")), "the reply has no text"),
    "a list": (ok("[]"), NO_API),
    "a text": (ok('"choices"'), NO_API),
    "null": (ok("null"), NO_API),
    "nothing": (ok(""), NO_API),
    "choices null": (ok('{"choices": null}'), NO_API),
    "choices a mapping": (ok('{"choices": {"0": 1}}'), NO_API),
    "a choice a text": (ok('{"choices": ["message"]}'), NO_API),
    "a message a list": (ok('{"choices": [{"message": []}]}'), NO_API),
    "a message a text": (ok('{"choices": [{"message": "content"}]}'), NO_API),
    "no UTF-8": (ok(b"\xff\xfe"), NO_API),
    "64 MB": (ok(BIG), "the reply is larger than 1,049,152 bytes"),
    "64 MB of an error": ((400, {}, BIG), "HTTP 400"),
    "64 MB, compressed": (ok(gzip.compress(BIG), **{"Content-Encoding": "gzip"}), NO_API),
    "64 MB, in a codec": ((400, {"Content-Type": "text/plain; charset=zlib"}, zlib.compress(BIG)), "HTTP 400"),
    "brackets of an error": ((422, {}, b"[" * 200_000), "HTTP 422"),
    "redirects for ever": ((307, {"Location": "/v1/chat/completions"}, b""), "no connection"),
    "redirects to nowhere": ((307, {"Location": "http://[::"}, b""), "no connection"),
    "no body after all": (lambda wire: wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "no connection"),
    "no HTTP": (lambda wire: wire.write(b"hello\r\n\r\n"), "no connection"),
    "headers for ever": (
        lambda wire: wire.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1_000_000),
        "no connection",
    ),
}


def asked_once(writer: EndpointWriter, message: str = "Say something.") -> Any:
    """The answer to one order, and by how many bytes the process has grown at most."""
    orders = [Order("a", message, message)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ((_, answers),) = next(writer.write(orders, DECODING, 0, known_good=True))
    return answers[0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@pytest.mark.parametrize(("bad", "failure"), BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_a_hostile_reply_is_one_failure_and_costs_little(serve, bad, failure):
    _, writer = serve(lambda *_: bad, retries=0)
    start = time.monotonic()
    answer, grown = asked_once(writer)
    assert (answer.text, answer.failure) == (None, failure)
    assert time.monotonic() - start < 5
    assert grown < 60e6


def test_a_body_without_an_end_is_left_after_its_largest_size(serve):
    sent = 0

    def pour(wire: Any) -> None:
        nonlocal sent
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n")
        for _ in range(3000):
            wire.write(b" " * 1_000_000)
            sent += 1_000_000

    _, writer = serve(lambda *_: pour, retries=0)
    answer, grown = asked_once(writer)
    assert answer.failure == "the reply is larger than 1,049,152 bytes"
    assert grown < 60e6
    assert sent < 100e6, "the rest is not taken from the server"


def trickle(start: bytes) -> Callable[[Any], None]:
    def write(wire: Any) -> None:
        wire.write(start)
        for _ in range(100):
            wire.write(b" ")
            time.sleep(0.1)

    return write


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nX:"],
    ids=["body", "error", "headers"],
)
def test_a_reply_that_trickles_is_given_up_in_time_and_asked_for_again(serve, start):
    server, writer = serve(lambda *_: trickle(start), retries=1, timeout=0.5)
    begun = time.monotonic()
    answer, _ = asked_once(writer)
    assert answer.failure == "timeout"
    assert time.monotonic() - begun < 4  # twice, and openai's pause of 0.5 s between
    assert len(server.asked) == 2


def test_redirects_that_take_their_time_have_no_more_of_it(serve):
    def answer(*_: Any) -> Reply:
        time.sleep(0.2)
        return 307, {"Location": "/v1/chat/completions"}, b""

    _, writer = serve(answer, retries=0, timeout=0.7)
    begun = time.monotonic()
    assert asked_once(writer)[0].failure == "timeout"
    assert time.monotonic() - begun < 2


def test_a_long_answer_fits_where_as_many_tokens_were_asked_for(serve):
    text = "\u4e2d" * 1_000_000  # escaped: 6 MB
    _, writer = serve(lambda *_: said(text), retries=0)
    many = DECODING.model_copy(update={"max_new_tokens": 100_000})
    ((_, answers),) = next(writer.write([Order("a", "b", "b")], many, 0, known_good=True))
    assert answers[0].text == text


def test_a_message_that_is_no_text_fails_alone(serve):
    server, writer = serve(lambda *_: said("fine"), retries=0)
    assert asked_once(writer, "half: \ud800")[0].failure == "the message is no text that can be sent"
    assert asked_once(writer)[0].text == "fine"
    assert len(server.asked) == 1


class Still:
    """Measures nothing: what is written is all that counts here."""

    def measure(self, rows: list[dict[str, Any]]) -> None:
        for one in rows:
            one |= {"toxicity": 0.0, "similarity": 1.0, "rouge_l": 0.0, "length_ratio": 1.0}


def test_a_killed_work_goes_on_failures_are_asked_anew_and_no_key_is_written(serve, tmp_path):
    down = threading.Event()

    def answer(body: dict[str, Any], number: int) -> Reply:
        if down.is_set() and number % 2:
            return 500, {}, {"error": {"message": KEY}}
        return said(f"text {body['seed']}")

    server, writer = serve(answer, retries=0)
    recipe = validate(
        Recipe, {"generator": {"endpoint": "http://x"}, "decoding": DECODING.model_dump(), "min_negatives": 0}, "test"
    )
    work = Build(tmp_path / "made", recipe, SENTENCES, {"generator": "m"})
    work.begin()

    class Killed:
        def write(self, orders, decoding, seed, *, known_good):
            for number, batch in enumerate(writer.write(orders, decoding, seed, known_good=known_good)):
                if number == 5:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        work.sample(Killed(), Still(), ahead=True)
    held = read_jsonl(tmp_path / "made" / "candidates.jsonl")
    assert 0 < len(held) < len(ORDERS) * 2
    down.set()
    work.sample(writer, Still(), ahead=True)
    partly = read_jsonl(tmp_path / "made" / "candidates.jsonl")
    assert any(one["failure"] == "HTTP 500" for one in partly)
    assert work.todo()
    work.finish()
    good = {json.dumps(one) for one in partly if one["text"]}
    asked = len(server.asked)
    down.clear()
    work.sample(writer, Still(), ahead=True)
    assert not work.todo()
    rows = read_jsonl(tmp_path / "made" / "candidates.jsonl")
    assert len(rows) == len({(one["sentence_id"], one["kind"], one["sample"]) for one in rows}) == len(ORDERS) * 2
    assert {json.dumps(one) for one in held} <= good <= {json.dumps(one) for one in rows}
    assert len(server.asked) - asked == len(ORDERS) * 2 - len(good), "only what failed is asked anew"
    assert all(one["text"] for one in rows)
    assert all(KEY not in path.read_text() for path in (tmp_path / "made").iterdir())


def spec_of(server: Server) -> GeneratorSpec:
    return GeneratorSpec(model="m", endpoint=f"http://127.0.0.1:{server.server_address[1]}/v1", retries=0, timeout=5)


def test_a_judge_behind_an_endpoint_is_asked_in_both_orders_and_only_what_failed_again(serve, tmp_path):
    """The longer answer wins; one pair is always refused, as by a filter of content, one is answered in no letter."""

    def answer(body: dict[str, Any], _: int) -> Reply:
        text = body["messages"][0]["content"]
        first, second = (text.partition(f"\n\n{label}: ")[2].partition("\n\n")[0] for label in "AB")
        if "odd" in text:
            return 400, {}, {"error": {"message": "content filter"}}
        longer = "AB"[len(second) > len(first)]
        return said("Both are fine." if first == "ties" else f"The answer is **{longer}**.")

    server, _ = serve(answer)
    pairs = [
        AnswerPair("a", "t", "long answer", "short"),
        AnswerPair("b", "t", "odd", "other"),
        AnswerPair("c", "t", "ties", "longer"),
    ]
    unused: Any = None

    def judged() -> list[Verdict]:
        with AppendedFile(tmp_path / "answers.jsonl") as held, SILENT.bar("judge") as bar:
            return verdicts(lambda: open_judge(spec_of(server), unused, SILENT), pairs, TEMPLATE, 0, held, bar)

    found = judged()
    assert [one.labels for one in found] == [("A", "B"), (None, None), (None, "A")]
    assert [one.preference for one in found] == [1.0, None, None]
    assert {(one["max_tokens"], one["temperature"]) for one in server.asked} == {(16, 0.01)}
    server.asked.clear()
    assert judged() == found, "who has answered before is there, though all that is left fails"
    assert len(server.asked) == 3


def test_a_writer_behind_an_endpoint_is_asked_once_and_again_where_it_failed(serve, context):
    refused = [SENTENCES[2].text]

    def answer(body: dict[str, Any], _: int) -> Reply:
        text = body["messages"][0]["content"].splitlines()[-1]
        return (403, {}, {"error": {"message": "no"}}) if text in refused else said(f"On {text}")

    server, _ = serve(answer)
    asked = ("Go on:\n{sentence}", Decoding(num_samples=1, max_new_tokens=9))
    (first,) = cached_answers(spec_of(server), *asked, SENTENCES[:1], context.assets, context.progress)
    found = cached_answers(spec_of(server), *asked, SENTENCES, context.assets, context.progress)
    assert found == [replace(one, text=f"On {one.text}") for one in SENTENCES if one.text not in refused]
    assert found[0] == first
    assert len(server.asked) == len(SENTENCES)
    refused.clear()
    assert len(cached_answers(spec_of(server), *asked, SENTENCES, context.assets, context.progress)) == len(SENTENCES)
    assert len(server.asked) == len(SENTENCES) + 1
