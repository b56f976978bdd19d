"""What data files hold, whatever their form: rows with the place of each; errors say the place and never the text.

`read_rows` is the one reader. The same texts are the same texts when read, whether they stand in JSON lines, a JSON
array, CSV, TSV, plain text or parquet.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.parsing import check_regular, parse_json

TEXT = "text"
"""The key of a line of plain text."""
_SHOWN, _LONGEST = 80, 200  # characters of a field, and of a list of them
_BEGIN = 1000  # bytes by which UTF-16 without its mark is known
_PACKED, _PACKED_OTHERWISE = ".gz", (".zst", ".bz2", ".xz", ".zip")
Row = tuple[str, dict[str, Any]]
"""The place to name in an error, and what stands there."""


def read_text(path: Path) -> str:
    r"""A text file, its byte order mark left off, its line ends as \n.

    Raises:
        UsageError: the file is missing, or is no UTF-8 text.
    """
    return _decoded(path).replace("\r\n", "\n")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, each with the place to name in an error; blank lines are passed over.

    The file's ending says its form: `.json` is one array of objects or JSON lines, `.csv` and `.tsv` have a header,
    `.txt` has a text a line (under the key `text`), `.parquet` has columns, anything else is JSON lines. Each may be
    packed by gzip (`.jsonl.gz`).

    Raises:
        UsageError: the file is missing, packed otherwise, or not UTF-8, or a row is none; it has the row's number.
    """
    kind = form_of(path)
    if kind == ".txt":
        return _lines(path)
    if kind in (".csv", ".tsv"):
        return _table(path, tabs=kind == ".tsv")
    if kind == ".parquet":
        return _columns(path)
    text = _decoded(path)
    return _array(path, text) if kind == ".json" and text.lstrip().startswith("[") else _json_lines(path, text)


def form_of(path: Path) -> str:
    """The ending that says a file's form, such as `.jsonl`, whether it is packed or not."""
    return (Path(path.stem) if _is_packed(path) else path).suffix.casefold()


def value_at(row: dict[str, Any], field: str, where: str) -> tuple[dict[str, Any], Any]:
    """What stands in a row under a field, and the mapping that holds it.

    Args:
        row: The row.
        field: A key, or the keys on the way to a nested one with dots between them (`prompt.text`).
        where: The row's place, to name in an error.

    Raises:
        UsageError: there is no such field; the message names those that are there.
    """
    if field in row:
        return row, row[field]
    *way, last = field.split(".")
    inner: Any = row
    for name in way:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        raise UsageError(f"{where}: no text under '{field:.{_SHOWN}}'", mend=f"it has {names_in(row)}")
    return inner, inner[last]


def refuse_misspelt(row: dict[str, Any], names: Sequence[str], where: str) -> None:
    """Refuse a row whose field is one of these names but for case and spaces: it would be read as if it had none.

    Args:
        row: The row.
        names: What a field may be called that a row may lack; a row that has one of them is not looked at.
        where: The row's place, to name in an error.

    Raises:
        UsageError: there is such a field.
    """
    if any(name in row for name in names):
        return
    meant = {name.casefold(): name for name in names}
    for field in row:
        if name := meant.get(str(field).strip().casefold()):
            mend = f"call it '{name}' if it is that, else something else"
            raise UsageError(f"{where}: a field that is '{name}' but for case or spaces is not read", mend=mend)


def names_in(row: dict[str, Any]) -> str:
    """The fields of a row, for a message; a file without a header has texts for names, and these are not shown."""
    return ", ".join(_names(row))[:_LONGEST] or "none that is a name"


def _names(row: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in row.items():
        if str(name).isidentifier():
            yield from _names(value, f"{above}{name}.") if isinstance(value, dict) else [f"{above}{name}"]


def _is_packed(path: Path) -> bool:
    return path.suffix.casefold() == _PACKED


def _content(path: Path) -> bytes:
    """What a file holds, unpacked."""
    if path.suffix.casefold() in _PACKED_OTHERWISE:
        mend = f"unpack it, or pack it by gzip ({_PACKED})"
        raise UsageError(f"{path} is packed in a form that is not read ({path.suffix})", mend=mend)
    check_regular(path)
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if _is_packed(path) else data
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UsageError(f"{path} is not packed by gzip, or is cut off", mend="copy or fetch it again") from None


def _decoded(path: Path) -> str:
    try:
        data = _content(path)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read as text ({error.strerror})") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} in line {line})", mend="save it as UTF-8") from None
    begin = data[:_BEGIN]
    if begin and len(begin) % 2 == 0 and not any(begin[1::2]) and all(begin[::2]):
        raise UsageError(f"{path} is not UTF-8 text (every second byte is 0, as in UTF-16)", mend="save it as UTF-8")
    return text


def _lines(path: Path) -> Iterator[Row]:
    r"""Lines of plain text: only \n and \r\n end one, whatever else Unicode takes for an end."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", {TEXT: line}


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = parse_json(line, nan=True, halves=False)
            except json.JSONDecodeError as error:
                raise UsageError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
            except ValueError as error:
                raise UsageError(f"{where}: not JSON that can be used ({error})") from None
            yield where, _object(row, where)


def _array(path: Path, text: str) -> Iterator[Row]:
    """The objects of one JSON array."""
    try:
        rows = parse_json(text, nan=True, halves=False)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON ({error.msg} at column {error.colno})") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON that can be used ({error})") from None
    for number, row in enumerate(rows, 1):
        where = f"{path}, entry {number}"
        yield where, _object(row, where)


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not a JSON object")
    return row


def _columns(path: Path) -> Iterator[Row]:
    """The rows of a parquet file, as the hub keeps its datasets."""
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(_content(path))).to_pylist()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise UsageError(f"{path} is no parquet file ({type(error).__name__})") from None
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", row


def _table(path: Path, *, tabs: bool) -> Iterator[Row]:
    """Rows of a table with a header, quoted as spreadsheets do it."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the module's own limit is 131,072 characters
    text = _decoded(path)
    returns = _unused(text)  # a lone \r ends no line; the csv module would take it for an end
    text = text.replace("\r\n", f"{returns}\n").replace("\r", returns * 2).replace(f"{returns}\n", "\r\n")
    rows = _tabbed(text) if tabs else csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    number = 0
    try:
        for read in rows:
            cells = [cell.replace(returns * 2, "\r") for cell in read]
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
                continue
            number += 1
            where = f"{path}, row {number}"
            yield where, _named(header, cells, where)
    except csv.Error as error:
        mend = "put quotes around a cell that has a comma, a quote or a line's end, and double its quotes"
        raise UsageError(f"{path}, after row {number}: no row of a table ({error})", mend=mend) from None


def _unused(text: str) -> str:
    return next(mark for mark in map(chr, range(0xF0000, 0xFFFFD)) if mark not in text)


def _header(path: Path, cells: list[str]) -> list[str]:
    """The names of the columns; spaces around one are no part of it, as behind the commas of `text, label`."""
    names = [cell.strip() for cell in cells]
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise UsageError(f"{path}: two columns have one name, or the first row is no header")
    return names


def _named(header: list[str], cells: list[str], where: str) -> dict[str, Any]:
    """A row's cells by their column; a short row lacks the last ones."""
    if any(cells[len(header) :]):
        what = f"{where}: it has {len(cells)} cells, and the header {len(header)}"
        raise UsageError(what, mend="put quotes around a cell that has the separator in it")
    return dict(zip(header, [*cells, *[None] * len(header)], strict=False))


def _tabbed(text: str) -> Iterable[list[str]]:
    """Rows between tabs. Where quotes are not those of a table throughout, they count in whole cells only.

    So what a spreadsheet writes is read as it was, and a file that knows no quoting loses no row to an open quote.
    """
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
    except csv.Error:
        return [_tabbed_line(line) for line in text.replace("\r\n", "\n").split("\n")]


def _tabbed_line(line: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter="\t", strict=True), [])
    except csv.Error:
        return next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE), [])
