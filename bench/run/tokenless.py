"""Texts of contrastive sets of which the model's tokenizer makes no token: they have no likelihood to learn from."""

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.progress import note_once

if TYPE_CHECKING:
    from bench.run.environment import Environment
    from bench.sets import ContrastiveSets
    from bench.sets.format import Text

TOKENLESS = "of which the model's tokenizer makes no token"
"""Why texts are left out, in words that follow their number."""
_UNSEEN = "ZCM"  # first letters of the categories of spaces, marks, and what controls or is not assigned


def with_tokens(sets: "ContrastiveSets", env: "Environment") -> "ContrastiveSets":
    """The same sets without texts that have no token of their own after their anchor; told, and counted in `taken`.

    Args:
        sets: The sets, their anchors as the model reads them.
        env: Has the tokenizer.
    """

    def kept(anchor: str, texts: "list[Text]") -> "list[Text]":
        return [one for one in texts if not (_may_vanish(one.text) and _vanishes(anchor, one.text, env))]

    made = []
    for one in sets.sets:
        sides = {"positives": kept(one.anchor, one.positives), "negatives": kept(one.anchor, one.negatives)}
        made.append(one.model_copy(update=sides))
    before, after = (sum(len(one.positives) + len(one.negatives) for one in some) for some in (sets.sets, made))
    if before == after:
        return sets
    note_once(env.progress, f"contrastive sets: {before - after} texts of {sets.source} are left out, {TOKENLESS}")
    if env.suite.sets.is_made:  # what is told of these counts their prompts
        return replace(sets, sets=made)
    taken = sets.taken or {"data": f"texts of {sets.source}", "rows": before, "taken": before, "left_out": {}}
    left_out = {**taken["left_out"], TOKENLESS: before - after}
    return replace(sets, sets=made, taken={**taken, "taken": taken["taken"] - (before - after), "left_out": left_out})


def _may_vanish(text: str) -> bool:
    """Whether a text shows nothing: letters, digits and signs always have a token."""
    return all(unicodedata.category(character)[0] in _UNSEEN for character in text)


def _vanishes(anchor: str, text: str, env: "Environment") -> bool:
    from bench.engine.tokens import encode_after

    return not encode_after(env.tokenizer, anchor, text)[1]
