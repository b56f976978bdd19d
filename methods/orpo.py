"""Odds-ratio preference optimisation (Hong et al., 2024, arXiv 2403.07691, Equations 6 and 7)."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import MethodInfo
from methods.training.method import BothConfig, TrainedMethod, required

if TYPE_CHECKING:
    import torch

    from methods.training.batches import Scores


class ORPOConfig(BothConfig):
    """Options of `orpo`."""

    weight: float = Field(0.1, ge=0, description="weight of the odds-ratio term")


class ORPO(TrainedMethod[ORPOConfig]):
    """Odds-ratio preference optimisation: likelihood and preference in one loss."""

    info = MethodInfo(
        name="orpo",
        kind="fine-tuning",
        summary="odds-ratio preference optimisation: likelihood and preference in one loss",
        paper="Hong et al., 2024, arXiv 2403.07691",
        needs_sets=True,
        strength="scale",
    )
    Config = ORPOConfig

    prompts = True

    def loss(self, scores: "Scores") -> "torch.Tensor":
        """NLL of anchor and chosen text - weight * log sigmoid(log odds ratio), means over tokens and over pairs."""
        from torch.nn.functional import logsigmoid

        from methods.training.batches import paired

        chosen, rejected = paired(scores)
        whole = scores.logprob + required(scores.prompt_logprob)
        tokens = scores.tokens + required(scores.prompt_tokens)
        good, bad = -scores.phi[chosen], -scores.phi[rejected]
        odds = good - bad - (log1mexp(good) - log1mexp(bad))
        return -whole[chosen].sum() / tokens[chosen].sum() - self.config.weight * logsigmoid(odds).mean()


def log1mexp(x: "torch.Tensor") -> "torch.Tensor":
    """log(1 - exp(x)) for x < 0, stable at both ends (Maechler, 2012)."""
    import math

    import torch

    return torch.where(x > -math.log(2), (-torch.expm1(x)).log(), torch.log1p(-x.exp()))
