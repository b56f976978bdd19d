"""What a task is given besides the policy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.assets.base_results import NOTHING_KEPT, BaseResults
from bench.assets.catalogue import AssetCatalogue
from bench.attribute import Attribute
from bench.data.counted import BEYOND, Counted
from bench.progress import Progress, note_once
from bench.spec import ChatSpec, Decoding
from bench.store.appended import AppendedFile
from bench.store.samples import Answer, Sample, SampleFile, read_samples
from bench.tasks.base import MetricSheet, Task

if TYPE_CHECKING:
    from bench.engine.generation import Continuation
    from bench.policy import LoadedModel, Policy
    from bench.scorers.checked import CheckedScorer

S = TypeVar("S", Sample, Answer)


@dataclass(frozen=True)
class FurtherScorer:
    """A scorer that reports beside the headline, and what it scores with its threshold."""

    scorer: "CheckedScorer"
    attribute: Attribute


@dataclass
class TaskContext:
    """What a task is given besides the policy.

    Attributes:
        folder: The run's `samples` folder.
        assets: Resolves data.
        scorer: Scores texts: the suite's headline; `attribute` is what it scores, mostly what the suite controls.
        decoding: The suite's way to sample.
        seed: The run's seed.
        base: The base model; None where it is behind an endpoint.
        progress: Where to report.
        tokens: Tokens worked on so far; a task adds to it.
        sampled: Those of them that were sampled.
        max_items: The most prompts, documents or passages to take, or None for the suite's own number.
        tasks: The run's tasks by name.
        beside: By task, what those that measure `both` took of the base model before it was edited.
        further: The suite's other scorers, by what it calls them.
        edited: Whether it is the edited model that the task at hand asks, and not the base model.
        shares: Whether other processes may help with what the task asks of it.
        chat: How the suite's prompts are put to a model that chats; None where they are plain text.
        helped: Whether one has, with the task at hand.
        holders: Where facts are edited in groups, the prompts of each group with what yields the model that holds it.
        base_results: Keeps what a task computes of the base model alone, for other runs.
    """

    folder: Path
    assets: AssetCatalogue
    scorer: "CheckedScorer"
    attribute: Attribute
    decoding: Decoding
    seed: int
    base: "LoadedModel | None"
    progress: Progress
    max_items: int | None = None
    tokens: int = 0
    sampled: int = 0
    tasks: Mapping[str, Task[Any]] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    further: Mapping[str, FurtherScorer] = field(default_factory=dict)
    edited: bool = False
    shares: bool = False
    chat: ChatSpec | None = None
    helped: bool = False
    holders: "Sequence[tuple[Sequence[str], Callable[[], AbstractContextManager[Policy]]]]" = ()
    base_results: BaseResults = NOTHING_KEPT

    @property
    def attributes(self) -> dict[str | None, Attribute]:
        """What is scored, with each scorer's threshold: None is the headline, then the further ones."""
        return {None: self.attribute, **{key: one.attribute for key, one in self.further.items()}}

    def samples(self, name: str) -> list[Sample]:
        """The continuations that an earlier task of this run left."""
        return self._left(name, Sample)

    def answers(self, name: str) -> list[Answer]:
        """The answers that an earlier task of this run left."""
        return self._left(name, Answer)

    def _left(self, name: str, kind: type[S]) -> list[S]:
        path = self._path(name)
        return [row for row in read_samples(path) if isinstance(row, kind)] if path.exists() else []

    def count_sampled(self, samples: "Iterable[Sample | Continuation]") -> None:
        """Count the tokens of what this process has sampled."""
        new = sum(one.tokens or 0 for one in samples)
        self.tokens, self.sampled = self.tokens + new, self.sampled + new

    def sheet(self, task: str) -> MetricSheet:
        """An empty sheet for a task's metrics."""
        return MetricSheet(task, self.attribute)

    @contextmanager
    def append(self, name: str, kind: type[S]) -> Iterator[SampleFile[S]]:
        """Open a task's samples to read what an interrupted run left and to append to."""
        with SampleFile(self._path(name), kind, self.progress) as stream:
            yield stream

    @contextmanager
    def append_rows(self, name: str) -> Iterator[AppendedFile]:
        """Open a task's evidence that is no samples, in rows of its own, as `append` does."""
        with AppendedFile(self._path(name), self.progress) as stream:
            yield stream

    def took(self, source: str, rows: Counted[Any], of: Counted[Any] | None = None) -> dict[str, Any]:
        """Say once what is taken of some data and what is left out; returns what the record says of it.

        `of` is what was there to take from, where `rows` are the first of it.
        """
        whole = rows if of is None else of.keep(rows, BEYOND)
        note_once(self.progress, whole.line(source))
        return whole.facts(source)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def take(self, wanted: int | None) -> int | None:
        """The smaller of the suite's own number and the run's limit."""
        return min((n for n in (wanted, self.max_items) if n is not None), default=None)
