"""`bench doctor`: whether this machine has what a run needs, and what to do where it has not."""

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from bench.cli.common import CacheDir, Json
from bench.cli.output import print_json
from bench.packages import NAMED
from bench.printed import echo

State = Literal["ok", "warn", "fail"]

TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "datasets": "5.2.0",
    "lm-eval": "0.4.13",
    "detoxify": "0.5.4",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "gguf": "0.19.0",
    "h5py": "3.16.0",
    "alt-profanity-check": "1.9.1",
    "scikit-learn": "1.9.1",
    "numpy": "2.4.6",
    "pandas": "3.1.1",
}
"""The versions that the figures in the documentation were made with: those of constraints.txt (a test holds this)."""

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*([\w.]+)")
_MODULES = {name.lower(): module for module, name in NAMED.items()}
_PYTHONS = ((3, 11), (3, 13))
_DISK_FAIL, _DISK_WARN = 1e9, 3e9
_MEMORY_FAIL, _MEMORY_WARN = 2e9, 5e9


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, how it stands, what was found, what to do about it."""

    name: str
    state: State
    found: str
    mend: str | None = None


def doctor(json: Json = False, cache_dir: CacheDir = None) -> int:
    """Check this machine, and say what to mend."""
    checks = [*_python(), *_packages(), *_devices()]
    try:
        from bench.assets.catalogue import default_cache

        cache = cache_dir or default_cache()
        checks += [*_room(cache), *_assets(cache)]
    except ImportError as error:  # of a dependency, which has its own line
        checks.append(Check("cache", "fail", f"not looked at ({error})", "mend the packages above, and look again"))
    checks += _tools()
    if json:
        print_json([asdict(check) for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            echo(f"{check.state:<4}  {check.name:<{width}}  {check.found}")
            if check.mend is not None:
                echo(f"{'':<4}  {'':<{width}}  -> {check.mend}")
    return 3 if any(check.state == "fail" for check in checks) else 0


def _python() -> Iterator[Check]:
    first, last = _PYTHONS
    good = first <= sys.version_info[:2] <= last
    mend = None if good else f"use Python {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    yield Check("python", "ok" if good else "fail", f"{platform.python_version()} on {platform.platform()}", mend)


def _packages() -> Iterator[Check]:
    """Each dependency: whether it is there, in the bounds of pyproject.toml, can be imported, and is the tested one."""
    wanted = dict(_bounds(metadata.requires("contrastive-bench") or []))
    for name in sorted({*wanted, *TESTED}, key=lambda one: (one not in TESTED, one)):
        yield _package(name, wanted.get(name))


def _bounds(requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Names with the lowest version that is allowed, of requirements that no extra brings.

    Read by hand: the library that reads them is a dependency, and may be what is missing.
    """
    for text in requirements:
        if "extra ==" not in text and (found := _REQUIREMENT.match(text)):
            yield found[1], found[2]


def _package(name: str, lowest: str | None) -> Check:
    again = "install with `pip install -c constraints.txt .`"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", again)
    if lowest and _numbers(found) < _numbers(lowest):
        return Check(name, "fail", f"{found}, and at least {lowest} is needed", again)
    try:
        importlib.import_module(_MODULES.get(name, name.replace("-", "_").lower()))
    except (Exception, SystemExit) as error:  # whatever a package raises: it cannot be used
        detail = next(iter(str(error).splitlines()), "")
        mend = f"run `pip install --force-reinstall '{name}=={TESTED.get(name, found)}'`"
        return Check(name, "fail", f"{found} cannot be imported ({type(error).__name__}: {detail:.120})", mend)
    if name in TESTED and found.split("+")[0] != TESTED[name]:
        mend = "install with -c constraints.txt for figures that compare with the documented ones"
        return Check(name, "warn", f"{found}, tested with {TESTED[name]}", mend)
    return Check(name, "ok", found)


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version: 2.13.0+cpu is 2, 13, 0."""
    return [int(number) for number in re.findall(r"\d+", re.split(r"[a-z+]", version, maxsplit=1)[0])]


def _devices() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("devices", "fail", f"torch cannot be loaded ({error})", "reinstall it with -c constraints.txt")
        return
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = ["cpu", *(f"cuda:{index} {name}" for index, name in enumerate(names))]
    yield Check("devices", "ok", ", ".join(found))
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    yield Check("threads", "ok", f"{threads} in torch, {cores or os.cpu_count()} cores")


def _room(cache: Path) -> Iterator[Check]:
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    yield Check("disk", *_enough(free, _DISK_FAIL, _DISK_WARN, "free some, or choose another disk by BENCH_CACHE"))
    memory = _available_memory()
    if memory is not None:
        mend = "close other programs, or use a bigger machine"
        yield Check("memory", *_enough(memory, _MEMORY_FAIL, _MEMORY_WARN, mend))
    writable = os.access(there, os.W_OK)
    size = sum(path.lstat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
    elsewhere = None if writable else "choose another folder by BENCH_CACHE"
    yield Check("cache", "ok" if writable else "fail", f"{cache}, {size / 1e6:,.0f} MB", elsewhere)


def _enough(free: float, fail: float, warn: float, mend: str) -> tuple[State, str, str | None]:
    state: State = "fail" if free < fail else "warn" if free < warn else "ok"
    return state, f"{free / 1e9:,.1f} GB free", None if state == "ok" else mend


def _available_memory() -> int | None:
    """Bytes that new work can have, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _assets(cache: Path) -> Iterator[Check]:
    from bench.assets.catalogue import AssetCatalogue

    store = AssetCatalogue(cache, offline=True)
    states = {name: store.state(name) for name in store.catalog}
    broken = [name for name, state in states.items() if state == "broken"]
    missing = [name for name, state in states.items() if state == "missing"]
    found = f"{len(states) - len(broken) - len(missing)} of {len(states)} cached"
    if broken:
        mend = f"run `bench data fetch {' '.join(broken)}`"
        yield Check("assets", "fail", f"{found}; damaged: {', '.join(broken)}", mend)
    elif missing:
        yield Check("assets", "ok", f"{found}; the others are fetched when a run needs them (`bench data fetch`)")
    else:
        yield Check("assets", "ok", found)


def _tools() -> Iterator[Check]:
    if util.find_spec("pip") is not None:
        yield Check("pip", "ok", metadata.version("pip"))
    else:
        yield Check("pip", "warn", "not installed: embedded assets cannot be fetched", "run `python -m ensurepip`")
    git = shutil.which("git")
    mend = None if git else "install git to have the code's commit in the record"
    yield Check("git", "ok" if git else "warn", git or "not found", mend)
