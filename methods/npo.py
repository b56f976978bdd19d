"""Negative preference optimisation (Zhang et al., 2024, arXiv 2404.05868, Equation 3), with a term that retains."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.learning.method import SAME_BUDGET, UnlearningConfig, UnlearningMethod, required
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class NPOConfig(UnlearningConfig):
    """Options of `npo`."""

    lr: float = Field(1e-4, gt=0, description="peak learning rate (AdamW)")
    beta: float = Field(0.1, gt=0, description="how strongly the base model holds the edited one back")


class NPO(UnlearningMethod[NPOConfig]):
    """Negative preference optimisation: forget the negatives, keep the positives."""

    info = MethodInfo(
        name="npo",
        kind="fine-tuning",
        summary="negative preference optimisation: forget the negatives, keep the positives",
        paper="Zhang et al., 2024, arXiv 2404.05868",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "beta": Range(0.01, 1, log=True), "retain": Range(0.3, 5, log=True)},
        departures=(
            SAME_BUDGET,
            Departure(
                "the retain term is over data that has nothing to do with what is forgotten",
                "the log-perplexity of the positives",
                "sets bring no other texts",
            ),
        ),
    )
    Config = NPOConfig

    reference = True

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-(2 / beta) * log sigmoid(-beta * log-ratio) over negatives + retain * log-perplexity of positives."""
        from torch.nn.functional import logsigmoid

        ratio = (likelihoods.logprob - required(likelihoods.reference))[~likelihoods.positive]
        return -(2 / self.config.beta) * logsigmoid(-self.config.beta * ratio).mean() + self.retained(likelihoods)
