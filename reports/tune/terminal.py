"""A search of settings in the terminal: each method's front, its defaults beside it, and what is chosen."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from reports.table.cells import clean
from reports.table.sheet import ARROWS, DASH, number, signed
from reports.table.terminal import caption_of, print_drawn
from reports.tradeoff.build import Point
from reports.tune.build import Searched, Tried, Tuned

_DIGITS = 3
_PERCENT = 100
_MARK, _NUMBER, _FIGURE, _CHANGE = 1, 3, 8, 11
_LEAST = 60  # columns from which on settings stand beside their figures
_CHOSEN = "*"


def print_tuned(tuned: Tuned, file: TextIO | None = None) -> None:
    """Print what was found on stdout or `file`: coloured on a terminal, else plain and 80 columns wide."""
    print_drawn(lambda width: _draw(tuned, width), file or sys.stdout)


def _draw(tuned: Tuned, width: int) -> RenderableType:
    parts: list[RenderableType] = [*caption_of(tuned.caption)]
    for one in tuned.methods:
        trials = _grid(tuned, one) if width >= _LEAST else Group(*_listed(tuned, one))
        parts += [Text(), Text.assemble((one.label, "bold"), f": {_counted(one)}"), trials]
    return Group(*parts, Text(), *(Text(line, style="dim") for line in _legend(tuned)))


def _counted(method: Searched) -> str:
    """How many trials there were, and what became of those that do not count."""
    some = len(method.trials)
    failed = sum(one.point is None for one in method.trials)
    flagged = sum(one.point is not None and not one.point.counts for one in method.trials)
    told = [f"{some} trial{'s' if some > 1 else ''}"]
    told += [f"{failed} failed"] if failed else []
    told += [f"{flagged} flagged"] if flagged else []
    told += (
        ["nothing declared or left to search" if not method.space else "no other settings"] if method.is_spent else []
    )
    return ", ".join(told)


def _attribute(tuned: Tuned) -> str:
    return f"{clean(tuned.attribute, 40).replace('_', ' ')} {ARROWS[tuned.higher_is_better]}"


def _listed(tuned: Tuned, method: Searched) -> Iterator[Text]:
    """The trials on a narrow terminal: figures, and below them a line a setting."""
    yield Text(f"      {_attribute(tuned)}; perplexity ↓", style="bold")
    yield Text(f"      {'; '.join(_figures(tuned.base))}\n        none (base)")
    for one in _shown(method.trials):
        figures = _figures(one.point) if one.point else (DASH, DASH)
        mark = f"{_CHOSEN if one.chosen else '':<2}"
        settings = "".join(f"\n        {setting}" for setting in _settings(one))
        yield Text.assemble((mark, "green"), f"{one.number:<4}{'; '.join(figures)}{settings}")


def _grid(tuned: Tuned, method: Searched) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    heads = (("", _MARK), ("", _NUMBER), (_attribute(tuned), _FIGURE))
    for head, width in heads:
        grid.add_column(head, width=width, overflow="fold", vertical="top")
    grid.add_column("perplexity ↓", width=_CHANGE, overflow="fold", vertical="top")
    grid.add_column("settings", overflow="fold", vertical="top")
    grid.add_row("", "", *_figures(tuned.base), Text("none (base)", style="dim"))
    for one in _shown(method.trials):
        mark = Text(_CHOSEN if one.chosen else "", style="green")
        figures = _figures(one.point) if one.point else (DASH, DASH)
        grid.add_row(mark, str(one.number), *figures, " ".join(_settings(one)))
    return grid


def _shown(trials: Sequence[Tried]) -> list[Tried]:
    """The front, what is chosen and the defaults: the wanted end first, what failed or is flagged last."""
    some = [one for one in trials if one.on_front or one.chosen or not one.settings]
    return sorted(some, key=lambda one: (_distance(one), one.number))


def _distance(one: Tried) -> float:
    point = one.point
    return float("inf") if point is None or point.distance is None or not point.counts else point.distance


def _figures(point: Point) -> tuple[str, str]:
    cost = point.costs["perplexity"].value
    figure = f"{number(point.attribute.value, _DIGITS)}{'' if point.counts else '!'}"
    return figure, DASH if cost is None else f"{signed(round(_PERCENT * cost, 1), 1)} %"


def _settings(one: Tried) -> list[str]:
    if not one.settings:
        return ["default settings" if one.point else "default settings: failed"]
    return [f"{option}={_value(value)}" for option, value in one.settings.items()]


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else clean(value, 40)


def _legend(tuned: Tuned) -> Iterator[str]:
    measured = tuned.base.perplexity.value is not None
    aim = f"{clean(tuned.attribute, 40)} {'high' if tuned.higher_is_better else 'low'}"
    yield f"the search makes {aim}" + (" and held-out perplexity low" if measured else "; no perplexity was measured")
    yield f"rows: each method's Pareto front of {tuned.caption.attribute}" + (" with perplexity" if measured else "")
    yield "and its defaults, by point estimates; perplexity: change to the base"
    if tuned.budget:
        yield f"{_CHOSEN} chosen: the best within {' and '.join(tuned.budget)}"
        if without := [one.label for one in tuned.methods if not any(trial.chosen for trial in one.trials)]:
            yield f"no trial within it: {', '.join(without)}"
    else:
        yield f"{_CHOSEN} written to the file: all of the front, as there is no --budget"
    if worse := [one.label for one in tuned.methods if _is_beaten(one)]:
        yield f"chosen, but no nearer to the wanted end than the base: {', '.join(worse)}"
    if any(one.point and not one.point.counts for method in tuned.methods for one in method.trials):
        yield "! flagged: its texts are no answers; on no front, never chosen"
    yield "These are the best of several trials on the tuning data, and look better"
    yield "than they are. What they are worth is measured on other data:"


def _is_beaten(method: Searched) -> bool:
    """Whether the base is at least as near to the wanted end as all that is chosen of a method."""
    chosen = [one for one in method.trials if one.chosen]
    return bool(chosen) and not any(one.better_than_base for one in chosen)
