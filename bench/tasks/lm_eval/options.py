"""What the options of multiple-choice questions say beyond right and wrong, and what answers without a model get.

Accuracy moves only where the most likely option changes. Figures that move with every likelihood stand beside it:

- the probability of the gold option among the options, p_g = exp(l_g) / sum_j exp(l_j), where l_j is the option's
  log-likelihood summed over its tokens: the model's own probability of the gold option, given that one of them follows;
- the same normalised by length, with c l_j / c_j in place of l_j, where c_j is the option's length in characters (as in
  `acc_norm`) and c the mean of the question's options: where all are as long, it is the former;
- the gold option's bits per byte, -l_g / (ln 2 x bytes of the option as it was scored), which no other option enters.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.tasks.base import MetricSheet, MetricSpec, evidence_by_cluster

GOLD, GOLD_NORM, GOLD_BITS = "gold_probability", "gold_probability_norm", "gold_bits_per_byte"
PROBABILITIES = (GOLD, GOLD_NORM)


@dataclass(frozen=True)
class Question:
    """An answered multiple-choice question.

    Attributes:
        id: The document's hash.
        logprobs: Log-likelihood of each option.
        gold: The places of the options that are right; one, but for tasks with several targets.
        lengths: Each option's length in characters.
        sizes: Each option's length in bytes, as it was scored.
    """

    id: str
    logprobs: tuple[float, ...]
    gold: frozenset[int]
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]

    def probabilities(self, *, by_length: bool) -> NDArray[np.float64]:
        """Probability of each option among the options, of log-likelihoods as they are or normalised by length."""
        scored = np.array(self.logprobs)
        if by_length and all(self.lengths):
            scored = scored / np.array(self.lengths) * np.mean(self.lengths)
        shifted = np.exp(scored - scored.max())
        found: NDArray[np.float64] = shifted / shifted.sum()
        return found

    def gold_probability(self, *, by_length: bool) -> float:
        """Of the right options together."""
        return float(self.probabilities(by_length=by_length)[sorted(self.gold)].sum())

    @property
    def gold_bits(self) -> tuple[float, int]:
        """Bits per byte of the most likely right option, and its bytes."""
        best = max(self.gold, key=lambda place: self.logprobs[place])
        return -self.logprobs[best] / (math.log(2) * self.sizes[best]), self.sizes[best]


def questions_of(task: Any, samples: Sequence[dict[str, Any]]) -> tuple[list[Question], int]:
    """The questions of a task's logged samples, and how many others are none: see `_question`.

    There are neither where the task is not of multiple choice, or compares with something else than its options.

    Args:
        task: lm-eval's task.
        samples: What lm-eval logged, one a document.
    """
    if getattr(task, "OUTPUT_TYPE", None) != "multiple_choice" or not hasattr(task, "multiple_input"):
        return [], 0
    every = [_question(task, sample) for sample in samples if sample["filter"] == "none"]
    found = [one for one in every if one]
    return found, len(every) - len(found) if found or not task.get_config("process_results") else 0


def _question(task: Any, sample: dict[str, Any]) -> Question | None:
    """A question; None where the right option is not among the options, or nothing is left of one to score."""
    document = sample["doc"]
    options = [str(option) for option in task.doc_to_choice(document)]
    gold = task.doc_to_text(document) if task.multiple_input else sample["target"]
    places = {options.index(one) if isinstance(one, str) and one in options else one for one in _listed(gold)}
    answers = sample["filtered_resps"][: len(options)]
    sizes = tuple(len(str(arguments[1]).encode()) for arguments in sample["arguments"][: len(options)])
    if len(answers) < len(options) or not all(isinstance(one, int) and 0 <= one < len(options) for one in places):
        return None
    if not (places and all(sizes) and all(math.isfinite(answer[0]) for answer in answers)):
        return None
    logprobs = tuple(float(answer[0]) for answer in answers)
    return Question(sample["doc_hash"], logprobs, frozenset(places), tuple(map(len, options)), sizes)


def _listed(gold: Any) -> list[Any]:
    return list(gold) if isinstance(gold, list | tuple) else [gold]


def answered_without_model(questions: Sequence[Question]) -> dict[str, float]:
    """Accuracy on these very questions of what looks at no text.

    `chance` takes any option; `longest` the one of the most characters (any of those, where several are); `majority`
    always the place that is right most often (of BoolQ's no and yes: yes).
    """
    count = len(questions)
    if not count:
        return {}
    places = Counter(place for one in questions for place in one.gold)
    longest = 0.0
    for one in questions:
        most = {place for place, length in enumerate(one.lengths) if length == max(one.lengths)}
        longest += len(most & one.gold) / len(most)
    return {
        "chance": sum(len(one.gold) / len(one.logprobs) for one in questions) / count,
        "longest": longest / count,
        "majority": max(places.values()) / count,
    }


def guessed_probability(questions: Sequence[Question], *, by_length: bool) -> dict[str, float]:
    """Probability of the gold option on these questions without a look at them.

    Besides what puts all probability on an option as `answered_without_model` does, `prior` is that of the model's own
    average over the questions, place by place (a model that says yes to all of BoolQ has it), where all have as many
    options.
    """
    found = answered_without_model(questions)
    if len({len(one.logprobs) for one in questions}) == 1:
        mean = np.mean([one.probabilities(by_length=by_length) for one in questions], axis=0)
        found["prior"] = float(sum(mean[sorted(one.gold)].sum() for one in questions)) / len(questions)
    return found


def add_gold(sheet: MetricSheet, questions: Sequence[Question], primary: str, n_failed: int) -> None:
    """Add probabilities and bits per byte of the gold option; `primary` is the name of the task's primary metric.

    `n_failed` others have no gold option, or no likelihood of one.
    """
    for name in PROBABILITIES:
        by_length = name == GOLD_NORM
        rows = [(one.id, one.gold_probability(by_length=by_length)) for one in questions]
        spec = MetricSpec(name, higher_is_better=True, role="utility", primary=name == primary)
        baselines = guessed_probability(questions, by_length=by_length)
        sheet.add(spec, evidence_by_cluster("mean", rows, bounded=True), baselines=baselines, n_failed=n_failed)
    bits = evidence_by_cluster("mean", [(one.id, *one.gold_bits) for one in questions])
    sheet.add(MetricSpec(GOLD_BITS, higher_is_better=False, role="utility"), bits, n_failed=n_failed)
