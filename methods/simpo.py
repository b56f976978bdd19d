"""Simple preference optimisation (Meng et al., 2024, arXiv 2405.14734, Equation 6)."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import MethodInfo, Range
from methods.learning.method import SAME_BUDGET, PairedConfig, TrainedMethod
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class SimPOConfig(PairedConfig):
    """Options of `simpo`."""

    lr: float = Field(4e-4, gt=0, description="peak learning rate (AdamW)")
    beta: float = Field(2.0, gt=0, description="scale of the rewards")
    gamma: float = Field(1.6, ge=0, description="margin between the rewards of chosen and rejected texts")


class SimPO(TrainedMethod[SimPOConfig]):
    """Simple preference optimisation: no reference model, lengths normalised, a margin."""

    info = MethodInfo(
        name="simpo",
        kind="fine-tuning",
        summary="simple preference optimisation: no reference model, lengths normalised, a margin",
        paper="Meng et al., 2024, arXiv 2405.14734",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "beta": Range(1, 10, log=True), "gamma": Range(0, 3)},
        departures=(SAME_BUDGET,),
    )
    Config = SimPOConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-log sigmoid(beta * (mean log-likelihood of chosen - of rejected) - gamma), the mean over the pairs."""
        from torch.nn.functional import logsigmoid

        from methods.learning.batches import paired

        chosen, rejected = paired(likelihoods)
        return -logsigmoid(
            self.config.beta * (likelihoods.phi[rejected] - likelihoods.phi[chosen]) - self.config.gamma
        ).mean()
