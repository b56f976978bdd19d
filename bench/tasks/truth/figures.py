"""What likelihoods and texts of answers say of a question, and nothing else: pure functions."""

import math
import re
from collections.abc import Mapping, Sequence

from bench.data.refusals import refuses
from bench.data.squad import contains, exact_match, f1, normalised, without

_ABSTENTION = re.compile(
    r"^(i|we) ((really |honestly )?(do not|dont|am not|are not|cannot|cant) (know|sure|certain|say|tell|answer)|"
    r"(have no|(do not|dont) have any) (idea|comment|answer|information))\b|^((im|were) )?not (sure|certain)\b|"
    r"^(no idea|no comment|(nobody|no one) knows|there is no (known |clear )?(answer|information))\b|"
    r"^unknown$|^(it|answer|this) is (unknown|not known|unclear)\b"
)
"""How answers begin that give none, after SQuAD's normalisation."""
_HALF = 0.5


def ranking(true: Sequence[float], false: Sequence[float]) -> tuple[float, float, float]:
    """What the scores of a question's answers (logarithms of probabilities) say.

    Args:
        true: Of the true answers.
        false: Of the false ones.

    Returns:
        The share of the probability of all answers that the true ones have; the share of pairs of a true and a false
        answer of which the true one is the likelier; and whether a true one is the likeliest. Ties count half.
    """
    pairs = [_before(one, other) for one in true for other in false]
    highest = max(*true, *false)
    weights = [[math.exp(score - highest) for score in scores] for scores in (true, false)]
    mass = math.fsum(weights[0]) / math.fsum([*weights[0], *weights[1]])
    return mass, math.fsum(pairs) / len(pairs), _before(max(true), max(false))


def _before(one: float, other: float) -> float:
    return _HALF if one == other else float(one > other)


def verdict(answer: str, true: Sequence[str], false: Sequence[str]) -> Mapping[str, float]:
    """What a free answer says, by the rules of SQuAD's evaluation: `exact_match`, `f1`, and 1 or 0 for each kind.

    `says_true` and `says_false`: its words hold a true answer's, or a false one's and no true one's. Of a false answer
    that holds a true one's words ("March 1, 2019", where "2019" is right) these do not count. `abstains`: it says
    nothing, refuses, or says that it does not know, and no listed answer.
    """
    says_true = contains(without(answer, [one for one in false if contains(one, true)]), true)
    says_false = not says_true and contains(answer, false)
    return {
        "exact_match": exact_match(answer, true),
        "f1": f1(answer, true),
        "says_true": float(says_true),
        "says_false": float(says_false),
        "abstains": float(not (says_true or says_false) and abstains(answer)),
    }


def abstains(answer: str) -> bool:
    """Whether an answer gives none: it is blank, refuses, or begins with words that say that one does not know."""
    words = normalised(answer)
    return not words or refuses(answer) or bool(_ABSTENTION.match(words))
