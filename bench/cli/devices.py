"""`--device`: which processor a command's models run on."""

import os
import re
import sys
from typing import Annotated

import typer

AUTO = "auto"
"""Default of `Device`."""
_KNOWN = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def use_device(value: str) -> str:
    """Show this process, and those that it starts, the device that is asked for, and no other.

    What CUDA shows is decided before torch looks; so models, scorers, training and samplers all find the same card, and
    a trainer does not spread over others.

    Raises:
        UsageError: there is no such device, or it cannot be chosen here.
    """
    # Imported here: the command line loads fast.
    from bench.engine.processes import processes
    from bench.errors import UsageError

    known = _KNOWN.fullmatch(value)
    if known is None:
        raise UsageError(f"--device {value} is not known", mend="say auto, cpu, cuda, or cuda:1 for the second card")
    if value == AUTO:
        return value
    if value != "cpu" and processes() > 1:
        mend = f"name the cards for all processes: {_VISIBLE}=0,1"
        raise UsageError(f"--device {value}: each of several training processes has a card of its own", mend=mend)
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        raise UsageError(f"--device {value} comes too late: torch is at work already", mend=f"set {_VISIBLE}")
    if value == "cpu":
        os.environ[_VISIBLE] = ""
        return value
    number = known[1]
    if number is not None:
        shown = [one for one in os.environ.get(_VISIBLE, "").split(",") if one]
        cards = shown or [str(card) for card in range(int(number) + 1)]
        if int(number) >= len(cards):
            mend = f"name one from 0 to {len(cards) - 1}"
            raise UsageError(f"--device {value} is not here: {_VISIBLE} shows {len(cards)}", mend=mend)
        os.environ[_VISIBLE] = cards[int(number)]
    import torch

    if not torch.cuda.is_available():
        what = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no such card"
        raise UsageError(f"--device {value} is not here: {what}", mend="say cpu or auto; 'bench doctor' lists devices")
    return value


Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="BENCH_DEVICE",
        callback=use_device,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where models run: auto is the first CUDA card where there is one.",
    ),
]
