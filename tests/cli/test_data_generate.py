"""`bench data generate` and `bench data stats`, as a user types them; a real server is asked over loopback."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
PATIENCE = 300
Command = Callable[..., subprocess.CompletedProcess[str]]
LOOSE = {
    "similarity_above": None,
    "length_ratio": None,
    "rouge_l_below": None,
    "language": None,
    "refusals": False,
    "finished": False,
    "positive_below": 0.0364,
    "negative_above": 0.0364,
}
"""Filters that part a random model's texts."""
CHAT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}assistant:"


@pytest.fixture
def data(carried_out: Command, variables: dict[str, str]) -> Command:
    """`bench data ARGS...` in a folder of the test's own."""
    return lambda *args: carried_out(["data", *args], variables | {"COLUMNS": "80"}, PATIENCE)


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> Path:
    """A recipe of the tiny model, and sentences.txt beside it."""
    (tmp_path / "sentences.txt").write_text("".join(f"The train number {n} was late.\n" for n in range(8)))
    made = {
        "generator": {"model": str(tiny_model)},
        "encoder": None,
        "evaluation": [],
        "decoding": {"num_samples": 3, "max_new_tokens": 8},
        "filters": LOOSE,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(made))  # JSON is YAML
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_sets_are_made_told_of_and_looked_at(data, recipe, tmp_path, tiny_model):
    made = ("generate", "sentences.txt", "--recipe", str(recipe), "--out", "made")
    done = data(*made)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "toxicity" in done.stdout
    assert done.stdout.rstrip().endswith("written: made/sets.jsonl")
    assert "candidates … done" in done.stderr
    again = data(*made, "--json")
    report = json.loads(again.stdout)
    assert report["sentences"] == 8
    assert report["sets"] == len(rows(tmp_path / "made" / "sets.jsonl"))
    assert "candidates" not in again.stderr, "nothing was left to write"
    more = data(*made, "--limit", "4", "--json")
    assert json.loads(more.stdout)["sentences"] == 4
    told = data("stats", "made/sets.jsonl", "--model", str(tiny_model), "--evaluation", "sentences.txt", "-o", "s.svg")
    assert told.returncode == 0, told.stderr
    assert "meet evaluation prompts" in told.stdout  # each line of plain text is a prompt
    (tmp_path / "numbers.jsonl").write_text('{"text": 7}\n')
    told = data("stats", "made/sets.jsonl", "--model", str(tiny_model), "--evaluation", "numbers.jsonl")
    assert told.returncode == 2, "a number is no prompt"
    told = data("stats", "made/sets.jsonl", "--model", str(tiny_model), "--evaluation", "made/none.jsonl")
    assert told.returncode == 3
    (tmp_path / "prompts.jsonl").write_text('{"text": "The river rises in the hills and"}\n')
    told = data("stats", "made/sets.jsonl", "--model", str(tiny_model), "--evaluation", "prompts.jsonl", "-o", "s.svg")
    assert told.returncode == 0, told.stderr
    assert "log-perplexity of negatives less that of positives" in told.stdout
    assert (tmp_path / "s.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--set", "filtres.language=en"), 2, "unknown key 'filtres', did you mean 'filters'"),
        (("--set", "templates.positive=again"), 2, "the positive template has no {sentence}"),
        (("--field", "body"), 2, "no text under 'body'"),
        (("--skip", "8"), 2, "--skip 8 leaves none of 8 sentences"),
        (("--half", "left"), 2, "--half left is neither 'all' nor 'train'"),
        (("--model", "nothing-known"), 2, "unknown model 'nothing-known'"),
        (("--set", "encoder=./nowhere"), 3, "model folder './nowhere' does not exist"),
        (("--set", "filters.negative_above=0.9999"), 3, "none of 8 sentences has 1 positives and 1 negatives left"),
    ],
)
def test_what_cannot_work_is_one_line_and_an_exit_code(data, recipe, arguments, code, said):
    done = data("generate", "sentences.txt", "--recipe", str(recipe), "--out", "made", *arguments)
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == code
    assert said in line
    assert line.startswith("bench: error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture
def endpoint(tiny_model: Path, tmp_path: Path, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """`transformers serve` with the tiny model and a chat template: its base URL and the model's name."""
    model = tmp_path / "served"
    shutil.copytree(tiny_model, model)
    (model / "chat_template.jinja").write_text(CHAT)
    sampling = json.loads((model / "generation_config.json").read_text()) | {"do_sample": True}
    (model / "generation_config.json").write_text(json.dumps(sampling))  # else this server always takes the likeliest
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "transformers", "serve", "--port", str(port), "--device", "cpu", str(model)],
            env=variables | {"HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(PATIENCE):
                if server.poll() is not None:
                    pytest.fail((tmp_path / "server.log").read_text()[-2000:])
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1", str(model)
        finally:
            server.terminate()
            server.wait(30)


@pytest.mark.network
@pytest.mark.slow
def test_a_real_server_writes_sets_and_a_killed_work_goes_on(data, recipe, endpoint, variables, tmp_path):
    url, model = endpoint
    made = ["generate", "sentences.txt", "--recipe", str(recipe), "--endpoint", url, "--model", model, "--out", "made"]
    made += ["--set", "generator.concurrency=1", "--set", "min_negatives=0", "--set", "filters.positive_below=0.5"]
    made += ["--set", "filters.negative_above=0.5"]
    held = tmp_path / "made" / "candidates.jsonl"
    with subprocess.Popen([COMMAND, "data", *made], env=variables, cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
        while killed.poll() is None and not (held.exists() and held.read_bytes().count(b"\n") >= 9):
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    before = {json.dumps(row) for row in rows(held)}
    assert 9 <= len(before) < 48, "it was stopped while it worked"
    done = data(*made)
    assert done.returncode == 0, done.stderr
    after = rows(held)
    assert before <= {json.dumps(row) for row in after}
    assert len(after) == len({(row["sentence_id"], row["kind"], row["sample"]) for row in after}) == 48
    assert {row["failure"] for row in after} == {None}
    assert len({row["text"] for row in after}) > 24
    sets = rows(tmp_path / "made" / "sets.jsonl")
    assert sets[0]["provenance"]["generator"] == {"model": model, "endpoint": url}
