"""How a decision reads: figures and names for all forms, safe to show."""

from collections.abc import Sequence
from itertools import groupby

from reports.gate.decision import CheckOutcome, Decision
from reports.gate.requirements import RequirementDecision
from reports.table import sheet
from reports.table.cells import WHOLE, clean
from reports.table.sheet import DASH, FAR, MINUS, digits_for, power

WORDS = {
    "passed": "passed",
    "failed": "FAILED",
    "inconclusive": "INCONCLUSIVE",
    "invalid": "NOT COMPARABLE OR MISSING",
    "unjudged": "not judged",
}
ARROWS = {better: f" {arrow}" if arrow else "" for better, arrow in sheet.ARROWS.items()}
RULE = (
    "failed: worse than tolerated, at 5 % over all metrics together",
    "inconclusive: a loss of the limit cannot be excluded at 95 %",
)
_PERCENT = 100


def headline(outcome: CheckOutcome) -> str:
    """One line: what was decided, of what."""
    counts = {status: sum(one == status for one in outcome.statuses) for status in WORDS}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    what = f"{clean(outcome.label, WHOLE)} on {clean(outcome.suite, 60)}"
    return f"{what}: {WORDS[outcome.status]}{f' ({told})' if told else ''}"


def sources(outcome: CheckOutcome) -> str:
    """Which seeds were held against which."""
    against = f" against the baseline's {_seeds(outcome.baseline_seeds)}" if outcome.baseline_seeds else ""
    return f"seeds {_seeds(outcome.seeds)}{against}"


def name(decision: Decision) -> str:
    """The metric with its direction, for a reader."""
    return f"{clean(decision.key, WHOLE)}{ARROWS[decision.higher_is_better]}"


def heading(key: str) -> str:
    """The task, and the part of the data, that a metric stands under."""
    return clean(key.rpartition("/")[0].replace("/", " · "), WHOLE)


def name_of(key: str) -> str:
    """A metric's name below its heading."""
    return clean(key.rpartition("/")[2], WHOLE).replace("_", " ")


def by_task(decisions: Sequence[Decision]) -> list[tuple[str, list[Decision]]]:
    """Decisions under their tasks, in their order."""
    return [(head, list(some)) for head, some in groupby(decisions, lambda one: heading(one.key))]


def figure(value: float | None) -> str:
    """A figure of any size in at most seven characters; what is absent is a dash."""
    if value is None:
        return DASH
    size = abs(value)
    return f"{value:.{digits_for(size)}f}".replace("-", MINUS) if size < FAR else power(value)


def change(value: float | None, *, relative: bool, sign: bool = True) -> str:
    """A loss, tolerance or limit: `+0.031`, or `+5.2 %` of the figure."""
    if value is None:
        return DASH
    scaled, digits = (_PERCENT * value, 1 if abs(value) < 1 else 0) if relative else (value, 3)
    scaled = round(scaled, digits) or 0.0  # no -0
    plus = "+" if sign and scaled else ""
    text = power(scaled, plus) if abs(scaled) >= FAR else f"{scaled:{plus}.{digits}f}".replace("-", MINUS)
    return f"{text}{' %' if relative else ''}"


def sentence(decision: Decision) -> str:
    """What was found of a metric, in one line of plain text."""
    parts = [f"{clean(decision.key, WHOLE)}: {figure(decision.baseline)} -> {figure(decision.value)}"]
    if decision.loss is not None:
        loss, high = (change(one, relative=decision.relative) for one in (decision.loss, decision.high))
        parts.append(f"worse by {loss}, loses at most {high} (95 %)")
    if decision.tolerance is not None:
        allowed, limit = (
            change(one, relative=decision.relative, sign=False) for one in (decision.tolerance, decision.limit)
        )
        parts.append(f"tolerance {allowed}, limit {limit}")
    if decision.p_corrected is not None:
        parts.append(f"p = {decision.p_corrected:.2g}")
    why = f"; {clean(decision.why)}" if decision.why else ""
    return f"{', '.join(parts)}{why}"


def measured(one: RequirementDecision) -> str:
    """What was measured of a requirement, with its interval: `0.031 [0.022, 0.043]`, or `+5.2 % [+3.9 %, +6.6 %]`."""

    def text(value: float | None) -> str:
        return change(value, relative=one.relative) if one.of_base else figure(value)

    return text(one.value) if one.low is None else f"{text(one.value)} [{text(one.low)}, {text(one.high)}]"


def requirement(one: RequirementDecision) -> str:
    """Which requirement, of which system: both whole, for several may begin alike."""
    return f"{clean(one.label, WHOLE)}: {clean(one.text, WHOLE)}"


def required(one: RequirementDecision) -> str:
    """What was found of a requirement, in one line of plain text."""
    why = f"; {clean(one.why)}" if one.why else ""
    return f"{requirement(one)}: {measured(one)}{why}"


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or DASH
