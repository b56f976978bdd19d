"""A table that a notebook and `print` show."""

from dataclasses import fields
from typing import Self

from reports.table.cells import Table
from reports.table.forms.html import to_html
from reports.table.layout import arrange, load_layout
from reports.table.terminal import text_of


class ShownTable(Table):
    """A table with all that was measured in view."""

    @classmethod
    def of(cls, table: Table) -> Self:
        """The same table."""
        return cls(**{one.name: getattr(table, one.name) for one in fields(table)})

    def __str__(self) -> str:
        """What was measured, in 80 columns."""
        return text_of(arrange(self, load_layout("full"))).rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return to_html(arrange(self, load_layout("full")))
