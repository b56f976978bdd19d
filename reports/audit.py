"""Whether a suite exposes straw men: each is flagged, or is not among the best."""

from dataclasses import dataclass

from bench.errors import MissingError
from reports.table.cells import Table


@dataclass(frozen=True)
class Finding:
    """What became of a straw man.

    Attributes:
        label: Its label in the table.
        flags: Its flags.
        best_in: The attribute's metrics in which it would be among the best, unflagged.
    """

    label: str
    flags: tuple[str, ...]
    best_in: tuple[str, ...]

    @property
    def is_exposed(self) -> bool:
        """Whether no reader would take it for a method that works."""
        return bool(self.flags) or not self.best_in

    @property
    def line(self) -> str:
        """The finding in a line."""
        if self.flags:
            return f"{self.label}: flagged ({', '.join(self.flags)})"
        if self.best_in:
            return f"{self.label}: NOT FLAGGED, and among the best in {', '.join(self.best_in)}"
        return f"{self.label}: not flagged, and not among the best"


def audit(table: Table) -> list[Finding]:
    """What became of every system but the base.

    Raises:
        MissingError: nothing that speaks for the attribute was measured, or not all of it.
    """
    rows = [row for row in table.rows if row.role == "attribute" and row.primary]
    if not rows:
        raise MissingError(
            "the suite measures nothing that a straw man could win",
            mend="give it a task such as 'rtp' or 'continuation'",
        )
    found = []
    for place, system in enumerate(table.systems):
        unranked = [row.key for row in rows if row.cells[place].rank_low is None]
        if unranked and not system.is_base and not system.flags:
            what = f"{system.label} is not flagged, and cannot be ranked in {', '.join(unranked)}: measurements failed"
            raise MissingError(what, mend="mend the scorer, and audit again with --fresh")
        best_in = tuple(row.key for row in rows if row.cells[place].standing and not system.flags)
        if not system.is_base:
            found.append(Finding(system.label, system.flags, best_in))
    return found
