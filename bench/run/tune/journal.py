"""The trials of a search in a journal file, and what to try next: Optuna's TPE (extra `tune`).

Bergstra et al., 2011 (NeurIPS); for several objectives Ozaki et al., 2022 (JAIR 73). Nothing here holds a lock: whoever
changes the journal is alone (`bench.run.tune.search`).
"""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from bench.errors import MissingError
from bench.hashing import hash_json
from bench.method import Range
from bench.run.tune.space import Settings, rounded

RANDOM_TRIALS = 5
"""Trials of a method, its defaults among them, before the others count for what is tried next."""
_TRIES = 20  # settings that are drawn until some are new
_MOST_LISTED = 10_000  # settings of a space: in a larger one, what is drawn at random is new
_MOST_KILLS = 3
"""Processes that may be killed at a trial before it counts as failed: it may need more memory than there is."""
_SETTINGS, _RUN, _WHY, _MEND, _SPENT = "settings", "run", "why", "mend", "spent"
_AGAIN, _BEGUN = "again", "begun"  # the trial that is tried again; processes that began, and did not end in order
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
        mend: What may be done about that.
    """

    id: int
    number: int
    settings: Settings
    status: Literal["open", "done", "failed"]
    run_id: str | None = None
    why: str | None = None
    mend: str | None = None


class _NoLock(JournalFileOpenLock):
    """The caller is alone with the journal."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def cut_half(path: Path) -> None:
    """Cut off half a last line, which a full disk or a loss of power has left: the next one would be joined to it."""
    with suppress(FileNotFoundError), path.open("r+b") as stream:
        if stream.seek(0, os.SEEK_END) and stream.seek(-1, os.SEEK_END) and stream.read() != b"\n":
            stream.seek(0)
            whole = stream.read()
            if whole.startswith(b"{"):  # else it is somebody else's file
                stream.truncate(whole.rfind(b"\n") + 1)


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
    _finite: list[dict[str, Any]] | None = field(init=False)

    def __post_init__(self) -> None:
        """Begin, or find what was begun."""
        self._finite = _all_of(self.space)
        self._over = {option: _distribution(over) for option, over in self.space.items()}
        if self.name not in optuna.get_all_study_names(self.storage):
            optuna.create_study(storage=self.storage, study_name=self.name, directions=["minimize"] * self.objectives)

    def all(self) -> list[Trial]:
        """The trials so far, in order."""
        found: dict[int, FrozenTrial] = {}
        for one in self._study(0).get_trials(deepcopy=False):
            if _SETTINGS in one.user_attrs:
                found[one.user_attrs.get(_AGAIN, one.number)] = one  # in the place of the one that it tries again
        return [_trial(one, number) for number, one in enumerate(found.values(), 1)]

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left to try."""
        if self._finite is None:
            return bool(self._study(0).user_attrs.get(_SPENT))
        tried = self._tried()
        return bool(tried) and not any(one not in tried for one in self._finite)

    def ask(self) -> Trial | None:
        """What to try next, the defaults first; None where nothing new is found.

        TPE repeats what was good: where all that it draws has been tried, the next is drawn at random.
        """
        self._drop_halves()
        tried = self._tried()
        if not tried:
            return self._first()
        if self.is_spent:
            return None
        for attempt in range(2 * _TRIES):
            seed = int(hash_json([self.seed, len(tried), attempt])[:8], 16)
            study = self._study(seed) if attempt < _TRIES else self._study(seed, RandomSampler(seed))
            trial = study.ask(self._over)
            settings = {option: self._rounded(option, trial.params[option]) for option in self.space}
            if settings not in tried:
                trial.set_user_attr(_SETTINGS, settings)
                return self.all()[-1]
            study.tell(trial, state=TrialState.FAIL)
        if self._finite is not None:  # what is left is rare: it is listed
            left = [one for one in self._finite if one not in tried]
            return self._add(left[int(hash_json([self.seed, len(tried)])[:8], 16) % len(left)])
        self._study(0).set_user_attr(_SPENT, value=True)
        return None

    def begin(self, trial: Trial) -> bool:
        """Note that a process is at a trial; False where as many were killed at it that it counts as failed now."""
        begun = self._study(0).get_trials(deepcopy=False)[trial.id].user_attrs.get(_BEGUN, 0)
        if begun >= _MOST_KILLS:
            why = f"{begun} processes were killed at it: does it need more memory than there is?"
            self.fail(trial, why, "say a smaller --batch-tokens")
            return False
        return self._note(trial, _BEGUN, begun + 1)

    def leave(self, trial: Trial) -> None:
        """Note that the process at a trial was not killed, whether or not it has ended the trial."""
        begun = self._study(0).get_trials(deepcopy=False)[trial.id].user_attrs.get(_BEGUN, 0)
        self._note(trial, _BEGUN, max(begun - 1, 0))

    def retry(self, most: int | None = None) -> None:
        """Open all of the first trials again that failed, each with its number and settings."""
        for one in self.all()[:most]:
            if one.status == "failed":
                failed = self._study(0).get_trials(deepcopy=False)[one.id]
                self._add(failed.params, one.settings, failed.user_attrs.get(_AGAIN, one.id))

    def tell(self, trial: Trial, run_id: str, figures: Sequence[float]) -> None:
        """Keep what a trial came to; one that has ended stays as it is."""
        if self._note(trial, _RUN, run_id):
            self._study(0).tell(trial.id, list(figures))

    def fail(self, trial: Trial, why: str, mend: str | None = None) -> None:
        """Keep that a trial failed; one that has ended stays as it is."""
        if self._note(trial, _WHY, why) and self._note(trial, _MEND, mend):
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

    def _tried(self) -> list[dict[str, Any]]:
        """All searched options of each trial."""
        return [{**self.defaults, **one.settings} for one in self.all()]

    def _add(self, params: Mapping[str, Any], settings: Settings | None = None, again: int | None = None) -> Trial:
        """Open a trial that is not drawn, in one line of the journal: a process may be killed at any moment."""
        own = {_SETTINGS: dict(params if settings is None else settings)}
        attributes = own if again is None else {**own, _AGAIN: again}
        over = {option: self._over[option] for option in params}
        made = create_trial(state=TrialState.RUNNING, params=dict(params), distributions=over, user_attrs=attributes)
        self._study(0).add_trial(made)
        newest = self._study(0).get_trials(deepcopy=False)[-1].number
        return next(one for one in self.all() if one.id == newest)

    def _note(self, trial: Trial, name: str, value: Any) -> bool:
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

    def _rounded(self, option: str, value: Any) -> Any:
        return rounded(value) if isinstance(self.space[option], Range) else value

    def _study(self, seed: int, sampler: BaseSampler | None = None) -> Study:
        sampler = sampler or TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        return optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler)


def _all_of(space: Mapping[str, Range | tuple[Any, ...]]) -> list[dict[str, Any]] | None:
    """Everything in a space; None where that is more than any search tries, or without end."""
    values: list[Sequence[Any]] = []
    for over in space.values():
        if isinstance(over, Range) and not over.whole:
            return None
        values.append(range(math.ceil(over.low), math.floor(over.high) + 1) if isinstance(over, Range) else over)
    if math.prod(map(len, values)) > _MOST_LISTED:
        return None
    return [dict(zip(space, some, strict=True)) for some in product(*values)]


def _distribution(over: Range | tuple[Any, ...]) -> BaseDistribution:
    if isinstance(over, tuple):
        return CategoricalDistribution(over)
    if over.whole:
        return IntDistribution(math.ceil(over.low), math.floor(over.high), log=over.log)
    return FloatDistribution(float(over.low), float(over.high), log=over.log)


def _trial(one: FrozenTrial, number: int) -> Trial:
    attributes = one.user_attrs
    status = _STATES.get(one.state, "open")
    run_id, why, mend = (attributes.get(name) for name in (_RUN, _WHY, _MEND))
    return Trial(one.number, number, attributes[_SETTINGS], status, run_id, why, mend)
