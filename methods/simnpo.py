"""Simple negative preference optimisation (Fan et al., 2024, arXiv 2410.07163, Equation 4)."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import MethodInfo
from methods.learning.method import UnlearningConfig, UnlearningMethod

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class SimNPOConfig(UnlearningConfig):
    """Options of `simnpo`."""

    beta: float = Field(0.5, gt=0, description="scale of the rewards")
    gamma: float = Field(0.0, ge=0, description="margin of the reward")


class SimNPO(UnlearningMethod[SimNPOConfig]):
    """Negative preference optimisation without a reference model, lengths normalised."""

    info = MethodInfo(
        name="simnpo",
        kind="fine-tuning",
        summary="negative preference optimisation without a reference model, lengths normalised",
        paper="Fan et al., 2024, arXiv 2410.07163",
        needs_sets=True,
        strength="scale",
    )
    Config = SimNPOConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-(2 / beta) * log sigmoid(beta * phi - gamma) over negatives + retain * log-perplexity of positives."""
        from torch.nn.functional import logsigmoid

        forget = logsigmoid(self.config.beta * likelihoods.phi[~likelihoods.positive] - self.config.gamma).mean()
        return -(2 / self.config.beta) * forget + self.retained(likelihoods)
