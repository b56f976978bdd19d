"""What lies in the cache is used as it was made, or made anew with a word: changed, cut, mixed up, or dropped."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import write_run

from bench.assets import stamp
from bench.assets.catalogue import AssetCatalogue
from bench.assets.kept import is_kept, is_kept_or_set_aside, kept
from bench.errors import UnreadableError
from bench.progress import SILENT, Progress
from bench.run.artifact import FACTS, load_artifact
from bench.run.damage import finished_task, set_damage_aside
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.resumed import drop_measured_on_another
from bench.scorers import load_scorer
from bench.spec import Decoding, GeneratorSpec, ScorerSpec, SetsSpec
from bench.store.appended import AppendedFile
from bench.store.files import write_json
from bench.store.runs import Run, load_run
from bench.store.samples import Sample, SampleFile
from bench.store.seal import is_sound, sealed


class Spy:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Spy"]:
        del total, unit
        self.labels.append(label)
        yield self

    def advance(self, amount: float = 1) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


SELF = SetsSpec(
    source="self", positive_below=0.04, negative_above=0.05, num_prompts=8, decoding={"num_samples": 80}
).model_dump()
Go = Callable[..., Run]


def heldout(folder: Path) -> list[dict[str, str]]:
    """The quickest of the tiny suite's tasks."""
    return [{"task": "heldout", "data": str(folder / "texts.jsonl"), "field": "text"}]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Measures one method; `runs` names the folder of records, the cache is always the same."""

    def run(suite: Path, method: str, progress: Progress, runs: str = "runs", *, fresh: bool = False) -> Run:
        experiments = make_experiments(Request((method,), str(suite), base=False))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True), progress)
        (outcome,) = run_experiments(experiments, env, tmp_path / runs, fresh=fresh)
        assert outcome.error is None, outcome.error
        assert outcome.folder
        return load_run(outcome.folder)

    return run


@pytest.fixture
def suite(tiny_suite: Callable[..., Path], tmp_path: Path) -> Path:
    """A suite whose sets are sampled from the model."""
    prompts = tmp_path / "self.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"It rained on {n} stones"}) + "\n" for n in range(24)))
    return tiny_suite(
        decoding={"num_samples": 3, "max_new_tokens": 8},
        tasks=heldout(tmp_path),
        sets={**SELF, "prompts": str(prompts)},
    )


def _figures(run: Run) -> list[object]:
    assert run.result
    return [metric.model_dump() for metric in run.result.metrics]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _not_numbers(path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    save_file({name: torch.full_like(value, float("nan")) for name, value in load_file(path).items()}, path)


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 40)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("adapter_model.safetensors", _cut),
        ("adapter_model.safetensors", _not_numbers),
        ("adapter_config.json", _garbage),
        ("facts.json", Path.unlink),
    ],
)
def test_a_damaged_artifact_is_set_aside_and_made_anew(go, tiny_suite, tmp_path, name, harm):
    suite = tiny_suite(tasks=heldout(tmp_path))
    first = go(suite, "contrastive", Spy())
    (artifact,) = (tmp_path / "cache" / "artifacts").glob("[0-9a-f]*")
    harm(artifact / name)
    spy = Spy()
    again = go(suite, "contrastive", spy, "other-runs")
    assert spy.labels.count("train contrastive") == 1
    (note,) = [note for note in spy.notes if "made anew" in note]
    assert str(artifact) in note
    assert (tmp_path / "cache" / "artifacts" / f"{artifact.name}.damaged").is_dir()
    assert _figures(again) == _figures(first)
    assert again.result.artifact["hash"] == first.result.artifact["hash"]
    spy = Spy()
    go(suite, "contrastive", spy, "third-runs")
    assert "train contrastive" not in spy.labels


def test_another_artifact_in_its_place_is_not_taken_for_it(go, tiny_suite, tmp_path):
    """Whole and sealed, but under another name."""
    suite = tiny_suite(tasks=heldout(tmp_path))
    first = go(suite, "contrastive", Spy())
    other = go(suite, "contrastive:steps=3", Spy())
    place, theirs = (tmp_path / "cache" / "artifacts" / run.manifest.method["artifact_key"] for run in (first, other))
    shutil.rmtree(place)
    shutil.copytree(theirs, place)
    spy = Spy()
    again = go(suite, "contrastive", spy, "other-runs")
    assert any("holds what was sealed as" in note for note in spy.notes)
    assert again.result.artifact["hash"] == first.result.artifact["hash"]


def _swap(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    swapped = [{**row, "positives": row["negatives"], "negatives": row["positives"]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in swapped))


@pytest.mark.parametrize("harm", [_swap, _cut])
def test_damaged_sets_are_set_aside_and_made_anew(go, suite, tmp_path, harm):
    first = go(suite, "contrastive", Spy())
    (sets,) = (tmp_path / "cache" / "sets").glob("[0-9a-f]*")
    content = (sets / "sets.jsonl").read_bytes()
    harm(sets / "sets.jsonl")
    shutil.rmtree(tmp_path / "cache" / "artifacts")
    spy = Spy()
    again = go(suite, "contrastive", spy, "other-runs")
    (note,) = [note for note in spy.notes if "made anew" in note]
    assert str(sets) in note
    assert (sets / "sets.jsonl").read_bytes() == content
    assert _figures(again) == _figures(first)


@pytest.mark.parametrize("harm", [Path.unlink, _garbage, lambda path: path.write_text("[1]")])
def test_a_folder_without_a_sound_stamp_is_none(tmp_path, harm):
    with kept(tmp_path / "key") as made:
        (made / "a").write_text("a")
    harm(tmp_path / "key" / "bench-stamp.json")
    assert not is_kept(tmp_path / "key")


def test_what_was_put_into_a_kept_folder_is_found(tmp_path):
    with kept(tmp_path / "key") as made:
        (made / "a").write_text("a")
    (tmp_path / "key" / "planted.safetensors").write_text("b")
    assert not is_kept(tmp_path / "key")


def test_a_stamp_that_was_written_over_saves_no_reading(tmp_path, monkeypatch):
    """A digit of a hash is another, and the file is as it was: the content decides."""
    with kept(tmp_path / "key") as made:
        (made / "a").write_text("a")
    monkeypatch.setattr(stamp, "_SETTLED_NS", 0)
    assert is_kept(tmp_path / "key")
    place = tmp_path / "key" / "bench-stamp.json"
    told = json.loads(place.read_text())
    told["files"]["a"]["sha256"] = "0" * 64
    place.write_text(json.dumps(told))
    assert not is_kept(tmp_path / "key")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=80)
@given(
    files=st.dictionaries(
        st.sampled_from(["a.json", "b.safetensors", "negative/c.safetensors"]), st.binary(max_size=30), min_size=1
    ),
    data=st.data(),
)
def test_any_change_of_a_kept_folder_is_found(tmp_path_factory, files, data):
    place = tmp_path_factory.mktemp("cache") / "key"
    with kept(place) as made:
        for name, content in files.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_bytes(content)
    assert is_kept(place)
    path = place / data.draw(st.sampled_from(sorted(files)))
    before = path.read_bytes()
    after = data.draw(st.binary(max_size=30).filter(lambda content: content != before) | st.none())
    path.unlink() if after is None else path.write_bytes(after)
    spy = Spy()
    assert not is_kept_or_set_aside(place, spy)
    assert len(spy.notes) == 1
    assert not place.exists()
    assert place.with_name("key.damaged").is_dir()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=80)
@given(
    row=st.dictionaries(st.sampled_from("abc"), st.text(max_size=5) | st.none() | st.integers()),
    other=st.dictionaries(st.sampled_from("abc"), st.text(max_size=5) | st.none() | st.integers()),
)
def test_a_sealed_row_is_sound_as_it_is_where_it_is_and_not_otherwise(row, other):
    good = sealed(row, "here")
    assert is_sound(json.loads(json.dumps(good)), "here")
    assert not is_sound(good, "there")
    assert not is_sound(row, "here")
    assert is_sound({**other, "seal": good["seal"]}, "here") == (other == row)


def test_changed_answers_are_asked_for_anew(tiny_model, cache_dir):
    from bench.data.sentences import Sentence
    from bench.writers.cached_answers import cached_answers

    sentences = [Sentence(f"{n}", f"The train number {n} was late.", ()) for n in range(4)]
    spec, decoding = GeneratorSpec(model=str(tiny_model)), Decoding(num_samples=1, max_new_tokens=4)

    def ask(spy: Spy) -> list[str]:
        found = cached_answers(spec, "{sentence}", decoding, sentences, AssetCatalogue(cache_dir), spy)
        return [sentence.text for sentence in found]

    spy = Spy()
    first = ask(spy)
    asked = len(spy.labels)
    (path,) = (cache_dir / "written").glob("*/answers.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["text"], rows[1]["text"] = rows[1]["text"], rows[0]["text"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spy = Spy()
    assert ask(spy) == first
    assert any("2 of 4 answers" in note and "asked for anew" in note for note in spy.notes)
    assert len(spy.labels) == asked
    for damage in (b"\x00\xff\n", b"[1]\n{}\n", b'{"text": \n' + path.read_bytes()):
        path.write_bytes(damage)
        spy = Spy()
        assert ask(spy) == first
        assert any("anew" in note for note in spy.notes), damage
    spy = Spy()
    assert ask(spy) == first
    assert not spy.notes


def test_changed_scores_are_made_anew(cache_dir):
    texts = ["You are a kind friend.", "You are an idiot."]
    path = cache_dir / "scores.sqlite3"
    first = load_scorer(ScorerSpec(name="svm"), cache_dir).score(texts)
    with closing(sqlite3.connect(path)) as connection:
        good = connection.execute("SELECT text, scores FROM scores").fetchall()
    swapped = [(good[0][0], good[1][1]), (good[1][0], good[0][1])]
    for rows in (swapped, [(text, '{"toxicity": 0.5}') for text, _ in good], [(text, "[1") for text, _ in good]):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany("UPDATE scores SET scores = ?2 WHERE text = ?1", rows)
        spy = Spy()
        assert load_scorer(ScorerSpec(name="svm"), cache_dir, progress=spy).score(texts) == first
        assert any("2 cached scores were changed" in note for note in spy.notes)


@pytest.mark.parametrize(
    "case",
    [
        ("prompts", "none", "[1/1]"),
        ("model", "none", "[1/1]"),
        ("adapter", "adapter", "[1/1]"),
        ("sets", "contrastive", "[1/1]"),
        ("prompts", "contrastive", "train contrastive"),
        ("adapter", "adapter", "heldout"),
    ],
)
def test_what_is_changed_while_the_command_runs_is_not_measured_under_the_old_key(
    suite, tiny_suite, tiny_model, tiny_adapter, tmp_path, case
):
    """The second experiment would read what the first did not, and say that it was the same."""
    what, method, when = case
    model = shutil.copytree(tiny_model, tmp_path / "model")
    adapter = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    if what == "model":
        suite = tiny_suite(tasks=heldout(tmp_path), model={"id": str(model)})
    changed = {
        "sets": tmp_path / "self.jsonl",
        "prompts": tmp_path / "texts.jsonl",
        "model": model / "generation_config.json",
        "adapter": adapter / "adapter_config.json",
    }[what]

    class Changing(Spy):
        def note(self, text: str) -> None:
            super().note(text)
            self.may_change(text)

        def bar(self, label: str, total: float | None = None, unit: str = "") -> AbstractContextManager["Spy"]:
            self.may_change(label)
            return super().bar(label, total, unit)

        def may_change(self, text: str) -> None:
            if text.startswith(when):
                times = changed.stat()
                changed.write_text(changed.read_text().replace(" ", "  ", 1))
                os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))

    asked = f"adapter:path={adapter}" if method == "adapter" else method
    experiments = make_experiments(Request((asked,), str(suite), base=False))
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True), Changing())
    (outcome,) = run_experiments(experiments, env, tmp_path / "runs")
    assert outcome.error is not None
    assert "changed while this command ran; run the command again" in str(outcome.error)
    for left in ("*/result.json", "*/tasks", "*/samples"):
        assert not list((tmp_path / "runs").glob(left))
    assert what != "sets" or not list((tmp_path / "cache" / "sets").glob("[!.]*"))


def _artifact(path: Path) -> None:
    path.mkdir()
    write_json(path / FACTS, {})
    (path / "weights").write_text("w")
    stamp.seal(path)


@pytest.mark.parametrize(
    ("name", "unread", "look"),
    [
        ("rows.jsonl", "rows.jsonl", AppendedFile),
        ("rows.jsonl", "rows.jsonl", partial(SampleFile, kind=Sample)),
        ("artifact", stamp.STAMP, partial(is_kept_or_set_aside, progress=SILENT)),
        ("artifact", FACTS, load_artifact),
        ("mini-sft-s0", "result.json", partial(set_damage_aside, progress=SILENT)),
        ("mini-sft-s0", "rtp.json", partial(set_damage_aside, progress=SILENT)),
        ("mini-sft-s0/tasks/rtp.json", "rtp.json", partial(finished_task, progress=SILENT)),
        ("mini-sft-s0", "artifact.json", partial(drop_measured_on_another, artifact="b", progress=SILENT)),
    ],
)
def test_what_cannot_be_read_for_a_moment_is_left_as_it_is(tmp_path, monkeypatch, name, unread, look):
    write_json(write_run(tmp_path, "sft") / "artifact.json", {"hash": "a"})
    (tmp_path / "rows.jsonl").write_text("")
    _artifact(tmp_path / "artifact")
    before = sorted(tmp_path.rglob("*"))
    real = Path.open

    def opened(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == unread:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(UnreadableError, match=r"cannot be read \(Too many open files\); look at its permissions"):
        look(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_desktop_leaves_is_no_part_of_an_artifact(tmp_path):
    _artifact(tmp_path / "artifact")
    before = load_artifact(tmp_path / "artifact").hash
    (tmp_path / "artifact" / ".DS_Store").write_bytes(b"x")
    assert load_artifact(tmp_path / "artifact").hash == before


# --- two processes ---


_FRESH = """
import sys
from pathlib import Path
from bench.assets import stamp
from bench.assets.catalogue import AssetCatalogue
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments

class Told:
    def bar(self, label, total=None, unit=""):
        import contextlib
        return contextlib.nullcontext(self)
    def advance(self, amount=1):
        pass
    def note(self, text):
        print(text, flush=True)

suite, cache, runs, method = sys.argv[1:]
experiments = make_experiments(Request((method,), suite, base=False))
env = Environment(experiments[0].suite, AssetCatalogue(Path(cache), offline=True), Told())
(outcome,) = run_experiments(experiments, env, Path(runs), fresh=True)
print(f"error: {outcome.error!r}" if outcome.error else "done", flush=True)
"""


def test_fresh_takes_nothing_away_from_a_process_that_uses_it(go, tiny_suite, tmp_path):
    """One measures with an artifact; another, with --fresh, waits for it before it drops what the first still reads."""
    suite = tiny_suite(tasks=heldout(tmp_path))
    go(suite, "contrastive", Spy())
    lines: list[str] = []

    class Stopping(Spy):
        """Starts the other process when the artifact was found and not yet read, and waits for its word."""

        @contextmanager
        def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Spy"]:
            if label == "heldout" and not lines:
                arguments = [suite, tmp_path / "cache", tmp_path / "other-runs", "contrastive:scale=0.5"]
                command = [sys.executable, "-c", _FRESH, *map(str, arguments)]
                self.other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                assert self.other.stdout
                while not lines or "waiting" not in lines[-1]:
                    lines.append(self.other.stdout.readline())
                    assert lines[-1], "it ended without waiting"
                (artifact,) = (tmp_path / "cache" / "artifacts").glob("[0-9a-f]*")
                assert (artifact / "adapter_model.safetensors").is_file()
            with super().bar(label, total, unit) as bar:
                yield bar

    stopping = Stopping()
    go(suite, "contrastive", stopping, "third-runs")
    assert "uses" in lines[-1]
    out, _ = stopping.other.communicate(timeout=120)
    assert out.splitlines()[-1] == "done"


def test_two_that_begin_afresh_at_once_both_end_well(tiny_suite, tmp_path):
    """The second takes what the first has made since both began, record and all."""
    suite = tiny_suite(tasks=heldout(tmp_path))
    arguments = [str(suite), str(tmp_path / "cache"), str(tmp_path / "runs")]
    for methods in (("contrastive", "contrastive:scale=0.5"), ("contrastive", "contrastive")):
        both = [
            subprocess.Popen([sys.executable, "-c", _FRESH, *arguments, method], stdout=subprocess.PIPE, text=True)
            for method in methods
        ]
        said = [process.communicate(timeout=240)[0].splitlines() for process in both]
        assert [lines[-1] for lines in said] == ["done", "done"], said
        folders = list((tmp_path / "runs").glob("tiny-contrastive-*"))
        assert {load_run(folder).status for folder in folders} == {"done"}


def test_what_another_made_meanwhile_is_not_dropped(go, tiny_suite, tmp_path):
    """Begun before, finished after: the other's record stays, for the table that it is about to print."""
    suite = tiny_suite(tasks=heldout(tmp_path))
    go(suite, "contrastive", Spy())
    spy = Spy()
    real = spy.note

    def other_first(text: str) -> None:
        if text.startswith("[1/1]"):  # all was looked at, nothing is done
            worker = threading.Thread(target=lambda: go(suite, "contrastive", Spy(), fresh=True))
            worker.start()
            worker.join(120)
            time.sleep(0.01)
        real(text)

    spy.note = other_first  # type: ignore[method-assign]
    run = go(suite, "contrastive", spy, fresh=True)
    assert run.status == "done"
    assert any("was made by another process meanwhile" in note for note in spy.notes)
    assert "train contrastive" not in spy.labels


def test_prompts_that_become_no_set_are_told_of_and_stand_in_the_record(go, suite):
    told = Spy()
    run = go(suite, "contrastive", told)
    assert run.result
    taken = run.result.artifact["sets"]["taken"]
    assert taken["data"].endswith("self.jsonl")
    assert taken["rows"] == 24 == taken["taken"] + sum(taken["left_out"].values())
    assert taken["taken"] == run.result.artifact["sets"]["anchors"]
    assert set(taken["left_out"]) >= {"of the evaluation half"}
    (line,) = [one for one in told.notes if one.startswith("contrastive sets: ")]
    assert f"{taken['taken']} of 24 rows are taken; left out: " in line
    assert go(suite, "contrastive", Spy(), "others").result.artifact["sets"]["taken"] == taken
