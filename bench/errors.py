"""Errors that a user can mend: one line of cause, one of remedy, and the exit code of the command line."""

import difflib
from collections.abc import Iterable

_LISTED, _NEAR = 40, 3  # as many names can be read in a line; of more, the nearest few
_LONGEST = 200  # characters: no name is longer, and a comparison takes the square of them


class BenchError(Exception):
    """A failure with a known cause.

    Attributes:
        what: The cause, naming the value and where it stands.
        mend: What the user can do about it, or None where nothing is known.
        exit_code: The exit code of the command that ends with this error.
    """

    exit_code = 1

    def __init__(self, what: str, *, mend: str | None = None) -> None:
        super().__init__(what if mend is None else f"{what}; {mend}")
        self.what = what
        self.mend = mend


class UsageError(BenchError):
    """The user asked for something that is not valid: a flag, a key, a value (exit 2)."""

    exit_code = 2


class MissingError(BenchError):
    """Something that is needed is missing, broken or not comparable (exit 3)."""

    exit_code = 3


class UnreadableError(MissingError):
    """The system does not let us read what is there: whether it is sound is not known, so it is left as it is."""


class ForeignExitError(BenchError):
    """Code that is not ours, such as a plug-in's, asked the whole program to end (exit 1)."""

    def __init__(self, end: SystemExit) -> None:
        """Say so; whatever exit code was asked for, the work was not done."""
        super().__init__(
            f"code from another package asked to end the program (exit code {end.code!r:.20})",
            mend="a plug-in raises an error, and does not exit; BENCH_DEBUG=1 shows where",
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the closest known one, else all of them, or the nearest of very many."""
    options = sorted(known)
    name = name[:_LONGEST]
    if close := difflib.get_close_matches(name, options, n=1, cutoff=0.6):
        return f"did you mean '{close[0]}'?"
    if len(options) > _LISTED:
        near = difflib.get_close_matches(name, options, n=_NEAR, cutoff=0)
        return f"the nearest of {len(options):,} are {', '.join(near)}"
    return f"known: {', '.join(options)}" if options else "none is installed"
