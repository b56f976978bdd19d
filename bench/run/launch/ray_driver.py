"""The driver of a Ray cluster: `python -m bench.run.launch.ray_driver`, started by `bench.run.launch.ray`.

Ray has a process of its own because it takes signals over, writes to stderr as it likes, and ends its process where the
cluster is lost. It is told and tells in messages (`bench.run.launch.pipes`):

    told:  {"address": ...}                                first: where the cluster is
           {"start": NUMBER, "home": {...}, "place": {...}, "job": {...}}
                                                           start a worker
           {"worker": NUMBER, "message": {...}}              tell it something
    tells: {"machines": [{"cpus", "gpus", "kind"}, ...]}     first: what the cluster has
           {"worker": NUMBER, "message": {...}}              what a worker says
           {"error": {...}}                                  why there is no cluster
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address

from bench.errors import BenchError, MissingError, UsageError
from bench.run.launch.pipes import Message, Telling, failure
from bench.run.launch.relay import Home, Relay

_SAID = 300  # characters of what Ray says that a message repeats
_REACH_SECONDS = 10.0  # in which a cluster's port must open
_PLACE_SECONDS = 5.0  # after which a worker is said to wait for a place
_END_SECONDS = 20.0  # in which workers that are told to stop must have ended
_KILL_SECONDS = 5.0  # in which those that are killed then must have
_THREADS = 3  # of an actor: one hears, one tells, one is spare


def connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        UsageError: the address is not one.
        MissingError: no cluster is there.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
        return
    try:
        if address == "auto":
            address = os.environ.get("RAY_ADDRESS") or address
        if address == "auto":  # what a cluster that is gone has left may still name it
            address = str(canonicalize_bootstrap_address(address))
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or "/" in host:
            mend = "write --on ray:HOST:PORT, or --on ray:auto on a machine of the cluster"
            raise UsageError(f"'{address}' is no address of a Ray cluster", mend=mend)
        socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        ray.init(address=address, **quiet)
    except (OSError, OverflowError) as error:
        mend = (
            "start one ('ray start --head') and give --on ray: the address that it prints; where it asks for a token, "
            "set RAY_AUTH_MODE=token"
        )
        raise MissingError(f"no Ray cluster answers at {address} ({type(error).__name__})", mend=mend) from error
    except RuntimeError as error:  # other versions of Ray or Python there
        what = " ".join(str(error).split())[:_SAID]
        mend = "install the versions of Python and Ray that it has"
        raise MissingError(f"the Ray cluster at {address} cannot be joined ({what})", mend=mend) from error


def machines() -> list[Message]:
    """What each machine of the cluster has."""
    found = []
    for node in ray.nodes():
        has = node["Resources"]
        kinds = [name.partition(":")[2] for name in has if name.startswith("accelerator_type:")]
        if node["Alive"]:
            found.append({"cpus": has.get("CPU", 0.0), "gpus": has.get("GPU", 0.0), "kind": min(kinds, default=None)})
    return found


class Driver:
    """Starts workers in the cluster, and passes on what they say and are told."""

    def __init__(self, tell: Telling) -> None:
        """Pass on to `tell`."""
        self._tell = tell
        self._actors: dict[int, Any] = {}
        self._placed: set[int] = set()
        self._threads: dict[int, threading.Thread] = {}
        self._is_stopped = False

    def do(self, told: Message) -> None:
        """Do what one message says."""
        if "start" in told:
            actor = ray.remote(Relay).options(max_concurrency=_THREADS, **told["place"])
            self._actors[told["start"]] = actor.remote(Home(**told["home"]), told["job"])
            self._threads[told["start"]] = threading.Thread(target=self._hear, args=(told["start"],), daemon=True)
            self._threads[told["start"]].start()
        else:
            self._is_stopped = self._is_stopped or "stop" in told["message"]
            self._say(told["worker"], told["message"])

    def stop(self) -> None:
        """Let all workers write down what they have, and end; those that do not are killed.

        Where they were told to already, whoever told them has ended without waiting for them: nor do we.
        """
        if not self._is_stopped:
            for number in self._left(0):
                self._say(number, {"stop": True})
        for number in self._left(0 if self._is_stopped else _END_SECONDS):
            ray.kill(self._actors[number])  # and the worker's stdin is closed, at which it ends at once
        if not self._left(_KILL_SECONDS):
            ray.shutdown()

    def _left(self, patience: float) -> list[int]:
        """The workers that have not ended within so many seconds."""
        until = time.monotonic() + patience
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))
        return [number for number, thread in self._threads.items() if thread.is_alive()]

    def _say(self, number: int, message: Message) -> None:
        """Tell a worker something; one that waits for a place need not wait on to be stopped."""
        if "stop" in message and number not in self._placed:
            ray.kill(self._actors[number])
        else:
            self._actors[number].tell.remote(message)

    def _hear(self, number: int) -> None:
        """Pass on what a worker says until it has ended."""

        def say(message: Message) -> None:
            self._tell({"worker": number, "message": message})

        actor = self._actors[number]
        try:
            placed = actor.__ray_ready__.remote()
            if not ray.wait([placed], timeout=_PLACE_SECONDS)[0]:
                say({"waits": True})
                ray.get(placed)
                say({"waits": False})
            self._placed.add(number)
            is_done = False
            while not is_done:
                said = ray.get(actor.hear.remote())
                is_done = any("ended" in message for message in said)
                for message in said:
                    say(message)
        except ray.exceptions.RayError as error:
            say({"ended": _reason(error)})
        finally:
            ray.kill(actor)  # its place is free for another


def _reason(error: ray.exceptions.RayError) -> str:
    """Why an actor has ended, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200]}" if lines else type(error).__name__


def main() -> None:
    """Do what stdin says until it ends; then let the workers end."""
    tell = Telling()
    asked = json.loads(sys.stdin.readline())
    try:
        connect(asked["address"])
    except BenchError as error:
        tell(failure(error))
        return
    driver = Driver(tell)
    tell({"machines": machines()})
    for line in sys.stdin:
        driver.do(json.loads(line))
    driver.stop()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # Ray's threads hold an ordinary end up
