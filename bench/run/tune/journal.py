"""The trials of a search in a journal file, and what to try next: Optuna's TPE (extra `tune`).

Bergstra et al., 2011 (NeurIPS); for several objectives Ozaki et al., 2022 (JAIR 73). Nothing here holds a lock: whoever
changes the journal is alone (`bench.run.tune.search`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bench.errors import MissingError
from bench.hashing import hash_json
from bench.method import Range
from bench.run.tune.space import Settings, rounded

RANDOM_TRIALS = 5
"""Trials of a method, its defaults among them, before the others count for what is tried next."""
_TRIES = 20  # settings that are drawn until some are new
_SETTINGS, _RUN, _WHY, _SPENT = "settings", "run", "why", "spent"
_STATES: Mapping[TrialState, Literal["open", "done", "failed"]] = {
    TrialState.COMPLETE: "done",
    TrialState.FAIL: "failed",
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Trial:
    """Settings that are tried, or were.

    Attributes:
        id: Its number in the journal.
        number: From 1, among the trials of its method.
        settings: The searched options that differ from the defaults.
        status: `open` (somebody is at it, or was interrupted), `done`, or `failed`.
        run_id: Its record; None where it is open or failed.
        why: Why it failed.
    """

    id: int
    number: int
    settings: Settings
    status: Literal["open", "done", "failed"]
    run_id: str | None = None
    why: str | None = None


class _NoLock(JournalFileOpenLock):
    """The caller is alone with the journal."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_journal(path: Path) -> JournalStorage:
    """The journal in a file, which is made where there is none.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_NoLock(str(path))))
    except (ValueError, KeyError, AssertionError) as error:
        what = f"{path} is no journal of trials, or is damaged ({type(error).__name__})"
        raise MissingError(what, mend="take another folder: what was measured is found among the records") from None


@dataclass
class Trials:
    """The trials of one method.

    Attributes:
        storage: The journal.
        name: What they are called in it: by all that their figures follow from.
        space: What is searched.
        defaults: What the searched options are by default.
        objectives: How many figures are made small.
        seed: What is drawn follows from this, and from the trials before.
    """

    storage: JournalStorage
    name: str
    space: Mapping[str, Range | tuple[Any, ...]]
    defaults: Mapping[str, Any]
    objectives: int
    seed: Any
    _over: dict[str, BaseDistribution] = field(init=False)

    def __post_init__(self) -> None:
        """Begin, or find what was begun."""
        self._over = {option: _distribution(over) for option, over in self.space.items()}
        if self.name not in optuna.get_all_study_names(self.storage):
            optuna.create_study(storage=self.storage, study_name=self.name, directions=["minimize"] * self.objectives)

    def all(self) -> list[Trial]:
        """The trials so far, in order."""
        found = [one for one in self._study(0).get_trials(deepcopy=False) if _SETTINGS in one.user_attrs]
        return [_trial(one, number) for number, one in enumerate(found, 1)]

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left to try."""
        return bool(self._study(0).user_attrs.get(_SPENT)) or (not self.space and bool(self.all()))

    def ask(self) -> Trial | None:
        """What to try next, the defaults first; None where nothing new is found."""
        self._drop_halves()
        tried = [{**self.defaults, **one.settings} for one in self.all()]
        if not tried:
            return self._first()
        for attempt in range(_TRIES if self.space else 0):
            study = self._study(int(hash_json([self.seed, len(tried), attempt])[:8], 16))
            trial = study.ask(self._over)
            settings = {option: rounded(trial.params[option]) for option in self.space}
            if settings not in tried:
                trial.set_user_attr(_SETTINGS, settings)
                return self.all()[-1]
            study.tell(trial, state=TrialState.FAIL)
        self._study(0).set_user_attr(_SPENT, value=True)
        return None

    def tell(self, trial: Trial, run_id: str, figures: Sequence[float]) -> None:
        """Keep what a trial came to; one that has ended stays as it is."""
        if self._note(trial, _RUN, run_id):
            self._study(0).tell(trial.id, list(figures))

    def fail(self, trial: Trial, why: str) -> None:
        """Keep that a trial failed; one that has ended stays as it is."""
        if self._note(trial, _WHY, why):
            self._study(0).tell(trial.id, state=TrialState.FAIL)

    def _first(self) -> Trial:
        """The trial with default settings; those of them that are in the space stand in the journal."""
        study = self._study(0)
        inside = {option: value for option, value in self.defaults.items() if self._contains(option, value)}
        study.enqueue_trial(inside)
        trial = study.ask({option: self._over[option] for option in inside})
        trial.set_user_attr(_SETTINGS, {})
        return self.all()[-1]

    def _contains(self, option: str, value: Any) -> bool:
        over = self.space[option]
        if isinstance(over, Range):
            return isinstance(value, int | float) and over.low <= value <= over.high
        return value in over

    def _note(self, trial: Trial, name: str, value: str) -> bool:
        """Note something of a trial; False where that has ended."""
        found = self._study(0).get_trials(deepcopy=False)[trial.id]
        if found.state.is_finished():
            return False
        self.storage.set_trial_user_attr(found._trial_id, name, value)
        return True

    def _drop_halves(self) -> None:
        """End what a process began to draw before it was killed."""
        study = self._study(0)
        for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _SETTINGS not in one.user_attrs:
                study.tell(one.number, state=TrialState.FAIL)

    def _study(self, seed: int) -> Study:
        sampler = TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        return optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler)


def _distribution(over: Range | tuple[Any, ...]) -> BaseDistribution:
    if isinstance(over, tuple):
        return CategoricalDistribution(over)
    if over.whole:
        return IntDistribution(math.ceil(over.low), math.floor(over.high), log=over.log)
    return FloatDistribution(float(over.low), float(over.high), log=over.log)


def _trial(one: FrozenTrial, number: int) -> Trial:
    attributes = one.user_attrs
    status = _STATES.get(one.state, "open")
    return Trial(one.number, number, attributes[_SETTINGS], status, attributes.get(_RUN), attributes.get(_WHY))
