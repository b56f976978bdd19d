"""Models and data from the hub: a small one of our own answers the hub's client."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bench.assets import hub
from bench.errors import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What the hub's client asks for, over folders: files[kind][OWNER/NAME] is a folder."""

    files: dict[str, dict[str, Path]]
    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            self.api(parts[1], "/".join(parts[2:4]), parts[4], parts[5])
            return
        kind = "datasets" if parts[0] == "datasets" else "models"
        parts = parts[1:] if kind == "datasets" else parts
        target = self.files[kind].get("/".join(parts[:2]), Path("/nowhere")) / "/".join(parts[4:])
        if not target.is_file():
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = target.read_bytes()
        self.reply(200, content, {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def api(self, kind: str, repo: str, what: str, revision: str) -> None:
        folder = self.files[kind].get(repo)
        if repo == "closed/model":
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif folder is None:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif what == "revision":
            self.reply(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": []}).encode(), {})
        else:
            listed = [
                {"type": "file", "path": name, "size": p.stat().st_size, "oid": sha256(p.read_bytes()).hexdigest()}
                for p in sorted(folder.rglob("*"))
                if p.is_file()
                for name in [p.relative_to(folder).as_posix()]
            ]
            self.reply(200, json.dumps(listed).encode(), {})

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


SCRIPT = """
import json, sys
from pathlib import Path
from bench.assets.catalogue import AssetCatalogue
from bench.errors import BenchError
store = AssetCatalogue(offline="--offline" in sys.argv)
for call in json.loads(sys.argv[1]):
    try:
        found = getattr(store, call[0])(*call[1:])
        names = sorted(p.name for p in found.path.iterdir()) if found.path.is_dir() else found.path.read_text()
        print(json.dumps([found.revision, found.licence, found.source, found.sha256, names]))
    except BenchError as error:
        print(json.dumps([type(error).__name__, str(error)]))
assert "torch" not in sys.modules
"""
Ask = Callable[..., list[list[Any]]]


@pytest.fixture
def ask(tmp_path: Path, cache_dir: Path) -> Iterator[Ask]:
    """Ask a process of its own (the hub's client reads its settings when imported) with a hub of our own."""
    model, data = tmp_path / "files-m", tmp_path / "files-d"
    model.mkdir()
    data.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin", "modeling_own.py"):
        (model / name).write_text(f"{name} of the hub")
    (model / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A model\n")
    (data / "prompts.jsonl").write_text('{"text": "one"}\n')
    pickled = tmp_path / "files-p"
    pickled.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (pickled / name).write_text(name)
    adapter, unsafe = tmp_path / "files-a", tmp_path / "files-u"
    adapter.mkdir()
    unsafe.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "training_args.bin"):
        (adapter / name).write_text(f"{name} of the hub")
    (adapter / "README.md").write_text("---\nlicense: mit\n---\n")
    for name in ("adapter_config.json", "adapter_model.bin"):
        (unsafe / name).write_text(name)
    Hub.files = {
        "models": {
            "some/model": model,
            "old/model": pickled,
            "closed/model": model,
            "some/adapter": adapter,
            "old/adapter": unsafe,
        },
        "datasets": {"some/data": data},
    }
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    environment.pop("HF_TOKEN", None)

    def run(*calls: list[str], up: bool = True, flags: tuple[str, ...] = ()) -> list[list[Any]]:
        endpoint = f"http://127.0.0.1:{server.server_port if up else 9}"
        command = [sys.executable, "-c", SCRIPT, json.dumps(calls), *flags]
        done = subprocess.run(
            command,
            env=environment | {"HF_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    yield run
    server.shutdown()
    server.server_close()


@pytest.mark.network
def test_hub_models_and_data(ask: Ask) -> None:
    calls = [["model", "some/model"], ["model", f"some/model@{COMMIT}"], ["data", "hub:some/data:prompts.jsonl@main"]]
    first, pinned, data = ask(*calls)
    assert first[:3] == [COMMIT, "cc-by-4.0", "hub"]
    assert first[4] == ["README.md", "config.json", "model.safetensors", "tokenizer.json"], "no pickle, no code"
    assert pinned == first
    assert data[0] == COMMIT
    assert data[4] == '{"text": "one"}\n'
    assert not [path for path in Hub.asked if path.endswith((".bin", ".py"))]
    Hub.asked.clear()
    assert ask(*calls, flags=("--offline",)) == [first, pinned, data], "what is in the hub's cache is there offline"
    assert Hub.asked == [], "offline asks nobody"
    assert ask(*calls, up=False) == [first, pinned, data], "nor is a hub that is down an error then"


@pytest.mark.network
def test_an_encoder_comes_with_what_says_how_it_pools(ask: Ask, tmp_path: Path) -> None:
    model = tmp_path / "files-m"
    for folder in ("1_Pooling", "onnx"):
        (model / folder).mkdir()
        (model / folder / "config.json").write_text('{"pooling_mode_cls_token": true}')
    calls = ["encoder", "some/model"]
    (found,) = ask(calls)
    assert found[4] == ["1_Pooling", "README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert ask(calls, flags=("--offline",)) == [found]
    assert not [path for path in Hub.asked if "onnx" in path]


@pytest.mark.network
def test_hub_adapters(ask: Ask) -> None:
    calls = [["adapter", "some/adapter"], ["adapter", f"some/adapter@{COMMIT}"]]
    first, pinned = ask(*calls)
    assert first[:3] == [COMMIT, "mit", "hub"]
    assert first[4] == ["README.md", "adapter_config.json", "adapter_model.safetensors"], "no pickle, nothing beside it"
    assert pinned == first
    assert not [path for path in Hub.asked if path.endswith((".bin", ".py", "tokenizer.json"))]
    assert ask(*calls, flags=("--offline",)) == [first, pinned]
    refused = ask(["adapter", "old/adapter"], ["adapter", "some/model"], ["adapter", "no/adapter"])
    expected = ["has no adapter_model.safetensors", "it has no adapter_config.json", "'no/adapter' does not exist"]
    for (_, text), words in zip(refused, expected, strict=True):
        assert words in text
        assert "\n" not in text


@pytest.mark.network
def test_hub_refusals_are_one_line(ask: Ask) -> None:
    calls = [
        ["model", "no/model"],
        ["model", "closed/model"],
        ["model", "some/model@v9"],
        ["model", "old/model"],
        ["data", "hub:some/data:other.jsonl"],
    ]
    answers = ask(*calls)
    expected = [
        "'no/model' does not exist on the hub",
        "'closed/model' is gated on the hub",
        "'some/model' at revision 'v9' does not exist on the hub",
        "has no safetensors weights",
        "'some/data' has no file 'other.jsonl'",
    ]
    for (kind, text), words in zip(answers, expected, strict=True):
        assert kind == "MissingError"
        assert words in text
        assert "\n" not in text


@pytest.mark.network
def test_no_hub_and_nothing_cached(ask: Ask) -> None:
    calls = [["model", "some/model"], ["data", "hub:some/data:prompts.jsonl"]]
    for flags, words in (((), "the hub cannot be reached"), (("--offline",), "--offline is on")):
        model, data = ask(*calls, up=False, flags=flags)
        assert model[0] == data[0] == "MissingError"
        assert words in model[1]
        assert words in data[1]
        assert "the embedded 'smollm2-135m-instruct'" in model[1]
        assert "\n" not in model[1] + data[1]


@pytest.mark.network
def test_what_was_fetched_in_part_is_said_to_be_that(ask: Ask, tmp_path: Path) -> None:
    """As another program leaves it that wanted one file."""
    calls = [["model", "some/model"], ["adapter", "some/adapter"], ["data", "hub:some/data:prompts.jsonl"]]
    for name, file in (
        ("models--some--model", "config.json"),
        ("models--some--adapter", "adapter_config.json"),
        ("datasets--some--data", "other.jsonl"),
    ):
        place = tmp_path / "hf" / "hub" / name
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(COMMIT)
        (place / "snapshots" / COMMIT).mkdir(parents=True)
        (place / "snapshots" / COMMIT / file).write_text("of the hub")
    for flags, words in (((), "the hub cannot be reached"), (("--offline",), "in the hub's cache and --offline is on")):
        for kind, text in ask(*calls, up=False, flags=flags):
            assert kind == "MissingError"
            assert words in text
    assert [one[0] for one in ask(*calls)] == [COMMIT] * 3


@pytest.mark.network
def test_a_damaged_file_in_the_hubs_cache_is_named(ask: Ask, tmp_path: Path) -> None:
    ask(["model", "some/model"])
    weights = next((tmp_path / "hf").rglob("snapshots/*/model.safetensors"))
    weights.resolve().write_text("model.safetensors of someone")
    ((kind, text),) = ask(["model", "some/model"])
    assert kind == "MissingError"
    assert "model.safetensors is damaged" in text


@pytest.mark.parametrize("ref", ["hub:a/b", "hub:a:b.jsonl", "hub:a/b:x.pkl", "hub:a/b:../x.jsonl", "hub:a/b:load.py"])
def test_bad_hub_data_references(ref: str) -> None:
    with pytest.raises(UsageError):
        hub.split_data(ref, None)


def test_of_packed_files_those_by_gzip_are_read() -> None:
    assert hub.split_data("hub:a/b:x.jsonl.gz", None) == ("a/b", "x.jsonl.gz", None)
    with pytest.raises(UsageError, match=r"'x\.jsonl\.zst' is not a data file; .* of packed files those by gzip alone"):
        hub.split_data("hub:a/b:x.jsonl.zst", None)


def test_a_hub_data_reference_is_taken_apart() -> None:
    assert hub.split_data("hub:a/b:en/x.jsonl@v1", None) == ("a/b", "en/x.jsonl", "v1")
    assert hub.split_data("hub:a/b:x.jsonl", "v2") == ("a/b", "x.jsonl", "v2")
    with pytest.raises(UsageError, match="disagree"):
        hub.split_data("hub:a/b:x.jsonl@v1", "v2")
