"""`--workers N`: the same experiments by several processes of this machine, in one view."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.cli.run import Place
    from bench.run.launch.local import ExperimentOutcome
    from bench.run.plan import Experiment, Request


def carry_out_with(
    request: "Request", experiments: "Sequence[Experiment]", place: "Place"
) -> "list[ExperimentOutcome]":
    """Carry out experiments with as many worker processes as `place` says, and no more than there are experiments.

    Raises:
        UsageError: a launcher has started this process with others.
    """
    from bench.cli.views import worker_views  # rich is slow to load
    from bench.engine.patience import PATIENCE
    from bench.engine.processes import processes
    from bench.errors import UsageError
    from bench.run.launch.workers import Workers

    if processes() > 1:
        what = f"--workers {place.workers} starts processes of its own, and a launcher has started {processes()}"
        raise UsageError(what, mend="leave out --workers, or the launcher (torchrun, accelerate launch)")
    count = min(place.workers, len(experiments))
    threads, gpus = max(1, _threads() // count), _gpus()
    folders = {"cache_dir": place.cache_dir and str(place.cache_dir), "runs_dir": str(place.runs_dir)}
    job: dict[str, Any] = {
        "request": asdict(request),
        "place": place._asdict() | folders,
        "patience": PATIENCE.seconds,
        "since": time.time_ns(),
    }
    with worker_views(count) as (views, note):
        note(_told(count, len(experiments), threads, gpus))
        variables = [_variables(number, threads, gpus) | _sharing(count, gpus) for number in range(count)]
        return Workers(experiments, job, views, variables).run()


def _told(count: int, experiments: int, threads: int, gpus: Sequence[str]) -> str:
    """How what the machine has is divided, in one line."""
    each = f"{threads} thread{'s' if threads > 1 else ''} each"
    if gpus:
        shared = count > len(gpus)
        each += f", {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" + (" shared: each loads the model" if shared else "")
    return f"{count} workers for {experiments} experiments, {each}"


def _threads() -> int:
    """The threads that one process would take: what the user says, else as many as it may use cores."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal():
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """The GPUs that this process sees, by the names that `CUDA_VISIBLE_DEVICES` takes."""
    import torch

    count = torch.cuda.device_count()
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    return said.split(",")[:count] if said else [str(number) for number in range(count)]


def _variables(number: int, threads: int, gpus: Sequence[str]) -> dict[str, str]:
    """What the environment of a worker says, by its number from 0: the GPUs are dealt out in turn."""
    own = {"OMP_NUM_THREADS": str(threads)}
    return own | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {})


def _sharing(count: int, gpus: Sequence[str]) -> dict[str, str]:
    """How many workers share a GPU, where some do: all then cut batches for their share, and so the same."""
    from bench.engine.processes import GPU_SHARERS

    return {GPU_SHARERS: str(-(-count // len(gpus)))} if count > len(gpus) > 0 else {}
