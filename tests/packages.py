"""Packages of others: built and installed as a user does, without a network, and commands that see them."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
PATIENCE = 600
Run = Callable[..., subprocess.CompletedProcess[str]]


def install(target: Path, *names: str) -> list[str]:
    """Install packages of `tests/` into a folder; the modules that it then holds."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    folders = [str(ROOT / "tests" / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), *folders],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in target.glob("*.py"))


def runner(installed: Path, cache: Path, folder: Path) -> Run:
    """Runs a command in a folder with what is installed on Python's path, and a cache of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
    variables = kept | {"BENCH_CACHE": str(cache), "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def call(*command: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=variables, cwd=cwd, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    return call


def contract(run: Run, *arguments: str) -> str:
    """Run our own tests in a process that has the packages; what pytest says in its last line."""
    command = (sys.executable, "-m", "pytest", *arguments, "-q", "-p", "no:cacheprovider")
    done = run(*command, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout.strip().splitlines()[-1]
