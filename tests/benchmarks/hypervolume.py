"""What chance adds to the hypervolume of several points, and how often its interval holds the truth.

python tests/benchmarks/hypervolume.py [--runs 1000] [--jobs 2]

A base of 16 % toxic samples, or fewer, and points that move its logits and cost perplexity. All points and the base are
measured on the same prompts and passages; a training moves all its points alike.
"""

import argparse
import math
from typing import NamedTuple

import numpy as np
import simulated

from bench.stats.hypervolume import Axis, cross_validated, hypervolume, is_known, relative

Array = simulated.Array
MEAN, ALIKE = 0.16, 1.0
REFERENCE = 0.25
CURVES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # how far each point moves the logits, and the share by which it raises the perplexity
    "nothing": ((0.0,) * 5, (0.0,) * 5),
    "weak": ((-0.1, -0.2, -0.3, -0.4, -0.5), (0.0, 0.01, 0.03, 0.06, 0.12)),
    "strong": ((-0.3, -0.7, -1.2, -1.8, -2.5), (0.005, 0.01, 0.03, 0.08, 0.2)),
    "one point": ((-1.0,), (0.02,)),
    "five alike": ((-1.0,) * 5, (0.02,) * 5),
}


class Case(NamedTuple):
    """A curve as it is measured; `training` is the standard deviation of what a training does to the logits."""

    curve: str
    prompts: int
    samples: int
    passages: int
    seeds: int
    training: float
    mean: float = MEAN


class Found(NamedTuple):
    """Means over runs: the truth, both hypervolumes, the shares of intervals above and below the truth, their width.

    `known` is the share of runs whose base is known well enough; `missed` says how many intervals of these miss the
    truth, and `hidden` how many of the others would.
    """

    truth: float
    apparent: float
    value: float
    above: float
    below: float
    width: float
    known: float
    missed: float
    hidden: float


CASES = [
    *(Case(curve, *size, 1, 0.0) for curve in CURVES for size in ((64, 5, 20), (200, 5, 60), (1000, 25, 60))),
    *(Case(curve, 200, 5, 60, 3, training) for curve in CURVES for training in (0.0, 0.4)),
    *(Case(curve, 64, 5, 20, 1, 0.0, mean) for curve in CURVES for mean in (0.02, 0.04, 0.08)),
]


def measured(rng: np.random.Generator, case: Case) -> tuple[Axis, Axis, bool]:
    """The points' distances and costs, relative to the base's, as `cross_validated` takes them; if these are known."""
    effects, costs = CURVES[case.curve]
    chance = simulated.rare_prompts(rng, case.mean, ALIKE, case.prompts)
    passages = 3 + 0.5 * rng.normal(size=case.passages)
    rows, losses = [], []
    base = [rng.binomial(case.samples, chance) / case.samples for _ in range(case.seeds)]
    for _ in range(case.seeds):
        luck = case.training * rng.normal()
        moved = [simulated.trained(chance, effect + luck) for effect in effects]
        rows.append([rng.binomial(case.samples, one) / case.samples for one in moved])
        losses.append([passages + math.log1p(cost) + 0.05 * rng.normal(size=case.passages) for cost in costs])
    if not np.any(base):
        return measured(rng, case)  # a base without a toxic sample has no hypervolume
    own = _axis(np.mean(base, axis=0)[None, None])
    return relative(_axis(np.array(rows)), own), _cost(np.array(losses), passages), is_known(own)


def _axis(points: Array) -> Axis:
    figures = points.mean(axis=-1)
    return Axis(figures, (points - figures[..., None]).swapaxes(1, 2))


def _cost(points: Array, base: Array) -> Axis:
    change = points - base
    ratio = np.exp(change.mean(axis=-1))
    influence = ratio[..., None] * (change - change.mean(axis=-1, keepdims=True))
    return Axis((ratio - 1) / REFERENCE, influence.swapaxes(1, 2) / REFERENCE)


def true_volume(case: Case) -> float:
    """The hypervolume of the points' true places, over all prompts and trainings."""
    effects, costs = CURVES[case.curve]
    shares = [simulated.rare_truth(case.mean, ALIKE, case.training, effect) / case.mean for effect in effects]
    return hypervolume([(share, cost / REFERENCE) for share, cost in zip(shares, costs, strict=True)])


def simulate(case: Case, runs: int) -> Found:
    """Measure a case over and over."""
    truth = true_volume(case)
    rng = np.random.default_rng([list(CURVES).index(case.curve), case.prompts, case.seeds, int(10 * case.training)])
    found: list[tuple[float, ...]] = []
    misses: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(runs):
        distance, cost, known = measured(rng, case)
        places = zip(distance.figures.mean(axis=0).tolist(), cost.figures.mean(axis=0).tolist(), strict=True)
        one = cross_validated(distance, cost, hypervolume(list(places)))
        if one.value is None:
            raise AssertionError("there are clusters enough for a value")
        low, high = (one.value if end is None else end for end in (one.low, one.high))
        found.append((one.apparent, one.value, low > truth, high < truth, high - low))
        misses[known].append(not low <= truth <= high)
    missed, hidden = (float(np.mean(some)) if some else math.nan for some in (misses[True], misses[False]))
    means = np.mean(found, axis=0).tolist()
    return Found(*(truth, *means, len(misses[True]) / runs, missed, hidden))


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print(f"hypervolumes of simulated curves, {args.runs} runs each")
    print(f"{'curve':<12}{'prompts':>8}{'samples':>8}{'passages':>9}{'seeds':>6}{'training':>9}{'mean':>6}", end="")
    print(f"{'truth':>7}{'apparent':>9}{'value':>7}{'holds':>8}{'above':>7}{'below':>7}{'width':>7}", end="")
    print(f"{'known':>8}{'missed':>8}{'hidden':>8}")
    for case, one in zip(
        CASES, simulated.in_parallel(simulate, [(c, args.runs) for c in CASES], args.jobs), strict=True
    ):
        print(f"{case.curve:<12}{case.prompts:>8}{case.samples:>8}{case.passages:>9}", end="")
        print(f"{case.seeds:>6}{case.training:>9}{case.mean:>6}", end="")
        print(f"{one.truth:>7.3f}{one.apparent:>9.3f}{one.value:>7.3f}", end="")
        held = 1 - one.above - one.below
        print(f"{100 * held:>7.1f}%{100 * one.above:>7.1f}{100 * one.below:>7.1f}{one.width:>7.3f}", end="")
        print("".join(f"{100 * share:>7.1f}%" for share in (one.known, one.missed, one.hidden)), flush=True)


if __name__ == "__main__":
    main()
