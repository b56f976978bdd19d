"""Everything that is read is read wrong, many thousand times: `tox -e fuzz`, or `python -m fuzz` within `tests`.

Prints a line for each case that ends as nothing should, and a table; exits with 1 where there is any. `--only NUMBER`
replays a case of one kind.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fuzz.driver import Tally, fuzz
from fuzz.kinds import KINDS


def main() -> int:
    """Run the cases that are asked for; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"all, or some of {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, help="of each kind, in place of the full size")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", type=int, help="the number of the one case to replay")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-failures"), help="a folder for what fails")
    asked = parser.parse_args()
    tallies = []
    with tempfile.TemporaryDirectory() as place:
        os.environ["BENCH_CACHE"] = f"{place}/cache"
        os.environ["COLUMNS"] = "100"
        for name in asked.kinds or KINDS:
            kind = KINDS[name]
            last = kind.full if asked.cases is None else asked.first + asked.cases
            numbers = range(asked.first, last) if asked.only is None else [asked.only]
            kept = asked.kept.resolve()
            tallies.append(
                fuzz(kind, numbers, asked.seed, Path(place) / name, kept, lambda line: print(line, flush=True))
            )
            print(row(tallies[-1]), flush=True)
    print("\n".join(["", HEAD, *map(row, tallies)]))
    return int(any(tally.failed for tally in tallies))


HEAD = "kind         cases  accepted  refused  unexpected  hangs  growth   calls    MB      s"


def row(tally: Tally) -> str:
    """A line of the table; MB is the most that one call let the process grow."""
    ends = tally.ends
    return (
        f"{tally.kind:<10} {ends.total():>7} {ends['accepted']:>9} {ends['refused']:>8} {ends['unexpected']:>11} "
        f"{ends['hang']:>6} {ends['growth']:>7} {tally.calls.total():>7} {tally.grown >> 20:>5} {tally.seconds:>6.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
