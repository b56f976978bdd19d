"""Kahneman-Tversky optimisation (Ethayarajh et al., 2024, arXiv 2402.01306, Equation 8; 7 in its first version)."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from bench.method import MethodInfo, Range
from methods.learning.method import SAME_BUDGET, PairedConfig, TrainedMethod, required
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class KTOConfig(PairedConfig):
    """Options of `kto`."""

    lr: float = Field(4e-4, gt=0, description="peak learning rate (AdamW)")
    beta: float = Field(0.1, gt=0, description="how strongly the base model holds the edited one back")
    desirable_weight: float = Field(1.0, gt=0, description="weight of the positives, lambda_D")
    undesirable_weight: float = Field(1.0, gt=0, description="weight of the negatives, lambda_U")

    @model_validator(mode="after")
    def _two_anchors(self) -> "KTOConfig":
        if self.anchors_per_step < 2 * self.accumulation:
            raise ValueError(
                f"anchors_per_step = {self.anchors_per_step} with accumulation = {self.accumulation} leaves a "
                "micro-batch without two anchors, whose texts are put after each other's"
            )
        return self


class KTO(TrainedMethod[KTOConfig]):
    """Kahneman-Tversky optimisation: each text is good or bad by itself, measured from how far the model has moved."""

    info = MethodInfo(
        name="kto",
        kind="fine-tuning",
        summary="Kahneman-Tversky optimisation: texts that are good or bad, without pairs",
        paper="Ethayarajh et al., 2024, arXiv 2402.01306",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "beta": Range(0.01, 1, log=True), "undesirable_weight": Range(0.5, 2, log=True)},
        departures=(SAME_BUDGET,),
    )
    Config = KTOConfig

    reference = True
    mismatched = True

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """Mean over the texts of weight * (1 - sigmoid(beta * (log-ratio - z))), with z - log-ratio for negatives.

        z is how far the model has moved from the base: max(0, the mean log-ratio of texts after another's anchor), an
        estimate of their KL divergence that no gradient goes through. A micro-batch without such texts has z = 0.
        """
        import torch

        moved = required(likelihoods.mismatched)
        z = moved.mean().clamp(min=0) if len(moved) else moved.new_zeros(())
        ratio = likelihoods.logprob - required(likelihoods.reference)
        gain = torch.where(likelihoods.positive, ratio - z, z - ratio)
        weight = torch.where(likelihoods.positive, self.config.desirable_weight, self.config.undesirable_weight)
        return (weight * (1 - torch.sigmoid(self.config.beta * gain))).mean()
