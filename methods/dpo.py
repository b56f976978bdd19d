"""Direct preference optimisation (Rafailov et al., 2023, arXiv 2305.18290, Equation 7)."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.learning.method import SAME_BUDGET, PairedConfig, TrainedMethod, required
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class DPOConfig(PairedConfig):
    """Options of `dpo`."""

    lr: float = Field(3e-4, gt=0, description="peak learning rate (AdamW)")
    beta: float = Field(0.1, gt=0, description="how strongly the base model holds the edited one back")


class DPO(TrainedMethod[DPOConfig]):
    """Direct preference optimisation of positives over negatives."""

    info = MethodInfo(
        name="dpo",
        kind="fine-tuning",
        summary="direct preference optimisation of positives over negatives",
        paper="Rafailov et al., 2023, arXiv 2305.18290",
        needs_sets=True,
        strength="scale",
        search={"lr": RATES, "beta": Range(0.01, 1, log=True)},
        departures=(
            SAME_BUDGET,
            Departure(
                "pairs that people chose between, one a prompt",
                "the j-th positive drawn with the j-th negative drawn of an anchor",
                "sets hold several texts of both kinds",
            ),
        ),
    )
    Config = DPOConfig

    reference = True

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-log sigmoid(beta * (log-ratio of the chosen - log-ratio of the rejected)), the mean over the pairs."""
        from torch.nn.functional import logsigmoid

        from methods.learning.batches import paired

        chosen, rejected = paired(likelihoods)
        ratio = likelihoods.logprob - required(likelihoods.reference)
        return -logsigmoid(self.config.beta * (ratio[chosen] - ratio[rejected])).mean()
