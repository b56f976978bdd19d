"""Carry out experiments with several processes of this machine, which share them (`bench.run.launch.local`).

The parent starts the workers and watches; it loads no model. It tells a worker what to do in a line of JSON on the
worker's stdin, and later what to leave alone; where stdin ends, the parent has, and the worker ends as well. A worker
tells in lines of JSON on its stdout what it does (`bench.cli.worker`); what it says on stderr is passed on.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from bench.errors import BenchError, MissingError
from bench.progress import Progress
from bench.run.launch.local import ExperimentOutcome
from bench.run.launch.replay import Replay
from bench.run.plan import Experiment

_COMMAND = (sys.executable, "-P", "-m", "bench.cli.worker")  # -P: no module is taken from the current folder
_TRIES = 2  # workers that may die at an experiment before it is left alone
_STARTS = 2  # processes that a worker may be, one after the other

Message = dict[str, Any]


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
        process: The process.
        replay: Shows what it does.
        starts: How many processes it was so far.
        experiment: The number of the experiment that it carries out.
    """

    number: int
    process: "subprocess.Popen[str]"
    replay: Replay
    starts: int = 1
    experiment: int | None = None
    is_done: bool = False


@dataclass
class Workers:
    """Several processes that carry out the same experiments.

    Attributes:
        experiments: What to do.
        job: What a worker is told: JSON values.
        views: Where each worker's progress is shown.
        variables: Of each worker's environment.
    """

    experiments: Sequence[Experiment]
    job: Message
    views: Sequence[Progress]
    variables: Sequence[Mapping[str, str]]
    _messages: "queue.SimpleQueue[tuple[_Worker, int, Message | None]]" = field(default_factory=queue.SimpleQueue)
    _outcomes: dict[int, ExperimentOutcome] = field(default_factory=dict)
    _deaths: Counter[int] = field(default_factory=Counter)
    _given_up: dict[int, str] = field(default_factory=dict)
    _error: WorkerError | None = None

    def run(self) -> list[ExperimentOutcome]:
        """One outcome an experiment.

        Raises:
            WorkerError: no worker could begin.
        """
        workers = [_Worker(number, self._start(number), Replay(view)) for number, view in enumerate(self.views, 1)]
        for worker in workers:
            self._listen(worker)
        try:
            while any(not worker.is_done for worker in workers):
                self._hear(*self._messages.get(), workers)
        except BaseException:
            self._stop(workers)
            raise
        if self._error and not self._outcomes:
            raise self._error
        return [self._outcomes.get(number) or self._lost(number) for number in range(len(self.experiments))]

    def _lost(self, number: int) -> ExperimentOutcome:
        """An experiment of which no worker told what became of it."""
        what = self._given_up.get(number, "all workers have ended before it was done")
        died = MissingError(what, mend="the same command goes on; fewer --workers need less memory")
        return ExperimentOutcome(self.experiments[number], error=self._error or died)

    # --- processes ----------------------------------------------------------------------------------------------

    def _start(self, number: int) -> "subprocess.Popen[str]":
        process = subprocess.Popen(  # noqa: S603
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, **self.variables[number - 1]},
            start_new_session=True,  # Ctrl-C comes to the parent alone, who tells them
        )
        self._tell(process, self.job | {"given_up": {str(n): why for n, why in self._given_up.items()}})
        return process

    def _listen(self, worker: _Worker) -> None:
        """Put what the worker's process says into the queue, and None when it has ended."""
        process, start = worker.process, worker.starts

        def heard(stream: IO[str], read: Callable[[str], Message]) -> None:
            for line in stream:
                self._messages.put((worker, start, read(line)))

        def note(line: str) -> Message:
            return {"note": line.rstrip("\n")} if line.strip() else {}

        def message(line: str) -> Message:
            with contextlib.suppress(ValueError):
                if isinstance(told := json.loads(line), dict):
                    return told
            return note(line)

        def listen() -> None:
            beside = threading.Thread(target=heard, args=(process.stderr, note), daemon=True)
            beside.start()
            heard(cast("IO[str]", process.stdout), message)
            beside.join()
            process.wait()
            self._messages.put((worker, start, None))

        threading.Thread(target=listen, name=f"bench-worker-{worker.number}", daemon=True).start()

    @staticmethod
    def _tell(process: "subprocess.Popen[str]", message: Message) -> None:
        stdin = cast("IO[str]", process.stdin)
        with contextlib.suppress(OSError):  # it has ended
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()

    def _stop(self, workers: Sequence[_Worker]) -> None:
        """Let all workers write down what they have, and end; a second signal ends this process, and so them."""
        for worker in workers:
            self._tell(worker.process, {"stop": True})
        for worker in workers:
            worker.process.wait()
            worker.replay.close()

    # --- what they say ------------------------------------------------------------------------------------------

    def _hear(self, worker: _Worker, start: int, message: Message | None, workers: Sequence[_Worker]) -> None:
        if start != worker.starts:
            return
        if message is None:
            self._ended(worker, workers)
        elif "begins" in message:
            worker.experiment = message["begins"]
        elif "outcome" in message:
            worker.experiment = None
            self._outcome(message)
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

    def _ended(self, worker: _Worker, workers: Sequence[_Worker]) -> None:
        worker.replay.close()
        code = worker.process.returncode
        worker.is_done = True
        if code == 0 or self._error:
            return
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if worker.experiment is not None:
            self._died_at(worker.experiment, how, workers)
        if worker.starts < _STARTS and len(self._outcomes.keys() | self._given_up.keys()) < len(self.experiments):
            worker.replay.note(f"ended ({how}); another process takes its place")
            worker.process, worker.experiment = self._start(worker.number), None
            worker.starts, worker.is_done = worker.starts + 1, False
            self._listen(worker)
        else:
            worker.replay.note(f"ended ({how})")

    def _died_at(self, number: int, how: str, workers: Sequence[_Worker]) -> None:
        """Count who has died at an experiment; after the second, nobody tries it."""
        self._deaths[number] += 1
        if self._deaths[number] == _TRIES and number not in self._outcomes:
            self._given_up[number] = f"{_TRIES} workers have ended while they carried it out ({how})"
            for other in workers:
                self._tell(other.process, {"give_up": number, "why": self._given_up[number]})
