"""Workers on the machines of a Ray cluster, or on this machine by Ray (extra `ray`).

A long-lived actor for each worker, on the GPUs and cores that it asks for, starts a process like those of `--workers`
(`bench.run.launch.relay`); so the machines share the work by leases in the folders of records and of the cache, which
all of them see. Ray itself runs in a process beside this one (`bench.run.launch.ray_driver`).
"""

import itertools
import math
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.engine.processes import GPU_SHARERS
from bench.errors import MissingError
from bench.run.launch.pipes import Hear, Message, PipedProcess
from bench.run.launch.relay import code
from bench.run.launch.workers import Start, WorkerError
from bench.store.temporary import beside

_DRIVER = (sys.executable, "-P", "-m", "bench.run.launch.ray_driver")
_ANSWER_SECONDS = 120.0  # in which a cluster must have answered, or be started
_END_SECONDS = 20.0  # in which Ray must have ended
_LOST = {
    "what": "the connection to the Ray cluster was lost",
    "mend": "the same command goes on; 'ray status' on a machine of the cluster says whether it is there",
    "exit_code": 3,
}


@dataclass(frozen=True)
class Share:
    """What each worker takes of a cluster.

    Attributes:
        workers: How many there are at once.
        threads: Cores, and threads that a worker computes with.
        gpus: GPUs, or a part of one.
        kind: The type of GPU, where the cluster's machines name any.
        left_out: GPUs of other types: all that one request measures is measured on one.
    """

    workers: int
    threads: int
    gpus: float
    kind: str | None = None
    left_out: int = 0

    @property
    def place(self) -> Message:
        """What an actor asks Ray for."""
        kind = {"accelerator_type": self.kind} if self.kind else {}
        return {"num_cpus": self.threads, "num_gpus": self.gpus, **kind}


def share_out(
    machines: Sequence[Message], experiments: int, workers: int | None, gpus: float | None, threads: int | None
) -> Share:
    """What each worker takes.

    Args:
        machines: What the cluster has.
        experiments: How many experiments there are.
        workers: How many are asked for; None for as many as there is room for, on processors no more than experiments.
        gpus: GPUs of each; None for one where the cluster has any.
        threads: Cores of each; None for an equal share of a machine's.

    Raises:
        MissingError: the cluster has no GPU, or no machine has room for a worker.
    """
    kinds: Counter[str | None] = Counter()
    for one in machines:
        if one["gpus"]:
            kinds[one["kind"]] += int(one["gpus"])
    wanted = gpus if gpus is not None else float(bool(kinds))
    if wanted and not kinds:
        raise MissingError("the Ray cluster has no GPU", mend="--worker-gpus 0 measures on processors")
    kind = max(kinds, key=lambda one: (kinds[one], one or "")) if wanted else None
    able = [one for one in machines if not wanted or (one["gpus"] >= min(wanted, 1) and one["kind"] == kind)]
    if wanted:
        places = [_rooms(one["gpus"], wanted) for one in able]
    else:
        places = [int(one["cpus"] // (threads or 1)) for one in able]
    room = sum(places)
    if not room:
        asked = f"{wanted:g} GPUs" if wanted else f"{threads or 1} cores (OMP_NUM_THREADS)"
        raise MissingError(f"no machine of the Ray cluster has {asked} for a worker", mend="let a worker have fewer")
    count = workers or (room if wanted else min(room, experiments))
    # Workers fill the machines in turn: as many on each as there would be if all were alike.
    fullest = min(max(places), math.ceil(count / len([one for one in places if one])))
    most = min(one["cpus"] for one, rooms in zip(able, places, strict=True) if rooms)
    each = threads or max(1, int(most // fullest))
    return Share(count, each, wanted, kind, sum(kinds.values()) - kinds[kind] if wanted else 0)


def _rooms(has: float, wanted: float) -> int:
    """Workers that find room: a part of a GPU is a part of one, never of two."""
    return int(has) * int(1 / wanted + 1e-9) if wanted < 1 else int(has // wanted)


class RayCluster:
    """A cluster that workers are started in, by a process beside this one."""

    def __init__(self, address: str | None) -> None:
        """Begin to join it, or to start it (see `joined`)."""
        self._first: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._hearing: dict[int, tuple[Hear, threading.Event]] = {}
        self._is_lost = False
        self._lock = threading.Lock()
        quiet = {"RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0")}
        root = Path("/")  # Ray adds this folder to the modules of its workers
        self._driver = PipedProcess(_DRIVER, {"address": address}, self._heard, variables=quiet, folder=root)

    def machines(self) -> list[Message]:
        """What each machine has; waits until the cluster has answered.

        Raises:
            WorkerError: no cluster is there.
            MissingError: Ray cannot be started, or does not answer.
        """
        try:
            told = self._first.get(timeout=_ANSWER_SECONDS)
        except queue.Empty:
            told = {"ended": f"no answer in {_ANSWER_SECONDS:.0f} seconds"}
        if "error" in told:
            raise WorkerError(told["error"])
        if "machines" not in told:
            mend = "--on ray alone starts Ray on this machine, and 'ray start --head' says why it cannot"
            raise MissingError(f"Ray could not be started or joined ({told['ended']})", mend=mend)
        return list(told["machines"])

    def start(self, home: Message, place: Message, job: Message, hear: Hear) -> "RayProcess":
        """Start the process of a worker somewhere in the cluster.

        Args:
            home: Where it works (`bench.run.launch.relay.Home`).
            place: What it asks Ray for.
            job: What it is told first.
            hear: Is given what it says.
        """
        with self._lock:
            number, ended = next(self._numbers), threading.Event()
            self._hearing[number] = hear, ended
            if self._is_lost:
                self._end(number)
        self._driver.tell({"start": number, "home": home, "place": place, "job": job})
        return RayProcess(self._driver, number, ended)

    def leave(self, patience: float) -> None:
        """End what is left of it, within so many seconds."""
        self._driver.end(patience)

    def _heard(self, message: Message) -> None:
        """Pass on what the driver says of a worker; where the driver has ended, so have they all."""
        if "worker" in message:
            hear, ended = self._hearing[message["worker"]]
            hear(message["message"])
            if "ended" in message["message"]:
                del self._hearing[message["worker"]]
                ended.set()
        elif "ended" in message:
            self._first.put(message)
            with self._lock:
                self._is_lost = True
                for number in list(self._hearing):
                    self._end(number)
        elif message and "note" not in message:  # what Ray says on stderr is a note, or a blank line
            self._first.put(message)

    def _end(self, number: int) -> None:
        hear, ended = self._hearing.pop(number)
        hear({"error": _LOST})
        hear({"ended": "the cluster was lost"})
        ended.set()


@dataclass(frozen=True)
class RayProcess:
    """A worker's process in the cluster."""

    driver: PipedProcess
    number: int
    ended: threading.Event

    def tell(self, message: Message) -> None:
        """Tell it something."""
        self.driver.tell({"worker": self.number, "message": message})

    def wait(self) -> None:
        """Wait until it has ended."""
        self.ended.wait()


@contextmanager
def joined(
    address: str | None,
    folders: Sequence[Path],
    experiments: int,
    *,
    workers: int | None,
    gpus: float | None,
    threads: int | None,
) -> Iterator[tuple[Start, Share]]:
    """What starts workers in a cluster, and what each of them takes of it.

    Args:
        address: HOST:PORT of a cluster, or `auto` for the one that this machine is in; None to start one here.
        folders: Of records and of the cache: every machine must see them.
        experiments: See `share_out`, as `workers`, `gpus` and `threads`.
        workers: See there.
        gpus: See there.
        threads: See there.

    Raises:
        MissingError: Ray is not installed; what is asked for is not in the cluster.
        WorkerError: no cluster is there.
    """
    try:
        version("ray")
    except PackageNotFoundError:
        raise MissingError("--on ray needs ray", mend="pip install 'contrastive-bench[ray]'") from None
    with ExitStack() as held:
        seen = [held.enter_context(_seen_in(folder)) for folder in folders]
        cluster = RayCluster(address)
        try:
            machines = cluster.machines()
        except BaseException:
            cluster.leave(0)  # it may be busy with Ray, and hear nobody
            raise
        held.callback(cluster.leave, _END_SECONDS)
        share = share_out(machines, experiments, workers, gpus, threads)
        home = {"folder": str(Path.cwd()), "shared": seen, "code": code(), "variables": _variables(share)}
        yield lambda _, job, hear: cluster.start(home, share.place, job, hear), share


def _variables(share: Share) -> dict[str, str]:
    """The environment of a worker: what is said to us and to the model hub, and its threads."""
    said = {name: value for name, value in os.environ.items() if name.startswith(("BENCH_", "HF_"))}
    own = {"OMP_NUM_THREADS": str(share.threads)}  # Ray shows a worker its GPUs
    if 0 < share.gpus < 1:
        own[GPU_SHARERS] = str(_rooms(1, share.gpus))
    return said | own | ({} if share.gpus else {"CUDA_VISIBLE_DEVICES": ""})


@contextmanager
def _seen_in(folder: Path) -> Iterator[str]:
    """A file in a folder, by which other machines know it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = beside(folder.resolve() / "ray")
    path.touch()
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)
