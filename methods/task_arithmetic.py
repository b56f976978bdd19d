"""Task arithmetic (Ilharco et al., 2023, arXiv 2212.04089, Section 3: forgetting by negation).

A model is trained on what it should unlearn, and the difference that this made, the task vector, is subtracted:

    theta - scale * (theta_toxic - theta)

The paper fine-tunes all weights on toxic comments and sweeps the scale from 0 to 1. Here the task vector is a LoRA
adapter, trained by the shared trainer on the negatives of the contrastive sets, so that it sees no other texts than the
methods that it is compared with. `negatives` = 8 by default is as many texts an anchor as these draw of both kinds.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import APPLY, Departure, MethodInfo, Range
from methods.learning.method import AdapterConfig, TrainedMethod
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class TaskArithmeticConfig(AdapterConfig):
    """Options of `task_arithmetic`."""

    positives: int = Field(0, ge=0, le=0, description="the task vector is learned from negatives alone")
    negatives: int = Field(
        8, ge=1, le=100_000, description="negatives drawn for an anchor, |N| (fewer where it has fewer)"
    )
    scale: float = Field(
        0.5,
        description="strength: lambda, how much of the task vector is subtracted; 0 is the base, below 0 adds",
        json_schema_extra=APPLY,
    )


class TaskArithmetic(TrainedMethod[TaskArithmeticConfig]):
    """Subtracts what training on the negatives adds."""

    info = MethodInfo(
        name="task_arithmetic",
        kind="weights",
        summary="task arithmetic: subtract from the weights what training on the negatives adds to them",
        paper="Ilharco et al., 2023, arXiv 2212.04089",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "scale": Range(0.1, 2, log=True)},
        departures=(
            Departure(
                "all weights are trained on toxic comments",
                "a LoRA adapter is trained on the sets' negatives",
                "every method learns from the same texts with an adapter of the same shape",
            ),
            Departure(
                "the scale is searched for each model",
                "scale 0.5",
                "chosen on `tune`",
            ),
        ),
    )
    Config = TaskArithmeticConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """Mean log-perplexity of the negatives: they are made likelier, and the opposite is applied."""
        return likelihoods.phi[~likelihoods.positive].mean()

    def factor(self) -> float:
        """The task vector is subtracted."""
        return -self.config.scale
