"""Named pieces of a run's work: their seconds, tokens and peak memory."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.store.record import Phase

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass
class Phases:
    """Collects phases in the order in which they end."""

    done: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, stage: Literal["prepare", "measure"]) -> Iterator[dict[str, int]]:
        """Time a block, which may set `tokens` and `sampled_tokens` in the dict that it is given.

        A block that fails leaves no phase.
        """
        _reset_peak()
        begin, noted = time.perf_counter(), dict[str, int]()
        yield noted
        seconds = round(time.perf_counter() - begin, 3)
        self.done.append(
            Phase(
                name=name,
                seconds=seconds,
                tokens=noted.get("tokens"),
                sampled_tokens=noted.get("sampled_tokens"),
                peak_memory=_peak(),
                stage=stage,
            )
        )


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # only Linux has it, and not every container lets a process write it
        _CLEAR.write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> int:
    """Peak memory in bytes: the CUDA device's where there is one, else resident memory (of the phase on Linux)."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError, StopIteration, ValueError):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
