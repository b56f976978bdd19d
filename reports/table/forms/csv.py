"""Tables as CSV: a line for each figure of each system, exact, for spreadsheets and for pandas."""

from typing import Any

import pandas as pd

from reports.table.cells import MetricRow, System, Table, TableCell

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_frame(table: Table) -> pd.DataFrame:
    """The table in long form: a line for each metric of each system, in the table's order.

    Columns: system, method, seeds, task, group, metric, scorer (a further one, or none), value, ci_low, ci_high,
    higher_is_better, n_failed, reference, difference, difference_low, difference_high, relative, verdict, p, p_holm,
    test, claim (method, training), loss_at_most, has_signal (False where the base is not above answers without a
    model), rank_low, rank_high, n_ranked, standing, publishable, flags (joined by semicolons), comparable (False where
    runs were forced together).
    What is absent is missing (NaN, None), never 0.
    """
    lines = [
        _line(table, system, row, cell)
        for row in table.rows
        for system, cell in zip(table.systems, row.cells, strict=True)
    ]
    return pd.DataFrame(lines)


def to_csv(table: Table) -> str:
    """The long form as CSV; a text that a spreadsheet would take for a formula is quoted by an apostrophe."""
    frame = to_frame(table)
    for name in ("system", "method", "task", "group", "metric", "scorer", "reference", "flags"):
        frame[name] = [_inert(value) for value in frame[name]]
    return frame.to_csv(index=False, lineterminator="\n")


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _line(table: Table, system: System, row: MetricRow, cell: TableCell) -> dict[str, Any]:
    found = cell.difference
    return {
        "system": system.label,
        "method": system.method,
        "seeds": " ".join(map(str, system.seeds)),
        "task": row.task,
        "group": row.group,
        "metric": row.name,
        "scorer": row.scorer,
        "value": cell.value,
        "ci_low": cell.low,
        "ci_high": cell.high,
        "higher_is_better": row.higher_is_better,
        "n_failed": cell.n_failed,
        "reference": None if system.is_reference else table.reference,
        "difference": found.value if found else None,
        "difference_low": found.low if found else None,
        "difference_high": found.high if found else None,
        "relative": row.relative,
        "verdict": cell.verdict,
        "p": cell.p_value,
        "p_holm": cell.p_holm,
        "test": cell.test,
        "loss_at_most": cell.loss_at_most,
        "has_signal": row.has_signal,
        "claim": cell.claim,
        "rank_low": cell.rank_low,
        "rank_high": cell.rank_high,
        "n_ranked": cell.n_ranked,
        "standing": cell.standing,
        "publishable": system.publishable,
        "flags": "; ".join(system.flags) or None,
        "comparable": not table.forced,
    }
