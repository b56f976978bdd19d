"""The main command, timed as a user runs it."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(checkout: Path | None, runs: Path) -> float:
    """Wall-clock seconds of `bench run --method contrastive --suite mini`.

    Args:
        checkout: The source tree to run it from; None for the installed one. Made artifacts are keyed by the code and
            would be reused: each call works in a cache of its own that shares the downloaded assets alone.
        runs: Folder of records.
    """
    environment = dict(os.environ)
    if checkout:
        environment["PYTHONPATH"] = str(checkout)
    command = [sys.executable, "-m", "bench", "run", "--method", "contrastive", "--suite", "mini"]
    started = time.perf_counter()
    subprocess.run([*command, "--runs-dir", str(runs)], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def table(cache: Path, first_version: Path | None, keep: Path | None = None) -> str:
    """The first run and an unchanged repeat, ours and, where it is given, an older version's.

    Args:
        cache: Where the assets are.
        first_version: A checkout of the older version.
        keep: Folder to leave the records in, under `first` and `this`; None for none.
    """
    lines = ["| command | version | seconds |", "|---|---|---|"]
    for name, checkout in (("first", first_version), ("this", None)):
        if name == "first" and checkout is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) / "cache"
            own.mkdir()
            for part in ("models", "data", "hashes"):
                if (cache / part).exists():
                    (own / part).symlink_to(cache / part)
            os.environ["BENCH_CACHE"] = str(own)
            runs = keep / name if keep else Path(folder) / "runs"
            lines.append(f"| first run | {name} | {seconds(checkout, runs):.0f} |")
            lines.append(f"| unchanged repeat | {name} | {seconds(checkout, runs):.1f} |")
    os.environ.pop("BENCH_CACHE", None)
    return "\n".join(lines)
