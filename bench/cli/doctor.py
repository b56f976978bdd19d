"""`bench doctor`: whether this machine has what a run needs, and what to do where it has not."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata, util
from pathlib import Path

from bench.cli.common import CacheDir, Json
from bench.cli.dependencies import Check, State, lines, packages
from bench.cli.output import print_json
from bench.packages import broken_package
from bench.printed import echo

_PYTHONS = ((3, 11), (3, 13))
_DISK_FAIL, _DISK_WARN = 1e9, 3e9
_MEMORY_FAIL, _MEMORY_WARN = 2e9, 5e9


def doctor(json: Json = False, cache_dir: CacheDir = None) -> int:
    """Check this machine, and say what to mend."""
    checks = [*_python(), *packages(), *_devices()]
    try:
        from bench.assets.catalogue import default_cache

        cache = cache_dir or default_cache()
        checks += [*_room(cache), *_assets(cache)]
    except Exception as error:
        if broken_package(error) is None:
            raise
        # it has its own line
        checks.append(Check("cache", "fail", f"not looked at ({error})", "mend the packages above, and look again"))
    checks += _tools()
    if json:
        print_json([asdict(check) for check in checks])
    else:
        for line in lines(checks):
            echo(line)
    return 3 if any(check.state == "fail" for check in checks) else 0


def _python() -> Iterator[Check]:
    first, last = _PYTHONS
    good = first <= sys.version_info[:2] <= last
    mend = None if good else f"use Python {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    yield Check("python", "ok" if good else "fail", f"{platform.python_version()} on {platform.platform()}", mend)


def _devices() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:  # whatever a broken package raises
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
    if blocking := next((one for one in (cache, *cache.absolute().parents) if one.exists() and not one.is_dir()), None):
        yield Check("cache", "fail", f"{cache}: {blocking} is a file", "choose a folder by BENCH_CACHE")
        return
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
