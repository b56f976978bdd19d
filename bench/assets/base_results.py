"""What follows from the base model alone, kept in the cache: a run with the same model reads what another computed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.assets.kept import is_kept_or_set_aside, kept
from bench.hashing import hash_json
from bench.progress import SILENT, Progress
from bench.store.files import read_json, write_json
from bench.store.keys import NUMERIC, code_hash, versions, with_imports
from bench.store.lock import alone

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_ALWAYS_BEHIND = "bench.engine.model"
"""How a model is loaded decides what it computes."""


@dataclass(frozen=True)
class BaseResults:
    """Computed once for a model, a question and the code that answers it.

    Attributes:
        folder: Where results are kept; None where none are: each is then computed whenever it is asked for.
        made_with: The model and what computes with it, as JSON values: with other ones the result may be another.
        progress: Where to say that another process computes it.
        read_seconds: What each result that was read had taken to compute: costs count it, whoever came first.
    """

    folder: Path | None = None
    made_with: Any = None
    progress: Progress = SILENT
    read_seconds: list[float] = field(default_factory=list)

    @property
    def seconds_saved(self) -> float:
        """What all results that were read had taken to compute."""
        return sum(self.read_seconds)

    def values(self, asked: Any, code: str, compute: Callable[[], T]) -> T:
        """A result that is JSON values.

        Args:
            asked: All that it follows from besides the model, as JSON values.
            code: The module (dotted name) that computes it.
            compute: Computes it.
        """
        found: T = self._found(asked, code, compute, write_json, read_json)
        return found

    def tensors(
        self, asked: Any, code: str, compute: "Callable[[], dict[str, torch.Tensor]]"
    ) -> "dict[str, torch.Tensor]":
        """A result that is tensors by name, kept bit for bit; arguments as those of `values`."""
        from safetensors.torch import load_file, save_file

        return self._found(asked, code, compute, lambda path, made: save_file(made, path), load_file)

    def _found(
        self,
        asked: Any,
        code: str,
        compute: Callable[[], T],
        write: Callable[[Path, T], None],
        read: Callable[[Path], T],
    ) -> T:
        if self.folder is None:
            return compute()
        behind = [code_hash(with_imports(code, _ALWAYS_BEHIND)), versions([*NUMERIC, "bitsandbytes"])]
        hashed = [asked, self.made_with, behind]
        path = self.folder / hash_json(hashed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path, self.progress):
            if is_kept_or_set_aside(path, self.progress):
                self.read_seconds.append(read_json(path / "seconds.json"))
            else:
                with kept(path) as made:
                    begin = time.perf_counter()
                    write(made / "result", compute())
                    write_json(made / "seconds.json", time.perf_counter() - begin)
            return read(path / "result")


NOTHING_KEPT = BaseResults()
"""Computes whatever is asked for, and keeps none of it."""
