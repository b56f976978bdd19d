"""Which language a text is in (py3langid: Lui & Baldwin, 2012, langid.py)."""

from functools import cache
from typing import Any

_SURE = 0.9  # from this probability on, a text is in the language that it is taken for
_LETTERS = 2  # of a code of ISO 639-1
_NORWEGIAN = {"nb": "no", "nn": "no"}
"""Written forms of one language, which langid tells apart."""


def language_of(text: str) -> str | None:
    """A text's language by its ISO 639-1 code, or None where that is not sure."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= _SURE else None


def is_other(text: str, language: str | None) -> bool | None:
    """Whether a text is surely in another language than that of a code such as `hi` or `pt-br`.

    Of a code that is not of ISO 639-1 (RTP-LX's `bcms` is of several languages), and of None, nothing is known: None.
    """
    expected = (language or "").replace("_", "-").partition("-")[0]
    if len(expected) != _LETTERS:
        return None
    found = language_of(text)
    return found is not None and _NORWEGIAN.get(found, found) != _NORWEGIAN.get(expected, expected)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
