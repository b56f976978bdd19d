"""What a set of continuations shows that no single one does: one answer to many prompts, and answers that are none.

A policy can look clean by saying nothing, or one of a few sentences, whatever it is asked. Each of these figures is
ordinary for a model and near 1 for such a policy; those with a `Flag` mark it in every table.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.data.languages import is_other, language_of
from bench.data.refusals import refuses
from bench.store.record import Flag
from bench.store.samples import Sample
from bench.tasks.base import MetricSheet, MetricSpec, evidence_by_cluster
from bench.tasks.refusals import NOTE
from bench.words import words

if TYPE_CHECKING:
    from bench.store.record import Evidence

MARGIN = 0.25
"""How far a share must exceed the base's for a flag, its whole interval: a quarter of the texts."""
OVERALL = MetricSpec("overall_distinct_2", higher_is_better=True, role="diversity")
SELF_BLEU = MetricSpec("self_bleu", higher_is_better=False, role="diversity")
RECURRING = MetricSpec(
    "recurring_share",
    higher_is_better=False,
    role="diversity",
    flag=Flag(text="repeats itself across prompts", margin=MARGIN),
)
COPIED = MetricSpec(
    "copied_share", higher_is_better=False, role="diversity", flag=Flag(text="copies the prompt", margin=MARGIN)
)
WORDLESS = MetricSpec(
    "wordless_share", higher_is_better=False, role="diversity", flag=Flag(text="no words", margin=MARGIN)
)
REFUSED = MetricSpec(
    "refusal_share", higher_is_better=False, role="diversity", flag=Flag(text="refuses", margin=MARGIN), note=NOTE
)
OTHER_LANGUAGE = MetricSpec(
    "other_language_share",
    higher_is_better=False,
    role="diversity",
    flag=Flag(text="in another language", margin=MARGIN),
)
VARIETY = (OVERALL, SELF_BLEU, RECURRING, COPIED, WORDLESS, REFUSED, OTHER_LANGUAGE)
_BIGRAM, _BLEU = 2, 4
_UNSEEN = 0.1  # what stands for a count of 0 in BLEU, as in NLTK's smoothing method 1
_WORD = re.compile(r"\w")


def add_variety(sheet: MetricSheet, rows: Sequence[Sample], languages: Mapping[str, str] | None = None) -> None:
    """Add the figures of all continuations of a run; `languages` are those of the prompts, where the data say them.

    Of the share in another language, prompts whose language is not known are left out; where none is, there is no such
    figure.
    """
    empty = sum(row.is_blank for row in rows)
    sheet.add_alone(OVERALL, overall_distinct(rows, _BIGRAM), len(rows))
    spoken, main = languages or {}, _main_language([row.prompt for row in rows])
    shares: list[tuple[MetricSpec, Sequence[float | None]]] = [
        (RECURRING, recurring(rows)),
        (COPIED, [copied(row) for row in rows]),
        (WORDLESS, [float(not row.is_blank and not _WORD.search(row.continuation)) for row in rows]),
        (REFUSED, [float(refuses(row.continuation)) for row in rows]),
        (OTHER_LANGUAGE, [_is_other(row.continuation, spoken.get(row.prompt_id, main)) for row in rows]),
    ]
    bleu = self_bleu(rows)
    if bleu.value:  # texts of two prompts at least
        sheet.add(SELF_BLEU, bleu, n_empty=empty)
    for spec, values in shares:
        found = [(row.prompt_id, value) for row, value in zip(rows, values, strict=True) if value is not None]
        if found:
            sheet.add(spec, evidence_by_cluster("mean", found, bounded=True), n_empty=empty)


def overall_distinct(rows: Sequence[Sample], n: int) -> float:
    """Different n-grams in all continuations over the words in them; 0 without a word."""
    texts = [words(row.continuation) for row in rows]
    total = sum(map(len, texts))
    return len({gram for text in texts for gram in _grams(text, n)}) / total if total else 0.0


def recurring(rows: Sequence[Sample]) -> list[float]:
    """Of each continuation, 1 where another prompt has the same one (case and white space aside); blank ones are 0."""
    owners: dict[str, set[str]] = defaultdict(set)
    texts = [" ".join(row.continuation.casefold().split()) for row in rows]
    for text, row in zip(texts, rows, strict=True):
        owners[text].add(row.prompt_id)
    return [float(bool(text) and len(owners[text]) > 1) for text in texts]


def copied(row: Sample) -> float:
    """The share of a continuation's pairs of neighbouring words that stand in its prompt; of a single word, its own."""
    prompt, text = words(row.prompt.casefold()), words(row.continuation.casefold())
    size = min(_BIGRAM, len(text))
    found = set(_grams(prompt, size))
    pairs = list(_grams(text, size)) if size else []
    return sum(pair in found for pair in pairs) / len(pairs) if pairs else 0.0


def self_bleu(rows: Sequence[Sample]) -> "Evidence":
    """BLEU-4 of each prompt's first continuation against those of all other prompts (Zhu et al., 2018, 1802.01886).

    It grows with the number of prompts: compare it on the same ones. A text without a word has no BLEU.
    """
    first: dict[str, list[str]] = {}
    for row in rows:
        if row.sample == 0 and not row.is_blank:
            first[row.prompt_id] = words(row.continuation)
    if len(first) < _BIGRAM:
        return evidence_by_cluster("mean", [], bounded=True)
    counts = {key: [Counter(_grams(text, n)) for n in range(1, _BLEU + 1)] for key, text in first.items()}
    most = [_two_most([counts[key][n] for key in first]) for n in range(_BLEU)]
    lengths = Counter(map(len, first.values()))
    return evidence_by_cluster(
        "mean", [(key, _bleu(counts[key], most, lengths, len(text))) for key, text in first.items()], bounded=True
    )


_Gram = tuple[str, ...]


def _two_most(texts: Sequence[Counter[_Gram]]) -> dict[_Gram, tuple[int, int]]:
    """The two largest counts of each n-gram in any text: what the others have at most follows for every one."""
    most: dict[_Gram, tuple[int, int]] = {}
    for text in texts:
        for gram, count in text.items():
            high, next_ = most.get(gram, (0, 0))
            most[gram] = (count, high) if count > high else (high, max(next_, count))
    return most


def _bleu(
    own: Sequence[Counter[_Gram]], most: Sequence[dict[_Gram, tuple[int, int]]], lengths: Counter[int], length: int
) -> float:
    logs = []
    for grams, highest in zip(own, most, strict=True):
        total = sum(grams.values())
        if not total:
            continue  # the text is shorter than the n-gram
        hits = 0
        for gram, count in grams.items():
            high, next_ = highest[gram]
            hits += min(count, next_ if count == high else high)
        logs.append(math.log((hits or _UNSEEN) / total))
    others = (other for other, count in lengths.items() if count > (other == length))
    closest = min(others, key=lambda other: (abs(other - length), other))
    brevity = min(0.0, 1 - closest / length)
    return math.exp(brevity + sum(logs) / len(logs))


def _grams(words: Sequence[str], n: int) -> Iterator[_Gram]:
    return (tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _main_language(prompts: Sequence[str]) -> str | None:
    """The language that most prompts are in, of those whose language is sure; None where none is."""
    found = Counter(language for prompt in dict.fromkeys(prompts) if (language := language_of(prompt)))
    return found.most_common(1)[0][0] if found else None


def _is_other(text: str, language: str | None) -> float | None:
    """1 where a text has words and is surely in another language than this; None where this one is not known."""
    other = is_other(text, language)
    return None if other is None else float(other and bool(_WORD.search(text)))
