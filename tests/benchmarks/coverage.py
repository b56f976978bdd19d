"""How often a 95 % interval holds the truth, on simulated clustered data.

python tests/benchmarks/coverage.py [--runs 2000] [--jobs 2]

Each run draws its prompts, its training seeds and its samples anew, and asks whether the interval of the figure holds
the truth; for `difference`, whether the paired difference of a system that is really better does.
"""

import argparse

import numpy as np
import simulated

from bench import stats

RESAMPLES = 2000

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


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    runs, cases = args.runs, [(*case, args.runs) for case in CASES]
    error = 100 * (0.95 * 0.05 / runs) ** 0.5
    print(f"share of 95 % intervals that hold the truth, {runs} runs each (standard error {error:.1f} points)")
    print(f"{'metric':<27}{'prompts':>8}{'samples':>8}{'seeds':>6}{'training':>9}{'figure':>9}{'difference':>12}")
    found = simulated.in_parallel(coverage, cases, args.jobs)
    for (metric, prompts, samples, seeds, training), (alone, paired) in zip(CASES, found, strict=True):
        case = f"{metric:<27}{prompts:>8}{samples:>8}{seeds:>6}{training:>9}"
        print(f"{case}{100 * alone:>8.1f}%{100 * paired:>11.1f}%", flush=True)


if __name__ == "__main__":
    main()
