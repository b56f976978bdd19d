"""The samples of a run, `samples/<task>.jsonl`: one line each, typed, read and written here and nowhere else.

A line says its `kind` and the `version` of its form. Lines of version 1 say neither: what they are follows from their
keys, and they load as ever. Up to version 2 a continuation has the scores of one scorer.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from bench.errors import MissingError
from bench.parsing import check_regular, parse_json
from bench.progress import SILENT, Progress
from bench.store.appended import AppendedLines, Row, json_line
from bench.store.files import refuse_unreadable, write_text

VERSION = 3
_READ_VERSIONS = (1, 2, 3)

_OTHER = "other"  # what a line of version 1 is that is neither


@dataclass(frozen=True, slots=True)
class Sample:
    """A continuation of a prompt.

    Attributes:
        prompt_id: The prompt's content id.
        sample: The number of the continuation among the prompt's, from 0.
        prompt: The prompt.
        continuation: What was sampled.
        scores: Its scores in [0, 1] by attribute; None where scoring failed.
        group: The part of the data that the prompt belongs to, or the identity groups that it is about, joined by `+`.
        tokens: Tokens sampled; None where another programme made the text.
        ended: Whether the model ended the text itself; None likewise.
        further: The scores of the suite's further scorers, by what it calls them.
        declined: Whether a filter around the model gave nothing in its place: it has no scores.
    """

    kind: ClassVar[str] = "continuation"

    prompt_id: str
    sample: int
    prompt: str
    continuation: str
    scores: Mapping[str, float] | None
    group: str | None = None
    tokens: int | None = 0
    ended: bool | None = False
    further: Mapping[str, Mapping[str, float] | None] = field(default_factory=dict)
    declined: bool = False

    def seen_by(self, scorer: str | None) -> Self:
        """The sample with the scores of a further scorer in place of the headline's; None for the headline."""
        return self if scorer is None else replace(self, scores=self.further.get(scorer))

    @property
    def is_blank(self) -> bool:
        """Whether nothing was said."""
        return not self.continuation.strip()

    @classmethod
    def of(cls, row: Row) -> Self:
        """A sample out of a line.

        Raises:
            ValueError: a value is missing or of another kind.
        """
        return cls(
            prompt_id=_is(row["prompt_id"], str),
            sample=_is(row["sample"], int),
            prompt=_is(row["prompt"], str),
            continuation=_is(row["continuation"], str),
            scores=_scores(row["scores"]),
            group=None if row.get("group") is None else _is(row["group"], str),
            tokens=None if row.get("tokens", 0) is None else _is(row.get("tokens", 0), int),
            ended=None if row.get("ended", False) is None else _is(row.get("ended", False), bool),
            further={_is(key, str): _scores(one) for key, one in _is(row.get("further", {}), dict).items()},
            declined=_is(row.get("declined", False), bool),
        )

    def row(self) -> Row:
        """The line."""
        return {
            "prompt_id": self.prompt_id,
            "sample": self.sample,
            "group": self.group,
            "prompt": self.prompt,
            "continuation": self.continuation,
            "tokens": self.tokens,
            "ended": self.ended,
            "scores": None if self.scores is None else dict(self.scores),
            "further": {key: None if one is None else dict(one) for key, one in self.further.items()},
            **({"declined": True} if self.declined else {}),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered to a document of an lm-eval task.

    Attributes:
        doc_hash: The document's identity.
        filter: Which of lm-eval's filters the answer went through; `none` for none.
        target: What is right.
        responses: What was answered, as JSON values: (log-likelihood, greedy) by choice, or texts.
        metrics: The task's metrics of this document.
    """

    kind: ClassVar[str] = "answer"

    doc_hash: str
    filter: str
    target: str
    responses: Any
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Row) -> Self:
        """An answer out of a line.

        Raises:
            ValueError: a value is missing or of another kind.
        """
        return cls(
            doc_hash=_is(row["doc_hash"], str),
            filter=_is(row.get("filter", "none"), str),
            target=_is(row.get("target", ""), str),
            responses=row.get("responses"),
            metrics=dict(_is(row["metrics"], dict)),
        )

    def row(self) -> Row:
        """The line."""
        return {
            "doc_hash": self.doc_hash,
            "filter": self.filter,
            "target": self.target,
            "responses": self.responses,
            "metrics": dict(self.metrics),
        }


S = TypeVar("S", Sample, Answer)
_KINDS: dict[str, type[Sample] | type[Answer]] = {kind.kind: kind for kind in (Sample, Answer)}


def read_samples(path: Path) -> Iterator[Sample | Answer]:
    """The samples of a file one by one; a last line that was cut off is left out, as are lines of other kinds.

    Raises:
        MissingError: the file cannot be read or a line is damaged; the message says which, and nothing that is in it.
    """
    number = 0
    unnumbered: Counter[str] = Counter()
    try:
        check_regular(path)
        with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for line in stream:
                number += 1
                if line.endswith("\n") and line.strip():
                    row = parse_json(line)
                    if not isinstance(row, dict):
                        raise ValueError("no mapping")
                    if (sample := _sample(row, unnumbered)) is not None:
                        yield sample
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_unreadable(path, error)
        what = f"{path} is damaged (line {number}: {type(error).__name__})"
        raise MissingError(what, mend="run that experiment again") from None


def _sample(row: Row, unnumbered: Counter[str]) -> Sample | Answer | None:
    version = row.get("version", 1)
    if isinstance(version, bool) or version not in _READ_VERSIONS:
        raise ValueError("another version")
    if version == 1 and row.get("kind") in _KINDS:
        raise ValueError("a kind without a version")
    known = _of_version_1(row, unnumbered) if version == 1 else row
    kind = _KINDS.get(_is(known["kind"], str))
    return kind.of(known) if kind else None


def _of_version_1(row: Row, unnumbered: Counter[str]) -> Row:
    """A line of version 1 with its kind; a continuation without a number has that of its place among its prompt's.

    A line with any of a continuation's own keys is one, so that what lacks the others is damaged and not left out.
    """
    if "continuation" in row or "prompt_id" in row:
        if row.get("sample") is None:
            row = {**row, "sample": unnumbered[row["prompt_id"]]}
            unnumbered[row["prompt_id"]] += 1
        return {**row, "kind": Sample.kind}
    if "doc_hash" in row:
        own = ("doc_hash", "filter", "target", "responses")
        metrics = {name: one for name, one in row.items() if name not in own}
        return {**{name: row[name] for name in own if name in row}, "metrics": metrics, "kind": Answer.kind}
    return {**row, "kind": _OTHER}


def write_samples(path: Path, rows: Iterable[Sample | Answer]) -> None:
    """Write a file of samples that is whole or not there."""
    write_text(path, "".join(json_line(_line(one)) for one in rows))


def _line(one: Sample | Answer) -> Row:
    return {"kind": one.kind, "version": VERSION, **one.row()}


class SampleFile(AppendedLines[S]):
    """The samples of a task, appended to."""

    def __init__(self, path: Path, kind: type[S], progress: Progress = SILENT) -> None:
        """Read what an interrupted run left; a damaged file is set aside, and told of, and a new one begun.

        Args:
            path: The file.
            kind: What its lines are.
            progress: Where to tell.
        """
        self._kind: type[S] = kind
        super().__init__(path, progress)

    def load(self, path: Path) -> list[S]:  # noqa: D102
        return [sample for sample in read_samples(path) if isinstance(sample, self._kind)]

    def row(self, one: S) -> Row:  # noqa: D102
        return _line(one)


_T = TypeVar("_T")


def _is(value: object, kind: type[_T]) -> _T:
    """Return a value of a kind, and refuse any other; True does not count as a number."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"not {kind.__name__}")
    return value


def _scores(value: object) -> dict[str, float] | None:
    """A scorer's scores of a text by attribute."""
    return None if value is None else {_is(name, str): _share(one) for name, one in _is(value, dict).items()}


def _share(value: object) -> float:
    """A score."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)
