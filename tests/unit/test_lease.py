"""Leases and the locks on them: one holder at a time, whoever dies, sleeps or runs elsewhere."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from bench.store import lease, process
from bench.store.aside import set_aside
from bench.store.files import folder, write_text
from bench.store.leftovers import sweep
from bench.store.lock import HeldError, alone, in_use, is_held, unused

ELSEWHERE = f"0123456789ab-7-7 {'a' * 32}\n"
_HOLD = """
import sys, time
from pathlib import Path
from bench.store import lock
with getattr(lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)
"""
# Adds 1 to a number in a file, which takes long enough that two at once would lose one.
_COUNT = """
import sys, time
from pathlib import Path
from bench.store.lock import alone
path = Path(sys.argv[1])
for _ in range(15):
    with alone(path):
        number = int(path.read_text())
        time.sleep(0.002)
        path.write_text(str(number + 1))
"""


@contextmanager
def holder(kind: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds or uses a path."""
    held = subprocess.Popen([sys.executable, "-c", _HOLD, kind, path], stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout
        assert held.stdout.readline() == "held\n"
        yield held
    finally:
        held.kill()
        held.communicate()


def lease_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lease")


def is_free(path: Path) -> bool:
    try:
        with alone(path, wait=False):
            return True
    except HeldError:
        return False


def test_it_is_held_once_and_given_up(tmp_path):
    with alone(tmp_path / "cell"):
        assert is_held(tmp_path / "cell")
        assert not is_free(tmp_path / "cell")
        assert is_free(tmp_path / "cell2")
    assert not is_held(tmp_path / "cell")
    assert is_free(tmp_path / "cell")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("waited_for", [True, False], ids=["gone", "zombie"])
def test_what_a_killed_process_held_is_free_at_once(tmp_path, waited_for):
    with holder("alone", tmp_path / "cell") as other:
        assert not is_free(tmp_path / "cell")
        other.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | (0 if waited_for else os.WNOWAIT))
        assert is_free(tmp_path / "cell")


def test_a_stopped_process_keeps_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
    with holder("alone", tmp_path / "cell") as other:
        other.send_signal(signal.SIGSTOP)
        assert [is_free(tmp_path / "cell") for _ in range(3)] == [False] * 3


def test_a_later_process_of_the_same_number_holds_nothing(tmp_path):
    start = int(process.start_of(os.getpid()))
    lease_of(tmp_path / "cell").write_text(f"{process.machine()}-{os.getpid()}-{start - 1} {'a' * 32}\n")
    assert is_free(tmp_path / "cell")


@pytest.mark.parametrize("text", [ELSEWHERE, "", "half a le"], ids=["another machine's", "empty", "cut"])
@pytest.mark.parametrize("date", [0, 4e9], ids=["clock behind", "clock ahead"])
def test_a_lease_that_nobody_touches_is_taken_over_whatever_its_date(tmp_path, monkeypatch, text, date):
    path = lease_of(tmp_path / "cell")
    path.write_text(text)
    os.utime(path, (date, date))
    now = 1000.0
    monkeypatch.setattr(lease.time, "monotonic", lambda: now)
    assert not is_free(tmp_path / "cell"), "it was seen for the first time"
    now += lease.LEASE_SECONDS - 1
    assert not is_free(tmp_path / "cell")
    now += 2
    assert is_free(tmp_path / "cell")


def test_a_lease_that_is_touched_is_not_taken_over_whatever_its_date(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(lease.time, "monotonic", lambda: now)
    path = lease_of(tmp_path / "cell")
    path.write_text(ELSEWHERE)
    for beat in range(6):
        os.utime(path, (beat, beat))  # of 1970
        assert not is_free(tmp_path / "cell")
        now += lease.LEASE_SECONDS - 1


def test_who_holds_it_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "_BEATING", threading.Event())  # a thread of this test's
    with alone(tmp_path / "cell"):
        path = lease_of(tmp_path / "cell")
        os.utime(path, (0, 0))
        until = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.02)
        assert abs(path.stat().st_mtime - time.time()) < 60


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_links_has_leases_too(tmp_path, monkeypatch, error):
    def refuse(*_: object) -> None:
        raise OSError(error, "no links")

    monkeypatch.setattr(os, "link", refuse)
    with alone(tmp_path / "cell"):
        assert not is_free(tmp_path / "cell")
        assert [one.name for one in tmp_path.iterdir()] == [".cell.lease"]
    assert is_free(tmp_path / "cell")


def test_a_link_whose_answer_got_lost_was_made(tmp_path, monkeypatch):
    real = os.link

    def lose(*args: Path) -> None:
        real(*args)
        raise FileExistsError

    monkeypatch.setattr(os, "link", lose)
    with alone(tmp_path / "cell", wait=False):
        monkeypatch.setattr(os, "link", real)
        assert not is_free(tmp_path / "cell")


def test_who_is_late_to_clear_a_dead_lease_takes_nothing_from_who_was_faster(tmp_path, monkeypatch):
    path = lease_of(tmp_path / "cell")
    path.write_text(ELSEWHERE)
    dead = lease._look(path)
    assert dead
    path.unlink()
    with holder("alone", tmp_path / "cell"):
        assert not lease._discard(path, dead), "it looks once more before"
        text, real = path.read_text(), lease._look
        looks = [dead]  # the other came in between its look and its rename
        monkeypatch.setattr(lease, "_look", lambda one: looks.pop() if looks else real(one))
        assert not lease._discard(path, dead), "and at what it moved"
        assert path.read_text() == text
        assert not is_free(tmp_path / "cell")
    assert [one.name for one in tmp_path.iterdir()] == [".cell.lease"]


def test_who_has_lost_it_writes_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_AGAIN_SECONDS", 0.0)
    cell = tmp_path / "cell"
    with alone(cell):
        write_text(cell / "samples" / "rtp.jsonl", "ours")
        lease_of(cell).write_text(ELSEWHERE)
        for path in (cell / "samples" / "rtp.jsonl", tmp_path / "cell.parts"):
            with pytest.raises(lease.LostError, match="another process has taken over"):
                write_text(path, "late")
        with pytest.raises(lease.LostError), folder(cell):
            pass
        write_text(tmp_path / "cell2" / "note", "another cell's")
    assert lease_of(cell).read_text() == ELSEWHERE, "it stays the other's"
    assert (cell / "samples" / "rtp.jsonl").read_text() == "ours"
    assert not (tmp_path / "cell.parts").exists()


def test_a_lease_that_is_looked_at_by_another_is_not_lost(tmp_path, monkeypatch):
    """Who clears a dead lease may move a live one aside for a moment."""
    cell = tmp_path / "cell"
    with alone(cell):
        lease_of(cell).rename(tmp_path / "aside")
        monkeypatch.setattr(lease.time, "sleep", lambda _: (tmp_path / "aside").rename(lease_of(cell)))
        write_text(cell / "note", "ours")
        assert lease_of(cell).exists()
    assert (cell / "note").read_text() == "ours"


def test_processes_side_by_side_lose_nothing(tmp_path):
    path = tmp_path / "number"
    path.write_text("0")
    started = [subprocess.Popen([sys.executable, "-c", _COUNT, path]) for _ in range(4)]
    assert [one.wait(timeout=120) for one in started] == [0] * 4
    assert path.read_text() == "60"
    assert [one.name for one in tmp_path.iterdir()] == ["number"]


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.said: list[str] = []
        self.then = then

    def note(self, text: str) -> None:
        self.said.append(text)
        self.then()


def test_what_is_in_use_is_waited_for(tmp_path):
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    with in_use(artifact), in_use(artifact):
        assert len(list(tmp_path.glob(".artifact.use-*"))) == 2
    with holder("in_use", artifact) as other:
        notes = Notes(other.kill)
        with unused(artifact, notes):  # type: ignore[arg-type]
            pass
    assert notes.said == ["another process uses artifact; waiting for it"]
    assert [one.name for one in tmp_path.iterdir()] == ["artifact"]


@pytest.mark.parametrize(("code", "used"), [(errno.EACCES, True), (errno.EROFS, True), (errno.ENOSPC, False)])
def test_what_one_may_only_read_is_used_without_a_lease(tmp_path, monkeypatch, code, used):
    def take(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lease, "take", take)
    with nullcontext() if used else pytest.raises(OSError, match=os.strerror(code)), in_use(tmp_path / "artifact"):
        assert used


def test_leases_of_dead_processes_are_swept(tmp_path, monkeypatch):
    with holder("alone", tmp_path / "cell") as other, holder("in_use", tmp_path / "artifact"):
        other.kill()
        other.wait()
        lease_of(tmp_path / "foreign").write_text(ELSEWHERE)
        assert sweep(tmp_path) == 1
        assert not lease_of(tmp_path / "cell").exists()
        assert len(list(tmp_path.glob("*.lease"))) == 2
        for path in tmp_path.glob("*.lease"):
            os.utime(path, (0, 0))
        assert sweep(tmp_path) == 0, "a date says nothing: another machine's clock may be a day behind"
        monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
        assert sweep(tmp_path) == 1, "another machine's that nobody touches, and a living process's never"
        assert not lease_of(tmp_path / "foreign").exists()


@pytest.mark.parametrize(
    ("name", "text", "cleared"),
    [("smith.lease", "a contract", 0), ("smith.lease", "", 0), (".cell.lease", "", 1), (".cell.lease", "mine\n", 0)],
)
def test_a_file_that_is_no_lease_is_not_swept(tmp_path, monkeypatch, name, text, cleared):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
    (tmp_path / name).write_text(text)
    os.utime(tmp_path / name, (0, 0))
    assert sweep(tmp_path) + sweep(tmp_path) == cleared
    assert (tmp_path / name).exists() != bool(cleared)


def test_what_is_set_aside_is_the_holders_too(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_AGAIN_SECONDS", 0.0)
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "result.json").write_text("{}")
    with alone(tmp_path / "cell"):
        lease_of(tmp_path / "cell").write_text(ELSEWHERE)
        with pytest.raises(lease.LostError):
            set_aside(tmp_path / "cell" / "result.json", "damaged", Notes(lambda: None))  # type: ignore[arg-type]
    assert (tmp_path / "cell" / "result.json").exists()
