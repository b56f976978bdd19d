"""Supervised fine-tuning: maximum likelihood of the positives, the baseline without a contrast."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import MethodInfo
from methods.learning.method import SAME_BUDGET, AdapterConfig, TrainedMethod
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class SFTConfig(AdapterConfig):
    """Options of `sft`."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate (AdamW)")
    positives: int = Field(
        8, ge=1, le=100_000, description="positives drawn for an anchor: as many texts as others draw of both kinds"
    )
    negatives: int = Field(0, ge=0, le=0, description="supervised fine-tuning has no use for negatives")


class SFT(TrainedMethod[SFTConfig]):
    """Supervised fine-tuning on the positives alone."""

    info = MethodInfo(
        name="sft",
        kind="fine-tuning",
        summary="supervised fine-tuning on the positives alone",
        paper="maximum likelihood",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES},
        departures=(SAME_BUDGET,),
    )
    Config = SFTConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """Mean log-perplexity of the positives."""
        return likelihoods.phi[likelihoods.positive].mean()
