"""Negatives above c: those that the base model finds less likely than the mean positive of their anchor."""

from collections.abc import Sequence

from bench.engine.likelihood import Likelihood, loglikelihood
from bench.engine.tokens import encode_after
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.sets.format import ContrastiveSet


def negatives_above(
    policy: Policy, sets: Sequence[ContrastiveSet], progress: Progress = SILENT
) -> list[ContrastiveSet]:
    """The same sets with those negatives alone that lie above c.

    A negative does where phi > c: phi is its log-perplexity after its anchor (the mean negative log-likelihood of its
    own tokens), c the mean phi of the anchor's positives, as in the loss of `contrastive`. Of others the symmetric
    objective makes likelier what is likelier already. Without positives there is no c, and none is above it.

    Args:
        policy: The base model.
        sets: The sets, with all negatives.
        progress: Where to report.

    Returns:
        One set for each, in their order; some may have no negative left.
    """
    asked = [(one.anchor, text.text) for one in sets for text in (*one.positives, *one.negatives)]
    pairs = [encode_after(policy.tokenizer, *pair) for pair in asked]
    with progress.bar("negatives above c", len(pairs), "texts") as bar:
        found = iter(loglikelihood(policy, pairs, done=bar.advance))
    made = []
    for one in sets:
        good, bad = ([next(found) for _ in texts] for texts in (one.positives, one.negatives))
        c = sum(map(_phi, good)) / len(good) if good else float("inf")
        kept = [text for text, read in zip(one.negatives, bad, strict=True) if _phi(read) > c]
        made.append(one.model_copy(update={"negatives": kept}))
    return made


def _phi(read: Likelihood) -> float:
    return -read.logprob / max(read.tokens, 1)
