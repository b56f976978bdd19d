"""How often systems that do not differ are said to differ, on simulated clustered data.

python tests/benchmarks/false_alarms.py [--runs 500] [--jobs 2] [--only laws|trainings]

Each run makes a base and ten methods of the very same law, on the same prompts: what is reported is a false alarm.
`interval` and `p` are shares of single comparisons with the base; `any` is the share of runs in which at least one of
the ten is reported, by p alone and after Holm's correction.

The second table asks what a table with a dagger claims: that the method differs, whatever its training. Twenty (or two)
methods are the base but for their trainings, which move all logits by a normal number of standard deviation `training`
(`.1/.8`: of every other method; `log`: each method's own, 0.3 exp(N(0, 0.6))). `any` is the share of tables in which
one of them gets a dagger, `power` that in which a further one, which halves the toxic fraction, does.
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


TABLES = [
    # prompts, samples, seeds, training, methods
    *((64, 5, 3, training, 20) for training in ("0.4", "0", "0.1", "0.8", ".1/.8", "log")),
    *((64, 5, seeds, "0.4", 20) for seeds in (2, 5)),
    *((200, 10, 3, training, 20) for training in ("0.4", "0", "0.1", "0.8", ".1/.8", "log")),
    *((200, 10, seeds, "0.4", 20) for seeds in (2, 5)),
    *((64, 5, 3, training, 2) for training in ("0.4", "0", "0.1", "0.8", ".1/.8")),
    *((200, 10, 3, training, 2) for training in ("0.4", "0", ".1/.8")),
    (200, 10, 2, "0.4", 2),
]
SHARE = 0.16


def spreads(rng: np.random.Generator, training: str, methods: int) -> np.ndarray:
    """The standard deviation of each method's trainings, in logits."""
    if training == "log":
        return 0.3 * np.exp(0.6 * rng.normal(size=methods))
    if training == ".1/.8":
        return np.where(np.arange(methods) % 2 == 0, 0.8, 0.1)
    return np.full(methods, float(training))


def trained_alarms(
    prompts: int, samples: int, seeds: int, training: str, methods: int, runs: int
) -> tuple[float, float]:
    """The shares of tables with a false dagger, and with one for a method that halves the toxic fraction."""
    rng = np.random.default_rng([prompts, seeds, methods, *training.encode()])
    halved = simulated.shift_to(SHARE, SHARE / 2)
    alarms, power = 0, 0
    for _ in range(runs):
        chance = simulated.chances(rng, SHARE, prompts)
        spread = [0.0, *spreads(rng, training, methods), *spreads(rng, training, 1)]
        effects = [*(methods + 1) * [0.0], halved]
        evidences = [
            [simulated.toxic_texts(rng, chance, effect + each * rng.normal(), samples) for _ in range(seeds)]
            for each, effect in zip(spread, effects, strict=True)
        ]
        for last in (methods, methods + 1):
            compared = [*range(1, methods), last]
            systems = stats.Systems(
                [evidences[n] for n in (0, *compared)], trained=[False, *methods * [True]], resamples=RESAMPLES
            )
            corrected = stats.holm([systems.significance(n, 0).p for n in range(1, methods + 1)])
            if last == methods:
                alarms += min(p for p in corrected if p is not None) <= ALPHA
            else:
                power += (corrected[-1] or 0.0) <= ALPHA
    return alarms / runs, power / runs


def print_laws(runs: int, jobs: int) -> None:
    """Print a line a case of the first table."""
    cases = [(*case, runs) for case in CASES]
    print(f"false alarms among systems of one law, {runs} runs of {METHODS} methods and a base each")
    print(
        f"{'metric':<27}{'prompts':>8}{'seeds':>6}{'training':>9}{'interval':>10}{'p':>7}{'any, p':>9}{'any, Holm':>11}"
    )
    found = simulated.in_parallel(false_alarms, cases, jobs)
    for (metric, prompts, _, seeds, training), shares in zip(CASES, found, strict=True):
        told = "{:>9.1f}%{:>6.1f}%{:>8.1f}%{:>10.1f}%".format(*(100 * share for share in shares))
        print(f"{metric:<27}{prompts:>8}{seeds:>6}{training:>9}{told}", flush=True)


def print_trainings(runs: int, jobs: int) -> None:
    """Print a line a case of the second table."""
    print(f"tables of methods that differ from the base by their trainings alone, {runs} tables a line")
    print(f"{'prompts x samples':<18}{'methods':>8}{'seeds':>6}{'training':>9}{'any':>13}{'power':>14}")
    found = simulated.in_parallel(trained_alarms, [(*case, runs) for case in TABLES], jobs)
    for (prompts, samples, seeds, training, methods), shares in zip(TABLES, found, strict=True):
        told = "".join(f"{100 * one:>7.1f} +-{100 * (one * (1 - one) / runs) ** 0.5:.1f}" for one in shares)
        print(f"{prompts:>8} x {samples:<7}{methods:>8}{seeds:>6}{training:>9} {told}", flush=True)


def main() -> None:
    """Print both tables, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=["laws", "trainings"])
    args = parser.parse_args()
    if args.only != "trainings":
        print_laws(args.runs, args.jobs)
    if args.only != "laws":
        print_trainings(args.runs, args.jobs)


if __name__ == "__main__":
    main()
