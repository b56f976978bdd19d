"""Contrastive perplexity as the paper prints it (Klein & Nabi, ACL 2025, arXiv 2401.08491, Equations 1-6, Table 9).

    (1)  phi(x) = exp(-1/M sum_t log p(x_t | x_<t))         the perplexity of a text of M tokens
    (2)  loss   = -sum_i log J_i
    (3)  J_i    = sum_{P_i} s(x) / sum_{P_i and N_i} w(x) s(x)
    (4)  s(x)   = (1 / tau) exp(-|phi(x) - c_i|)
    (5)  c_i    = mean of phi over the positives P_i
    (6)  w(x)   = 1 on P_i, alpha on the negatives N_i

The factor 1 / tau is in numerator and denominator of (3): it cancels, and no value of tau changes what is learned.
"""

import math
from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import REPLACES, Departure, MethodInfo, Range
from methods.learning.method import PairedConfig, TrainedMethod

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods

MOST_NATS = 40.0
"""Log-perplexity from which on a text counts as no less likely: its perplexity, 2e17, keeps float32 finite."""


class PrintedConfig(PairedConfig):
    """Options of `contrastive_printed`; the defaults are the paper's Table 9."""

    positives: int = Field(
        5, ge=1, le=100_000, description="positives drawn for an anchor, |P| (fewer where it has fewer)"
    )
    negatives: int = Field(5, ge=1, le=100_000, description="negatives drawn for an anchor, |N|")
    tau: float = Field(0.1, gt=0, description="temperature; it cancels in J, so that it changes nothing but rounding")
    alpha: float = Field(1.0, gt=0, description="weight of the negatives")
    lr: float = Field(2.2e-5, gt=0, description="peak learning rate (AdamW)")
    epochs: float | None = Field(
        1.0,
        gt=0,
        le=10_000,
        description="passes over the sets; null: `steps` counts",
        json_schema_extra={REPLACES: "steps"},
    )
    anchors_per_step: int = Field(6, ge=1, le=100_000, description="anchors in a global batch, over all processes")
    accumulation: int = Field(3, ge=1, le=100_000, description="micro-batches that a process adds up for one step")
    lora_r: int = Field(64, ge=1, le=65_536, description="rank of the adapter")
    lora_alpha: float = Field(16.0, gt=0, description="LoRA alpha: the adapter is scaled by alpha / rank")


class PrintedContrastivePerplexity(TrainedMethod[PrintedConfig]):
    """Fine-tunes an adapter by the paper's equations, with nothing of ours in the loss."""

    info = MethodInfo(
        name="contrastive_printed",
        kind="fine-tuning",
        summary="contrastive perplexity as printed: Equations 1-6 with the settings of Table 9",
        paper="Klein & Nabi, ACL 2025, arXiv 2401.08491",
        needs_sets=True,
        strength="scale",
        search={"lr": Range(1e-5, 2e-3, log=True), "alpha": Range(1, 30, log=True)},
        departures=(
            Departure(
                "the sum over the anchors (Equation 2)",
                "their mean",
                "AdamW divides by the size of the gradient: a constant factor of the loss changes next to nothing",
            ),
            Departure(
                "a text's perplexity, without a prompt before it",
                "the perplexity of the text after its anchor, of its own tokens alone; sets that `bench data generate` "
                "writes have no anchor, as in the paper",
                "sets that a model sampled are continuations",
            ),
            Departure(
                "an adapter on the output layer as well",
                "all linear layers but the output layer, unless `lora_targets` names `lm_head`, as the suites of the "
                "paper do",
                "small models tie their output layer to their input embeddings, which an adapter does not edit",
            ),
            Departure(
                "4-bit weights",
                "as the suite says (`model.quantization`)",
                "the base model belongs to the suite",
            ),
        ),
    )
    Config = PrintedConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """-log J, the mean over the anchors."""
        perplexity = likelihoods.phi.clamp(max=MOST_NATS).exp()
        groups = likelihoods.group.unique()
        total = perplexity.new_zeros(())
        for number in groups:
            own = likelihoods.group == number
            good, bad = perplexity[own & likelihoods.positive], perplexity[own & ~likelihoods.positive]
            total = total + minus_log_j(good, bad, self.config.tau, self.config.alpha)
        return total / len(groups)


def minus_log_j(good: "torch.Tensor", bad: "torch.Tensor", tau: float, alpha: float) -> "torch.Tensor":
    """-log J of one anchor, from the perplexities of its positives and its negatives, two 1-d tensors; 0-d.

    -log(P / (P + N)) = log(1 + exp(log N - log P)), with both sums as logarithms: an exponential of a perplexity is
    never taken.
    """
    import torch

    c = good.mean()
    positive = (-(good - c).abs() - math.log(tau)).logsumexp(0)
    negative = (-(bad - c).abs() - math.log(tau)).logsumexp(0) + math.log(alpha)
    return torch.nn.functional.softplus(negative - positive)
