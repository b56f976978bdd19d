"""A worker on a machine of a Ray cluster: the actor that starts it there, and passes on what it says and is told."""

import platform
import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.run.launch.pipes import WORKER, Message, PipedProcess, failure
from bench.store.keys import NUMERIC, OURS, SCORING, versions


@dataclass(frozen=True)
class Home:
    """Where the command runs, as its workers must find it on each machine.

    Attributes:
        folder: The current folder.
        shared: Files that the command has just made in the folders of records and of the cache.
        code: What figures follow from (`code`).
        variables: Of the environment.
    """

    folder: str
    shared: Sequence[str]
    code: Mapping[str, str]
    variables: Mapping[str, str]

    def check(self) -> None:
        """Make sure that this machine is a home, too.

        Raises:
            MissingError: it is not.
        """
        here = platform.node()
        for path in (self.folder, *self.shared):
            if not Path(path).exists():
                place = path if path == self.folder else Path(path).parent
                mend = "put the current folder, --runs-dir and --cache-dir on a disk that all machines share"
                raise MissingError(f"machine {here} does not see {place} of this one", mend=mend)
        own = code()
        other = [name for name in sorted({*own, *self.code}) if own.get(name) != self.code.get(name)]
        if other:
            told = ", ".join(f"{name} ({own.get(name, 'none')}, here {self.code.get(name, 'none')})" for name in other)
            raise MissingError(f"machine {here} has other code: {told}", mend="install the same on all machines")


def code() -> dict[str, str]:
    """What figures follow from, by name: versions of packages, and a hash of our sources."""
    found = versions([*NUMERIC, *SCORING, "peft", "lm_eval"])
    for package in OURS:
        spec = find_spec(package)
        root = Path(spec.origin).parent if spec and spec.origin else Path()
        files = {str(path.relative_to(root)): hash_file(path) for path in sorted(root.rglob("*.py"))}
        found[package] = hash_json(files)[:12]
    return found


class Relay:
    """The actor. Its methods are called at once, each in a thread of its own."""

    def __init__(self, home: Home, job: Message) -> None:
        """Start the worker, where this machine is as the command's."""
        self._said: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._process: PipedProcess | None = None
        try:
            home.check()
        except MissingError as error:
            self._said.put(failure(error))
            self._said.put({"ended": "it cannot work there"})
        else:
            self._process = PipedProcess(
                WORKER, job, self._said.put, variables=home.variables, folder=Path(home.folder)
            )

    def hear(self) -> list[Message]:
        """What the worker has said since the last call; waits until there is something."""
        said = [self._said.get()]
        while not self._said.empty():
            said.append(self._said.get())
        return said

    def tell(self, message: Message) -> None:
        """Tell the worker something."""
        if self._process:
            self._process.tell(message)
