"""`bench export --push`: a folder goes to the hub by the hub's own client, here to a small hub on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.cli.pushing import check_push, pushed
from bench.errors import MissingError, UsageError


class Hub(ThreadingHTTPServer):
    """The part of the hub's API that a commit takes; `kept` is what was committed, `refuses` the status it answers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.kept, self.created, self.tokens, self.refuses, self.refuses_card = {}, [], set(), None, False


class Answer(BaseHTTPRequestHandler):
    """Answers a request as the hub does."""

    def do_POST(self):
        """Create a repository, say how files are sent, take a commit."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.refuses:
            self.answer({"error": "no"}, self.server.refuses)
        elif self.path == "/api/validate-yaml" and self.server.refuses_card:
            self.answer({"error": "bad", "errors": [{"message": '"base_model" is\nnot valid'}], "warnings": []}, 400)
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.answer({"url": f"http://{self.headers['Host']}/me/edit", "id": "me/edit"})
        elif "/preupload/" in self.path:
            paths = [one["path"] for one in json.loads(body)["files"]]
            self.answer({"files": [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in paths]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/me/edit/commit/{'0' * 40}"
            self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": url, "hookOutput": ""})
        else:
            self.answer({}, 200)

    def do_GET(self):
        """Say of a repository that it is there and has nothing."""
        self.answer({"id": "me/edit", "sha": "0" * 40, "siblings": [], "private": True})

    def answer(self, value, status=200):
        """Send a value."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch, socket_enabled):
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield server
    server.shutdown()


def test_every_file_arrives_in_a_private_repository(hub, tmp_path):
    files = {"README.md": b"---\n---\n", "artifact/none/facts.json": b"{}", "model.safetensors": bytes(range(256))}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert pushed(tmp_path, "me/edit", "an edit").endswith("/me/edit")
    assert hub.kept == files
    assert hub.created[0]["name"] == "edit" and hub.created[0]["organization"] == "me"
    assert hub.created[0]["visibility"] == "private"
    assert hub.tokens == {"Bearer hf_of_a_test"}


@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_the_hub_refuses_is_one_line_and_the_folder_stays(hub, tmp_path, status):
    hub.refuses = status
    (tmp_path / "README.md").write_text("an edit")
    with pytest.raises(MissingError, match="is written, but not sent to me/edit") as told:
        pushed(tmp_path, "me/edit", "an edit")
    assert "\n" not in str(told.value) and "hf_of_a_test" not in str(told.value)
    assert (tmp_path / "README.md").read_text() == "an edit"
    assert hub.kept == {}


def test_a_card_that_the_hub_refuses_is_one_line_with_its_words(hub, tmp_path):
    hub.refuses_card = True
    (tmp_path / "README.md").write_text("---\nbase_model: /a/folder\n---\n")
    with pytest.raises(MissingError, match=r'"base_model" is not valid\); change .*README\.md, then') as told:
        pushed(tmp_path, "me/edit", "an edit")
    assert "\n" not in str(told.value)


def test_what_cannot_be_sent_is_refused_before_any_work(monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("edit", "me/a--b", "me/x.git", "me/-x", "a/b/c", "", "me/a b"):
        with pytest.raises(UsageError, match="names no repository; write it as OWNER/NAME"):
            check_push(name, offline=False)
    with pytest.raises(UsageError, match="needs the network"):
        check_push("me/edit", offline=True)
    with pytest.raises(MissingError, match="finds no token"):
        check_push("me/edit", offline=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    check_push("me/edit", offline=False)
