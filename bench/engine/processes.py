"""The processes that a launcher started together (`accelerate launch`, torchrun): how many, and which this one is."""

import os

GPU_SHARERS = "BENCH_GPU_SHARERS"
"""In the environment of a process, how many share its GPU, each with a model of its own; unset: it has it alone."""


def processes() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the first: it measures, reports and writes records."""
    return int(os.environ.get("RANK", "0")) == 0


def go_on_alone() -> None:
    """Say that the others have ended: from here on this process works by itself."""
    os.environ["WORLD_SIZE"] = "1"


def gpu_sharers() -> int:
    """How many processes share this one's GPU."""
    said = os.environ.get(GPU_SHARERS, "")
    return max(1, int(said)) if said.isdecimal() else 1
