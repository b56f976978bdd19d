"""`--workers N` and `--on ray`: the same experiments by several processes, in one view."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.cli.run import Place, Spread
    from bench.run.launch.local import ExperimentOutcome
    from bench.run.launch.pipes import Message
    from bench.run.launch.ray import Share
    from bench.run.plan import Experiment, Request


def carry_out_with(
    request: "Request", experiments: "Sequence[Experiment]", place: "Place", spread: "Spread"
) -> "list[ExperimentOutcome]":
    """Carry out experiments with as many workers as `spread` says.

    Raises:
        UsageError: a launcher has started this process with others; there is no such place to run.
    """
    from bench.engine.processes import processes
    from bench.errors import UsageError

    if processes() > 1:
        flag = f"--on {spread.on}" if spread.on is not None else f"--workers {spread.workers}"
        what = f"{flag} starts processes of its own, and a launcher has started {processes()}"
        mend = f"leave out {flag.partition(' ')[0]}, or the launcher (torchrun, accelerate launch)"
        raise UsageError(what, mend=mend)
    if spread.on is not None and spread.device.startswith("cuda:"):
        raise UsageError(f"--device {spread.device}: Ray chooses each worker's GPU", mend="leave out --device")
    by = _here if spread.on is None else _by_ray
    return by(request, experiments, place, spread)


def _here(
    request: "Request", experiments: "Sequence[Experiment]", place: "Place", spread: "Spread"
) -> "list[ExperimentOutcome]":
    """By processes of this machine."""
    from bench.cli.views import worker_views  # rich is slow to load
    from bench.run.launch.workers import Workers, here

    count = spread.workers or 1
    threads, gpus = max(1, (_said_threads() or _cores()) // count), _gpus()
    start = here([_variables(number, threads, gpus) | _sharing(count, gpus) for number in range(count)])
    with worker_views(count) as (views, note):
        note(_told(count, len(experiments), threads, gpus))
        return Workers(experiments, _job(request, place), views, start).run()


def _by_ray(
    request: "Request", experiments: "Sequence[Experiment]", place: "Place", spread: "Spread"
) -> "list[ExperimentOutcome]":
    """By workers in a Ray cluster."""
    from bench.assets.catalogue import default_cache
    from bench.cli.common import console_progress
    from bench.cli.views import worker_views
    from bench.run.launch.ray import joined
    from bench.run.launch.workers import Workers

    address = _address(str(spread.on))
    cache, runs = (place.cache_dir or default_cache()).absolute(), place.runs_dir.absolute()
    place = place._replace(cache_dir=cache, runs_dir=runs)
    console_progress().note(f"joining the Ray cluster at {address} …" if address else "starting Ray on this machine …")
    with (
        joined(
            address,
            [runs, cache],
            len(experiments),
            workers=spread.workers,
            gpus=0 if spread.device == "cpu" else spread.worker_gpus,
            threads=_said_threads(),
        ) as (start, share),
        worker_views(share.workers) as (views, note),
    ):
        note(_told_of(share, len(experiments)))
        return Workers(experiments, _job(request, place), views, start).run()


def _address(on: str) -> str | None:
    """Where the cluster is, by what --on says; None for one that is to be started here.

    Raises:
        UsageError: it says something else.
    """
    from bench.errors import UsageError

    kind, _, address = on.partition(":")
    if kind != "ray":
        raise UsageError(f"--on {on} is not known", mend="say --on ray, --on ray:auto or --on ray:HOST:PORT")
    return address or os.environ.get("RAY_ADDRESS") or None


def _job(request: "Request", place: "Place") -> "Message":
    """What a worker is told first."""
    from bench.engine.patience import PATIENCE

    folders = {"cache_dir": place.cache_dir and str(place.cache_dir), "runs_dir": str(place.runs_dir)}
    return {
        "request": asdict(request),
        "place": place._asdict() | folders,
        "patience": PATIENCE.seconds,
        "since": time.time_ns(),
    }


def _told(count: int, experiments: int, threads: int, gpus: Sequence[str]) -> str:
    """How what the machine has is divided, in one line."""
    each = f"{threads} thread{'s' if threads > 1 else ''} each"
    if gpus:
        shared = count > len(gpus)
        each += f", {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" + (" shared: each loads the model" if shared else "")
    some = f"{count} worker{'s' if count > 1 else ''} for {experiments} experiment{'s' if experiments > 1 else ''}"
    return f"{some}, {each}"


def _told_of(share: "Share", experiments: int) -> str:
    """What workers take of the cluster, in one line."""
    line = _told(share.workers, experiments, share.threads, ())
    if share.gpus:
        line += f", {share.gpus:g} GPU{'s' if share.gpus > 1 else ''} each{f' ({share.kind})' if share.kind else ''}"
    if share.left_out:
        line += f"; {share.left_out} GPUs of other types are left out: one request is measured on one type"
    return line


def _said_threads() -> int | None:
    """The threads of a process that the user has said."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(said)) if said.isdecimal() else None


def _cores() -> int:
    """As many cores as this process may use."""
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
