"""Facts in the forms of zsRE and KnowEdit, as CounterFact's rows.

Both name a prompt's answer beside it: what follows from a fact, and other facts, have answers of their own there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.errors import UsageError
from bench.spec import QUESTION
from bench.words import places_of

KINDS = {"alias": "Subject_Aliasing", "one_hop": "Reasoning", "logical": "Logical_Generalization"}
"""Kinds of portability, and KnowEdit's names of them."""
NO_OBJECT = "without a true object or without a new one"
UNNAMED = "whose prompt does not name its subject"
NO_ANSWER = "with a prompt that has no answer"
_ZSRE = {"src", "answers", "alt", "subject"}
_KNOWEDIT = {"prompt", "target_new", "subject"}


class Unusable(Exception):
    """A row has its form, and lacks what an edit needs; the text says what, as it stands after "facts"."""


def as_counterfact(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row in CounterFact's shape; one of another shape as it is.

    Of several objects the first is taken, of several answers to a question all. KnowEdit's recent facts name no true
    object, and some questions of zsRE no new one.

    Raises:
        Unusable: it lacks an object, an answer, or the subject in its prompt.
        UsageError: a value has not the form that its key says.
    """
    if row.keys() >= _ZSRE:
        return _zsre(row, where)
    return _knowedit(row, where) if row.keys() >= _KNOWEDIT else row


def _zsre(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Questions of zsRE (Levy et al., 2017, arXiv 1706.04115) as MEND's authors released them (arXiv 2110.11309)."""
    if not (_first(row["answers"]) and _first(row["alt"])):
        raise Unusable(NO_OBJECT)
    other = str(row.get("loc") or "").removeprefix("nq question: ").removesuffix("?")
    neighbours = [_prompt(f"{other}?", row.get("loc_ans"), where)] if other else []
    return {
        "requested_rewrite": _rewrite(row, "src", true=row["answers"], new=row["alt"], where=where),
        "paraphrase_prompts": _asked(row.get("rephrase")),
        "neighborhood_prompts": neighbours,
    }


def _knowedit(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """KnowEdit's rows (Zhang et al., 2024, arXiv 2401.01286): all kinds of locality are prompts about other facts."""
    true, new = row.get("ground_truth"), row["target_new"]
    if not (_first(true) and _first(new)):
        raise Unusable(NO_OBJECT)
    portability = _by_kind(row, "portability", where)
    return {
        "requested_rewrite": _rewrite(row, "prompt", true=true, new=new, where=where),
        "paraphrase_prompts": _asked(row.get("rephrase_prompt")) + _asked(row.get("rephrase")),
        "neighborhood_prompts": [one for some in _by_kind(row, "locality", where).values() for one in some],
        **{f"{kind}_prompts": portability.get(name, []) for kind, name in KINDS.items()},
    }


def _rewrite(row: Mapping[str, Any], key: str, *, true: Any, new: Any, where: str) -> dict[str, Any]:
    prompt, subject = row[key], row["subject"]
    if not isinstance(prompt, str) or not isinstance(subject, str):
        raise UsageError(f"{where}: no text under the key '{'subject' if isinstance(prompt, str) else key}'")
    places = subject and (places_of(subject, prompt) or places_of(subject, prompt, any_case=True))
    if not places:
        raise Unusable(UNNAMED)
    start, end = places[-1], places[-1] + len(subject)
    return {
        "prompt": _question(prompt[:start] + "{}" + prompt[end:]),
        "subject": prompt[start:end],  # as the prompt writes it
        "target_true": {"str": _first(true)},
        "target_new": {"str": _first(new)},
    }


def _asked(prompts: Any) -> list[Any]:
    """One prompt, several, or none."""
    return [_question(one) for one in (prompts if isinstance(prompts, list) else [prompts]) if one]


def _question(prompt: Any) -> Any:
    """A question as one puts it to a model that continues text; another prompt as it is."""
    if not isinstance(prompt, str) or not prompt.strip().endswith("?"):
        return prompt
    return QUESTION.replace("{question}", prompt.strip().removesuffix("?"))


def _by_kind(row: Mapping[str, Any], key: str, where: str) -> dict[str, list[dict[str, Any]]]:
    found = row.get(key) or {}
    if not isinstance(found, dict):
        raise UsageError(f"{where}: '{key}' holds no prompts by kind")
    return {kind: list(_prompts(some, key, where)) for kind, some in found.items()}


def _prompts(some: Any, key: str, where: str) -> Iterator[dict[str, Any]]:
    for one in some if isinstance(some, list) else [some]:
        if not isinstance(one, dict):
            raise UsageError(f"{where}: '{key}' holds a prompt without its answer")
        if text := _first(one.get("prompt")):
            yield _prompt(text, one.get("ground_truth"), where)


def _prompt(text: Any, answer: Any, where: str) -> dict[str, Any]:
    if not isinstance(text, str):
        raise UsageError(f"{where}: a prompt is no text")
    answers = list(_all(answer))
    if not answers:
        raise Unusable(NO_ANSWER)
    return {"prompt": _question(text), "target": {"str": answers[0], "also": answers[1:]}}


def _all(texts: Any) -> Iterator[Any]:
    """Each of some texts, which may stand in lists of lists; none is blank."""
    if isinstance(texts, list):
        for one in texts:
            yield from _all(one)
    elif texts is not None and str(texts).strip():
        yield texts


def _first(texts: Any) -> Any:
    """The first of texts that mean the same, which may stand in lists of lists."""
    while isinstance(texts, list) and texts:
        texts = texts[0]
    return texts
