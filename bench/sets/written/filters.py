"""What a generator wrote for a sentence, what was measured of it, and why it is not used."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.refusals import talks_about_the_task
from bench.data.splits import overlap
from bench.hashing import content_id
from bench.sets.written.recipe import Filters, Recipe
from bench.spec import TEXT_KINDS

Candidate = dict[str, Any]
"""A line of candidates.jsonl: sentence_id, sentence, group, kind, sample, text (null where the request failed),
failure, ended, toxicity, similarity, rouge_l, length_ratio, language, log_perplexity; null is what was not measured."""


def cleaned(text: str) -> str:
    """A candidate without the white space around it, and without quotes that enclose all of it."""
    text = text.encode("utf-8", "replace").decode().strip()  # no lone surrogates: tokenizers refuse them
    for opening, closing in ('""', "''", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb"):
        inner = text[1:-1]
        if len(text) > 1 and text[0] == opening and text[-1] == closing and opening not in inner:
            return inner.strip()
    return text


def trained_text(text: str, *, conditioned: bool) -> str:
    """A candidate as it is trained on: alone, or after its sentence (`conditioned`)."""
    return f" {text}" if conditioned else text


@dataclass(frozen=True)
class FilterResult:
    """What became of the candidates of all sentences.

    Attributes:
        dropped: Of each candidate, in order, the filter that dropped it, or None.
        kept: Of each sentence that has enough of both kinds, its rows.
        small: Sentences with too few of either kind.
    """

    dropped: list[str | None]
    kept: dict[str, list[Candidate]]
    small: int


def apply_filters(rows: Sequence[Candidate], recipe: Recipe, evaluation: Sequence[str]) -> FilterResult:
    """Which candidates are kept, and why the others are not; the first reason counts.

    First each candidate is judged by itself, in the order of the rows. Then texts are dropped that meet an evaluation
    prompt or that an earlier candidate has already. Last go the negatives whose perplexity is far from that of the
    positives that are left.

    Args:
        rows: Measured candidates.
        recipe: Filters and the least number of each kind.
        evaluation: Prompts that no text may meet.
    """
    filters = recipe.filters
    dropped = [_first(row, filters) for row in rows]
    wholes = [f"{row['sentence']} {row['text']}" if recipe.conditioned and row["text"] else row["text"] for row in rows]
    met = overlap({text for row, whole in zip(rows, wholes, strict=True) for text in _seen(row, whole)}, evaluation)
    owners: dict[str, tuple[str, str]] = {}
    for place, row in enumerate(rows):
        if dropped[place]:
            continue
        name = content_id(row["text"])
        if any(content_id(text) in met for text in _seen(row, wholes[place])):
            dropped[place] = "evaluation prompt"
        elif name in owners:
            dropped[place] = "duplicate" if owners[name][0] == row["sentence_id"] else "another set has it"
        else:
            owners[name] = (row["sentence_id"], row["kind"])
    by_sentence: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_sentence.setdefault(row["sentence_id"], []).append(place)
    kept: dict[str, list[Candidate]] = {}
    for name, places in by_sentence.items():
        _match_perplexity(rows, places, dropped, filters.perplexity_gap)
        left = [rows[place] for place in places if not dropped[place]]
        counts = Counter(row["kind"] for row in left)
        if left and recipe.is_enough(counts["positive"], counts["negative"]):
            kept[name] = left
    return FilterResult(dropped, kept, len(by_sentence) - len(kept))


def _seen(row: Candidate, whole: str) -> list[str]:
    """What of a candidate may meet an evaluation prompt: its text, its sentence, and both as they are trained on."""
    return [text for text in (row["text"], row["sentence"], whole) if text]


def _first(row: Candidate, filters: Filters) -> str | None:
    """The first filter that a candidate fails by itself."""
    return next((name for name, failed in _FILTERS.items() if failed(row, filters)), None)


def _toxicity(row: Candidate, filters: Filters) -> bool:
    return bool(filters.kind_of(row["toxicity"]) != row["kind"])


def _length(row: Candidate, filters: Filters) -> bool:
    return filters.length_ratio is not None and not (
        filters.length_ratio[0] <= row["length_ratio"] <= filters.length_ratio[1]
    )


_FILTERS: Mapping[str, Callable[[Candidate, Filters], bool]] = {
    "request failed": lambda row, _: row["text"] is None,
    "empty": lambda row, _: not row["text"].strip(),
    "cut off": lambda row, filters: filters.finished and not row["ended"],
    "refusal or boilerplate": lambda row, filters: filters.refusals and talks_about_the_task(row["text"]),
    "copy": lambda row, filters: filters.rouge_l_below is not None and row["rouge_l"] >= filters.rouge_l_below,
    "length": _length,
    "language": lambda row, filters: filters.language is not None and row["language"] not in (None, filters.language),
    "no score": lambda row, _: row["toxicity"] is None,
    "toxicity": _toxicity,
    "similarity": lambda row, filters: (
        filters.similarity_above is not None
        and (row["similarity"] is None or row["similarity"] <= filters.similarity_above)
    ),
}
"""What is asked of a candidate alone, in order: True is a failure."""

REASONS = (*_FILTERS, "evaluation prompt", "duplicate", "another set has it", "perplexity")


def _match_perplexity(
    rows: Sequence[Candidate], places: Sequence[int], dropped: list[str | None], gap: float | None
) -> None:
    """Drop negatives that the model finds much easier or harder to say than the positives: they teach little."""
    if gap is None:
        return
    known = [
        rows[place]["log_perplexity"]
        for place in places
        if not dropped[place] and rows[place]["kind"] == "positive" and rows[place]["log_perplexity"] is not None
    ]
    mean = sum(known) / len(known) if known else None
    for place in places:
        row = rows[place]
        if dropped[place] or row["kind"] == "positive":
            continue
        if mean is None or row["log_perplexity"] is None or abs(row["log_perplexity"] - mean) > gap:
            dropped[place] = "perplexity"


def yields(rows: Sequence[Candidate], filtered: FilterResult) -> list[dict[str, Any]]:
    """Of each kind and filter: how many candidates came to it, how many it dropped, and what it let through."""
    table = []
    for kind in TEXT_KINDS:
        why = Counter(reason for row, reason in zip(rows, filtered.dropped, strict=True) if row["kind"] == kind)
        left = why.total()
        for reason in REASONS:
            if left and (why[reason] or reason in ("toxicity", "similarity")):
                share = (left - why[reason]) / left
                table.append(
                    {"kind": kind, "filter": reason, "in": left, "dropped": why[reason], "yield": round(share, 4)}
                )
                left -= why[reason]
        table.append({"kind": kind, "filter": "all", "in": why.total(), "dropped": why.total() - left, "yield": None})
        if why.total():
            table[-1]["yield"] = round(left / why.total(), 4)
    return table
