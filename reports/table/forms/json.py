"""Tables as JSON: every exact figure, whatever a sheet would show."""

import json
from dataclasses import asdict, replace
from typing import Any

from reports.table.cells import Table


def json_values(table: Table) -> dict[str, Any]:
    """The table as JSON values; what is absent is null."""
    value = asdict(replace(table, runs=()))
    del value["runs"], value["n_data_notes"]
    for row, shown in zip(value["rows"], table.rows, strict=True):
        row["key"] = shown.key
    return value


def to_json(table: Table) -> str:
    """The table as JSON text, in ASCII: what steers a terminal is escaped, like all that lies beyond."""
    return json.dumps(json_values(table), indent=1, allow_nan=False) + "\n"
