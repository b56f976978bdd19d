"""Contrastive sets of questions: the anchor asks, the positives are true answers, the negatives false ones."""

from typing import Any

from bench.data.answers import AnsweredQuestion, all_matched
from bench.data.counted import BEYOND, Counted
from bench.data.splits import halved
from bench.errors import MissingError
from bench.sets.format import ContrastiveSet, Text
from bench.spec import QUESTION, SetsSpec

_TOO_FEW = "with too few true or false answers"


def training_questions(questions: Counted[AnsweredQuestion], spec: SetsSpec) -> Counted[AnsweredQuestion]:
    """The questions that sets are made of: the first of the training half, by content id.

    Raises:
        MissingError: none has enough answers of both kinds.
    """
    half = halved(questions, "train")
    is_matched = spec.matched is not False
    alike = all_matched(half) if is_matched else half
    enough = alike.keep([one for one in alike if spec.is_enough(len(one.true), len(one.false))], _TOO_FEW)
    if not enough:
        counts = f"{spec.min_positives} true and {spec.min_negatives} false answers"
        raise MissingError(
            f"no training question of {spec.prompts} has {counts}{' of one form' if is_matched else ''}",
            mend="lower min_positives or min_negatives, or --set suite.sets.matched=false",
        )
    return enough.keep(enough[: spec.num_prompts], BEYOND)


def answered_set(question: AnsweredQuestion, spec: SetsSpec, provenance: dict[str, Any]) -> ContrastiveSet:
    """The set of a question; each answer follows the prompt after a space."""
    return ContrastiveSet(
        anchor=question.asked(spec.template or QUESTION),
        positives=[Text(text=f" {answer}") for answer in question.true],
        negatives=[Text(text=f" {answer}") for answer in question.false],
        provenance=provenance,
    )
