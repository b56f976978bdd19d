"""What follows from the base model alone, kept in the cache: a run with the same model reads what another computed."""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class BaseResults:
    """Computed once for a model, a question and the code that answers it.

    Attributes:
        folder: Where results are kept; None where none are: each is then computed whenever it is asked for.
        made_with: The model and what computes with it, as JSON values: with other ones the result may be another.
        progress: Where to say that another process computes it.
    """

    folder: Path | None = None
    made_with: Any = None
    progress: Progress = SILENT

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
        hashed = [asked, self.made_with, code_hash(with_imports(code)), versions(NUMERIC)]
        path = self.folder / hash_json(hashed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path, self.progress):
            if not is_kept_or_set_aside(path, self.progress):
                with kept(path) as made:
                    write(made / "result", compute())
            return read(path / "result")


NOTHING_KEPT = BaseResults()
"""Computes whatever is asked for, and keeps none of it."""
