"""How often the ranks of a table hold the true ones, and who keeps "may be best", on simulated clustered data.

python tests/benchmarks/ranks.py [--runs 300] [--jobs 2]

A table has a base and twenty methods: one makes the toxic fraction a quarter of the base's, four are 1.5 times worse
than it, five 2.5 times, the others are the base but for their trainings (`graded`); or all are the base (`equal`).
With one seed, what is ranked are the trainings, and their true ranks count. `coverage` is the share of tables in which
the sets of ranks hold all true ranks at once; `star` that in which the best is clearly better than all others; `best`
that in which it may be best; `1.5` and `2.5` the shares of rivals that many times worse that may be best. `before`
gives these three by the rule that there was: tested against the best figure alone, by Holm's correction.
"""

import argparse

import numpy as np
import simulated

from bench import stats
from bench.store.record import Evidence

RESAMPLES = 1999
ALPHA = 0.05
SHARE = 0.16
LEVELS = {"graded": [0.04, *4 * [0.06], *5 * [0.10], *10 * [SHARE]], "equal": 20 * [SHARE]}

CASES = [
    # table, prompts, samples, seeds, training
    ("graded", 64, 5, 3, 0.4),
    ("graded", 200, 10, 3, 0.4),
    ("graded", 64, 5, 3, 0.0),
    ("graded", 200, 10, 3, 0.0),
    ("graded", 64, 5, 1, 0.4),
    ("graded", 200, 10, 1, 0.4),
    ("graded", 64, 5, 5, 0.4),
    ("graded", 200, 10, 2, 0.4),
    ("equal", 64, 5, 3, 0.4),
    ("equal", 200, 10, 3, 0.4),
    ("equal", 64, 5, 3, 0.0),
    ("equal", 64, 5, 1, 0.0),
]


def ranked(table: str, prompts: int, samples: int, seeds: int, training: float, runs: int) -> list[float]:
    """Coverage, star, best, 1.5 and 2.5; then best, 1.5 and 2.5 by the rule before."""
    rng = np.random.default_rng([prompts, seeds, int(10 * training), len(table)])
    levels = np.array([SHARE, *LEVELS[table]])
    shifts = [simulated.shift_to(SHARE, level) for level in levels]
    trained = [False, *LEVELS[table]]
    found = []
    for _ in range(runs):
        chance = simulated.chances(rng, SHARE, prompts)
        moves = [[shift + training * bool(own) * rng.normal() for _ in range(seeds)]
                 for shift, own in zip(shifts, trained, strict=True)]  # fmt: skip
        true = np.array([each[0] for each in moves]) if seeds == 1 else levels
        evidences = [[simulated.toxic_texts(rng, chance, move, samples) for move in each] for each in moves]
        systems = stats.Systems(
            evidences,
            trained=[bool(own) for own in trained],
            resamples=RESAMPLES,
        )
        ranks = systems.ranks(range(len(levels)), higher_is_better=False)
        held = all(
            one.low <= 1 + (true < true[n]).sum() and one.high >= (true <= true[n]).sum() for n, one in enumerate(ranks)
        )
        found.append(
            [held, ranks[1].is_best, *_kept([one.may_be_best for one in ranks]), *_kept(_before(systems, evidences))]
        )
    return [float(share) for share in np.mean(found, axis=0)]


def _kept(marked: list[bool]) -> list[float]:
    """Of the best, of those 1.5 times and of those 2.5 times worse: the share that is marked."""
    return [float(marked[1]), float(np.mean(marked[2:6])), float(np.mean(marked[6:11]))]


def _before(systems: stats.Systems, evidences: list[list[Evidence]]) -> list[bool]:
    """The systems that do not differ significantly from the best figure, with Holm's correction."""
    count = len(evidences)
    figures = [np.mean([one.value for one in some]) for some in evidences]
    best = int(np.argmin(figures))
    others = [n for n in range(count) if n != best]
    corrected = stats.holm([systems.significance(best, n).p for n in others])
    marked = dict(zip(others, [p is None or p > ALPHA for p in corrected], strict=True))
    return [marked.get(n, True) for n in range(count)]


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print(f"ranks in tables of a base and twenty methods, {args.runs} tables a line; in percent")
    print(f"{'table':<8}{'prompts':>8}{'seeds':>6}{'training':>9}{'coverage':>14}{'star':>6}", end="")
    print(f"{'best':>7}{'1.5':>6}{'2.5':>6}{'before:':>9}{'best':>6}{'1.5':>6}{'2.5':>6}")
    found = simulated.in_parallel(ranked, [(*case, args.runs) for case in CASES], args.jobs)
    for (table, prompts, samples, seeds, training), (held, *shares) in zip(CASES, found, strict=True):
        error = 100 * (held * (1 - held) / args.runs) ** 0.5
        star, *kept = (f"{100 * share:>6.0f}" for share in shares)
        told = f"{100 * held:>8.1f} +-{error:.1f}{star} {''.join(kept[:3])}{'':>9}{''.join(kept[3:])}"
        print(f"{table:<8}{prompts:>5}x{samples:<3}{seeds:>5}{training:>9}{told}", flush=True)


if __name__ == "__main__":
    main()
