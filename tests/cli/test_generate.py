"""`bench generate` and `bench chat`: what a run's models say to prompts of one's own."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from bench.attribute import Attribute
from bench.cli.chat import _Talk


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_suite, module_bench):
    """A folder with runs of the base and of contrastive."""
    folder = tmp_path_factory.mktemp("generate")
    suite = str(write_suite(folder))
    done = module_bench(folder, "run", "--method", "contrastive:lr=0.03", "--suite", suite, "--seeds", "0")
    assert done.returncode == 0, done.stderr
    return folder


def samples_of(made, method):
    (path,) = made.glob(f"runs/tiny-{method}-*/samples/rtp.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("method", ["none", "contrastive"])
def test_the_runs_own_prompts_get_the_runs_own_continuations(made, module_bench, method):
    rows = samples_of(made, method)
    texts = list(dict.fromkeys(row["prompt"] for row in rows))
    (made / "prompts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts[::-1], texts[0]]))
    done = module_bench(made, "generate", f"tiny-{method}", "--prompts", "prompts.jsonl", "-o", "out.jsonl")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found = [json.loads(line) for line in (made / "out.jsonl").read_text().splitlines()]
    by_key = {(row["prompt"], row["sample"]): row["continuation"] for row in rows}
    assert {(row["prompt"], row["sample"]): row["continuation"] for row in found} == by_key
    assert list(dict.fromkeys(row["prompt"] for row in found)) == texts[::-1]
    assert len(found) == len(rows) + len([row for row in rows if row["prompt"] == texts[0]])


def test_samples_and_length_are_as_asked_and_stdout_has_the_lines(made, module_bench):
    (made / "in.txt").write_text("The river was\nShe asked\nthe river was\n")
    flags = ("--prompts", "in.txt", "--samples", "3", "--max-new-tokens", "2", "--seed", "5")
    done = module_bench(made, "generate", "tiny-contrastive", *flags)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["prompt"], row["sample"]) for row in rows] == [
        (prompt, sample) for prompt in ("The river was", "She asked", "the river was") for sample in range(3)
    ]


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (("tiny-none", "--prompts", "nowhere.txt"), 2, "no such file: nowhere.txt"),
        (("tiny-none", "--prompts", "empty.txt"), 2, "empty.txt holds no prompt"),
        (("nothing", "--prompts", "in.txt"), 2, "nothing"),
        (("tiny-none", "--prompts", "in.txt", "-o", "runs"), 2, "no file can be written at runs"),
        (("tiny-none", "--prompts", "in.txt", "-o", "in.txt/out"), 2, "no file can be written at in.txt/out"),
    ],
)
def test_what_is_wrong_is_one_line(made, module_bench, flags, code, told):
    (made / "empty.txt").write_text("\n")
    (made / "in.txt").write_text("The river was\n")
    done = module_bench(made, "generate", *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_chat_shows_both_models_with_their_scores(made, module_bench):
    typed = "The river was\n\nShe asked\n"
    done = module_bench(made, "chat", "tiny-contrastive", "--show", typed=typed)
    assert done.returncode == 0, done.stderr
    lines = [line.split(None, 2) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["base", "contrastive"] * 2
    assert all(0 <= float(line[1]) <= 1 for line in lines)
    assert lines[0][2:] != lines[1][2:]
    assert module_bench(made, "chat", "tiny-contrastive", "--show", typed=typed).stdout == done.stdout


def test_what_reaches_the_threshold_is_veiled_unless_asked(made, module_bench, write_suite, tmp_path):
    suite = str(write_suite(tmp_path, scorer={"name": "svm", "threshold": 0.0001}))
    done = module_bench(tmp_path, "run", "--method", "none", "--suite", suite, "--seeds", "0")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").glob("tiny-none-*")
    done = module_bench(tmp_path, "chat", run.name, typed="The river was\n")
    assert done.returncode == 0, done.stderr
    assert all("(veiled: toxic; --show prints it)" in line for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("wanted", "scores", "said"),
    [
        ("low", (0.7, 0.2), ["(veiled: toxic; --show prints it)", "said"]),
        ("high", (0.7, 0.2), ["said", "(veiled: not toxic; --show prints it)"]),
        ("high", (0.7, None), ["said", "(veiled: no score; --show prints it)"]),
    ],
)
def test_what_is_veiled_lies_on_the_side_that_is_not_wanted(monkeypatch, capsys, wanted, scores, said):
    run = SimpleNamespace(method="dpo", scored=Attribute("toxicity", wanted, "toxic", 0.5))
    scorer = SimpleNamespace(score=lambda _: [None if one is None else {"toxicity": one} for one in scores])
    found = SimpleNamespace(on=lambda _: nullcontext())
    talk = _Talk(run, found, SimpleNamespace(model=None, tokenizer=None), scorer, 0, as_message=False, show=False)
    monkeypatch.setattr(_Talk, "_said", lambda *_: "said")
    monkeypatch.setattr("bench.policy.HFPolicy", lambda *_: None)
    talk.turn(0, "The river was")
    assert [line.split(None, 2)[2] for line in capsys.readouterr().out.splitlines()] == said


def test_a_message_needs_a_chat_template(made, module_bench):
    done = module_bench(made, "chat", "tiny-none", "--message", typed="x\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the model's tokenizer has no chat template; leave --message out" in done.stderr
