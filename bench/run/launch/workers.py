"""Carry out experiments with several processes, which share them (`bench.run.launch.local`).

The parent starts the workers and watches; it loads no model. It tells a worker what to do, and later what to leave
alone; where it ends, the worker does as well. A worker tells what it does (`bench.cli.worker`). Workers are processes
of this machine (`bench.run.launch.pipes`), or of the machines of a Ray cluster (`bench.run.launch.ray`).
"""

import queue
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError, MissingError
from bench.progress import Progress
from bench.run.launch.local import ExperimentOutcome
from bench.run.launch.pipes import WORKER, Hear, Message, PipedProcess, Process
from bench.run.launch.replay import Replay
from bench.run.plan import Experiment

_TRIES = 2  # workers that may die at an experiment before it is left alone
_STARTS = 2  # processes that a worker may be, one after the other, without finishing an experiment

Start = Callable[[int, Message, Hear], Process]
"""Starts the process of a worker, by its number from 1, and tells it its job."""


def here(variables: Sequence[Mapping[str, str]]) -> Start:
    """Workers that are processes of this machine, each with variables of its own."""

    def start(number: int, job: Message, hear: Hear) -> Process:
        return PipedProcess(WORKER, job, hear, variables=variables[number - 1])

    return start


class WorkerError(BenchError):
    """What a worker told of a failure, with its exit code."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told["what"], mend=told["mend"])
        self.exit_code = told["exit_code"]


@dataclass
class _Worker:
    """One place among the workers, and the process that fills it.

    Attributes:
        number: From 1.
        replay: Shows what it does.
        process: The process.
        starts: How many processes it was so far.
        tries: How many of them since it last finished an experiment, with the one that did.
        experiment: The number of the experiment that it carries out.
        waits: Whether its process has no place in the cluster yet.
        is_done: Whether its last process has ended.
    """

    number: int
    replay: Replay
    process: Process | None = None
    starts: int = 0
    tries: int = 0
    experiment: int | None = None
    waits: bool = False
    is_done: bool = False


@dataclass
class Workers:
    """Several processes that carry out the same experiments.

    Attributes:
        experiments: What to do.
        job: What a worker is told: JSON values.
        views: Where each worker's progress is shown.
        start: Starts a worker's process.
    """

    experiments: Sequence[Experiment]
    job: Message
    views: Sequence[Progress]
    start: Start
    _messages: "queue.SimpleQueue[tuple[_Worker, int, Message]]" = field(default_factory=queue.SimpleQueue)
    _outcomes: dict[int, ExperimentOutcome] = field(default_factory=dict)
    _deaths: Counter[int] = field(default_factory=Counter)
    _given_up: dict[int, str] = field(default_factory=dict)
    _error: WorkerError | None = None

    def run(self) -> list[ExperimentOutcome]:
        """One outcome an experiment.

        Raises:
            WorkerError: no worker could begin.
        """
        workers = [_Worker(number, Replay(view)) for number, view in enumerate(self.views, 1)]
        try:
            for worker in workers:
                self._begin(worker)
            while any(not worker.is_done and (self._is_work_left or not worker.waits) for worker in workers):
                self._hear(*self._messages.get(), workers)
        except BaseException:
            self._stop(workers)
            raise
        if self._error and not self._outcomes:
            raise self._error
        return [self._outcomes.get(number) or self._lost(number) for number in range(len(self.experiments))]

    @property
    def _is_work_left(self) -> bool:
        return len(self._outcomes.keys() | self._given_up.keys()) < len(self.experiments)

    def _lost(self, number: int) -> ExperimentOutcome:
        """An experiment of which no worker told what became of it."""
        what = self._given_up.get(number, "all workers have ended before it was done")
        died = MissingError(what, mend="the same command goes on; fewer --workers need less memory")
        return ExperimentOutcome(self.experiments[number], error=self._error or died)

    # --- processes ----------------------------------------------------------------------------------------------

    def _begin(self, worker: _Worker) -> None:
        """Start a process in a worker's place."""
        worker.starts, worker.tries = worker.starts + 1, worker.tries + 1
        worker.experiment, worker.is_done = None, False
        start, job = worker.starts, self.job | {"given_up": {str(n): why for n, why in self._given_up.items()}}
        worker.process = self.start(worker.number, job, lambda said: self._messages.put((worker, start, said)))

    @staticmethod
    def _stop(workers: Sequence[_Worker]) -> None:
        """Let all workers write down what they have, and end; a second signal ends this process, and so them."""
        running = [(worker, worker.process) for worker in workers if worker.process]
        for _, process in running:
            process.tell({"stop": True})
        for worker, process in running:
            process.wait()
            worker.replay.close()

    # --- what they say ------------------------------------------------------------------------------------------

    def _hear(self, worker: _Worker, start: int, message: Message, workers: Sequence[_Worker]) -> None:
        if start != worker.starts:
            return
        if "ended" in message:
            self._ended(worker, message["ended"], workers)
        elif "begins" in message:
            worker.experiment = message["begins"]
        elif "outcome" in message:
            worker.experiment = None
            worker.tries = worker.tries if message["reused"] or message["failure"] else 1
            self._outcome(message)
        elif "waits" in message:
            worker.waits = message["waits"]
        elif "error" in message:
            self._error = self._error or WorkerError(message["error"])
        else:
            worker.replay.show(message)

    def _outcome(self, message: Message) -> None:
        """Keep the best that a worker knows of an experiment: its record, else why it failed, from who saw it fail."""
        number, failure = message["outcome"], message["failure"]
        known = self._outcomes.get(number)
        if (known and known.folder) or (message["elsewhere"] and (known or number in self._given_up)):
            return
        self._outcomes[number] = ExperimentOutcome(
            self.experiments[number],
            None if failure else Path(message["folder"]),
            bool(message["reused"]),
            WorkerError(failure) if failure else None,
        )
        if failure:
            self._given_up.setdefault(number, failure["what"])

    def _ended(self, worker: _Worker, how: str | None, workers: Sequence[_Worker]) -> None:
        worker.replay.close()
        worker.is_done = True
        if how is None or self._error:
            return
        if worker.experiment is not None:
            self._died_at(worker.experiment, how, workers)
        if worker.tries < _STARTS and self._is_work_left:
            worker.replay.note(f"ended ({how}); another process takes its place")
            self._begin(worker)
        else:
            worker.replay.note(f"ended ({how})")

    def _died_at(self, number: int, how: str, workers: Sequence[_Worker]) -> None:
        """Count who has died at an experiment; after the second, nobody tries it."""
        self._deaths[number] += 1
        if self._deaths[number] == _TRIES and number not in self._outcomes:
            self._given_up[number] = f"{_TRIES} workers have ended while they carried it out ({how})"
            for other in workers:
                if other.process:
                    other.process.tell({"give_up": number, "why": self._given_up[number]})
