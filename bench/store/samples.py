"""Samples of a task: JSON lines, appended batch by batch, so that an interrupted run loses one batch at most."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.store.files import read_jsonl


class SampleFile:
    """An append-only JSONL file; `rows` are the whole lines that were there when it was opened."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that was cut off is dropped from the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = read_jsonl(path)
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            with path.open("r+b") as stream:
                stream.truncate(whole)
        self._stream = path.open("a", encoding="utf-8", errors="surrogatepass")

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows and hand them to the operating system."""
        for row in rows:
            self.rows.append(row)
            self._stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()
