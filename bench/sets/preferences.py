"""Preference data as contrastive sets: pairs, as TRL and most data on the hub have them, or single judged texts.

```json
{"prompt": "She asked whether", "chosen": " he was well.", "rejected": " he was an idiot."}
{"prompt": "She asked whether", "completion": " he was well.", "label": true}
```

Each may be a conversation of one turn: lists of messages (`{"role": "user", "content": "..."}`). Without `prompt`, what
`chosen` and `rejected` begin with is the prompt. Rows of one prompt are one set: what was chosen, or has the label
true, are its positives. Other columns are not read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.data.counted import Counted
from bench.data.files import Row
from bench.errors import UsageError

PAIRED = ("prompt", "chosen", "rejected")
JUDGED = ("prompt", "completion", "label")
WITHIN = ("chosen", "rejected")
"""Pairs of conversations that begin with their prompt."""
_FORMS = (PAIRED, JUDGED, WITHIN)
CONVERSATION = "conversation"
"""In a set's provenance: its anchor is a user's turn, and its texts are answers."""
_BOTH = "that say of a text what another row denies"
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
"""Tables have labels as texts, and some as numbers."""
_ONE_TURN = "write one message of the user, and one answer of the assistant"


def is_preference(row: Mapping[str, Any]) -> bool:
    """Whether a row is of preference data."""
    return "anchor" not in row and any(all(name in row for name in form) for form in _FORMS)


def grouped(rows: Iterable[Row], source: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The sets, as rows of their own format (`bench.sets.format`), and what was left out.

    Prompts stand in the file's order. A text that is there twice for one prompt counts once. A text that one row wants
    after a prompt, and another does not, is left out.

    Args:
        rows: The rows, with the place of each.
        source: What the record calls the file.

    Returns:
        The sets, and for the record how many texts were taken and left out; None where all were taken.

    Raises:
        UsageError: a row is of another form than the first, or one of its texts is none; the message has its number.
    """
    texts: dict[tuple[str, bool], dict[str, set[bool]]] = {}  # whether a text after a prompt is wanted, as rows say
    form: tuple[str, ...] | None = None
    for where, row in rows:
        form = form or next(one for one in _FORMS if all(name in row for name in one))
        prompt, judged = _judged(row, form, where)
        for text, is_wanted in judged:
            texts.setdefault(prompt, {}).setdefault(text, set()).add(is_wanted)
    sets = []
    for (prompt_text, is_turn), said_of in texts.items():
        sides = {side: [{"text": text} for text, said in said_of.items() if said == {side}] for side in (True, False)}
        told = {"provenance": {CONVERSATION: True}} if is_turn else {}
        sets.append({"anchor": prompt_text, "positives": sides[True], "negatives": sides[False], **told})
    every = [said for said_of in texts.values() for said in said_of.values()]
    kept = Counted(every).keep([said for said in every if len(said) == 1], _BOTH)
    return sets, kept.facts(f"texts of {source}") if kept.left_out else None


def _judged(
    row: Mapping[str, Any], form: tuple[str, ...], where: str
) -> tuple[tuple[str, bool], list[tuple[str, bool]]]:
    """A row's prompt and whether it is a user's turn, and its texts and whether each is wanted."""
    mend = f"every row has {', '.join(form[:-1])} and {form[-1]}"
    if lacking := [name for name in form if name not in row]:
        raise UsageError(f"{where}: no '{lacking[0]}'", mend=mend)
    values = {name: row[name] for name in form if name != "label"}
    for name, value in values.items():
        if not isinstance(value, str | list):
            raise UsageError(f"{where}: '{name}' is no text", mend="write prompt and answer as texts, or as messages")
    if form == WITHIN and not all(isinstance(value, list) for value in values.values()):
        raise UsageError(f"{where}: no 'prompt', and a text does not say where it ends", mend="write it as 'prompt'")
    is_turn = any(isinstance(value, list) for value in values.values())
    prompt, answers = _turn(values, where) if is_turn else (values["prompt"], {**values, "prompt": None})
    if form == JUDGED:
        return (prompt, is_turn), [(answers["completion"], _label(row["label"], where))]
    return (prompt, is_turn), [(answers["chosen"], True), (answers["rejected"], False)]


def _label(value: Any, where: str) -> bool:
    said = _TRUTH.get(str(value).strip().casefold())
    if said is None:
        raise UsageError(f"{where}: 'label' is neither true nor false", mend="write true or false, or 1 or 0")
    return said


def _turn(values: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """The user's message of a conversation of one turn, and the assistant's answers."""
    said = {name: list(_messages(value, name, where)) for name, value in values.items()}
    asked = said.pop("prompt", None) or said["chosen"][:-1]
    answers = {}
    for name, messages in said.items():
        *before, (role, answer) = messages
        if role != "assistant":
            raise UsageError(f"{where}: the last message of '{name}' is not the assistant's", mend=_ONE_TURN)
        if before and before != asked:
            raise UsageError(f"{where}: '{name}' does not begin with its prompt", mend=_ONE_TURN)
        if not before and "prompt" not in values:
            raise UsageError(f"{where}: '{name}' has no message of the user", mend=_ONE_TURN)
        answers[name] = answer
    roles = [role for role, _ in asked]
    if "system" in roles:
        mend = "take it out: a suite has one for all, 'system'"
        raise UsageError(f"{where}: the conversation has a system message", mend=mend)
    if roles != ["user"]:
        raise UsageError(
            f"{where}: the conversation has several turns, or does not begin with the user", mend=_ONE_TURN
        )
    return asked[0][1], answers


def _messages(value: Any, name: str, where: str) -> Iterator[tuple[str, str]]:
    """Roles and texts; a text alone is the user's where it is the prompt, and else the assistant's."""
    if isinstance(value, str):
        yield "user" if name == "prompt" else "assistant", value
        return
    if not value:
        raise UsageError(f"{where}: '{name}' has no message", mend=_ONE_TURN)
    for one in value:
        if not isinstance(one, Mapping) or not all(isinstance(one.get(key), str) for key in ("role", "content")):
            what = f"{where}: '{name}' has a message without a role and a text"
            raise UsageError(what, mend="write messages as {role: ..., content: ...}")
        yield one["role"], one["content"]
