"""A file is what it holds: whatever puts another of the same size and date in its place is seen."""

import mmap
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.assets import stamp
from bench.assets.catalogue import AssetCatalogue

DATE_NS = 1_500_000_000_000_000_000


def _dated(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(DATE_NS, DATE_NS))
    return path


def _in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(DATE_NS, DATE_NS))


def _mapped(path: Path, content: bytes) -> None:
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as view:
        view[:] = content
    os.utime(path, ns=(DATE_NS, DATE_NS))


def _moved(path: Path, content: bytes) -> None:
    _dated(path.with_name("other"), content).replace(path)


def _copied(path: Path, content: bytes) -> None:
    shutil.copy2(_dated(path.with_name("other"), content), path)


def _removed_and_made(path: Path, content: bytes) -> None:
    path.unlink()
    _dated(path, content)


def _unpacked(path: Path, content: bytes) -> None:
    source = _dated(path.with_name("other"), content)
    with tarfile.open(path.with_name("a.tar"), "w") as archive:
        archive.add(source, path.name)
    with tarfile.open(path.with_name("a.tar")) as archive:
        archive.extractall(path.parent, filter="tar")


def _linked(path: Path, content: bytes) -> None:
    target = _dated(path.with_name(f"blob-{sha256(content).hexdigest()[:16]}"), content)
    path.unlink()
    path.symlink_to(target)


WAYS: list[Callable[[Path, bytes], None]] = [
    _in_place,
    _mapped,
    _moved,
    _copied,
    _removed_and_made,
    _unpacked,
    _linked,
]


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.tuples(st.sampled_from(WAYS), st.binary(min_size=4, max_size=4)), min_size=1, max_size=6))
def test_the_hash_is_always_that_of_the_content(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Callable[[Path, bytes], None], bytes]]
) -> None:
    """Also of a file that changes twice within a tick of the clock."""
    place = tmp_path_factory.mktemp("files")
    path = _dated(place / "file", b"aaaa")
    for way, content in steps:
        assert stamp.hashes_of([path], place / "memory")
        way(path, content)
        assert path.stat().st_mtime_ns == DATE_NS
        assert stamp.hashes_of([path], place / "memory") == {"file": sha256(content).hexdigest()}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_change_is_seen_where_notes_are_believed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Path, bytes], None]
) -> None:
    """Without the caution of the first seconds: what the file system says is enough."""
    monkeypatch.setattr(stamp, "_SETTLED_NS", 0)
    path = _dated(tmp_path / "file", b"aaaa")
    before = stamp.hashes_of([path], tmp_path / "memory")
    with monkeypatch.context() as patch:
        patch.setattr(stamp, "hash_file", lambda name: pytest.fail(f"{name} was read again"))
        assert stamp.hashes_of([path], tmp_path / "memory") == before
    time.sleep(0.02)  # more than a tick
    way(path, b"bbbb")
    assert stamp.hashes_of([path], tmp_path / "memory") == {"file": sha256(b"bbbb").hexdigest()}


@pytest.mark.parametrize("command", ["cp -p", "rsync -t", "mv -f"])
def test_what_ordinary_tools_do_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    if not shutil.which(command.split(maxsplit=1)[0]):
        pytest.skip(f"{command} is not installed")
    path, other = _dated(tmp_path / "file", b"aaaa"), _dated(tmp_path / "other", b"bbbb")
    assert stamp.hashes_of([path], tmp_path / "memory") == {"file": sha256(b"aaaa").hexdigest()}
    if command.startswith("rsync"):  # it leaves alone what has the same size and date
        command += " --ignore-times"
    subprocess.run([*command.split(), other, path], check=True)
    assert path.stat().st_mtime_ns == DATE_NS
    assert stamp.hashes_of([path], tmp_path / "memory") == {"file": sha256(b"bbbb").hexdigest()}


@pytest.mark.parametrize("what", ["model.safetensors", "tokenizer.json"])
def test_a_models_link_that_leads_elsewhere_is_another_model(
    cache_dir: Path, tiny_model: Path, tmp_path: Path, what: str
) -> None:
    """As in the hub's cache: a snapshot's files are links, and all blobs have one date."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for number, source in enumerate(sorted(tiny_model.iterdir())):
        blob = _dated(tmp_path / f"blob{number}", source.read_bytes())
        (snapshot / source.name).symlink_to(blob)
    catalogue = AssetCatalogue(cache_dir, offline=True)
    before = catalogue.model(str(snapshot)).sha256
    content = bytearray((snapshot / what).read_bytes())
    content[-2] ^= 1
    other = _dated(tmp_path / "other", bytes(content))
    (snapshot / what).unlink()
    (snapshot / what).symlink_to(other)
    assert catalogue.model(str(snapshot)).sha256 != before
