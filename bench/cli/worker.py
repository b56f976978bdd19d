"""A worker of `--workers N`: `python -m bench.cli.worker`, started by `bench.run.launch` and by nobody else.

It reads its job from stdin, a line of JSON, and tells on stdout what it does, in lines of JSON.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.explaining import explain
from bench.cli.failures import INTERRUPTED, is_ending, watch_signals
from bench.run.launch.pipes import Telling

if TYPE_CHECKING:
    from bench.run.launch.local import ExperimentOutcome

_END_SECONDS = 20.0  # in which a worker whose parent has gone must have ended


def main() -> int:
    """Do the job, and return the exit code."""
    watch_signals()
    tell = Telling()
    job = json.loads(sys.stdin.readline())
    try:
        _work(job, tell)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        failure = explain(error)
        tell({"error": asdict(failure)})
        return failure.exit_code
    return 0


def _work(job: dict[str, Any], tell: Telling) -> None:
    from bench.cli.run import Place, in_this_process, settle_process
    from bench.engine.patience import PATIENCE
    from bench.run.launch.local import Sharing
    from bench.run.launch.replay import Told
    from bench.run.plan import Request, make_experiments

    given_up = {int(number): why for number, why in job["given_up"].items()}
    threading.Thread(target=_listen, args=(given_up,), name="bench-parent", daemon=True).start()
    said = job["place"]
    cache, runs = said["cache_dir"] and Path(said["cache_dir"]), Path(said["runs_dir"])
    place = Place(**said | {"cache_dir": cache, "runs_dir": runs})
    settle_process(offline=place.offline)
    PATIENCE.seconds = job["patience"]
    sharing = Sharing(
        begins=lambda number: tell({"begins": number}),
        ended=lambda number, outcome: tell(_outcome(number, outcome)),
        given_up=given_up,
    )
    in_this_process(make_experiments(Request(**job["request"])), place, Told(tell), sharing=sharing, since=job["since"])


def _outcome(number: int, outcome: "ExperimentOutcome") -> dict[str, Any]:
    from bench.run.launch.local import FailedElsewhereError

    return {
        "outcome": number,
        "folder": outcome.folder and str(outcome.folder),
        "reused": outcome.reused,
        "failure": outcome.error and asdict(explain(outcome.error)),
        "elsewhere": isinstance(outcome.error, FailedElsewhereError),
    }


def _listen(given_up: dict[int, str]) -> None:
    """Hear what the parent says; where it wants us to end, or has ended itself, end as by SIGTERM.

    What that raises may be lost, in a finaliser or in a library that catches everything; where nobody is left who could
    send a second signal, the process ends by itself.
    """
    stopped = False
    for line in sys.stdin:
        message = json.loads(line)
        if "give_up" in message:
            given_up[message["give_up"]] = message["why"]
        stopped = stopped or "stop" in message
        if stopped:
            _end()
    if not stopped:
        _end()
        time.sleep(_END_SECONDS)
    os._exit(128 + signal.SIGTERM)  # where it told us to stop and did not wait, its user does not want to wait either


def _end() -> None:
    if not is_ending():  # who stops the parent may have stopped us as well, and a second signal ends at once
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the thread that reads stdin would hold an ordinary end up
