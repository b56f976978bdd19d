"""Simple negative preference optimisation (Fan et al., 2024, arXiv 2410.07163, Equation 4)."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.learning.method import SAME_BUDGET, UnlearningConfig, UnlearningMethod
from methods.learning.options import RATES

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
        search={
            "lr": RATES,
            "beta": Range(0.1, 5, log=True),
            "gamma": Range(0, 2),
            "retain": Range(0.3, 5, log=True),
        },
        departures=(
            SAME_BUDGET,
            Departure(
                "beta 4.5 with a margin (in the benchmarks that use it)",
                "beta 0.5, no margin",
                "at 4.5 the gradient is 0 at the base model: chosen on `tune`",
            ),
            Departure(
                "the retain term is over data that has nothing to do with what is forgotten",
                "the log-perplexity of the positives",
                "sets bring no other texts",
            ),
        ),
    )
    Config = SimNPOConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-(2 / beta) * log sigmoid(beta * phi - gamma) over negatives + retain * log-perplexity of positives."""
        from torch.nn.functional import logsigmoid

        forget = logsigmoid(self.config.beta * likelihoods.phi[~likelihoods.positive] - self.config.gamma).mean()
        return -(2 / self.config.beta) * forget + self.retained(likelihoods)
