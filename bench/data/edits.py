"""Single facts to edit: CounterFact's cases (Meng et al., 2022, arXiv 2202.05262), or cases made of countries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.data.counted import REPEATED, Counted
from bench.data.countries import counterfacts, is_country
from bench.data.files import read_rows
from bench.data.squad import normalised
from bench.errors import UsageError
from bench.hashing import content_id

NO_NEIGHBOUR = "without a neighbour whose fact is not edited"
SAME_OBJECT = "whose new object is the true one"
_SHAPE = '{"requested_rewrite": {"subject": ..., "prompt": "... {} ...", "target_new": {"str": ...}, ...}, ...}'


@dataclass(frozen=True)
class EditCase:
    """One fact, what it is changed to, and the prompts that show what else the change does.

    Attributes:
        id: Content id of the prompt.
        relation: What it says of its subject, as the data name it.
        subject: What it is about.
        text: The prompt, subject included; the object follows after a space.
        true: The object that is right.
        new: The object that the edit asks for.
        paraphrases: Other prompts for the same fact.
        neighbours: Prompts about other subjects that have the same true object.
        portability: Prompts that the new object answers too, by kind: the subject by another name (`alias`), or told
            by another fact (`one_hop`).
        fluency: Prompts about the subject that a text goes on from.
    """

    id: str
    relation: str
    subject: str
    text: str
    true: str
    new: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[str, ...]
    portability: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fluency: tuple[str, ...] = ()

    @property
    def held_out(self) -> tuple[str, ...]:
        """The prompts that an edit must not be made from."""
        return (*self.paraphrases, *self.neighbours, *(one for some in self.portability.values() for one in some))


def load_cases(path: Path) -> Counted[EditCase]:
    """Read cases, each prompt once, by content id.

    Rows are CounterFact's, in any form that `read_rows` reads, or those of the embedded `countryinfo`. A prompt of a
    case that is what another case edits is left out of it, so that no edit is made from what it is measured on.

    Raises:
        UsageError: a row is neither, a prompt has no place for its subject, or no case has a neighbour.
    """
    rows = list(read_rows(path))
    every = counterfacts(rows) if rows and is_country(rows[0][1]) else rows
    cases: dict[str, EditCase] = {}
    left_out: Counter[str] = Counter()
    for case in (_case(row, where) for where, row in every):
        if case.id in cases:
            left_out[REPEATED] += 1
        elif normalised(case.true) == normalised(case.new):
            left_out[SAME_OBJECT] += 1
        else:
            cases[case.id] = case
    apart = [_apart(cases[key], cases) for key in sorted(cases)]
    kept = Counted(apart, left_out).keep([case for case in apart if case.neighbours], NO_NEIGHBOUR)
    if not kept:
        mend = f"rows are {_SHAPE} with 'neighborhood_prompts' about subjects that are not edited"
        raise UsageError(f"{path} holds no fact to edit with a neighbour", mend=mend)
    return kept


def _apart(case: EditCase, cases: Mapping[str, EditCase]) -> EditCase:
    """The case without prompts that are what some case edits."""

    def free(prompts: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for one in dict.fromkeys(prompts) if content_id(one) not in cases)

    portability = {kind: found for kind, prompts in case.portability.items() if (found := free(prompts))}
    paraphrases, neighbours = free(case.paraphrases), free(case.neighbours)
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
        true=true,
        new=new,
        paraphrases=_prompts(row, "paraphrase_prompts", where),
        neighbours=_prompts(row, "neighborhood_prompts", where),
        portability={kind: _prompts(row, f"{kind}_prompts", where) for kind in ("alias", "one_hop")},
        fluency=_prompts(row, "generation_prompts", where),
    )


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: no text under the key '{key}'", mend=f"rows are {_SHAPE}")
    return value.strip()


def _object(rewrite: Mapping[str, Any], key: str, where: str) -> str:
    found = rewrite.get(key)
    return _text(found.get("str") if isinstance(found, dict) else found, key, where)


def _prompts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = row.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError(f"{where}: '{key}' is not a list of texts")
    return tuple(one.strip() for one in found if one.strip())
