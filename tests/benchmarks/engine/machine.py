"""What the machine can do, and what a token costs: the bound that no engine gets past."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from transformers import PreTrainedModel

_SIDE = 2048


def peak_flops(rounds: int = 7) -> float:
    """FLOP/s of a large float32 matrix product with the threads that torch uses: the median of several."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * _SIDE**3 / median(seconds[1:])


def flops_a_token(model: PreTrainedModel) -> float:
    """FLOPs of one token through all matrices, the output layer's included (attention itself is not counted)."""
    embeddings = model.get_input_embeddings().weight
    matrices = {id(one): one for one in model.parameters() if one.dim() > 1}
    if model.get_output_embeddings().weight is not embeddings:
        matrices.pop(id(embeddings), None)
    return 2.0 * sum(one.numel() for one in matrices.values())


def peak_memory(work: Callable[[], object]) -> int | None:
    """Bytes that some work needs at its peak above what the process holds before it; None where Linux does not say."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would be used again, unseen
        reset.write_text("5")
    except (OSError, AttributeError):
        return None

    def read(key: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) * 1024

    before = read("VmRSS")
    work()
    return read("VmHWM") - before
