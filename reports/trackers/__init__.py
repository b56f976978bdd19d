"""Trackers of experiments: what a finished run gives them, and what one is.

Packages bring trackers by the entry point group `bench.trackers`: a name and a subclass of `Tracker`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

Setting = str | int | float | bool


@dataclass(frozen=True)
class TrackerInfo:
    """What a tracker says of itself.

    Attributes:
        name: What it is asked for by.
        place: What `--at` names for it, and what holds without it.
        samples: Whether it has a place for samples.
        extras: The optional dependencies that it needs (names of its package's extras).
    """

    name: str
    place: str
    samples: bool = True
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tracked:
    """What is sent of a run.

    Attributes:
        id: The run's name.
        settings: What it was made with, by name.
        figures: Every figure that has a value, by its key; `KEY/lower` and `KEY/upper` are the ends of its 95 %
            interval, and `KEY/n_failed` counts measurements that failed, where any did.
        training: Series by name, a value for each step of training, from 1.
        tables: Tables by name, in Markdown in which no text of the record is markup; `figures` also has what could
            not be measured.
        files: Files of the record by name, as they lie there: what was asked for and what came of it. No samples.
        samples: Continuations with their scores, a mapping each, or None where they were not asked for.
    """

    id: str
    settings: Mapping[str, Setting]
    figures: Mapping[str, float]
    training: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Setting | None]] | None = None


class Tracker(ABC):
    """Sends runs to one place.

    Attributes:
        info: What it says of itself.
    """

    info: ClassVar[TrackerInfo]

    def __init__(self, project: str, at: str | None) -> None:
        """Remember where to; nothing is imported and nothing is sent yet.

        Args:
            project: The project, or experiment, that runs are put under.
            at: See `TrackerInfo.place`; None for what holds without it.
        """
        self.project = project
        self.at = at

    @abstractmethod
    def send(self, run: Tracked) -> str:
        """Send a run, in the place of the same run sent before, and say where it is.

        Raises:
            BenchError: it cannot be sent.
        """
