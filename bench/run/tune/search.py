"""Carry out the trials of a search, sharing them with other processes of the same command."""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, MissingError
from bench.hashing import hash_json
from bench.parsing import written
from bench.progress import note_once
from bench.run.damage import is_whole
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Experiment
from bench.run.runner import Runner
from bench.run.tune.journal import Trial, Trials, cut_half, open_journal
from bench.run.tune.space import Subject
from bench.store.files import NO_SPACE
from bench.store.lease import Lease
from bench.store.lock import alone, pauses, take

JOURNAL = "journal.log"
_LONGEST = 1000  # characters of what is kept of an error
_OF_DISK = (*NO_SPACE, errno.EIO, errno.EROFS, errno.ESTALE)  # what no settings are to blame for; else a trial failed
_PAUSES = 0.2, 5.0  # seconds between two looks at what other processes hold: the first, and the longest

Judge = Callable[[Path], Sequence[float]]
"""From a record's folder to the figures that are made small.

Raises `BenchError` where one was not measured.
"""


@dataclass(frozen=True)
class Found:
    """What was tried of a method.

    Attributes:
        subject: The method.
        trials: As many of its trials as were asked for, in order.
        is_spent: Whether nothing was left to try.
    """

    subject: Subject
    trials: tuple[Trial, ...]
    is_spent: bool


@dataclass
class Search:
    """As many trials of each method as are asked for.

    Attributes:
        subjects: The methods.
        folder: Where the journal is.
        env: What the experiments share.
        runs: The folder of records.
        count: Trials of each method.
        judge: Says what a record comes to.
        objectives: How many figures it gives.
        retry: Whether trials that have failed are tried again.
    """

    subjects: Sequence[Subject]
    folder: Path
    env: Environment
    runs: Path
    count: int
    judge: Judge
    objectives: int
    retry: bool = False

    def __post_init__(self) -> None:
        """Find what was begun before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            storage = open_journal(self.folder / JOURNAL)
            self._trials = [
                Trials(
                    storage,
                    self._name(subject),
                    subject.space,
                    subject.defaults,
                    self.objectives,
                    [subject.default.seed, subject.text],
                )
                for subject in self.subjects
            ]
            for trials in self._trials if self.retry else []:
                trials.retry(self.count)

    def run(self) -> list[Found]:
        """Carry out what is left of the trials, and wait for those of other processes.

        The method with the fewest trials is next, so that all have as many wherever it is interrupted.

        Raises:
            OSError: the disk is full, broken or away (`_OF_DISK`); the trial is tried again by the same command.
        """
        waits = pauses(*_PAUSES)
        while not self._is_done():
            if (taken := self._next()) is None:
                note_once(self.env.progress, "other processes work on what is left: waiting for them")
                time.sleep(next(waits))
                continue
            waits = pauses(*_PAUSES)
            place, trial, lease = taken
            try:
                self._carry_out(place, trial)
            finally:
                self._leave(place, trial, lease)
        found = [self._found(subject, trials) for subject, trials in zip(self.subjects, self._trials, strict=True)]
        for one in found:
            for trial in one.trials:
                if trial.run_id and not is_whole(self.runs / trial.run_id):  # removed since, or in another folder
                    measured(one.subject.experiment(trial.settings), self.env, self.runs)
        return found

    def _found(self, subject: Subject, trials: Trials) -> Found:
        """What was tried of a method: the first trials, as many as of every other, whatever was tried before."""
        every = trials.all()
        later = len(every) - self.count
        if later > 0:
            told = f"{later} later trial{'s' if later > 1 else ''} of {subject.text} left out"
            self.env.progress.note(f"{told}: every method is judged by {self.count} (--trials)")
        return Found(subject, tuple(every[: self.count]), trials.is_spent and later <= 0)

    def _counting(self, trials: Trials) -> list[Trial]:
        """The trials of a method that count here: an earlier call, or another process, may have asked for more."""
        return trials.all()[: self.count]

    def _leave(self, place: int, trial: Trial, lease: Lease) -> None:
        try:
            with self._alone():
                self._trials[place].leave(trial)
        finally:
            lease.release()

    def _is_done(self) -> bool:
        return not any(
            self._has_more(trials) or any(one.status == "open" for one in self._counting(trials))
            for trials in self._trials
        )

    def _has_more(self, trials: Trials) -> bool:
        """Whether something new is to be tried of a method."""
        return len(trials.all()) < self.count and not trials.is_spent

    def _next(self) -> tuple[int, Trial, Lease] | None:
        """The next trial, now held: one that was interrupted, else a new one; None where others hold what is left."""
        with self._alone():
            found = [self._counting(trials) for trials in self._trials]
            for place, trial in [(n, one) for n, some in enumerate(found) for one in some if one.status == "open"]:
                if lease := self._hold(place, trial):
                    if self._trials[place].begin(trial):
                        return place, trial, lease
                    lease.release()
            for place in sorted(range(len(found)), key=lambda n: len(found[n])):
                new = self._trials[place].ask() if self._has_more(self._trials[place]) else None
                if new and (lease := self._hold(place, new)):
                    self._trials[place].begin(new)
                    return place, new, lease
        return None

    def _hold(self, place: int, trial: Trial) -> Lease | None:
        return take(self.folder / f"{self._trials[place].name}-{trial.number}")

    def _carry_out(self, place: int, trial: Trial) -> None:
        """Measure a trial and keep what it comes to."""
        subject, trials = self.subjects[place], self._trials[place]
        told = " ".join(f"{option}={written(value)}" for option, value in trial.settings.items()) or "default settings"
        name = f"{subject.text}, trial {trial.number} of {self.count if subject.space else 1}"
        self.env.progress.note(f"{name}: {told}")
        try:
            folder = measured(subject.experiment(trial.settings), self.env, self.runs)
            figures = list(self.judge(folder))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OF_DISK:
                raise
            self.env.progress.note(f"{name} failed: {type(error).__name__}")
            why, mend = f"{type(error).__name__}: {error}", None
            if isinstance(error, BenchError):
                why, mend = error.what, error.mend
            with self._alone():
                trials.fail(trial, _line(why), mend and _line(mend))
        else:
            with self._alone():
                trials.tell(trial, folder.name, figures)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with alone(self.folder / JOURNAL):
            cut_half(self.folder / JOURNAL)  # of this process, or of another
            yield

    def _name(self, subject: Subject) -> str:
        """What its trials are called: by all that their figures, and what is drawn, follow from."""
        runner = Runner(subject.default, self.env, self.runs)
        space = {option: str(over) for option, over in subject.space.items()}
        return f"{subject.default.method}-{hash_json([runner.key, space, self.objectives, subject.text])[:10]}"


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def check_all(experiments: Sequence[Experiment], env: Environment, runs: Path) -> None:
    """Find out before any work whether what experiments read is there and valid.

    Raises:
        BenchError: it is not.
    """
    for experiment in experiments:
        Runner(experiment, env, runs).check()


def measured(experiment: Experiment, env: Environment, runs: Path) -> Path:
    """The record's folder of an experiment, found or made.

    Raises:
        Exception: what it failed at.
    """
    (outcome,) = run_experiments([experiment], env, runs)
    if outcome.folder is None:
        raise outcome.error or MissingError("the experiment has no record")
    return outcome.folder
