"""Tables as JSON: every exact figure, whatever a sheet would show; and read again."""

import json
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.errors import MissingError
from reports.table.cells import Table

_TABLE = TypeAdapter(Table)


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


def from_json_values(values: Any) -> Table:
    """The table whose JSON values these are, to be laid out again without its runs.

    Raises:
        MissingError: they are no table's.
    """
    try:
        return _TABLE.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MissingError(f"this is no table that was written as JSON: {place}: {first['msg']}") from None
