"""One process beside one busy core: how much longer it takes than alone, with torch's own threads and with one.

    python tests/benchmarks/busy.py [--suite smoke] [--limit 32] [--repeats 3]

Two threads that share two cores with other work wait for each other at every operation; one thread does not. Medians of
some repeats, alone and beside a process that keeps one core busy, in turn. Nothing is asserted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from workers import Case

_SPIN = "while True: pass"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="smoke")
    parser.add_argument("--limit", default="32")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    args = ("--method", "none", "--suite", asked.suite, "--limit", asked.limit)
    cores = os.cpu_count() or 1
    print(f"{'threads':<9} {'alone, s':>9} {'beside, s':>10} {'beside / alone':>15}")
    for threads in (cores, 1):
        alone, beside = [], []
        for _ in range(asked.repeats):
            alone.append(seconds(args, threads, busy=False))
            beside.append(seconds(args, threads, busy=True))
        one, other = statistics.median(alone), statistics.median(beside)
        print(f"{threads:<9} {one:>9.1f} {other:>10.1f} {other / one:>15.2f}", flush=True)


def seconds(args: tuple[str, ...], threads: int, *, busy: bool) -> float:
    """What a command takes in a place of its own."""
    spinning = subprocess.Popen([sys.executable, "-c", _SPIN]) if busy else None
    try:
        with tempfile.TemporaryDirectory(prefix="bench-busy-") as folder:
            begin = time.perf_counter()
            if Case(Path(folder) / "one", args).start(threads=threads).wait():
                raise SystemExit(f"the command failed: see {folder}")
            return time.perf_counter() - begin
    finally:
        if spinning:
            spinning.kill()
            spinning.wait()


if __name__ == "__main__":
    main()
