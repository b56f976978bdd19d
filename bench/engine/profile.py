"""What each class of device is best at: declared figures, with where each comes from."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class DeviceProfile:
    """How the engine works on a class of devices. None of it changes what is computed beyond floating point.

    Attributes:
        one_pass: Whether a nucleus is found by one full sort, without asking the device in between what was found.
        sample_rows: Rows whose [vocabulary] values are sampled from at a time.
        positions: Positions of continuations that are read at a time, and whose [vocabulary] logits are made.
        logit_rows: Of them those that are normalised at a time.
        reading: What a reading costs whatever its size (the weights pass through memory once), in positions.
        past: What a position that was read before costs each row of a reading, in positions.
        training_rows: Positions whose [vocabulary] logits a training step makes at a time.
        keeps_aside: Whether weights that an edit replaces wait in the processor's memory, and not on the device.
        merges_experts: Whether experts beside the base model have weights of their own. Else they wear their adapters,
            and share all of the base's.
    """

    one_pass: bool
    sample_rows: int
    positions: int
    logit_rows: int
    reading: int
    past: float
    training_rows: int
    keeps_aside: bool
    merges_experts: bool


CPU = DeviceProfile(
    one_pass=False,  # measured: nucleus sampling twice as fast as by a sort
    sample_rows=16,  # measured: they stay in the processor's cache
    positions=512,  # measured
    logit_rows=32,  # measured: they stay in the processor's cache
    reading=48,  # measured, SmolLM2-135M on two cores with AVX-512
    past=0.03,  # measured, the same
    training_rows=128,  # measured
    keeps_aside=False,  # there is no other memory
    merges_experts=True,  # measured beside one set of weights that wears its adapters in turn: 1.1 to 1.4 times as fast
)
CUDA = DeviceProfile(
    one_pass=True,  # not measured on a GPU: each question to the device waits for all that it was asked before
    sample_rows=512,  # not measured on a GPU: 0.9 GB for a vocabulary of 32,000
    positions=4096,  # not measured on a GPU: 0.5 GB in bfloat16 for a vocabulary of 64,000
    logit_rows=1024,  # not measured on a GPU
    reading=256,  # not measured on a GPU: an H100's 790 TFLOP/s over 3.0 TB/s are 263 positions in bfloat16
    past=0.005,  # not measured on a GPU: 131 kB of a 7B model's keys and values over 3.0 TB/s, twice
    training_rows=1024,  # not measured on a GPU
    keeps_aside=True,  # memory is what a GPU lacks: 7B in bfloat16 needs 29 GB otherwise
    merges_experts=False,  # the same: 43 GB otherwise
)
PROFILES = {"cpu": CPU, "cuda": CUDA}
"""By torch's name of the class of devices."""


def profile_of(device: torch.device) -> DeviceProfile:
    """How the engine works on a device; one of an unknown class is treated as a processor."""
    return PROFILES.get(device.type, CPU)
