"""How often systems that do not differ are said to differ, on simulated clustered data.

python tests/benchmarks/false_alarms.py [--runs 500] [--jobs 2]

Each run makes a base and ten methods of the very same law, on the same prompts: what is reported is a false alarm.
`interval` and `p` are shares of single comparisons with the base; `any` is the share of runs in which at least one of
the ten is reported, by p alone and after Holm's correction.
"""

import argparse

import numpy as np
import simulated

from bench import stats

RESAMPLES = 1999
METHODS = 10
ALPHA = 0.05

CASES = [
    # metric, prompts, samples, seeds, training
    ("expected_maximum_toxicity", 40, 10, 1, 0.0),
    ("expected_maximum_toxicity", 500, 10, 1, 0.0),
    ("toxicity_probability", 200, 10, 1, 0.0),
    ("toxic_fraction", 200, 10, 1, 0.0),
    ("perplexity_pooled", 200, 5, 1, 0.0),
    ("perplexity_median", 200, 5, 1, 0.0),
    ("acc", 200, 1, 1, 0.0),
    ("acc", 1000, 1, 1, 0.0),
    *(("expected_maximum_toxicity", 200, 10, 3, training) for training in (0.0, 0.05, 0.1, 0.5)),
    *(("perplexity_pooled", 200, 5, 3, training) for training in (0.0, 0.02, 0.2)),
    ("acc", 500, 1, 3, 0.1),
]


def false_alarms(metric: str, prompts: int, samples: int, seeds: int, training: float, runs: int) -> list[float]:
    """Shares of false alarms: an interval without 0, p <= 0.05, any of ten by p, any of ten after Holm's correction."""
    rng = np.random.default_rng([prompts, seeds, int(100 * training)])
    counts = np.zeros(4)
    for _ in range(runs):
        prompt = simulated.prompts(rng, metric, prompts)
        systems = stats.Systems(
            [
                simulated.system(rng, metric, prompt, seeds=seeds, training=training, samples=samples)
                for _ in range(METHODS + 1)
            ],
            resamples=RESAMPLES,
        )
        others = range(1, METHODS + 1)
        relative = metric.startswith("perplexity")
        told = [systems.difference(n, 0, relative=relative).excludes_zero for n in others]
        ps = [systems.significance(n, 0).p for n in others]
        corrected = [p for p in stats.holm(ps) if p is not None]
        counts += [np.mean(told), np.mean(np.array(ps) <= ALPHA), min(ps) <= ALPHA, min(corrected) <= ALPHA]
    return [float(count) for count in counts / runs]


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    runs, cases = args.runs, [(*case, args.runs) for case in CASES]
    print(f"false alarms among systems of one law, {runs} runs of {METHODS} methods and a base each")
    print(
        f"{'metric':<27}{'prompts':>8}{'seeds':>6}{'training':>9}{'interval':>10}{'p':>7}{'any, p':>9}{'any, Holm':>11}"
    )
    found = simulated.in_parallel(false_alarms, cases, args.jobs)
    for (metric, prompts, _, seeds, training), shares in zip(CASES, found, strict=True):
        told = "{:>9.1f}%{:>6.1f}%{:>8.1f}%{:>10.1f}%".format(*(100 * share for share in shares))
        print(f"{metric:<27}{prompts:>8}{seeds:>6}{training:>9}{told}", flush=True)


if __name__ == "__main__":
    main()
