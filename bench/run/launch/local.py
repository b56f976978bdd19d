"""Carry out experiments one after another in this process, sharing them with other processes of the same request.

Under `accelerate launch`, all of its processes train.
"""

import contextlib
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.engine.processes import go_on_alone, is_main, processes
from bench.errors import BenchError, ForeignExitError, MissingError
from bench.progress import note_once
from bench.run.environment import Environment
from bench.run.plan import Experiment
from bench.run.preparation import share_trainings
from bench.run.runner import Runner
from bench.store.lease import LostError
from bench.store.lock import HeldError, pauses

_PAUSES = 0.2, 5.0  # seconds between two looks at what other processes hold: the first, and the longest
_PATIENCE = datetime.timedelta(days=7)  # workers wait while the first makes sets or artifacts of other methods


@dataclass(frozen=True)
class ExperimentOutcome:
    """What became of an experiment.

    Attributes:
        experiment: The experiment.
        folder: Its record, or None where it failed.
        reused: Whether the record was there already.
        error: Why it failed, or None.
    """

    experiment: Experiment
    folder: Path | None = None
    reused: bool = False
    error: Exception | None = None


class FailedElsewhereError(MissingError):
    """Another process has failed at an experiment."""

    def __init__(self, why: str) -> None:
        super().__init__(f"another process failed at it: {why}", mend="the same command tries it again")


@dataclass(frozen=True)
class Sharing:
    """What whoever started several processes is told by each, and tells it.

    Attributes:
        begins: Called with the number of the experiment that is about to be carried out or helped with, from 0; with
            None where help has ended.
        ended: Called with what became of it, whoever did it.
        given_up: Why an experiment is not to be tried, by its number. It may grow while the work goes on.
    """

    begins: Callable[[int | None], None] = lambda number: None
    ended: Callable[[int, ExperimentOutcome], None] = lambda number, outcome: None
    given_up: dict[int, str] = field(default_factory=dict)


def run_experiments(
    experiments: Sequence[Experiment],
    env: Environment,
    runs: Path,
    *,
    fresh: bool = False,
    sharing: Sharing | None = None,
) -> list[ExperimentOutcome]:
    """Carry out all experiments; one that fails does not keep the others from running.

    Other processes that do the same, here or on machines that share the folders, do their part: each takes what nobody
    holds, and waits at the end for what others do. What one of them fails at since this one began, no other tries.

    Args:
        experiments: What to do; all of one suite.
        env: What they share.
        runs: The folder of records.
        fresh: Reuse nothing.
        sharing: Who started this process with others, if anybody.

    Returns:
        One outcome an experiment, in their order; none in the processes that only helped to train.

    Raises:
        BenchError: something that an experiment reads is missing or not valid; no experiment has been begun then.
    """
    # What to drop is the first process's to say: the others would drop what it has just made.
    runners = [Runner(experiment, env, runs, fresh and is_main()) for experiment in experiments]
    for runner in runners:
        runner.check()
    share_trainings([runner.preparation for runner in runners])
    if processes() > 1:
        _prepare_together(runners)
    if not is_main():
        return []
    outcomes: dict[int, ExperimentOutcome] = {}
    while len(outcomes) < len(runners):
        left = {number: runner for number, runner in enumerate(runners) if number not in outcomes}
        number, outcome = _next(left, len(runners), env, sharing or Sharing())
        outcomes[number] = outcome
    return [outcome for _, outcome in sorted(outcomes.items())]


def _next(left: Mapping[int, Runner], total: int, env: Environment, sharing: Sharing) -> tuple[int, ExperimentOutcome]:
    """Carry out the first experiment that no other process holds, or wait for one that another has ended."""
    waits = pauses(*_PAUSES)
    while True:
        for number, runner in left.items():
            if runner.is_held:
                continue
            if outcome := _run(runner, number, total, sharing):
                sharing.ended(number, outcome)
                return number, outcome
        if any(_help(number, left, total, sharing) for number in left):
            waits = pauses(*_PAUSES)
            continue
        note_once(env.progress, f"other processes work on what is left ({len(left)} of {total}): waiting for them")
        time.sleep(next(waits))


def _run(runner: Runner, number: int, total: int, sharing: Sharing) -> ExperimentOutcome | None:
    """What becomes of an experiment; None where another process took it, or what it needs, first."""
    name = f"[{number + 1}/{total}] {runner.experiment.label}, seed {runner.experiment.seed}"
    env = runner.env
    try:
        reused = runner.done
        if not reused and (why := sharing.given_up.get(number) or runner.failure):
            env.progress.note(f"{name}: another process failed at it")
            return ExperimentOutcome(runner.experiment, error=FailedElsewhereError(why))
        if not reused:
            sharing.begins(number)
        env.progress.note(f"{name}: {'found ' if reused else ''}{runner.run_id}")
        return ExperimentOutcome(runner.experiment, runner.run(wait=False), reused)
    except HeldError:
        return None
    except LostError as error:
        env.progress.note(f"{name}: {error.what}")
        return None
    except (Exception, SystemExit) as error:
        env.progress.note(f"{name} failed: {type(error).__name__}")
        cause = ForeignExitError(error) if isinstance(error, SystemExit) else error
        return ExperimentOutcome(runner.experiment, error=cause)


def _help(number: int, left: Mapping[int, Runner], total: int, sharing: Sharing) -> bool:
    """Help another process with an experiment, where it shares what it does; return whether that was so."""

    def wants_help(number: int) -> bool:
        return number not in sharing.given_up and left[number].wants_help

    def is_idle() -> bool:
        """Whether no experiment can be begun, and no other wants help."""
        return number not in sharing.given_up and all(
            one.is_held and (other == number or not wants_help(other)) for other, one in left.items()
        )

    if not wants_help(number):
        return False
    runner = left[number]
    experiment = runner.experiment
    runner.env.progress.note(f"[{number + 1}/{total}] {experiment.label}, seed {experiment.seed}: helps")
    sharing.begins(number)
    try:
        return runner.help(is_idle)
    except LostError:  # the owner did not wait for a part
        return True
    except (Exception, SystemExit):  # the owner meets it, too, and says what it is
        runner.can_help = False
        return False
    finally:
        sharing.begins(None)


def _prepare_together(runners: Sequence[Runner]) -> None:
    """Make every artifact with all processes; then the process group ends, and the first process measures alone."""
    import accelerate
    import torch

    state = accelerate.PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    try:
        for runner in runners:
            # What one process fails at, all do; the first one meets it again, and reports it, when it runs it.
            with contextlib.suppress(BenchError):
                runner.preparation.prepare_with(state)
        state.wait_for_everyone()
    finally:
        state.destroy_process_group()
        go_on_alone()
