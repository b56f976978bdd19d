"""`bench score` on the command line; what it makes of files is tested in tests/unit/test_elsewhere.py."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_suite, module_bench) -> Path:
    """A folder with a suite, its prompts, and continuations of them."""
    folder = tmp_path_factory.mktemp("score")
    write_suite(folder)
    done = module_bench(folder, "score", "--suite", "tiny.yaml", "--write-prompts", "asked.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 of each, of up to 8 tokens" in done.stderr
    prompts = [json.loads(line)["prompt"] for line in (folder / "asked.jsonl").read_text().splitlines()]
    write(folder, "theirs", [{"prompt": prompt, "continuations": [" is", " was it.", ""]} for prompt in prompts])
    write(folder, "others", [{"prompt": "Another", "continuations": ["is", "was", ""]}])
    return folder


def test_the_form_of_the_prompts_is_said(made, module_bench):
    turns = ("--set", "suite.chat_template=true", "--set", "suite.system=Be kind.")
    done = module_bench(made, "score", "--suite", "tiny.yaml", *turns, "--write-prompts", "turns.jsonl")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith('; each prompt is a user\'s turn, after the system message "Be kind."\n')
    assert (made / "turns.jsonl").read_bytes() == (made / "asked.jsonl").read_bytes()


def write(folder: Path, name: str, rows: list[dict]) -> str:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{name}.jsonl"


def test_a_file_becomes_a_run_that_others_read(made, module_bench):
    done = module_bench(made, "score", "theirs.jsonl", "--suite", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "theirs.jsonl: 13 prompts of suite 'tiny', 0 others",
        "theirs.jsonl: 39 of 39 continuations are taken",
        "not measured, for want of a model: fluency, heldout",
    ]
    assert "tiny-theirs-s0-" in done.stdout
    gate = module_bench(made, "check", "last", "--require", "empty_share <= 0.9", "--json")
    assert gate.returncode == 0, gate.stdout + gate.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ((), 2, "say what to score"),
        (("theirs.jsonl", "theirs.jsonl"), 2, "two files are called 'theirs'"),
        (("theirs.jsonl", "theirs.jsonl", "--label", "x"), 2, "hold the same"),
        (("theirs.jsonl", "--label", "none"), 2, "a system cannot be called 'none'"),
        (("theirs.jsonl", "--set", "lr=3"), 2, "'lr' is no option of the suite"),
        (("theirs.jsonl", "--field", "asked"), 2, "no text under 'asked'; it has prompt, continuations"),
        (("others.jsonl",), 3, "the same command with --write-prompts FILE in place of the files writes them"),
        (("nowhere.jsonl",), 2, "no such file: nowhere.jsonl"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(made, module_bench, tmp_path, args, code, told):
    done = module_bench(made, "score", *args, "--suite", "tiny.yaml", "--runs-dir", str(tmp_path / "runs"))
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
