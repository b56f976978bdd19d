"""How well workers share the batches of one experiment, 1 to 1,000 of them: a simulation, printed as a table.

    python tests/benchmarks/scheduler.py runs/mini-none-s0-... [--parts 10000] [--workers 1,10,100,1000]

Real: the rule by which a worker chooses (`bench.store.parts.in_order`), and how long it waits where nothing is to be
had. Measured: how long a batch takes (the seconds that sampling took in the record that is named, by the tokens of
each of its prompts; `--prompts` a batch, drawn with replacement), and how long it takes to look at the parts, to
take one, to write it and to read it, on a folder of as many files on this machine's disk. Made up: how much batches
differ besides (`--spread`). Simulated: time. `--slower 20` makes operations on files so many times slower, as a shared
disk may be.

Not in it: the start of workers and the loading of the model (once for each), a disk that grows slow when many ask it,
and what is not shared (contrastive sets, training).
"""

import argparse
import heapq
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.store.lock import is_held, pauses
from bench.store.parts import Parts, in_order
from bench.store.runs import load_run
from bench.store.samples import Sample, read_samples, write_samples
from bench.tasks.together import PAUSES

if TYPE_CHECKING:
    from bench.store.lease import Lease

_TASK = "rtp"
_MEASURED = 20  # times that an operation is measured


@dataclass(frozen=True)
class Costs:
    """Seconds of what a worker does with files.

    Attributes:
        look: At all parts.
        take: One, or finding that another has taken it meanwhile.
        check: Finding that somebody has one.
        write: One, and let go of it.
        join: One that is done: the owner reads it.
    """

    look: float
    take: float
    check: float
    write: float
    join: float

    def times(self, factor: float) -> "Costs":
        """The same on a slower disk."""
        return Costs(**{name: cost * factor for name, cost in vars(self).items()})


@dataclass(frozen=True)
class Outcome:
    """What a simulation gives.

    Attributes:
        seconds: Until the owner has put all parts together.
        tries: How often a worker tried to take a part.
        parts: By worker, how many it did.
    """

    seconds: float
    tries: int
    parts: tuple[int, ...]


@dataclass
class Simulation:
    """Parts of so many seconds, in the plan's order, and workers, of whom the first is the owner."""

    seconds: Sequence[float]
    workers: int
    costs: Costs

    def __post_init__(self) -> None:
        """Begin with nothing done."""
        self.done, self.held = set[int](), set[int]()
        self.did, self.tries, self.joined = [0] * self.workers, 0, 0

    def run(self) -> Outcome:
        """Let all workers begin at once."""
        running = [self._owner(), *(self._helper(worker) for worker in range(1, self.workers))]
        events = [(0.0, worker) for worker in range(self.workers)]
        end = 0.0
        while events:
            now, worker = heapq.heappop(events)
            end = end if worker else now
            if (takes := next(running[worker], None)) is not None:
                heapq.heappush(events, (now + takes, worker))
        return Outcome(end, self.tries, tuple(self.did))

    def _owner(self) -> Iterator[float]:
        """What the owner does, by the seconds that it then takes."""
        waits = pauses(*PAUSES)
        while self.joined < len(self.seconds):
            if not (yield from self._part(0)):
                yield next(waits)
            while self.joined in self.done:
                yield self.costs.join
                self.joined += 1

    def _helper(self, worker: int) -> Iterator[float]:
        """What a helper does until there is nothing for it: then it goes elsewhere."""
        while (yield from self._part(worker)):
            pass

    def _part(self, worker: int) -> Generator[float, None, bool]:
        """Do a part; return whether there was one to have."""
        yield self.costs.look
        for number in in_order(len(self.seconds), self.done, self.held, first=worker == 0):
            if number in self.held:
                yield self.costs.check
                continue
            yield self.costs.take
            self.tries += 1
            if number not in self.held and number not in self.done:
                self.held.add(number)
                yield self.seconds[number] + self.costs.write
                self.held.remove(number)
                self.done.add(number)
                self.did[worker] += 1
                return True
        return False


def measured_costs(count: int, samples: Sequence[Sample]) -> Costs:
    """The seconds of operations on a folder in which all parts, of these samples each, but some are done."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts.publish(Path(folder) / "rtp.parts", {}, [[]] * count)
        for number in range(count - 2 * _MEASURED):
            parts.path(number).parent.mkdir(exist_ok=True)
            parts.path(number).touch()
        taken: list[tuple[int, Lease]] = []

        def take() -> None:
            if one := parts.take(first=True):
                taken.append(one)

        def write() -> None:
            number, held = taken.pop()
            write_samples(parts.path(number), samples)
            held.release()

        parts.seen()  # what is whole is looked at once
        look, both = _seconds(parts.seen), _seconds(take)
        check = _seconds(lambda: is_held(parts.path(taken[0][0])))
        write_one, last = _seconds(write), parts.path(count - _MEASURED - 1)
        return Costs(look, max(both - look, 0), check, write_one, _seconds(lambda: list(read_samples(last))))


def _seconds(call: Callable[[], object]) -> float:
    """The median of several calls."""
    took = []
    for _ in range(_MEASURED):
        begin = time.perf_counter()
        call()
        took.append(time.perf_counter() - begin)
    return float(np.median(took))


def measured_parts(record: Path, prompts: int, count: int, spread: float) -> tuple[list[float], list[Sample]]:
    """The seconds of so many batches, the most tokens first, as a record's sampling took them; the samples of one."""
    (phase,) = (one for one in load_run(record).result.phases if one.name == _TASK)
    by_prompt: dict[str, list[Sample]] = {}
    for sample in read_samples(record / "samples" / f"{_TASK}.jsonl"):
        if isinstance(sample, Sample):
            by_prompt.setdefault(sample.prompt_id, []).append(sample)
    tokens = [sum(sample.tokens for sample in some) for some in by_prompt.values()]
    chance = np.random.default_rng(0)
    drawn = np.sort(chance.choice(tokens, (count, prompts)).sum(1))[::-1] * phase.seconds / sum(tokens)
    seconds = drawn * np.exp(spread * chance.standard_normal(count))
    return seconds.tolist(), [sample for some in list(by_prompt.values())[:prompts] for sample in some]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the folder of a finished record")
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=8, help="of a batch")
    parser.add_argument(
        "--spread", type=float, default=0.1, help="how much batches differ besides (SD of the logarithm)"
    )
    parser.add_argument("--workers", default="1,10,100,1000")
    parser.add_argument("--slower", type=float, default=1.0, help="operations on files")
    asked = parser.parse_args()
    seconds, samples = measured_parts(asked.record, asked.prompts, asked.parts, asked.spread)
    costs = measured_costs(asked.parts, samples).times(asked.slower)
    print(
        f"{asked.parts:,} batches of {np.mean(seconds):.1f} s (at most {max(seconds):.1f}), {sum(seconds):,.0f} s alone"
    )
    told = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in vars(costs).items())
    print(f"operations on files: {told}\n\n{'workers':>8} {'seconds':>12} {'of linear':>10} {'tries a part':>13}")
    for workers in map(int, asked.workers.split(",")):
        found = Simulation(seconds, workers, costs).run()
        share = sum(seconds) / workers / found.seconds
        print(f"{workers:>8,} {found.seconds:>12,.0f} {share:>10.3f} {found.tries / asked.parts:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
