"""What the words around an answer in a model's reply make of it."""

import re

DENIAL = re.compile(
    r"\b(?:not|no|non|never|nor|neither|none|nothing|without|cannot|hardly|barely|scarcely|\w+n['\u2019]t)\b",
    re.IGNORECASE,
)
"""What may deny an answer in the same sentence."""
_SENTENCE_ENDS = r"[.!?;:\n]"


def sentence_before(text: str) -> str:
    """What a sentence has said by the end of a text; a colon ends one: what follows it is the answer."""
    return re.split(_SENTENCE_ENDS, text)[-1]
