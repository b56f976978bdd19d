"""What a scorer is: it gives texts a score in [0, 1] for each of its attributes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from bench.progress import SILENT, Progress
from bench.spec import Spec

Scores = dict[str, float]
"""Attribute to score in [0, 1]. Which attribute counts is the suite's to say: none has to be there."""


@dataclass(frozen=True)
class ScorerInfo:
    """What a scorer says of itself before it is loaded.

    Attributes:
        name: Its name in a suite.
        summary: One line.
        measures: What its scores stand for, in a few words (`explicit toxicity`).
        source: The paper or package that it comes from.
        extras: The optional dependencies that it needs (names of its package's extras).
    """

    name: str
    summary: str
    measures: str
    source: str
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScorerIdentity:
    """Which scorer it was, once it is loaded: what stands in the record of every run that used it.

    Attributes:
        name: As asked for (`svm`, `detoxify`, ...), with its variant where it has one (`detoxify:original`).
        label: What it really measures, for people; shown wherever its scores are.
        hash: SHA-256 (hex) over everything that decides a score: weights, versions, options, the label picked. Cached
            scores and finished runs are reused by it.
        attributes: The attributes that it scores, the main one first. A suite's `attribute.name` is one of them.
        licence: Licence of its weights.
    """

    name: str
    label: str
    hash: str
    attributes: tuple[str, ...]
    licence: str


HEADLINE = "--set suite.scorer.options.{name}={value}"
FURTHER = "write 'options: {{{name}: {value}}}' beside its name in 'scorers'"
"""How a user says an option of a suite's `scorer`, and of one of its `scorers`."""


@dataclass(frozen=True)
class ScorerContext:
    """What a scorer is given besides its configuration.

    Attributes:
        cache_dir: The user's cache folder, or None for the usual one.
        offline: Fetch nothing; what is not on this machine is missing.
        progress: Where fetching reports to.
        option: How the user says an option of this scorer, with `{name}` and `{value}`.
    """

    cache_dir: Path | None = None
    offline: bool = False
    progress: Progress = SILENT
    option: str = HEADLINE

    def setting(self, name: str, value: str = "VALUE") -> str:
        """What to say so that an option has a value: the remedy for one that is wrong or missing."""
        return self.option.format(name=name, value=value)


C = TypeVar("C", bound=Spec)


class Scorer(ABC, Generic[C]):
    """Scores texts. One instance carries one configuration and is ready to score.

    Retries and the cache are `bench.scorers.checked`'s; no scorer has its own.

    Attributes:
        info: What it says of itself.
        Config: Its options; unknown ones are refused.
        batch_size: How many texts it likes to be given at once.
        identity: What stands in the record.
    """

    info: ClassVar[ScorerInfo]
    Config: ClassVar[type[Spec]]
    batch_size: int = 32
    identity: ScorerIdentity

    def __init__(self, config: C, ctx: ScorerContext) -> None:
        """Take a configuration and load what it names."""
        self.config = config
        self.identity = self.load(ctx)

    @abstractmethod
    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Load what `self.config` names, and say what it is.

        Raises:
            UsageError: an option does not fit what it names.
            MissingError: what the scorer needs is neither here nor available.
        """

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts: one dict a text in the same order, None where a score is not available."""
