"""What a table says, in a sentence a method: the change of what the suite controls, its price, and how sure it is."""

from collections.abc import Iterator
from dataclasses import replace

from reports.table.cells import MetricRow, Table, TableCell, clean, is_silent, listed
from reports.table.order import speaking
from reports.table.sheet import difference_text, digits_of, number

_ARROW = "\N{RIGHTWARDS ARROW}"
_SMALLEST = 0.0001
_PERCENT = 100


def sentences(table: Table, most: int | None = None) -> Iterator[str]:
    """A sentence for each system but the reference, of its own model where there are several; then which is best.

    Args:
        table: The table.
        most: The most systems that have a sentence; of the others their number is said. None for all.
    """
    attribute = speaking(table.rows, "attribute")
    if attribute is None or not any(system.is_reference for system in table.systems):
        return
    told = list(_systems(table, attribute))
    yield from told[:most]
    if left := len(told[most:]) if most else 0:
        yield f"and {left} more, in the table below"
    if len(table.systems) > 2:  # noqa: PLR2004 - of a reference and one other, the one sentence says it
        yield from _best(table, attribute, most)


def _systems(table: Table, attribute: MetricRow) -> Iterator[str]:
    """What each system does to the attribute, and what it costs."""
    references = {system.model: place for place, system in enumerate(table.systems) if system.is_reference}
    for place, system in enumerate(table.systems):
        reference = references.get(system.model)
        if reference is None or place == reference:
            continue
        if system.flags:
            yield f"{system.label}: FLAGGED ({', '.join(system.flags)}): its {_name(attribute)} is no success"
        else:
            said = [_change(attribute, reference, place), *_prices(table, place)]
            yield f"{system.label}: {'; '.join(said)}"


def _change(row: MetricRow, reference: int, place: int) -> str:
    """From the reference's figure to the system's."""
    digits, cell = digits_of(row), row.cells[place]
    if cell.value is None:
        return f"{_name(row)} not measured"
    before, after = (number(one.value, digits) for one in (row.cells[reference], cell))
    if row.cells[reference].value is None:
        return f"{_name(row)} {after} (not judged: what it is compared with was not measured)"
    return f"{_name(row)} {before} {_ARROW} {after}{_sureness(row, cell)}"


def _prices(table: Table, place: int) -> Iterator[str]:
    """What it costs: fluency as a change, utility as the most that may be lost."""
    row = speaking(table.rows, "fluency")
    if row and (difference := row.cells[place].difference):
        alone = replace(difference, low=None, high=None)
        change = difference_text(alone, digits_of(row), relative=row.relative)
        yield f"{_name(row)} {change}{_sureness(row, row.cells[place])}"
    row = speaking(table.rows, "utility")
    if row and (lost := row.cells[place].loss_at_most) is not None:
        yield f"loses at most {_PERCENT * max(0.0, lost):.1f} points of {_name(row)} (95 %)"


def _sureness(row: MetricRow, cell: TableCell) -> str:
    """What the corrected test allows to be said."""
    if cell.p_holm is None:
        return ""
    if is_silent(row, cell):
        return " (not judged: no signal)"
    if cell.failed_of_both:
        return " (not judged: measurements failed)"
    p = f"p < {_SMALLEST}" if cell.p_holm < _SMALLEST else f"p = {cell.p_holm:.2g}"
    if cell.claim is None:
        return f" (no significant difference, {p})"
    return f" ({p})" if cell.claim == "method" else f" (this one training, {p})"


def _best(table: Table, row: MetricRow, most: int | None) -> Iterator[str]:
    """Which system is clearly the best, or which may be."""
    labels = {
        standing: [
            system.label for system, cell in zip(table.systems, row.cells, strict=True) if cell.standing == standing
        ]
        for standing in ("best", "may_be_best")
    }
    if labels["best"]:
        yield f"best {_name(row)}, clearly: {labels['best'][0]}"
    elif len(labels["may_be_best"]) == 1:  # better than each other one, but not shown by the test of all pairs
        yield f"best {_name(row)} (compared with the best, 95 %): {labels['may_be_best'][0]}"
    elif labels["may_be_best"]:
        found = labels["may_be_best"]
        yield f"best {_name(row)}, none clearly better than another: {listed(found, most or len(found))}"


def _name(row: MetricRow) -> str:
    task = f"{row.task} " if row.role not in {"attribute", "utility"} else ""
    group = f" ({row.group})" if row.group else ""
    return clean(f"{task}{row.name}{group}".replace("_", " "), 80)
