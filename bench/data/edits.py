"""Single facts to edit: cases of CounterFact, zsRE or KnowEdit, or made of countries.

CounterFact: Meng et al., 2022, arXiv 2202.05262. Rows of other forms are brought into its shape first.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.data.counted import CLASHING, REPEATED, Counted
from bench.data.countries import counterfacts, is_country
from bench.data.edit_forms import KINDS, Unusable, as_counterfact
from bench.data.files import read_rows
from bench.data.snippets import load_snippets
from bench.data.splits import halved, part
from bench.data.squad import normalised
from bench.errors import UsageError
from bench.hashing import content_id

if TYPE_CHECKING:
    from bench.spec import Half

T = TypeVar("T")
NO_NEIGHBOUR = "without a neighbour whose fact is not edited"
EVALUATED = "without a neighbour that the evaluation half has not"
SAME_OBJECT = "whose new object is the true one"
_SHAPE = '{"requested_rewrite": {"subject": ..., "prompt": "... {} ...", "target_new": {"str": ...}, ...}, ...}'


@dataclass(frozen=True)
class Question:
    """A prompt, the object that answers it after a perfect edit, and others that would be as right."""

    text: str
    answer: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class EditCase:
    """One fact, what it is changed to, and the prompts that show what else the change does.

    Attributes:
        id: Content id of the prompt.
        relation: What it says of its subject, as the data name it.
        subject: What it is about.
        text: The prompt, subject included; the object follows after a space.
        place: How many characters of the prompt stand before the subject.
        true: The object that is right.
        new: The object that the edit asks for.
        paraphrases: Other prompts for the same fact.
        neighbours: Prompts about other facts, which stay; in CounterFact those of subjects with the same true object.
        portability: Prompts whose answer follows from the edit, by kind: the subject by another name (`alias`), another
            fact between (`one_hop`), the fact turned about (`logical`).
        fluency: Prompts about the subject that a text goes on from.
        about: Texts about subjects that have the new object.
        new_id: How the data name the new object; empty where they do not.
    """

    id: str
    relation: str
    subject: str
    text: str
    place: int
    true: str
    new: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[Question, ...]
    portability: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    fluency: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    new_id: str = ""

    @property
    def says(self) -> tuple[str, str]:
        """Its true and its new object, normalised."""
        return normalised(self.true), normalised(self.new)

    @property
    def held_out(self) -> tuple[str, ...]:
        """The prompts that an edit must not be made from."""
        questions = (*self.neighbours, *(one for some in self.portability.values() for one in some))
        return (*self.paraphrases, *(one.text for one in questions))


def load_cases(path: Path) -> Counted[EditCase]:
    """Read cases by content id: each prompt once, and what one relation says of a subject once.

    Rows are CounterFact's, zsRE's or KnowEdit's, in any form that `read_rows` reads, or those of the embedded
    `countryinfo`. A prompt of a case that is what another case edits is left out of it, so that no edit is made from
    what it is measured on.

    Raises:
        UsageError: a row is neither, a prompt has no place for its subject, or no case has a neighbour.
    """
    rows = list(read_rows(path))
    every = counterfacts(rows) if rows and is_country(rows[0][1]) else rows
    cases: dict[str, EditCase] = {}
    by_fact: dict[tuple[str, str], EditCase] = {}
    left_out: Counter[str] = Counter()
    for where, row in every:
        try:
            case = _case(as_counterfact(row, where), where)
        except Unusable as lack:
            left_out[str(lack)] += 1
            continue
        fact = case.relation, normalised(case.subject)
        if earlier := cases.get(case.id) or (case.relation and by_fact.get(fact)):
            left_out[REPEATED if case.says == earlier.says else CLASHING] += 1
        elif len(set(case.says)) == 1:
            left_out[SAME_OBJECT] += 1
        else:
            cases[case.id] = by_fact[fact] = case
    apart = [_without(cases[key], cases.keys()) for key in sorted(cases)]
    kept = Counted(apart, left_out).keep([case for case in apart if case.neighbours], NO_NEIGHBOUR)
    if not kept:
        mend = f"rows are {_SHAPE} with 'neighborhood_prompts' about subjects that are not edited"
        raise UsageError(f"{path} holds no fact to edit with a neighbour{kept.why()}", mend=mend)
    return kept


def with_snippets(cases: Counted[EditCase], path: Path) -> Counted[EditCase]:
    """The cases with the texts that CounterFact's `attribute_snippets.json` has for their new objects beside their own.

    Raises:
        UsageError: as `load_snippets`.
    """
    found = load_snippets(path, {(case.relation, case.new_id) for case in cases})
    told = (replace(case, about=(*case.about, *found.get((case.relation, case.new_id), ()))) for case in cases)
    return Counted(told, cases.left_out)


def in_half(cases: Counted[EditCase], half: "Half") -> Counted[EditCase]:
    """The cases of a half, or all; those of the training half without prompts that one of the evaluation half has too.

    So no setting is chosen by what is evaluated.
    """
    own = halved(cases, half)
    if half != "train":
        return own
    evaluated = {content_id(text) for case in part(cases, "eval") for text in case.held_out}
    apart = Counted((_without(case, evaluated) for case in own), own.left_out)
    return apart.keep([case for case in apart if case.neighbours], EVALUATED)


def _without(case: EditCase, taken: Collection[str]) -> EditCase:
    """The case without prompts of these content ids, each other one once."""

    def free(prompts: Sequence[T], text: Callable[[T], str]) -> tuple[T, ...]:
        return tuple({text(one): one for one in prompts if content_id(text(one)) not in taken}.values())

    asked = attrgetter("text")
    portability = {kind: found for kind, prompts in case.portability.items() if (found := free(prompts, asked))}
    paraphrases, neighbours = free(case.paraphrases, str), free(case.neighbours, asked)
    return replace(case, paraphrases=paraphrases, neighbours=neighbours, portability=portability)


def _case(row: dict[str, Any], where: str) -> EditCase:
    rewrite = row.get("requested_rewrite")
    if not isinstance(rewrite, dict):
        raise UsageError(f"{where}: no fact under the key 'requested_rewrite'", mend=f"rows are {_SHAPE}")
    subject, prompt = (_text(rewrite.get(key), key, where) for key in ("subject", "prompt"))
    if prompt.count("{}") != 1:
        what = f"{where}: the prompt has {prompt.count('{}')} places for the subject"
        raise UsageError(what, mend="write {} where the subject stands, once")
    true, new = (_object(rewrite, key, where) for key in ("target_true", "target_new"))
    text = prompt.replace("{}", subject)
    return EditCase(
        id=content_id(text),
        relation=str(rewrite.get("relation_id") or ""),
        subject=subject,
        text=text,
        place=prompt.index("{}"),
        true=true,
        new=new,
        paraphrases=_prompts(row, "paraphrase_prompts", where),
        neighbours=_questions(row, "neighborhood_prompts", true, where),
        portability={kind: _questions(row, f"{kind}_prompts", new, where) for kind in KINDS},
        fluency=_prompts(row, "generation_prompts", where),
        about=_prompts(row, "attribute_texts", where),
        new_id=_id_of(rewrite, "target_new"),
    )


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: no text under the key '{key}'", mend=f"rows are {_SHAPE}")
    return value.strip()


def _object(rewrite: Mapping[str, Any], key: str, where: str) -> str:
    found = rewrite.get(key)
    return _text(found.get("str") if isinstance(found, dict) else found, key, where)


def _id_of(rewrite: Mapping[str, Any], key: str) -> str:
    found = rewrite.get(key)
    return str(found.get("id") or "") if isinstance(found, dict) else ""


def _prompts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = row.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError(f"{where}: '{key}' is not a list of texts")
    return tuple(one.strip() for one in found if one.strip())


def _questions(row: Mapping[str, Any], key: str, answer: str, where: str) -> tuple[Question, ...]:
    """Prompts that have this answer, and prompts that name one of their own."""
    found = row.get(key) or []
    if not isinstance(found, list):
        raise UsageError(f"{where}: '{key}' is not a list of prompts")
    questions = []
    for one in found:
        if isinstance(one, dict):
            text, own = _text(one.get("prompt"), "prompt", where), _object(one, "target", where)
            also = _prompts(one["target"], "also", where) if isinstance(one["target"], dict) else ()
            questions.append(Question(text, own, also))
        else:
            questions += [Question(text, answer) for text in _prompts({key: [one]}, key, where)]
    return tuple(questions)
