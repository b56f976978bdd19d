"""Made-up measurements of which the truth is known: prompts, samples and training seeds vary as real ones do."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.store.record import Evidence

Array = NDArray[np.float64]
T = TypeVar("T")

METRICS = {
    "expected_maximum_toxicity": "mean",
    "toxicity_probability": "mean",
    "toxic_fraction": "mean",
    "perplexity_pooled": "exp_mean",
    "perplexity_median": "median",
    "acc": "mean",
}
_AGREEMENT = 4.0
"""How alike the samples of one prompt are: the beta law's a + b."""


def prompts(rng: np.random.Generator, metric: str, n: int) -> Array:
    """What prompts are like: the mean toxicity's logit, the mean log-perplexity, or how hard a question is."""
    if metric.startswith("perplexity"):
        return 3 + 0.5 * rng.normal(size=n)
    if metric == "acc":
        return rng.normal(size=n)
    mean = np.clip(rng.beta(0.6, 1.4, size=n), 1e-3, 1 - 1e-3)
    return np.log(mean / (1 - mean))


def observed(rng: np.random.Generator, metric: str, prompt: Array, shift: float, samples: int) -> Evidence:
    """What one run sees on these prompts; `shift` is what its training made of it, on the prompts' scale."""
    place = (prompt + shift)[:, None]
    size = (len(prompt), samples)
    weight = None
    if metric.startswith("perplexity"):
        values = place + 0.4 * rng.normal(size=size)
        if metric == "perplexity_median":
            values = np.exp(values)
        else:
            weight = rng.integers(5, 21, size=size).astype(float)
    elif metric == "acc":  # a question is answered right where the model's skill, with its own luck, exceeds it
        values = (place + rng.normal(size=(len(prompt), 1)) > 0).astype(float)
    else:
        mean = 1 / (1 + np.exp(-place))
        scores = rng.beta(_AGREEMENT * mean, _AGREEMENT * (1 - mean), size=size)
        most = scores.max(axis=1, keepdims=True)
        values = {
            "expected_maximum_toxicity": most,
            "toxicity_probability": (most >= 0.5).astype(float),
            "toxic_fraction": (scores >= 0.5).astype(float),
        }[metric]
    n, per_prompt = values.shape
    return Evidence(
        statistic=METRICS[metric],
        bounded=not metric.startswith("perplexity"),
        cluster_ids=[f"{number:05}" for number in range(n)],
        cluster=np.repeat(np.arange(n), per_prompt).tolist(),
        value=values.ravel().tolist(),
        weight=None if weight is None else weight.ravel().tolist(),
    )


def system(
    rng: np.random.Generator,
    metric: str,
    prompt: Array,
    *,
    seeds: int,
    training: float,
    samples: int,
    effect: float = 0,
) -> list[Evidence]:
    """One system: a run a seed, whose training shifts it by a normal number of standard deviation `training`."""
    return [observed(rng, metric, prompt, effect + training * rng.normal(), samples) for _ in range(seeds)]


# --- rare shares ---


def rare_prompts(rng: np.random.Generator, mean: float, alike: float, n: int) -> Array:
    """Each prompt's chance of a toxic sample; samples of one prompt are the more alike, the smaller `alike` is."""
    return rng.beta(mean * alike, (1 - mean) * alike, size=n)


def trained(chance: Array, shift: float) -> Array:
    """The chances where a training moved all logits by `shift`."""
    odds = np.exp(shift)
    return chance * odds / (1 - chance + chance * odds)


def rare_system(
    rng: np.random.Generator, chance: Array, *, seeds: int, training: float, samples: int, effect: float = 0
) -> list[Evidence]:
    """One system's toxic fraction: a run a seed, with a prompt's samples as one observation, their mean."""
    n = len(chance)
    names = [f"{number:05}" for number in range(n)]
    return [
        Evidence(
            statistic="mean",
            bounded=True,
            cluster_ids=names,
            cluster=list(range(n)),
            value=(rng.binomial(samples, trained(chance, effect + training * rng.normal())) / samples).tolist(),
        )
        for _ in range(seeds)
    ]


@cache
def rare_truth(mean: float, alike: float, training: float, effect: float = 0) -> float:
    """The fraction over all prompts and trainings: the known mean, and by what a training changes it on average."""
    if not training and not effect:
        return mean
    chance = rare_prompts(np.random.default_rng(12345), mean, alike, 2_000_000)
    places, weights = np.polynomial.hermite_e.hermegauss(9)
    moved = [float((trained(chance, effect + training * place) - chance).mean()) for place in places]
    return mean + float(np.average(moved, weights=weights))


AGREEMENT = 1.0
"""c of the law Beta(m c, (1 - m) c) of a prompt's chance of a toxic text, where the share of these texts is m."""


def chances(rng: np.random.Generator, share: float, n: int) -> Array:
    """The logit of each prompt's chance of a toxic text."""
    mean = np.clip(rng.beta(share * AGREEMENT, (1 - share) * AGREEMENT, size=n), 1e-9, 1 - 1e-9)
    return np.log(mean / (1 - mean))


def toxic_texts(rng: np.random.Generator, chance: Array, shift: float, samples: int) -> Evidence:
    """Which texts of one run are toxic; `shift` is what its method and its training make of all logits."""
    hits = rng.random((len(chance), samples)) < (1 / (1 + np.exp(-chance - shift)))[:, None]
    return Evidence(
        statistic="mean",
        bounded=True,
        cluster_ids=[f"{number:05}" for number in range(len(chance))],
        cluster=np.repeat(np.arange(len(chance)), samples).tolist(),
        value=hits.ravel().astype(float).tolist(),
    )


def shift_to(share: float, wanted: float) -> float:
    """The shift of all logits that turns one share of toxic texts into another, by bisection."""
    low, high = -12.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if shifted(share, middle) < wanted else (low, middle)
    return (low + high) / 2


@cache
def shifted(share: float, shift: float) -> float:
    """The share of toxic texts once all logits have moved."""
    return float(np.mean(1 / (1 + np.exp(-chances(np.random.default_rng(12345), share, 100_000) - shift))))


@cache
def truth(metric: str, *, training: float, samples: int, effect: float = 0, size: int = 500_000) -> float:
    """The figure over all prompts and all training seeds that there could be."""
    if metric.startswith("perplexity"):  # a normal law's mean and median; seeds' perplexities are averaged
        return float(np.exp(3 + effect + training**2 / 2))
    rng = np.random.default_rng(12345)
    found = []
    for _ in range(0, size, 100_000):
        place = prompts(rng, metric, 100_000) + effect + training * rng.normal(size=100_000)
        found.append(np.mean(observed(rng, metric, place, 0.0, samples).value))
    return float(np.mean(found))


def in_parallel(function: Callable[..., T], cases: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[T]:
    """The function's value for each case, in order, by several processes."""
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(function, *zip(*cases, strict=True))
