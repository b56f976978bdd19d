"""Odds-ratio preference optimisation (Hong et al., 2024, arXiv 2403.07691, Equations 6 and 7).

The paper's likelihood term is of the chosen text given its anchor. The authors' code, and TRL after it, counts the
anchor's own tokens too; on anchors that are toxic themselves this teaches the model to go on like them.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.learning.method import SAME_BUDGET, PairedConfig, TrainedMethod, required
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class ORPOConfig(PairedConfig):
    """Options of `orpo`."""

    weight: float = Field(1.0, ge=0, description="weight of the odds-ratio term")
    likelihood: Literal["text", "all"] = Field(
        "text", description="what the likelihood term counts: the chosen text (the paper), or its anchor too (TRL)"
    )


class ORPO(TrainedMethod[ORPOConfig]):
    """Odds-ratio preference optimisation: likelihood and preference in one loss."""

    info = MethodInfo(
        name="orpo",
        kind="fine-tuning",
        summary="odds-ratio preference optimisation: likelihood and preference in one loss",
        paper="Hong et al., 2024, arXiv 2403.07691",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "weight": Range(0.05, 5, log=True)},
        departures=(
            SAME_BUDGET,
            Departure(
                "weight 0.1",
                "weight 1",
                "chosen on `tune`",
            ),
            Departure(
                "the authors' code counts the anchor's tokens in the likelihood term",
                "the text's alone, as the paper's equation; `likelihood=all` is the code's",
                "on toxic anchors the code's form teaches toxicity",
            ),
        ),
    )
    Config = ORPOConfig

    prompts = True

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """NLL of the chosen texts - weight * log sigmoid(log odds ratio), means over tokens and over pairs."""
        from torch.nn.functional import logsigmoid

        from methods.learning.batches import paired

        chosen, rejected = paired(likelihoods)
        logprob, tokens = likelihoods.logprob, likelihoods.tokens
        if self.config.likelihood == "all":
            logprob = logprob + required(likelihoods.prompt_logprob)
            tokens = tokens + required(likelihoods.prompt_tokens)
        good, bad = -likelihoods.phi[chosen], -likelihoods.phi[rejected]
        odds = good - bad - (log1mexp(good) - log1mexp(bad))
        return -logprob[chosen].sum() / tokens[chosen].sum() - self.config.weight * logsigmoid(odds).mean()


def log1mexp(x: "torch.Tensor") -> "torch.Tensor":
    """log(1 - exp(x)) for x <= 0, stable at both ends (Maechler, 2012); 0 counts as the number next below it.

    Each form is given what is its own alone: of the one that is not taken, an infinite slope times 0 would be NaN.
    """
    import math

    import torch

    half = -math.log(2)
    near = x.clamp(half, -torch.finfo(x.dtype).eps)
    return torch.where(x > half, (-torch.expm1(near)).log(), torch.log1p(-x.clamp(max=half).exp()))
