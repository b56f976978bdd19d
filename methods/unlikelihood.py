"""Unlikelihood training (Welleck et al., 2020, arXiv 1908.04319, Equation 4), on the tokens of the negatives."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.learning.method import SAME_BUDGET, PairedConfig, TrainedMethod, required
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods

_LEAST = 1e-5  # of 1 - p, as in the authors' code: a token that is all but certain has no infinite loss


class UnlikelihoodConfig(PairedConfig):
    """Options of `unlikelihood`."""

    alpha: float = Field(1.0, ge=0, description="weight of the unlikelihood term")


class Unlikelihood(TrainedMethod[UnlikelihoodConfig]):
    """Likelihood of the positives, unlikelihood of the negatives' tokens."""

    info = MethodInfo(
        name="unlikelihood",
        kind="fine-tuning",
        summary="likelihood of the positives, unlikelihood of the negatives' tokens",
        paper="Welleck et al., 2020, arXiv 1908.04319",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "alpha": Range(0.25, 4, log=True)},
        departures=(
            SAME_BUDGET,
            Departure(
                "the tokens made unlikely are those that the model repeats",
                "all tokens of the negatives",
                "the question is toxicity, not repetition",
            ),
        ),
    )
    Config = UnlikelihoodConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """Mean log-perplexity of the positives + alpha * mean of -log(1 - p) over the negatives' tokens."""
        likelihood = required(likelihoods.token_logprob)[~likelihoods.positive]
        present = required(likelihoods.present)[~likelihoods.positive]
        unlikely = -(1 - likelihood.exp()).clamp(min=_LEAST).log() * present
        return likelihoods.phi[likelihoods.positive].mean() + self.config.alpha * unlikely.sum() / present.sum()
