"""Negatives above c: those that the base model finds less likely than the mean positive of their anchor."""

from collections.abc import Sequence

from bench.engine.perplexity import log_perplexities
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.sets.format import ContrastiveSet


def negatives_above(
    policy: Policy, sets: Sequence[ContrastiveSet], anchors: Sequence[str], progress: Progress = SILENT
) -> list[ContrastiveSet]:
    """The same sets with those negatives alone that lie above c.

    A negative does where phi > c: phi is its log-perplexity after its anchor (the mean negative log-likelihood of its
    own tokens), c the mean phi of the anchor's positives, as in the loss of `contrastive`. The others are likelier than
    c already, and the symmetric objective would make them likelier still. Without positives there is no c, and none is
    above it.

    Args:
        policy: The base model.
        sets: The sets, with all negatives.
        anchors: The anchor of each as the model reads it in training.
        progress: Where to report.

    Returns:
        One set for each, in their order; some may have no negative left.
    """
    pairs = [
        (anchor, text.text)
        for one, anchor in zip(sets, anchors, strict=True)
        for text in (*one.positives, *one.negatives)
    ]
    with progress.bar("negatives above c", len(pairs), "texts") as bar:
        found = iter(log_perplexities(policy, pairs, bar.advance))
    made = []
    for one in sets:
        good, bad = ([next(found) or 0.0 for _ in texts] for texts in (one.positives, one.negatives))
        c = sum(good) / len(good) if good else float("inf")
        kept = [text for text, phi in zip(one.negatives, bad, strict=True) if phi > c]
        made.append(one.model_copy(update={"negatives": kept}))
    return made
