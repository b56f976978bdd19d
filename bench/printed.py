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
    """A text without control characters: what a model, a record or a file holds must not steer a terminal."""
    return "".join(c if unicodedata.category(c)[0] != "C" else _MARK for c in text)


def inert(text: str) -> str:
    """Lines without commands to the service that reads them as a log (`::error::`, `##[error]`, `##vso[...]`)."""
    return _ANYWHERE.sub(_MARK, _FIRST.sub(rf"\1{_MARK}", text))


def inert_json(text: str) -> str:
    """The same for JSON: its strings keep their meaning, as a character of a command is escaped."""
    return re.sub(r"(?<=#)#(?=\w*\[)", r"\\u0023", text)


def echo(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print whole lines, made inert, on stdout or stderr."""
    print(inert(text), end=end, file=sys.stderr if err else sys.stdout, flush=err)
