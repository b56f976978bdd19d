"""One process against several that share a request: seconds, and whether what they leave is the same byte for byte.

    python tests/benchmarks/workers.py [--suite mini] [--methods contrastive,dpo,sft,unlikelihood] [--kills 10]

Rows: one process; `--workers 2`; two plain `bench run` side by side; the same two, of which one at a time is killed
(SIGKILL) at a random moment and started again, ten times; each with one thread a process, and a cache of its own that
has the model and the data. The bytes that count are those of `tests/fuzz/commands.py`: all but times and memory.
Nothing is asserted: speed is a property of the machine, and of who else works on it. `--suite tiny` takes seconds: a
random model, whose experiments are shorter than the start of a process.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import build_suite, build_tiny_model
from fuzz.commands import Essence, essence

from bench.assets.catalogue import default_cache

_SHORTEST = 3.0  # seconds from a process's start, or the last kill, to a kill: it gets to work
_SETTLED = 2.1  # a file that was changed later than that is hashed again


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--methods", default="contrastive,dpo,sft,unlikelihood")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    return parser.parse_args()


class Case:
    """A folder with a cache and records of its own, in which commands are started."""

    def __init__(self, folder: Path, args: Sequence[str]) -> None:
        self.folder, self._args = folder, args
        (folder / "cache").mkdir(parents=True)
        for name in ("models", "data"):
            if (default_cache() / name).is_dir():
                (folder / "cache" / name).symlink_to(default_cache() / name)

    def start(self, *more: str, threads: int = 1) -> "subprocess.Popen[bytes]":
        """Start the command; what it says goes into a file of the folder."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
        env = kept | {"BENCH_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "bench", "run", *self._args, *more]
        with (self.folder.with_suffix(".log")).open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)


def one(case: Case) -> None:
    """One process."""
    wait(case.start())


def workers(case: Case) -> None:
    """`--workers 2`: OMP_NUM_THREADS is what they divide."""
    wait(case.start("--workers", "2", threads=2))


def side_by_side(case: Case) -> None:
    """Two plain commands."""
    wait(case.start(), case.start())


def killed(case: Case, kills: int, seed: int, seconds: float) -> None:
    """Two plain commands, of which one at a time is killed and started again; the moments spread over `seconds`."""
    moments = random.Random(seed)  # noqa: S311 - no secret
    running = [case.start(), case.start()]
    for number in range(kills):
        time.sleep(_SHORTEST + moments.random() * seconds / kills)
        place = number % 2
        running[place].kill()
        running[place].wait()
        running[place] = case.start()
    wait(*running)
    wait(case.start())  # sweeps what was half made


def wait(*running: "subprocess.Popen[bytes]") -> None:
    """Wait for commands, each of which must succeed."""
    codes = [one.wait() for one in running]
    if any(codes):
        raise SystemExit(f"a command ended with {codes}")


def main() -> None:
    """Carry out the cases and print the table."""
    asked = options()
    root = Path(tempfile.mkdtemp(prefix="bench-workers-")).resolve()
    suite = asked.suite
    if suite == "tiny":
        build_tiny_model(root / "model")
        suite = str(build_suite(root, root / "model", decoding={"num_samples": 100, "max_new_tokens": 20}))
        time.sleep(_SETTLED)
    args = ("--method", asked.methods, "--suite", suite, "--seeds", asked.seeds)
    seconds, wanted = measured(Case(root / "one", args), one)
    print(f"{'':<45} {'seconds':>9} {'one / it':>9}  bytes\n{'one process':<45} {seconds:>9.1f}", flush=True)

    def row(name: str, folder: str, work: Callable[[Case], None]) -> None:
        took, left = measured(Case(root / folder, args), work)
        same = "the same" if left == wanted else f"DIFFERENT: {differing(left, wanted)}"
        print(f"{name:<45} {took:>9.1f} {seconds / took:>9.2f}  {same}", flush=True)

    row("--workers 2", "workers", workers)
    row("two side by side", "two", side_by_side)
    many = f"two side by side, killed {asked.kills} times"
    row(many, "killed", lambda case: killed(case, asked.kills, asked.seed, seconds))
    shutil.rmtree(root)


def measured(case: Case, work: Callable[[Case], None]) -> tuple[float, Essence]:
    """How long a case took, and what it left."""
    begin = time.perf_counter()
    work(case)
    return time.perf_counter() - begin, essence(case.folder)


def differing(left: Essence, wanted: Essence) -> list[str]:
    """Some of the files that differ."""
    return sorted(name for name in left.keys() | wanted.keys() if left.get(name) != wanted.get(name))[:5]


if __name__ == "__main__":
    main()
