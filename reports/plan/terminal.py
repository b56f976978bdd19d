"""A plan in the terminal."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.stats.means import Means
from bench.stats.shares import Shares
from reports.plan.build import POWER, Origin, PlanOutcome
from reports.table.cells import clean

_ORIGINS = {"records": "from the records", "assumed": "assumed", "given": "given"}


def lines(outcome: PlanOutcome) -> Iterator[str]:
    """The plan, a line each, at most 80 columns wide but for names."""
    design, population, origins = outcome.design, outcome.population, outcome.origins
    metric = clean(outcome.metric, 60).replace("_", " ")
    if outcome.suite:
        yield f"suite {outcome.suite} · {outcome.model}"
    yield from (
        _of_shares(metric, population, origins)
        if isinstance(population, Shares)
        else _of_means(metric, population, origins)
    )
    yield ""
    unit = "prompt" if isinstance(population, Shares) else "item"
    size = _count(design.prompts, unit)
    if isinstance(population, Shares):
        size += f" x {_count(design.samples, 'sample')}"
    yield f"{size}, {_count(design.seeds, 'seed')}, {_count(design.methods, 'method')} compared with the base"
    if design.seeds == 1:
        yield "one seed: what is found is that this training differs, not that the method does"
    yield f"  {_change(population.figure, outcome.target)} is found with {outcome.power:.0%}"
    least = "none" if outcome.detectable is None else _change(population.figure, outcome.detectable)
    yield f"  the smallest change that is found with {POWER:.0%}: {least}"
    if outcome.minutes is not None:
        yield f"  takes {_time(outcome.minutes)} on the machine of the records"
    yield ""
    each = f", {_count(design.samples, 'sample')} each" if isinstance(population, Shares) else ""
    yield f"to find {_change(population.figure, outcome.target)} with {POWER:.0%}{each}:"
    for need in outcome.needs:
        prompts = f"more than 100,000 {unit}s" if need.prompts is None else _count(need.prompts, unit)
        time = "" if need.minutes is None else f", {_time(need.minutes)}"
        yield f"  {_count(need.seeds, 'seed')}: {prompts}{time}" + (" (this training)" if need.seeds == 1 else "")


def _of_shares(metric: str, population: Shares, origins: dict[str, Origin]) -> Iterator[str]:
    yield f"{metric} of the base: {population.share:.3f} ({_ORIGINS[origins['share']]})"
    agreement = 1 / (1 + population.agreement)
    yield f"agreement of a prompt's samples: {agreement:.2f} ({_ORIGINS[origins['agreement']]})"
    yield f"trainings differ by {population.training:.2f} logits, SD ({_ORIGINS[origins['training']]})"


def _of_means(metric: str, population: Means, origins: dict[str, Origin]) -> Iterator[str]:
    yield f"{metric} of the base: {population.mean:.3f} ({_ORIGINS[origins['mean']]})"
    of_one = math.hypot(population.units, population.rest)
    yield f"the difference of an item to the base varies by {of_one:.3f}, SD (from the records)"
    if population.training is None:
        yield "how much trainings differ is not known: no trained method has two seeds"
    else:
        yield f"trainings differ by {population.training:.2f} logits, SD ({_ORIGINS[origins['training']]})"


def to_json(outcome: PlanOutcome) -> dict[str, Any]:
    """The plan as JSON values; what is not known is null."""
    return {**asdict(outcome), "wanted_power": POWER}


def _change(before: float, after: float) -> str:
    return f"{before:.3f} -> {after:.3f}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _time(minutes: float) -> str:
    if minutes < 100:  # noqa: PLR2004 - minutes that are read as such
        return f"about {max(1, round(minutes))} min"
    return f"about {minutes / 60:,.1f} h"
