"""Kill every command at every operation on a file, end it by signals, and go on: nothing is lost, nothing is left.

`tox -e kill`, or within `tests`: python -m fuzz.kill [--only run,judge] [--kills 10] [--signals 50] [--moments 50]

Of each command: SIGKILL at each of its operations on files (or at so many of them, by --kills); SIGTERM and SIGINT at
random moments (--signals of each), and SIGKILL at random moments (--moments), which may fall within what is written by
libraries in C. After each, the same command is given again: it must end with 0, leave what an undisturbed one leaves
(`commands.essence`: but for times), and nothing else. SIGTERM must end it with 143 and SIGINT with 130, with one line.
Exits with 1 where anything does not hold. All on tiny random models; needs Linux.
"""

import argparse
import gc
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

for name, value in {"TOKENIZERS_PARALLELISM": "false", "MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}.items():
    os.environ[name] = value

from forking import MODULES  # noqa: E402
from fuzz.commands import Command, Essence, commands, essence  # noqa: E402
from fuzz.forked import Ending, carry_out  # noqa: E402

from bench.assets.catalogue import AssetCatalogue  # noqa: E402
from bench.engine.batching import BATCH_BUDGET  # noqa: E402
from bench.run.environment import Environment  # noqa: E402
from bench.run.plan import Request, make_experiments  # noqa: E402
from bench.store.leftovers import sweep  # noqa: E402

_BATCH_TOKENS = 512  # so that the tiny work has several batches
_SETTLED_SECONDS = 2.1  # a file that was changed later than that is hashed again: see bench.assets.stamp
_INTERRUPTED = "bench: interrupted; "
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


@dataclass
class Tally:
    """What became of the cases of a command."""

    command: str
    operations: int
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """How a command is disturbed: at an operation, or by a signal after a share of the time that it takes."""

    kill_at: int | None = None
    number: int = signal.SIGKILL
    share: float = 0.0

    @property
    def kind(self) -> str:
        """Its column."""
        return "kills" if self.kill_at is not None else f"{signal.Signals(self.number).name} at a moment"

    def __str__(self) -> str:
        """Which it was, to find it again."""
        return f"kill at operation {self.kill_at}" if self.kill_at is not None else f"{self.kind} {self.share:.4f}"


def main() -> int:
    """Disturb the commands, print the table, and return the exit code."""
    asked = _asked()
    root = Path(tempfile.mkdtemp(prefix="bench-kill-")).resolve()
    BATCH_BUDGET.tokens = _BATCH_TOKENS
    try:
        tallies = list(_tallies(root, asked))
    finally:
        if not asked.keep:
            shutil.rmtree(root)
    _print(tallies)
    return int(any(tally.wrong for tally in tallies))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill commands, and go on.")
    parser.add_argument("--only", help="commands, comma-separated; all unless told otherwise")
    parser.add_argument("--kills", type=int, help="at so many operations, spread evenly; at all unless told otherwise")
    parser.add_argument("--signals", type=int, default=50, help="SIGTERM and SIGINT at so many moments each")
    parser.add_argument("--moments", type=int, default=50, help="SIGKILL at so many moments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", action="store_true", help="leave the folders of what went wrong")
    return parser.parse_args()


def _tallies(root: Path, asked: argparse.Namespace) -> Iterator[Tally]:
    inputs = root / "inputs"
    inputs.mkdir()
    listed = commands(inputs)
    _warm(inputs)
    time.sleep(_SETTLED_SECONDS)
    chosen = asked.only.split(",") if asked.only else list(listed)
    if any(listed[name].reads for name in chosen):
        _undisturbed(listed["run"], root / "records")
        shutil.copytree(root / "records" / "runs", inputs / "runs")
        listed = commands(inputs)
    for name in chosen:
        yield _disturb(listed[name], root, asked)


def _warm(inputs: Path) -> None:
    """Do once what every fork would do: import, and hash the code."""
    for name in MODULES:
        importlib.import_module(name)
    (experiment, *_) = make_experiments(Request(("contrastive",), str(inputs / "tiny.yaml"), base=False))
    Environment(experiment.suite, AssetCatalogue(inputs / "unused", offline=True)).run_code("contrastive")
    gc.collect()
    gc.freeze()  # trainers collect garbage: what is here already is none


def _undisturbed(command: Command, place: Path) -> tuple[Ending, Essence]:
    ending = carry_out(command.args, place)
    if ending.code:
        raise SystemExit(f"{command.name} fails when nobody disturbs it ({ending.code}):\n{ending.err}")
    return ending, essence(place)


def _disturb(command: Command, root: Path, asked: argparse.Namespace) -> Tally:
    ending, wanted = _undisturbed(command, root / "undisturbed")
    again, second = _undisturbed(command, root / "undisturbed-again")
    if second != wanted or [*map(len, (ending.operations, again.operations))] != [len(again.operations)] * 2:
        raise SystemExit(f"{command.name} does not do the same twice: {_difference(second, wanted)}")
    tally = Tally(command.name, len(again.operations), again.seconds)
    for case in _cases(len(again.operations), asked):
        place = root / "case"
        wrong = _wrong(command, case, place, again.seconds, wanted)
        tally.counts[case.kind] += 1
        if wrong:
            at = f" ({again.operations[case.kill_at]})" if case.kill_at is not None else ""
            tally.wrong.append(f"{command.name}, {case}{at}: {wrong}")
            print(tally.wrong[-1], flush=True)
            if asked.keep:
                place.rename(root / f"wrong-{command.name.split()[0]}-{len(tally.wrong)}")
        shutil.rmtree(place, ignore_errors=True)
    for name in ("undisturbed", "undisturbed-again"):
        shutil.rmtree(root / name)
    print(f"{command.name}: {tally.counts.total()} cases, {len(tally.wrong)} wrong", file=sys.stderr, flush=True)
    return tally


def _cases(operations: int, asked: argparse.Namespace) -> Iterator[Case]:
    count = operations if asked.kills is None else min(asked.kills, operations)
    for n in range(count):
        yield Case(kill_at=n * operations // count)
    moments = random.Random(asked.seed)  # noqa: S311 - no secret
    for number, times in (
        (signal.SIGTERM, asked.signals),
        (signal.SIGINT, asked.signals),
        (signal.SIGKILL, asked.moments),
    ):
        for _ in range(times):
            yield Case(number=number, share=moments.random())


def _wrong(command: Command, case: Case, place: Path, seconds: float, wanted: Essence) -> str | None:
    """What did not hold; None where all did."""
    if case.kill_at is not None:
        ending = carry_out(command.args, place, kill_at=case.kill_at)
    else:
        ending = carry_out(command.args, place, send=(case.number, case.share * seconds))
    if ending.code != 0 or case.kill_at is not None:  # it may have ended before its signal came
        if ending.code != _CODES[signal.Signals(case.number)]:
            return f"ended with {ending.code}: {ending.err[-500:]}"
        if case.number != signal.SIGKILL and not _is_one_line(ending.err):
            return f"said more than one line: {ending.err[-1500:]}"
    after = carry_out(command.args, place)
    if after.code:
        return f"the same command then ended with {after.code}: {after.err[-500:]}"
    if any(word in after.err for word in ("damaged", "Traceback", "Exception ignored")):
        return f"the same command then said: {after.err[-500:]}"
    left = essence(place)
    if left != wanted:
        return _difference(left, wanted)
    return "the next start had left something to sweep" if sweep(place) else None


def _is_one_line(said: str) -> bool:
    """Whether all that was said of the end is its last line."""
    return said.count("bench: ") == 1 and said.splitlines()[-1].startswith(_INTERRUPTED) and "Traceback" not in said


def _difference(left: Essence, wanted: Essence) -> str:
    more, less = sorted(left.keys() - wanted.keys()), sorted(wanted.keys() - left.keys())
    other = sorted(name for name in left.keys() & wanted.keys() if left[name] != wanted[name])
    return f"left behind {more[:5]}, missing {less[:5]}, of other content {other[:8]}"


def _print(tallies: list[Tally]) -> None:
    kinds = ["kills", *(f"{name} at a moment" for name in ("SIGTERM", "SIGINT", "SIGKILL"))]
    columns = ["command", "operations", "seconds", *kinds, "wrong"]
    rows = [
        [one.command, one.operations, f"{one.seconds:.2f}", *(one.counts[kind] for kind in kinds), len(one.wrong)]
        for one in tallies
    ]
    for row in (columns, *rows):
        print("  ".join(f"{cell!s:>{max(len(name), 13)}}" for name, cell in zip(columns, row, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
