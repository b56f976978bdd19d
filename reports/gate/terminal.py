"""A check in the terminal: 80 columns, plain in a pipe."""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TextIO

from rich.console import Group
from rich.text import Text

from reports.gate.baseline import Baseline, Reference
from reports.gate.decision import CheckOutcome, Decision
from reports.gate.requirements import RequirementDecision
from reports.gate.wording import ARROWS, RULE, by_task, change, figure, heading, headline, measured, name_of, sources
from reports.gate.writing import is_blind
from reports.table.cells import SENTENCE, WHOLE, clean
from reports.table.sheet import cut_apart
from reports.table.terminal import print_drawn

_STYLES = {"passed": "green", "failed": "bold red", "inconclusive": "bold yellow", "invalid": "bold red"}
_SHORT = {"passed": "ok", "failed": "FAIL", "inconclusive": "??", "invalid": "MISS", "unjudged": "-"}
_WORST = ("passed", "inconclusive", "invalid", "failed")
_LABEL = 28
"""Characters of a metric's name with its marks."""
_HEAD = f"{'':<5}{'':<28}{'baseline':>8}{'run':>9}{'worse by':>10}{'at most':>9}{'limit':>9}"


def print_outcome(outcome: CheckOutcome, file: TextIO | None = None) -> None:
    """Print what was decided."""
    print_drawn(lambda _: Group(*_lines(outcome)), file or sys.stdout)


def print_baseline(baseline: Baseline, path: Path, notes: Sequence[str], file: TextIO | None = None) -> None:
    """Print what a baseline holds: figures, tolerances, and the losses that a check is sure to see."""
    print_drawn(lambda _: Group(*_baseline(baseline, path, notes)), file or sys.stdout)


def _baseline(baseline: Baseline, path: Path, notes: Sequence[str]) -> Iterator[Text]:
    seeds = ", ".join(map(str, baseline.seeds))
    yield Text(f"{clean(path)}: {clean(baseline.method.label, WHOLE)}, seeds {seeds}", style="bold")
    yield Text(f"a check has {baseline.check_seeds} seed(s) or more", style="dim")
    yield Text()
    yield Text(f"{'':<5}{'':<28}{'baseline':>8}{'tolerance':>11}{'limit':>9}", style="dim")
    for task, some in groupby(baseline.metrics, lambda one: heading(one.key)):
        yield Text(f"  {task}", style="bold")
        metrics = list(some)
        for one, label in zip(metrics, _labels(metrics, baseline.primary), strict=True):
            margins = [change(value, relative=one.relative, sign=False) for value in (one.tolerance, one.limit)]
            row = f"{'':<5}{label}{figure(one.value):>8}{margins[0]:>11}{margins[1]:>9}"
            remark = f"  {one.unjudged}" if one.unjudged else "  cannot be seen" if is_blind(one) else ""
            yield Text(f"{row}{remark}", style="dim" if remark else "")
    yield Text()
    yield Text("tolerance: a loss that is tolerated; limit: one that a check does not let pass", style="dim")
    for note in notes:
        yield Text(f"note: {clean(note, SENTENCE)}", style="yellow")


def _lines(outcome: CheckOutcome) -> Iterator[Text]:
    # The words before the label keep it from a line's beginning, where it could be a command to a forge's runner.
    yield Text(f"bench check: {headline(outcome)}", style=_STYLES.get(outcome.status, ""))
    if outcome.run_ids:
        yield Text(sources(outcome), style="dim")
    for problem in outcome.problems:
        yield Text(f"  problem: {clean(problem, SENTENCE)}", style="bold red")
    if outcome.requirements:
        yield Text()
        for requirement in outcome.requirements:
            yield from held_lines(requirement)
        yield Text()
        yield Text("in brackets: 95 % interval, of the figure or of its difference to the base", style="dim")
    if outcome.decisions:
        yield Text()
        yield Text(_HEAD, style="dim")
        for task, decisions in by_task(outcome.decisions):
            yield Text(f"  {task}", style="bold")
            primary = next((one.key for one in decisions if one.is_primary), None)
            for one, label in zip(decisions, _labels(decisions, primary), strict=True):
                yield from _decision(one, label)
        yield Text()
        for rule in RULE:
            yield Text(rule, style="dim")
        yield Text("* primary: half of the 5 %; worse by: paired difference, + is worse", style="dim")
        yield Text("at most: a larger loss is excluded at 95 % (one-sided)", style="dim")
    for note in outcome.notes:
        yield Text(f"note: {clean(note, SENTENCE)}", style="yellow")


def held_in_short(decisions: Sequence[RequirementDecision]) -> str:
    """The worst of what was decided, in a word."""
    return _SHORT[max((one.status for one in decisions), key=_WORST.index)]


def held_lines(one: RequirementDecision) -> Iterator[Text]:
    """A requirement and what was found of it, for one method."""
    text = Text(f"{_SHORT[one.status]:<5}", style=_STYLES[one.status])
    text.append(clean(one.text, WHOLE), style="")
    yield text
    why = f"; {clean(one.why)}" if one.why else ""
    yield Text(
        f"{'':<5}  {clean(one.label, WHOLE)}: {measured(one)}{why}", style="" if one.status != "passed" else "dim"
    )


def _labels(metrics: Sequence[Decision | Reference], primary: str | None) -> list[str]:
    """The metrics' names with their marks, no two of which are cut to the same."""
    marks = [f"{'*' if one.key == primary else ''}{ARROWS[one.higher_is_better]}" for one in metrics]
    names = [(name_of(one.key), mark) for one, mark in zip(metrics, marks, strict=True)]
    return [label.ljust(_LABEL) for label in cut_apart(names, _LABEL)]


def _decision(one: Decision, label: str) -> Iterator[Text]:
    cells = [
        f"{figure(one.baseline):>8}",
        f"{figure(one.value):>9}",
        f"{change(one.loss, relative=one.relative):>10}",
        f"{change(one.high, relative=one.relative):>9}",
        f"{change(one.limit, relative=one.relative, sign=False):>9}",
    ]
    text = Text(f"{_SHORT[one.status]:<5}", style=_STYLES.get(one.status, "dim"))
    text.append(label, style="")
    text.append("".join(cells), style="" if one.status in ("passed", "unjudged") else _STYLES[one.status])
    yield text
    if one.status == "failed":
        tolerance = change(one.tolerance, relative=one.relative, sign=False)
        yield Text(f"{'':<5}  {clean(one.why)}: {tolerance}, p = {one.p_corrected or 0:.2g}")
    elif one.why:
        yield Text(f"{'':<5}  {clean(one.why)}", style="dim" if one.status in ("passed", "unjudged") else "")
