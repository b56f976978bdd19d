"""A model or a data file that was found: where it lies, its hash, its licence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import MissingError


@dataclass(frozen=True)
class Resolved:
    """A model or a data file, found and hashed.

    Attributes:
        id: The name asked for, in canonical form.
        path: A model: a folder for `from_pretrained`; none behind an endpoint. Data: one file.
        sha256: Hash of the content: a data file's own, a model's over its files' names and hashes, or name and address.
        revision: The hub's commit, or the version of the package that an asset is from.
        licence: What the source declares, where it declares one.
        source: Where it is from.
    """

    id: str
    path: Path
    sha256: str
    revision: str | None
    licence: str | None
    source: Literal["wheel", "hub", "local", "endpoint"]


class ChangedError(MissingError):
    """What was found and hashed is another by now: what was read of it since may not be what its hash says."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was changed while this command ran", mend="run the command again")
