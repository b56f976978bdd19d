"""The processes that a launcher started together (`accelerate launch`, torchrun): how many, and which this one is."""

import os

from bench.errors import UsageError

GPU_SHARERS = "BENCH_GPU_SHARERS"
"""In the environment of a process, how many share its GPU, each with a model of its own; unset: it has it alone."""
_HELPED = "BENCH_HELPED"
"""In the environment of a process that has helped the first one, which goes on alone."""


def processes() -> int:
    """How many processes work together.

    Raises:
        UsageError: the environment says it with no number.
    """
    return _number("WORLD_SIZE", 1)


def is_main() -> bool:
    """Whether this process is the first: it measures, reports and writes records.

    A RANK without others is none of a launcher's: whoever set it for processes that work each by itself.
    """
    return _HELPED not in os.environ and (processes() == 1 or _number("RANK", 0) == 0)


def go_on_alone() -> None:
    """Say that training together has ended: from here on the first process works by itself, and the others do not."""
    if not is_main():
        os.environ[_HELPED] = "1"
    os.environ["WORLD_SIZE"] = "1"


def _number(name: str, otherwise: int) -> int:
    said = os.environ.get(name, str(otherwise))
    if not said.isdecimal():
        raise UsageError(f"{name} is '{said}' in the environment, and no number", mend=f"unset {name}")
    return int(said)


def gpu_sharers() -> int:
    """How many processes share this one's GPU."""
    said = os.environ.get(GPU_SHARERS, "")
    return max(1, int(said)) if said.isdecimal() else 1
