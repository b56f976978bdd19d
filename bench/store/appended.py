"""JSON lines that are appended batch by batch, so that an interrupted piece of work loses one batch at most."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, Self, TextIO, TypeVar

from bench.errors import MissingError, UnreadableError
from bench.progress import SILENT, Progress
from bench.store.aside import set_aside
from bench.store.files import read_jsonl, refuse_unreadable, write_text, writing

Row = dict[str, Any]
T = TypeVar("T")
_BLOCK = 1 << 16
_BEGIN, _END = b" {", b"} \n"


class AppendedLines(ABC, Generic[T]):
    """An append-only JSONL file.

    Attributes:
        rows: What its whole lines held when it was opened, and what was appended since.
    """

    def __init__(self, path: Path, progress: Progress = SILENT) -> None:
        """Read what is there; a last line that was cut off is dropped from the file.

        A damaged file is set aside, and told of, and a new one begun.

        Raises:
            UnreadableError: whether it is damaged is not known.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[T] = self._read(path, progress) if path.exists() else []
        self._path = path
        self._stream = self._open()

    @abstractmethod
    def load(self, path: Path) -> list[T]:
        """What the whole lines of a file hold.

        Raises:
            MissingError: it is damaged.
            ValueError: likewise.
        """

    @abstractmethod
    def row(self, one: T) -> Row:
        """What a line says."""

    def mend(self, path: Path) -> None:
        """Cut off what an interrupted write left."""
        with path.open("r+b") as stream:
            stream.truncate(_end_of_last(stream, b"\n"))

    def _read(self, path: Path, progress: Progress) -> list[T]:
        try:
            self.mend(path)
            return self.load(path)
        except UnreadableError:
            raise
        except MissingError as error:
            cause = error.what
        except (OSError, ValueError, RecursionError) as error:
            refuse_unreadable(path, error)
            cause = f"{path} is damaged ({type(error).__name__})"
        set_aside(path, cause, progress)
        return []

    def append(self, rows: Iterable[T]) -> None:
        """Append rows in one write, and hand them to the operating system."""
        added = list(rows)
        with writing(self._path):
            self._stream.write(self.lines(added))
            self._stream.flush()
        self.rows.extend(added)

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Drop all rows but the wanted ones, from the file as well."""
        kept = [row for row in self.rows if wanted(row)]
        if len(kept) < len(self.rows):
            self._stream.close()
            self.rows = kept
            write_text(self._path, self.lines(kept))
            self._stream = self._open()

    def lines(self, rows: Iterable[T]) -> str:
        """The lines of a batch."""
        return "".join(json_line(self.row(one)) for one in rows)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _open(self) -> TextIO:
        return self._path.open("a", encoding="utf-8", errors="surrogatepass")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


class AppendedFile(AppendedLines[Row]):
    """An append-only file of plain rows, in whole batches: what is done again after an interruption is a batch.

    Figures of a row may depend on what was measured beside it, in their last digits. So that these are the same whether
    or not the work was interrupted, a blank stands before the first line of each batch and after its last, which JSON
    allows; what follows the last whole batch is dropped. A file without them was made before there were any.
    """

    def mend(self, path: Path) -> None:  # noqa: D102
        with path.open("r+b") as stream:
            is_in_batches = stream.read(len(_BEGIN)) == _BEGIN
            stream.truncate(_end_of_last(stream, _END if is_in_batches else b"\n"))

    def load(self, path: Path) -> list[Row]:  # noqa: D102
        rows = read_jsonl(path)
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no object")
        return rows

    def row(self, one: Row) -> Row:  # noqa: D102
        return one

    def lines(self, rows: Iterable[Row]) -> str:  # noqa: D102
        text = super().lines(rows)
        return f" {text[:-1]} \n" if text else ""


def json_line(row: Row) -> str:
    """A row as a line."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _end_of_last(stream: BinaryIO, mark: bytes) -> int:
    """Where the last mark of a file ends; 0 where there is none."""
    end = stream.seek(0, os.SEEK_END)
    rest = b""
    while end > 0:
        begin = max(end - _BLOCK, 0)
        stream.seek(begin)
        block = stream.read(end - begin) + rest
        if (place := block.rfind(mark)) >= 0:
            return begin + place + len(mark)
        rest, end = block[: len(mark) - 1], begin
    return 0
