"""How often simulated experiments find a difference, beside what `bench plan` says.

python tests/benchmarks/planning.py [--runs 400] [--jobs 2]

A prompt's chance is Beta(m c, (1 - m) c) with c = 1; a method halves the share; a training moves all logits by
N(0, 0.4). Tested as a table tests one method against the base.
"""

import argparse

import numpy as np
import simulated

from bench import stats
from bench.stats import planning
from bench.stats.planning import Design, Population
from bench.store.record import Evidence

RESAMPLES = 2000
CASES = [
    # base's share, prompts, samples, seeds
    *((0.16, n, 5, seeds) for n in (64, 200) for seeds in (1, 3, 5)),
    *((0.05, n, k, 3) for n, k in ((64, 5), (200, 10), (1000, 10))),
]


def simulated_power(share: float, prompts: int, samples: int, seeds: int, runs: int) -> tuple[float, float]:
    """What is said, and the share of experiments in which p <= 0.05."""
    population = Population(share, 1.0, 0.4)
    rng = np.random.default_rng([prompts, samples, seeds])
    many = drawn(np.random.default_rng(0), share, 200_000)
    low, high = -20.0, 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(many, middle).mean() < share / 2 else (low, middle)
    found = 0
    for _ in range(runs):
        chances = drawn(rng, share, prompts)
        base = [observed(rng, chances, samples) for _ in range(seeds)]
        training = 0.4 if seeds > 1 else 0.0
        method = [observed(rng, moved(chances, low + training * rng.normal()), samples) for _ in range(seeds)]
        found += stats.Systems([method, base], resamples=RESAMPLES).significance(0, 1).p <= planning.ALPHA
    return planning.power(population, share / 2, Design(prompts, samples, seeds)), found / runs


def drawn(rng: np.random.Generator, share: float, count: int) -> np.ndarray:
    """Prompts' chances."""
    return np.clip(rng.beta(share, 1 - share, size=count), 1e-12, 1 - 1e-12)


def moved(chances: np.ndarray, shift: float) -> np.ndarray:
    """All logits moved."""
    return 1 / (1 + np.exp(-(np.log(chances / (1 - chances)) + shift)))


def observed(rng: np.random.Generator, chances: np.ndarray, samples: int) -> Evidence:
    """Evidence of one run."""
    hits = (rng.uniform(size=(len(chances), samples)) < chances[:, None]).astype(float)
    return Evidence(
        statistic="mean",
        bounded=True,
        cluster_ids=[f"{number:05}" for number in range(len(chances))],
        cluster=np.repeat(np.arange(len(chances)), samples).tolist(),
        value=hits.ravel().tolist(),
    )


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    cases = [(*case, args.runs) for case in CASES]
    print(f"the chance to find that a method halves the share; {args.runs} simulated experiments a line")
    print(f"{'share':>6}{'prompts':>9}{'samples':>9}{'seeds':>7}{'said':>8}{'found':>8}")
    for (share, prompts, samples, seeds), (said, found) in zip(
        CASES, simulated.in_parallel(simulated_power, cases, args.jobs), strict=True
    ):
        print(f"{share:>6}{prompts:>9}{samples:>9}{seeds:>7}{said:>8.0%}{found:>8.0%}", flush=True)


if __name__ == "__main__":
    main()
