"""Log-likelihoods under the base model, which losses compare those of the edited one with."""

from collections.abc import Sequence

import torch

from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode_after
from bench.method import RunContext
from bench.policy import HFPolicy, LoadedModel
from methods.learning.batches import Asks, Item, match, mismatch

_LOGPROBS = "logprobs"


def pairs_of(items: Sequence[Item], share: int, asks: Asks) -> list[tuple[str, str]]:
    """Every (anchor, text) of a training, once.

    Args:
        items: The items of the whole training, in order.
        share: How many of them a micro-batch has.
        asks: What the loss asks for.
    """
    rows = match(items)
    if asks.mismatched:
        rows += [row for start in range(0, len(items), share) for row in mismatch(items[start : start + share])]
    return list(dict.fromkeys(row[:2] for row in rows))


def reference_of(
    base: LoadedModel, pairs: Sequence[tuple[str, str]], asks: Asks, ctx: RunContext
) -> dict[tuple[str, str], float] | None:
    """Log-likelihood under the base model of every (anchor, text), kept for other trainings; None if not asked for.

    It follows from the texts alone: trainings that differ in their rate or their loss share it.
    """
    if not (asks.reference or asks.mismatched):
        return None
    rows = [encode_after(base.tokenizer, *pair) for pair in pairs]

    def compute() -> dict[str, torch.Tensor]:
        with ctx.progress.bar("reference", len(rows), "texts") as bar:
            scored = loglikelihood(HFPolicy(base.model, base.tokenizer), rows, done=bar.advance)
        return {_LOGPROBS: torch.tensor([one.logprob for one in scored], dtype=torch.float64)}

    found = ctx.base_results.tensors({"likelihoods": rows}, __name__, compute)
    return dict(zip(pairs, found[_LOGPROBS].tolist(), strict=True))
