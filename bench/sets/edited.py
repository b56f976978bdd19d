"""Contrastive sets of facts to edit: the anchor is a prompt, the positive the new object, the negative the true one."""

from typing import TYPE_CHECKING, Any

from bench.data.counted import BEYOND, Counted
from bench.data.edits import EditCase, in_half
from bench.data.squad import begins
from bench.errors import MissingError
from bench.sets.format import ContrastiveSet, Text
from bench.words import places_of

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.spec import Half

UNKNOWN = "that the base model does not get right"
_ASKED_AT_ONCE = 32
_TOKENS = 12  # of an answer: more than any object has, and few enough to ask many


def known_cases(policy: "Policy", cases: Counted[EditCase], half: "Half", most: int) -> Counted[EditCase]:
    """The facts of a half that the base model says by itself: the first of them by content id.

    A model knows a fact whose prompt it goes on, greedily, with the true object. What does not know it cannot show that
    an edit changed it, nor that its neighbours stayed.

    Args:
        policy: The base model.
        cases: All cases.
        half: The half to take.
        most: How many to take.

    Raises:
        MissingError: it knows none.
    """
    own = in_half(cases, half)
    known: list[EditCase] = []
    asked = 0
    while len(known) < most and asked < len(own):
        some = own[asked : asked + _ASKED_AT_ONCE]
        answers = _answers(policy, some)
        known += [case for case in some if begins(answers[case.id], case.true)]
        asked += len(some)
    if not known:
        mend = "take another model, or data with facts that it knows"
        raise MissingError(f"the base model gets none of {len(own)} facts right", mend=mend)
    tried = own.keep(own[:asked], BEYOND).keep(known, UNKNOWN)
    return tried.keep(known[:most], BEYOND)


def _answers(policy: "Policy", cases: list[EditCase]) -> dict[str, str]:
    from bench.engine.generation import Prompt, answer

    prompts = [Prompt(case.id, case.text) for case in cases]
    return {one.prompt_id: one.text for batch in answer(policy, prompts, _TOKENS, until="\n") for one in batch}


def edited_set(case: EditCase, provenance: dict[str, Any]) -> ContrastiveSet:
    """The set of a fact; an object follows the prompt after a space."""
    return ContrastiveSet(
        anchor=case.text,
        subject=case.subject,
        subject_at=None if places_of(case.subject, case.text) == [case.place] else case.place,
        positives=[Text(text=f" {case.new}")],
        negatives=[Text(text=f" {case.true}")],
        provenance=provenance,
    )
