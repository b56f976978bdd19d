"""The anchors of contrastive sets, put to the model as the suite's prompts are: what learns sees what is measured."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.sets.preferences import CONVERSATION

# A bundle of inputs, for the type checker alone: anchors do not follow from its code, and keys follow imports.
if TYPE_CHECKING:
    from bench.run.environment import Environment
    from bench.sets import ContrastiveSets


def as_read(sets: "ContrastiveSets", env: "Environment") -> "ContrastiveSets":
    """Sets whose anchors are put to the model as the suite's prompts are.

    Args:
        sets: The sets.
        env: Has the suite and the tokenizer.

    Raises:
        UsageError: an anchor is empty, and prompts are a user's turns; or anchors are, and prompts are plain text.
    """
    from bench.engine import chat as form

    chat = env.suite.chat
    if chat is None:
        if any(one.provenance.get(CONVERSATION) for one in sets.sets):
            what = f"the sets of {sets.source} are conversations, and the suite puts prompts as plain text"
            raise UsageError(what, mend="--set suite.chat_template=true, or write prompts and answers as texts")
        return sets
    if empty := sum(not one.anchor.strip() for one in sets.sets):
        what = f"{empty} anchors of {sets.source} are empty, and the suite has chat_template"
        raise UsageError(what, mend="give each a prompt, or take chat_template out of the suite")
    turns = [form.as_read(one.anchor, env.tokenizer, chat) for one in sets.sets]
    anchored = [one.model_copy(update={"anchor": turn}) for one, turn in zip(sets.sets, turns, strict=True)]
    return replace(sets, sets=anchored)
