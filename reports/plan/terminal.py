"""A plan in the terminal."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from reports.plan.build import POWER, PlanOutcome
from reports.table.cells import clean

_ORIGINS = {"records": "from the records", "assumed": "assumed", "given": "given"}


def lines(outcome: PlanOutcome) -> Iterator[str]:
    """The plan, a line each, at most 80 columns wide but for names."""
    design, population, origins = outcome.design, outcome.population, outcome.origins
    metric = clean(outcome.metric, 60).replace("_", " ")
    if outcome.suite:
        yield f"suite {outcome.suite} · {outcome.model}"
    yield f"{metric} of the base: {population.share:.3f} ({_ORIGINS[origins['share']]})"
    agreement = 1 / (1 + population.agreement)
    yield f"agreement of a prompt's samples: {agreement:.2f} ({_ORIGINS[origins['agreement']]})"
    yield f"trainings differ by {population.training:.2f} logits, SD ({_ORIGINS[origins['training']]})"
    yield ""
    yield (
        f"{_count(design.prompts, 'prompt')} x {_count(design.samples, 'sample')}, {_count(design.seeds, 'seed')}, "
        + (f"{_count(design.methods, 'method')} compared with the base")
    )
    if design.seeds == 1:
        yield "one seed: what is found is that this training differs, not that the method does"
    yield f"  {_change(population.share, outcome.target)} is found with {outcome.power:.0%}"
    least = "nothing" if outcome.detectable is None else _change(population.share, outcome.detectable)
    yield f"  the smallest change that is found with {POWER:.0%}: {least}"
    if outcome.minutes is not None:
        yield f"  takes {_time(outcome.minutes)} on the machine of the records"
    yield ""
    wanted = _change(population.share, outcome.target)
    yield f"to find {wanted} with {POWER:.0%}, {_count(design.samples, 'sample')} each:"
    for need in outcome.needs:
        prompts = "more than 100,000 prompts" if need.prompts is None else _count(need.prompts, "prompt")
        time = "" if need.minutes is None else f", {_time(need.minutes)}"
        yield f"  {_count(need.seeds, 'seed')}: {prompts}{time}" + (" (this training)" if need.seeds == 1 else "")


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
