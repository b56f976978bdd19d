"""Strengths of systems from comparisons of pairs (Bradley & Terry, 1952, Biometrika 39)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_PRIOR = 0.5  # wins and losses added to each pair that met: whoever wins always keeps a finite strength
_ROUNDS, _CLOSE = 2000, 1e-9
_SAME = 1e-6  # ends of an interval that are closer are one
RESAMPLES = 1000


def strengths(wins: Array, met: NDArray[np.bool_] | None = None) -> Array:
    """Log-strengths, mean 0: system i is preferred to j with probability 1 / (1 + exp(s_j - s_i)).

    Found by minorisation-maximisation (Hunter, 2004, Annals of Statistics 32). Half a win and half a loss are added to
    each pair that met, so that a system that always wins has a finite strength.

    Args:
        wins: How often i was preferred to j, a tie counting one half for each: [..., systems, systems].
        met: Which pairs met, [systems, systems]; None for those of `wins` that did.

    Returns:
        [..., systems]; comparable where every two systems met, directly or through others (see `connected`).
    """
    if met is None:
        met = (wins + wins.swapaxes(-1, -2)) > 0
    wins = wins + _PRIOR * met
    won = wins.sum(-1)
    games = wins + wins.swapaxes(-1, -2)
    power = np.ones(won.shape)
    for _ in range(_ROUNDS):
        expected = (games / (power[..., :, None] + power[..., None, :])).sum(-1)
        new = np.divide(won, expected, out=np.ones_like(won), where=expected > 0)
        new /= np.exp(np.log(new).mean(-1, keepdims=True))
        moved, power = np.abs(np.log(new / power)).max(), new
        if moved < _CLOSE:
            break
    return np.log(power)


def connected(wins: Array) -> list[int]:
    """The systems that met the first one that met any, directly or through others.

    Args:
        wins: [systems, systems].
    """
    met = (wins + wins.T) > 0
    open_ = [int(met.any(1).argmax())] if met.any() else []
    reached = set(open_)
    while open_:
        new = {int(other) for other in np.flatnonzero(met[open_.pop()])} - reached
        reached |= new
        open_.extend(new)
    return sorted(reached)


def intervals(wins: Array, seed: int = 0, resamples: int = RESAMPLES) -> tuple[Array, Array]:
    """95 % percentile intervals of the log-strengths, by resampling whole prompts.

    Where no resample differs (a system that wins on every prompt), there is nothing to tell an interval from: NaN.

    Args:
        wins: As for `strengths`, of each prompt: [prompts, systems, systems].
        seed: Of the draws.
        resamples: How many.

    Returns:
        Lower and upper ends, [systems] each.
    """
    prompts = len(wins)
    counts = np.random.default_rng([seed, 2]).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    total = wins.sum(0)
    drawn = strengths(np.tensordot(counts.astype(np.float64), wins, axes=1), (total + total.T) > 0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    differs = high - low > _SAME
    return np.where(differs, low, np.nan), np.where(differs, high, np.nan)
