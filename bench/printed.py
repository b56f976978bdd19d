"""What is printed: nothing in it steers a terminal, or commands the service that runs us and reads our log."""

import re
import sys
import unicodedata

_MARK = "\N{REPLACEMENT CHARACTER}"
_FIRST = re.compile(r"(?:^|(?<=[\r\n]))(\s*):(?=:)")
"""GitHub takes a line for a command that begins, after blanks, with `::`."""
_ANYWHERE = re.compile(r"#(?=#\w*\[)")
"""GitHub's older `##[error]`, Azure's `##vso[...]` and TeamCity's `##teamcity[...]` count wherever they stand."""


def plain(text: str) -> str:
    """A text without control characters or line ends: what a model, a record or a file holds steers no terminal."""
    return "".join(_MARK if _steers(unicodedata.category(c)) else c for c in text)


def _steers(category: str) -> bool:
    return category[0] == "C" or category in {"Zl", "Zp"}


def inert(text: str) -> str:
    """Lines without commands to the service that reads them as a log (`::error::`, `##[error]`, `##vso[...]`)."""
    return _ANYWHERE.sub(_MARK, _FIRST.sub(rf"\1{_MARK}", text))


def inert_json(text: str) -> str:
    """The same for JSON: its strings keep their meaning, as a character of a command is escaped."""
    return re.sub(r"(?<=#)#(?=\w*\[)", r"\\u0023", text)


def echo(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print whole lines, made inert, on stdout or stderr."""
    print(inert(text), end=end, file=sys.stderr if err else sys.stdout, flush=err)
