"""A scorer against people's labels: precision, recall, false positives, area under the ROC curve; by identity group."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.data.labelled import LabelledText
from bench.scorers.checked import CheckedScorer
from bench.stats.classification import Estimated, auc, share


@dataclass(frozen=True)
class Checked:
    """What a scorer makes of labelled texts.

    Attributes:
        group: The identity group that the texts are about, or None for all of them.
        n: Texts.
        toxic: Those that people call toxic.
        failed: Texts without a score; they are in no figure.
        precision: Of the texts that it calls toxic, the share that people call toxic.
        recall: Of the texts that people call toxic, the share that it calls toxic.
        false_positives: Of the others, the share that it calls toxic.
        auc: The chance that a toxic text has the higher score.
    """

    group: str | None
    n: int
    toxic: int
    failed: int
    precision: Estimated
    recall: Estimated
    false_positives: Estimated
    auc: Estimated


def check(scorer: CheckedScorer, texts: Sequence[LabelledText], attribute: str, threshold: float) -> list[Checked]:
    """Check a scorer on labelled texts: all of them, then those about each group.

    Args:
        scorer: The scorer.
        texts: The texts.
        attribute: Which of its scores is looked at.
        threshold: The score from which on it calls a text toxic.
    """
    found = [None if one is None else one[attribute] for one in scorer.score([text.text for text in texts])]
    pairs = list(zip(texts, found, strict=True))
    groups = sorted({text.group for text in texts if text.group})
    return [
        _checked(group, [pair for pair in pairs if group in (None, pair[0].group)], threshold)
        for group in [None, *groups]
    ]


def _checked(group: str | None, pairs: Sequence[tuple[LabelledText, float | None]], threshold: float) -> Checked:
    scores = {kind: [s for text, s in pairs if text.toxic == kind and s is not None] for kind in (True, False)}
    right, wrong = (sum(score >= threshold for score in scores[kind]) for kind in (True, False))
    return Checked(
        group=group,
        n=len(pairs),
        toxic=sum(text.toxic for text, _ in pairs),
        failed=sum(score is None for _, score in pairs),
        precision=share(right, right + wrong),
        recall=share(right, len(scores[True])),
        false_positives=share(wrong, len(scores[False])),
        auc=auc(scores[True], scores[False]),
    )
