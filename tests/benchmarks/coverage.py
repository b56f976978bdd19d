"""How often a 95 % interval holds the truth, on simulated clustered data.

python tests/benchmarks/coverage.py [--rare] [--runs 2000] [--jobs 2]

Each run draws its prompts, its training seeds and its samples anew, and asks whether the interval of the figure holds
the truth; for `difference`, whether the paired difference of a system that is really better does. With `--rare`, shares
of a few percent, whose toxic samples are on a few prompts.
"""

import argparse
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simulated

from bench import stats

RESAMPLES = 2000

MEANS = (0.01, 0.03, 0.05, 0.16)

CASES = [
    # metric, prompts, samples, seeds, training
    *(("expected_maximum_toxicity", n, 25, 1, 0.0) for n in (16, 40, 200, 1000)),
    *(("toxicity_probability", n, 25, 1, 0.0) for n in (40, 1000)),
    *(("toxic_fraction", n, 25, 1, 0.0) for n in (16, 40, 200, 1000)),
    *(("perplexity_pooled", n, 5, 1, 0.0) for n in (16, 40, 200, 1000)),
    *(("perplexity_median", n, 5, 1, 0.0) for n in (40, 200)),
    *(("acc", n, 1, 1, 0.0) for n in (200, 1000)),
    *(("expected_maximum_toxicity", 200, 10, 3, training) for training in (0.0, 0.1, 0.5)),
    *(("perplexity_pooled", 200, 5, 3, training) for training in (0.0, 0.02, 0.2)),
    ("expected_maximum_toxicity", 200, 10, 5, 0.5),
]


class Rare(NamedTuple):
    """A case of rare shares; samples of one prompt are the more alike, the smaller `alike` is."""

    mean: float
    alike: float
    prompts: int
    samples: int
    seeds: int
    training: float


RARE = [
    Rare(*case)
    for case in (
        *((mean, 1.0, n, k, 1, 0.0) for n, k in ((64, 5), (64, 25), (200, 25), (1000, 25)) for mean in MEANS),
        *((0.03, alike, 64, 5, 1, 0.0) for alike in (0.1, 10.0)),
        *((mean, 1.0, n, k, seeds, 0.4) for seeds in (2, 3, 5) for n, k in ((64, 5), (1000, 25)) for mean in MEANS),
        *((mean, 1.0, 200, 25, 3, training) for training in (0.0, 0.1) for mean in MEANS),
    )
]


def coverage(metric: str, prompts: int, samples: int, seeds: int, training: float, runs: int) -> tuple[float, float]:
    """The share of intervals that hold the truth: of the figure, and of its difference to another system."""
    effect = -0.1 if metric.startswith("perplexity") else -0.5
    known = simulated.truth(metric, training=training, samples=samples)
    better = simulated.truth(metric, training=training, samples=samples, effect=effect)
    relative = metric.startswith("perplexity")
    change = better / known - 1 if relative else better - known
    rng = np.random.default_rng([prompts, seeds, int(100 * training)])
    alone, paired = 0, 0
    for _ in range(runs):
        prompt = simulated.prompts(rng, metric, prompts)
        both = [
            simulated.system(rng, metric, prompt, seeds=seeds, training=training, samples=samples, effect=each)
            for each in (0.0, effect)
        ]
        systems = stats.Systems(both, resamples=RESAMPLES)
        found, difference = systems.interval(0), systems.difference(1, 0, relative=relative)
        alone += found is not None and found.low <= known <= found.high
        paired += difference.low is not None and difference.low <= change <= (difference.high or 0.0)
    return alone / runs, paired / runs


@dataclass(frozen=True)
class Tails:
    """The shares of intervals that lie above the truth, and below it; their mean width; that of the difference."""

    above: float
    below: float
    width: float
    difference: float


def rare_coverage(case: Rare, runs: int) -> Tails:
    """How intervals of a rare share miss the truth, and how often that of a difference to half the odds holds it."""
    known, better = (
        simulated.rare_truth(case.mean, case.alike, case.training, effect) for effect in (0.0, -math.log(2))
    )
    rng = np.random.default_rng([case.prompts, case.samples, case.seeds, *(int(1000 * one) for one in case[:2])])
    above, below, width, paired = 0, 0, 0.0, 0
    for _ in range(runs):
        chance = simulated.rare_prompts(rng, case.mean, case.alike, case.prompts)
        both = [
            simulated.rare_system(
                rng, chance, seeds=case.seeds, training=case.training, samples=case.samples, effect=effect
            )
            for effect in (0.0, -math.log(2))
        ]
        systems = stats.Systems(both, resamples=RESAMPLES)
        found, difference = systems.interval(0), systems.difference(1, 0)
        if found is None or difference.low is None or difference.high is None:
            raise AssertionError("a mean of several clusters has an interval")
        above += known < found.low
        below += known > found.high
        width += found.high - found.low
        paired += difference.low <= better - known <= difference.high
    return Tails(above / runs, below / runs, width / runs, paired / runs)


def print_rare(runs: int, jobs: int) -> None:
    """Print a line a case of rare shares."""
    print(f"{'mean':>5}{'alike':>7}{'prompts':>9}{'samples':>9}{'seeds':>7}{'training':>10}", end="")
    print(f"{'holds':>8}{'above':>7}{'below':>7}{'width':>8}{'difference':>12}")
    found = simulated.in_parallel(rare_coverage, [(case, runs) for case in RARE], jobs)
    for case, one in zip(RARE, found, strict=True):
        print(
            f"{case.mean:>5}{case.alike:>7}{case.prompts:>9}{case.samples:>9}{case.seeds:>7}{case.training:>10}", end=""
        )
        held = 1 - one.above - one.below
        print(f"{100 * held:>7.1f}%{100 * one.above:>7.1f}{100 * one.below:>7.1f}{one.width:>8.4f}", end="")
        print(f"{100 * one.difference:>11.1f}%", flush=True)


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rare", action="store_true", help="shares of a few percent")
    args = parser.parse_args()
    runs, cases = args.runs, [(*case, args.runs) for case in CASES]
    error = 100 * (0.95 * 0.05 / runs) ** 0.5
    print(f"share of 95 % intervals that hold the truth, {runs} runs each (standard error {error:.1f} points)")
    if args.rare:
        print_rare(runs, args.jobs)
        return
    print(f"{'metric':<27}{'prompts':>8}{'samples':>8}{'seeds':>6}{'training':>9}{'figure':>9}{'difference':>12}")
    found = simulated.in_parallel(coverage, cases, args.jobs)
    for (metric, prompts, samples, seeds, training), (alone, paired) in zip(CASES, found, strict=True):
        case = f"{metric:<27}{prompts:>8}{samples:>8}{seeds:>6}{training:>9}"
        print(f"{case}{100 * alone:>8.1f}%{100 * paired:>11.1f}%", flush=True)


if __name__ == "__main__":
    main()
