"""JSON lines that are appended batch by batch, so that an interrupted piece of work loses one batch at most."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from bench.progress import SILENT, Progress
from bench.store.files import read_jsonl, set_aside, write_text, writing


class AppendedFile:
    """An append-only JSONL file; `rows` are the whole lines that were there when it was opened."""

    def __init__(self, path: Path, progress: Progress = SILENT) -> None:
        """Read what is there; a last line that was cut off is dropped from the file.

        A damaged file is set aside, and told of, and a new one begun.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = self._read(path, progress)
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            with path.open("r+b") as stream:
                stream.truncate(whole)
        self._path = path
        self._stream = self._open()

    @staticmethod
    def _read(path: Path, progress: Progress) -> list[dict[str, Any]]:
        try:
            rows = read_jsonl(path)
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is no object")
        except (OSError, ValueError, RecursionError) as error:
            aside = set_aside(path).name
            progress.note(f"{path} is damaged ({type(error).__name__}): it is set aside as {aside} and made anew")
            return []
        return rows

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows in one write, and hand them to the operating system."""
        added = list(rows)
        with writing(self._path):
            self._stream.write("".join(map(_line, added)))
            self._stream.flush()
        self.rows.extend(added)

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop all rows but the wanted ones, from the file as well."""
        kept = [row for row in self.rows if wanted(row)]
        if len(kept) < len(self.rows):
            self.replace(kept)

    def replace(self, rows: Iterable[dict[str, Any]]) -> None:
        """Put other rows in the place of all that are there."""
        self._stream.close()
        self.rows = list(rows)
        write_text(self._path, "".join(map(_line, self.rows)))
        self._stream = self._open()

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


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
