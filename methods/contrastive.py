"""Contrastive perplexity (Klein & Nabi, ACL 2025, arXiv 2401.08491).

With phi(x) the log-perplexity of a text given its anchor (mean negative log-likelihood of its own tokens) and c the
mean phi of the positives of the same anchor, the objective makes the positives' share of the similarity to c large:

    s(x) = exp(-|phi(x) - c| / tau)            J = sum_P s / (sum_P s + alpha * sum_N s)            loss = -log J

(the paper's Equations 2-6, with log-perplexity in the place of perplexity, whose gradient vanishes for far negatives,
and tau inside the exponent, as a factor 1 / tau cancels in J).
"""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from bench.errors import UsageError
from bench.method import Departure, MethodInfo, Range
from methods.learning.method import AdapterConfig, TrainedMethod
from methods.learning.options import RATES

if TYPE_CHECKING:
    import torch

    from methods.learning.batches import Likelihoods


class ContrastiveConfig(AdapterConfig):
    """Options of contrastive perplexity; positives = 0 or negatives = 0 give the paper's one-sided ablations."""

    objective: Literal["paper", "signed", "reference"] = Field(
        "signed",
        description="paper: the symmetric form; signed: a negative counts by phi - c, so that one likelier than the "
        "positives is pushed up past them; reference: the soft-label cross-entropy of the authors' code",
    )
    tau: float = Field(1.0, gt=0, description="temperature of the similarity, in nats")
    alpha: float = Field(
        10.0, ge=0, description="weight of the negatives; with objective=reference it is added to their logits"
    )
    prototype: Literal["anchor", "batch"] = Field(
        "anchor",
        description="positives that c is the mean of: the anchor's own, or (the authors' code) the micro-batch's",
    )
    anchor_weight: float = Field(
        0.3, ge=0, description="weight of c itself in the loss: the objective alone never keeps the positives likely"
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> "ContrastiveConfig":
        if self.objective == "reference":
            if not self.positives:
                raise ValueError("objective = reference learns from the positives' places: positives = 0 leaves none")
        elif not (self.negatives and self.alpha) and not (self.positives and self.anchor_weight):
            raise ValueError(
                "without negatives (or with alpha = 0) only anchor_weight on positives leaves what to learn"
            )
        return self


class ContrastivePerplexity(TrainedMethod[ContrastiveConfig]):
    """Fine-tunes an adapter so that the perplexities of good and bad texts part."""

    info = MethodInfo(
        name="contrastive",
        kind="fine-tuning",
        summary="contrastive perplexity: part the perplexities of good and bad texts of one meaning or anchor",
        paper="Klein & Nabi, ACL 2025, arXiv 2401.08491",
        needs_sets=True,
        variant="objective",
        strength="scale",
        search={
            "lr": RATES,
            "alpha": Range(1, 30, log=True),
            "tau": Range(0.25, 4, log=True),
            "anchor_weight": Range(0.05, 2, log=True),
        },
        departures=(
            Departure(
                "phi is the perplexity; tau is a factor before the exponential, and cancels",
                "phi is the log-perplexity; tau is inside the exponential",
                "the gradient of the perplexity vanishes for texts far from c; the authors' code does the same",
            ),
            Departure(
                "the symmetric form, for all negatives",
                "`objective=signed`: a negative likelier than the positives is pushed up past them; "
                "`objective=paper` is the symmetric form",
                "sets that the model sampled itself have many negatives that are likelier than c, which the "
                "symmetric form makes likelier still",
            ),
            Departure(
                "no term keeps the positives likely",
                "`anchor_weight` 0.3",
                "the objective does not change where all perplexities move together",
            ),
            Departure(
                "sets that an uncensored language model paraphrased; LoRA of rank 64 with the output layer, one "
                "epoch, learning rate 2.2e-5, 4-bit, 7B",
                "sets that the model sampled itself (the suite says which); rank 16 without the output layer, 40 "
                "steps, 5e-4",
                "what a small model and two cores allow; the settings are searched on `tune`",
            ),
        ),
    )
    Config = ContrastiveConfig

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """The chosen form; see `objective`."""
        import torch

        if self.config.prototype == "batch" and torch.distributed.is_initialized():
            raise UsageError(
                "prototype = batch means something else in every number of processes", mend="use one process"
            )
        return objective(likelihoods, self.config)


def objective(likelihoods: "Likelihoods", config: ContrastiveConfig) -> "torch.Tensor":
    """The loss of a micro-batch: the mean over its anchors of the chosen form, plus `anchor_weight` times c.

    Without positives there is no c: they stand for one text of similarity 1, and a negative's similarity is
    exp(-phi / tau), the (geometric mean) token probability. Without negatives J is 1, and c alone is learned.

    Returns:
        0-d tensor.
    """
    phi, total = likelihoods.phi, likelihoods.phi.new_zeros(())
    batch_c = phi[likelihoods.positive].mean() if likelihoods.positive.any() else phi.new_zeros(())
    groups = likelihoods.group.unique()
    for number in groups:
        own = likelihoods.group == number
        good, bad = phi[own & likelihoods.positive], phi[own & ~likelihoods.positive]
        c = good.mean() if len(good) else phi.new_zeros(())
        centre = batch_c if config.prototype == "batch" else c
        form = _reference if config.objective == "reference" else _share
        total = total + form(good, bad, centre, config) + config.anchor_weight * c
    return total / len(groups)


def _share(good: "torch.Tensor", bad: "torch.Tensor", c: "torch.Tensor", config: ContrastiveConfig) -> "torch.Tensor":
    """-log J of one anchor; `signed` differs from `paper` in the similarity of the negatives alone."""
    ours = -(good - c).abs() / config.tau if len(good) else c.new_zeros(1)
    distance = (bad - c).abs() if config.objective == "paper" else bad - c
    if not len(bad) or not config.alpha:
        return c.new_zeros(())
    theirs = -distance / config.tau + math.log(config.alpha)
    positive = ours.logsumexp(0)
    return positive.logaddexp(theirs.logsumexp(0)) - positive


def _reference(
    good: "torch.Tensor", bad: "torch.Tensor", c: "torch.Tensor", config: ContrastiveConfig
) -> "torch.Tensor":
    """The form of the authors' released code for one anchor: cross-entropy against all positives at once.

    u = exp(-|phi - c|) / tau, plus alpha for negatives; sum over the positives of -log softmax(u), over |P| + 1.
    """
    import torch

    u = torch.cat([(-(good - c).abs()).exp() / config.tau, (-(bad - c).abs()).exp() / config.tau + config.alpha])
    return -u.log_softmax(0)[: len(good)].sum() / (len(good) + 1)
