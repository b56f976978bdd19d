"""Weights of routed experts."""

import math

import torch


def matrices(weight: torch.Tensor) -> int:
    """How many matrices a weight holds: those of routed experts are stacked, [experts, ...]."""
    return math.prod(weight.shape[:-2])
