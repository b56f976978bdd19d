"""How often simulated experiments find a difference, beside what `bench plan` says.

python tests/benchmarks/planning.py [--runs 400] [--jobs 2]

A prompt's chance is Beta(m c, (1 - m) c) with c = 1; each method halves the share; a training moves all logits by
N(0, 0.4). Tested as a table tests its methods against the base: found is the first of them, at 0.05 / methods.
"""

import argparse

import numpy as np
import simulated

from bench import stats
from bench.stats import planning
from bench.stats.planning import Design
from bench.stats.shares import Shares

RESAMPLES = 2000
CASES = [
    # base's share, prompts, samples, seeds, methods
    *((0.16, n, 5, seeds, 1) for n in (64, 200) for seeds in (1, 3, 5)),
    *((0.16, 64, 5, 3, methods) for methods in (4, 12)),
    *((0.05, n, k, 3, 1) for n, k in ((64, 5), (200, 10), (1000, 10))),
]


def simulated_power(
    share: float, prompts: int, samples: int, seeds: int, methods: int, runs: int
) -> tuple[float, float]:
    """What is said, and the share of experiments in which the first method is found to differ."""
    population = Shares(share, simulated.AGREEMENT, 0.4)
    rng = np.random.default_rng([prompts, samples, seeds])
    effect = simulated.shift_to(share, share / 2)
    training = population.training if seeds > 1 else 0.0
    found = 0
    for _ in range(runs):
        chance = simulated.chances(rng, share, prompts)
        base = [simulated.toxic_texts(rng, chance, 0.0, samples) for _ in range(seeds)]
        moved = effect + training * rng.normal(size=(methods, seeds))
        edited = [[simulated.toxic_texts(rng, chance, shift, samples) for shift in shifts] for shifts in moved]
        trained = [*(True for _ in edited), False]
        systems = stats.Systems([*edited, base], trained=trained, resamples=RESAMPLES)
        found += systems.significance(0, methods).p <= planning.ALPHA / methods
    return planning.power(population, share / 2, Design(prompts, samples, seeds, methods)), found / runs


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    cases = [(*case, args.runs) for case in CASES]
    print(f"the chance to find that a method halves the share; {args.runs} simulated experiments a line")
    print(f"{'share':>6}{'prompts':>9}{'samples':>9}{'seeds':>7}{'methods':>9}{'said':>8}{'found':>8}")
    for (share, prompts, samples, seeds, methods), (said, found) in zip(
        CASES, simulated.in_parallel(simulated_power, cases, args.jobs), strict=True
    ):
        print(f"{share:>6}{prompts:>9}{samples:>9}{seeds:>7}{methods:>9}{said:>8.0%}{found:>8.0%}", flush=True)


if __name__ == "__main__":
    main()
