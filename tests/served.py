"""A tiny model behind an OpenAI-compatible server on loopback, which transformers' `generate` answers greedily."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Trouble = Callable[[dict[str, Any], int], tuple[int, dict[str, Any]] | None]
"""From a request and its number to the status and body that it gets instead of an answer, or None."""


class ModelServer(ThreadingHTTPServer):
    """Continues prompts, and keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, trouble: Trouble = lambda *_: None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.trouble, self.asked, self.lock = trouble, [], threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def continued(self, text: str, length: int) -> tuple[str, int, str]:
        """The likeliest tokens after a text, how many they are, and why they end."""
        import torch

        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            whole = self.model.generate(ids, max_new_tokens=length, do_sample=False)
        new = whole[0, ids.shape[1] :].tolist()
        ended = new[-1] == self.tokenizer.eos_token_id
        said = self.tokenizer.decode(new, skip_special_tokens=True)
        return said, len(new), "stop" if ended else "length"

    def echoed(self, text: str) -> dict[str, Any]:
        """A text with its tokens, their log-probabilities and the likeliest in their places, as vLLM says it."""
        import torch

        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logprobs = self.model(ids).logits[0].log_softmax(-1)
        row = ids[0].tolist()
        own = [None, *(float(logprobs[place, token]) for place, token in enumerate(row[1:]))]
        best = [None, *({self.tokenizer.decode([int(one.argmax())]): float(one.max())} for one in logprobs[:-1])]
        tokens = [self.tokenizer.decode([token]) for token in row]
        said = {"tokens": tokens, "token_logprobs": own, "top_logprobs": best}
        choice = {"index": 0, "finish_reason": "length", "text": text, "logprobs": said}
        return {"choices": [choice], "usage": {"prompt_tokens": len(row), "completion_tokens": 0}}


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append({**body, "path": self.path, "key": self.headers["Authorization"]})
            number = len(self.server.asked)
        trouble = self.server.trouble(body, number)
        with self.server.lock:
            status, content = trouble or (200, self._answer(body))
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["temperature"] == 0
        if body.get("echo"):
            assert (body["max_tokens"], body["logprobs"]) == (0, 1)
            return self.server.echoed(body["prompt"])
        is_chat = self.path == "/v1/chat/completions"
        asked = body["messages"][0]["content"] if is_chat else body["prompt"]
        text, tokens, reason = self.server.continued(asked, body["max_tokens"])
        said = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        return {"choices": [{"index": 0, "finish_reason": reason, **said}], "usage": {"completion_tokens": tokens}}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path, trouble: Trouble = lambda *_: None) -> Iterator[ModelServer]:
    """Serve a model while the block lasts."""
    server = ModelServer(folder, trouble)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
