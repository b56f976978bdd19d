"""The options of every method that learns from the sets."""

import math
from typing import Literal

from pydantic import Field, model_validator

from bench.method import REPLACES, Range
from bench.spec import Spec

RATES = Range(5e-5, 2e-3, log=True)
"""Learning rates that are searched: the losses of this package want 1e-4 to 1e-3 (`docs/settings.md`)."""


class Steps(Spec):
    """How long a method learns, and from how many anchors at a time."""

    steps: int = Field(40, ge=1, le=1_000_000, description="optimiser steps")
    epochs: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="passes over the sets; takes the place of steps",
        json_schema_extra={REPLACES: "steps"},
    )
    anchors_per_step: int = Field(2, ge=1, le=100_000, description="anchors in a global batch, over all processes")


class Budget(Steps):
    """How many texts a method learns from: what `contrastive` sees, unless told otherwise."""

    positives: int = Field(
        4, ge=0, le=100_000, description="positives drawn for an anchor, |P| (fewer where it has fewer)"
    )
    negatives: int = Field(4, ge=0, le=100_000, description="negatives drawn for an anchor, |N|")

    @model_validator(mode="after")
    def _some_texts(self) -> "Budget":
        if not self.positives + self.negatives:
            raise ValueError("positives and negatives cannot both be 0")
        return self


class LoraOptions(Spec):
    """The adapter's shape and how it is optimised."""

    accumulation: int = Field(1, ge=1, le=100_000, description="micro-batches that a process adds up for one step")
    lr: float = Field(5e-4, gt=0, description="peak learning rate (AdamW)")
    scheduler: Literal["constant", "linear", "cosine"] = Field("linear", description="learning rate after warm-up")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient norm that is clipped to")
    gradient_checkpointing: bool = Field(
        False, description="compute the layers' inner states anew on the way back: less memory, more time"
    )
    lora_r: int = Field(16, ge=1, le=65_536, description="rank of the adapter")
    lora_alpha: float = Field(32.0, gt=0, description="LoRA alpha: the adapter is scaled by alpha / rank")
    lora_targets: tuple[str, ...] = Field(("all-linear",), description="modules that get an adapter")


class TrainingConfig(LoraOptions, Budget):
    """Options of every method that trains an adapter on the sets' texts."""


def total_steps(anchors: int, config: Steps) -> int:
    """Optimiser steps: as given, or those that `epochs` passes over so many anchors take."""
    if config.epochs is None:
        return config.steps
    return max(1, math.ceil(config.epochs * anchors / config.anchors_per_step))
