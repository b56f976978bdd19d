"""Carry out experiments one after another on this machine; under `accelerate launch`, train with all its processes."""

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engine.processes import go_on_alone, is_main, processes
from bench.errors import BenchError, ForeignExitError
from bench.run.environment import Environment
from bench.run.plan import Experiment
from bench.run.runner import Runner

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

    Args:
        experiments: What to do; all of one suite.
        env: What they share.
        runs: The folder of records.
        fresh: Reuse nothing.

    Returns:
        One outcome an experiment; none in the processes that only helped to train.

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
    outcomes = []
    for number, runner in enumerate(runners, 1):
        outcomes.append(_run(runner, f"[{number}/{len(runners)}]", env))
    return outcomes


def _run(runner: Runner, place: str, env: Environment) -> ExperimentOutcome:
    name = f"{place} {runner.experiment.label}, seed {runner.experiment.seed}"
    try:
        reused = runner.done
        env.progress.note(f"{name}: {'found ' if reused else ''}{runner.run_id}")
        return ExperimentOutcome(runner.experiment, runner.run(), reused)
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
