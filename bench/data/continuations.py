"""Continuations that another programme made, with their prompts, from a file in any form that `read_rows` reads."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.counted import BEYOND, Counted
from bench.data.files import read_rows
from bench.data.prompts import ToxicityPrompt, read_prompt
from bench.errors import MissingError, UsageError

_LISTS = ("continuations", "generations")
"""Keys that hold all continuations of a prompt: ours, and that of RealToxicityPrompts' released generations."""
_SINGLE = "continuation"
"""The key of one continuation: a row each."""
OTHER_PROMPTS = "of prompts that the suite does not take"


@dataclasses.dataclass
class Continued:
    """A prompt with its continuations.

    Attributes:
        prompt: The prompt, with what the row says of it.
        where: The place of its first row, to name in an error.
        texts: The continuations, in the file's order.
    """

    prompt: ToxicityPrompt
    where: str
    texts: list[str] = dataclasses.field(default_factory=list)


def load_continuations(path: Path, field: str | None = None) -> dict[str, Continued]:
    """Read prompts and their continuations, by the prompt's content id, in the file's order.

    A row has a prompt in one of the shapes of `bench.data.prompts.load_prompts`, and beside it either all of its
    continuations, as a list under `continuations` or `generations`, or one under `continuation`. A continuation is a
    text, or an object with `text`. Rows with one prompt are put together.

    Args:
        path: The file.
        field: Where the prompt stands in a row, as `bench.data.files.value_at` takes it; None for one of the shapes.

    Raises:
        UsageError: a row is none of these, or lacks the field, or there is none.
    """
    found: dict[str, Continued] = {}
    for where, row in read_rows(path):
        prompt = read_prompt(row, where, field)
        found.setdefault(prompt.id, Continued(prompt, where)).texts.extend(_texts(row, where))
    if not found:
        raise UsageError(f"{path} holds no prompt with continuations")
    return found


def _texts(row: dict[str, Any], where: str) -> list[str]:
    """The continuations of a row."""
    keys = [key for key in (*_LISTS, _SINGLE) if key in row]
    if len(keys) != 1:
        what = "two of the keys" if keys else "none of the keys"
        raise UsageError(f"{where}: {what} {', '.join((*_LISTS, _SINGLE))} is there", mend="give one of them")
    given = row[keys[0]]
    if keys[0] == _SINGLE:
        return [_text(given, where)]
    if not isinstance(given, list):
        mend = f"a table has a row for each continuation, under '{_SINGLE}'"
        raise UsageError(f"{where}: '{keys[0]}' is no list", mend=mend)
    return [_text(one, where) for one in given]


def _text(given: Any, where: str) -> str:
    text = given.get("text") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise UsageError(f"{where}: a continuation is no text", mend="one that is empty is the text ''")
    return text


def of_prompts(
    found: Mapping[str, Continued],
    prompts: Sequence[ToxicityPrompt],
    count: int,
    name: str,
    others: str = OTHER_PROMPTS,
) -> Counted[tuple[ToxicityPrompt, str]]:
    """The first continuations of each prompt, as many of each, prompt by prompt.

    Args:
        found: What a file holds, by the prompt's content id.
        prompts: The prompts that are wanted.
        count: How many of each.
        name: Of the file, for errors.
        others: Why the continuations of other prompts are left out.

    Raises:
        MissingError: a prompt has fewer; one that the file lacks has none.
    """
    few = [found[one.id] for one in prompts if one.id in found and len(found[one.id].texts) < count]
    if few:
        least = min(len(one.texts) for one in few)
        what = f"{name} has fewer than {count} continuations of {len(few)} prompts ({few[0].where}: "
        mend = f"have them continued {count} times each"
        if least:
            mend += f", or say --set suite.decoding.num_samples={least}, here and in the runs beside it"
        raise MissingError(f"{what}{len(few[0].texts)})", mend=mend)
    pairs = [(prompt, text) for prompt in prompts for text in found[prompt.id].texts]
    rest = sum(len(one.texts) for one in found.values()) - len(pairs)
    every = Counted(pairs, {others: rest} if rest else None)
    first = [(prompt, text) for prompt in prompts for text in found[prompt.id].texts[:count]]
    return every.keep(first, BEYOND)
