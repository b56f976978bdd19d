"""What contrastive sets are like: sizes, scores, lengths, likeness, perplexities, overlap with evaluation data."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from bench.data.splits import overlap
from bench.sets.format import ContrastiveSets
from bench.words import words

if TYPE_CHECKING:
    from bench.engine.encoder import SentenceEncoder
    from bench.policy import Policy

_KINDS = ("positives", "negatives")


@dataclass(frozen=True)
class SetStats:
    """Figures of some sets.

    Attributes:
        sizes: anchors, positives, negatives; anchors without a kind; texts of an anchor (least, median, most).
        values: Of each kind and measure (score, words, similarity, log_perplexity), one number a text that has it.
        gaps: Of each set that has both kinds, the mean log-perplexity of its negatives less that of its positives.
        unscored: Texts without a score.
        doubled: Texts that stand in the sets more than once.
        met: Texts that meet an evaluation prompt; None where none was given.
    """

    sizes: dict[str, int]
    values: dict[str, dict[str, list[float]]]
    gaps: list[float]
    unscored: int
    doubled: int
    met: int | None

    def table(self) -> list[dict[str, Any]]:
        """A row for each kind and measure: count, mean, quartiles."""
        return [
            {"kind": kind, "measure": name, "texts": len(some), "mean": mean(some), **_quartiles(some)}
            for kind, measures in self.values.items()
            for name, some in measures.items()
            if some
        ]


def statistics(
    sets: ContrastiveSets,
    *,
    encoder: "SentenceEncoder | None" = None,
    policy: "Policy | None" = None,
    evaluation: Sequence[str] | None = None,
) -> SetStats:
    """Measure some sets.

    Args:
        sets: The sets.
        encoder: For the likeness of each text to its sentence (the provenance's, else the anchor); None for none.
        policy: For the log-perplexity of each text after its anchor; None for none.
        evaluation: Prompts that no text should meet; None where there are none to compare with.
    """
    values: dict[str, dict[str, list[float]]] = {}
    gaps: dict[int, dict[str, float]] = {}
    for kind in _KINDS:
        rows = [(number, one, text) for number, one in enumerate(sets.sets) for text in getattr(one, kind)]
        own = values[kind] = {"score": [text.score for _, _, text in rows if text.score is not None]}
        own["words"] = [float(len(words(text.text))) for _, _, text in rows]
        if encoder:
            about = [(text.text, str(one.provenance.get("sentence") or one.anchor)) for _, one, text in rows]
            pairs = [(text, sentence) for text, sentence in about if sentence.strip()]
            own["similarity"] = encoder.similarity([text for text, _ in pairs], [sentence for _, sentence in pairs])
        if policy:
            from bench.engine.perplexity import log_perplexities

            perplexities = log_perplexities(policy, [(one.anchor, text.text) for _, one, text in rows])
            phis = [(number, phi) for (number, _, _), phi in zip(rows, perplexities, strict=True) if phi is not None]
            own["log_perplexity"] = [phi for _, phi in phis]
            by_set: dict[int, list[float]] = {}
            for number, phi in phis:
                by_set.setdefault(number, []).append(phi)
            for number, some in by_set.items():
                gaps.setdefault(number, {})[kind] = mean(some)
    texts = [one.anchor + text.text for one in sets.sets for kind in _KINDS for text in getattr(one, kind)]
    return SetStats(
        sizes=_sizes(sets),
        values=values,
        gaps=[both["negatives"] - both["positives"] for both in gaps.values() if len(both) == len(_KINDS)],
        unscored=sum(text.score is None for one in sets.sets for kind in _KINDS for text in getattr(one, kind)),
        doubled=len(texts) - len(set(texts)),
        met=None if evaluation is None else _met(sets, evaluation),
    )


def _met(sets: ContrastiveSets, evaluation: Sequence[str]) -> int:
    """How many different anchors and texts meet an evaluation prompt."""
    return len(overlap({text for one in sets.sets for text in one.all_texts() if text.strip()}, evaluation))


def _sizes(sets: ContrastiveSets) -> dict[str, int]:
    counts = {kind: [len(getattr(one, kind)) for one in sets.sets] for kind in _KINDS}
    sizes = {"anchors": len(sets)}
    for kind, counted in counts.items():
        sizes |= {kind: sum(counted), f"anchors_without_{kind}": counted.count(0)}
        sizes |= {f"least_{kind}": min(counted), f"median_{kind}": int(median(counted)), f"most_{kind}": max(counted)}
    return sizes


def _quartiles(values: Sequence[float]) -> dict[str, float]:
    import numpy as np

    low, middle, high = np.quantile(np.asarray(values), [0.25, 0.5, 0.75])
    return {"lower_quartile": float(low), "median": float(middle), "upper_quartile": float(high)}
