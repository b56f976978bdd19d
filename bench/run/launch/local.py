"""Carry out experiments one after another in this process, sharing them with other processes of the same request.

Under `accelerate launch`, all of its processes train.
"""

import contextlib
import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engine.processes import go_on_alone, is_main, processes
from bench.errors import BenchError, ForeignExitError, MissingError
from bench.progress import note_once
from bench.run.environment import Environment
from bench.run.plan import Experiment
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


def run_experiments(
    experiments: Sequence[Experiment], env: Environment, runs: Path, *, fresh: bool = False
) -> list[ExperimentOutcome]:
    """Carry out all experiments; one that fails does not keep the others from running.

    Other processes that do the same, here or on machines that share the folders, do their part: each takes what nobody
    holds, and waits at the end for what others do. What one of them fails at since this one began, no other tries.

    Args:
        experiments: What to do; all of one suite.
        env: What they share.
        runs: The folder of records.
        fresh: Reuse nothing.

    Returns:
        One outcome an experiment, in their order; none in the processes that only helped to train.

    Raises:
        BenchError: something that an experiment reads is missing or not valid; no experiment has been begun then.
    """
    # What to drop is the first process's to say: the others would drop what it has just made.
    runners = [Runner(experiment, env, runs, fresh and is_main()) for experiment in experiments]
    for runner in runners:
        runner.check()
    if processes() > 1:
        _prepare_together(runners)
    if not is_main():
        return []
    outcomes: dict[int, ExperimentOutcome] = {}
    while len(outcomes) < len(runners):
        left = {number: runner for number, runner in enumerate(runners) if number not in outcomes}
        number, outcome = _next(left, len(runners), env)
        outcomes[number] = outcome
    return [outcome for _, outcome in sorted(outcomes.items())]


def _next(left: Mapping[int, Runner], total: int, env: Environment) -> tuple[int, ExperimentOutcome]:
    """Carry out the first experiment that no other process holds, or wait for one that another has ended."""
    waits = pauses(*_PAUSES)
    while True:
        for number, runner in left.items():
            if not runner.is_held and (outcome := _run(runner, f"[{number + 1}/{total}]", env)):
                return number, outcome
        note_once(env.progress, f"other processes work on what is left ({len(left)} of {total}): waiting for them")
        time.sleep(next(waits))


def _run(runner: Runner, place: str, env: Environment) -> ExperimentOutcome | None:
    """What becomes of an experiment; None where another process took it, or what it needs, first."""
    name = f"{place} {runner.experiment.label}, seed {runner.experiment.seed}"
    try:
        if why := runner.failure:
            env.progress.note(f"{name}: another process failed at it")
            raise MissingError(f"another process failed at it: {why}", mend="the same command tries it again")
        reused = runner.done
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


def _prepare_together(runners: Sequence[Runner]) -> None:
    """Make every artifact with all processes; then the process group ends, and the first process measures alone."""
    import accelerate
    import torch

    state = accelerate.PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    try:
        for runner in runners:
            # What one process fails at, all do; the first one meets it again, and reports it, when it runs it.
            with contextlib.suppress(BenchError):
                runner.prepare_with(state)
        state.wait_for_everyone()
    finally:
        state.destroy_process_group()
        go_on_alone()
