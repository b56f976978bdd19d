"""What is kept, what no run uses, and its removal."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import write_run

from bench.assets.embedded import EMBEDDED
from bench.assets.stale import stale
from bench.assets.stamp import STAMP
from bench.errors import MissingError
from bench.store.lock import HeldError, alone, in_use
from bench.store.upkeep import everything, remove, size_of, unused


def _entry(cache, kind, name, size=100):
    folder = cache / kind / name
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * size)
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4))
def test_what_a_manifest_names_is_used_and_nothing_else_is(tmp_path_factory, named):
    root = tmp_path_factory.mktemp("upkeep")
    for number in range(6):
        _entry(root / "cache", "artifacts", f"a{number}")
        _entry(root / "cache", "sets", f"s{number}")
    for number, (artifact, sets) in enumerate(named):
        write_run(
            root / f"runs{number % 2}",
            "sft",
            number,
            method__artifact_key=f"a{artifact}",
            method__sets_key=f"s{sets}",
            finished=bool(number % 3),
        )
    left = {one.path.name for one in unused(root / "cache", [root / "runs0", root / "runs1"])}
    used = {f"a{artifact}" for artifact, _ in named} | {f"s{sets}" for _, sets in named}
    assert left == {f"{kind}{number}" for kind in "as" for number in range(6)} - used


def test_parts_and_damaged_copies_belong_to_their_entry(cache, tmp_path):
    write_run(tmp_path / "runs", "sft", method__artifact_key="a", method__sets_key=None)
    for name in ("a", "a.damaged", "b.damaged", ".a.lease"):
        _entry(cache, "artifacts", name)
    (cache / "scores.sqlite3").write_bytes(b"x" * 7)
    kept = everything(cache, [tmp_path / "runs"])
    assert [(one.path.name, one.used) for one in kept if one.kind == "artifacts"] == [
        ("a", True),
        ("a.damaged", True),
        ("b.damaged", False),
    ]
    assert [(one.size, one.used) for one in kept if one.kind == "scores.sqlite3"] == [(7, None)]
    assert [one.size for one in kept if one.kind == "runs"] == [size_of(tmp_path / "runs" / "mini-sft-s0")]


def test_nothing_is_unused_while_a_manifest_cannot_be_read(cache, tmp_path):
    write_run(tmp_path / "runs", "sft")
    (tmp_path / "runs" / "mini-sft-s0" / "manifest.json").write_text("{", encoding="utf-8")
    _entry(cache, "artifacts", "a")
    with pytest.raises(MissingError, match="uses is not known"):
        unused(cache, [tmp_path / "runs"])


def test_what_is_worked_on_or_used_stays(cache):
    first, second, third = (_entry(cache, "artifacts", name) for name in "abc")
    with alone(second), pytest.raises(MissingError, match=r"works on .*b"):
        remove([first, second])
    assert not first.exists()
    with in_use(second), pytest.raises(MissingError, match=r"works on .*b"):
        remove([second])
    assert second.exists()
    remove([second, third])
    assert list((cache / "artifacts").iterdir()) == []


def test_what_has_come_into_use_since_it_was_listed_stays(cache):
    first, second = (_entry(cache, "artifacts", name) for name in "ab")

    def may_go(path):
        with pytest.raises(HeldError), alone(path, wait=False):
            pass
        return path == first

    assert remove([first, second], may_go) == [first]
    assert (first.exists(), second.exists()) == (False, True)


@pytest.mark.parametrize("kind", ["artifacts", "sets"])
def test_parts_stay_while_a_process_makes_what_they_are_of(cache, kind):
    parts = _entry(cache, kind, "a.parts")
    begun = cache / kind / "a.parts.jsonl"
    begun.write_text("{}\n", encoding="utf-8")
    for path in (parts, begun):
        with alone(cache / kind / "a"), pytest.raises(MissingError, match=r"works on .*a\.parts"):
            remove([path])
        assert path.exists()
    remove([parts, begun])
    assert list((cache / kind).iterdir()) == []


def test_a_link_is_removed_and_what_it_leads_to_stays(cache, tmp_path):
    target = _entry(tmp_path, "elsewhere", "models", size=1_000)
    (cache / "artifacts").mkdir(parents=True)
    link = cache / "artifacts" / "a"
    link.symlink_to(target)
    assert size_of(link) < 1_000
    remove([link])
    assert not link.is_symlink()
    assert (target / "weights").exists()


def test_earlier_assets_and_old_logs_are_stale_and_nothing_else_is(cache):
    asset = next(one for one in EMBEDDED.values() if one.kind == "data")
    names = (asset.stem, f"{asset.name}-00000000", "mine-00000000", f"{asset.name}-mine", f"{asset.name}-11111111")
    for name in names:
        (cache / "data" / name).mkdir(parents=True)
        (cache / "data" / name / STAMP).write_text("{}", encoding="utf-8")
    (cache / "data" / names[-1] / STAMP).unlink()
    logs = cache / "logs"
    logs.mkdir()
    for name, days in (("error-1.log", 31), ("error-2.log", 29), ("mine.log", 99)):
        (logs / name).touch()
        os.utime(logs / name, (time.time() - days * 86400,) * 2)
    assert stale(cache) == [cache / "data" / names[1], logs / "error-1.log"]
    remove(stale(cache))
    assert stale(cache) == []
    assert {path.name for path in (cache / "data").iterdir()} == {*names} - {names[1]}
    assert stale(cache / "nowhere") == []
