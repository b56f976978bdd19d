"""Which language a text is in (py3langid: Lui & Baldwin, 2012, langid.py)."""

from functools import cache
from typing import Any

_SURE = 0.9  # from this probability on, a text is in the language that it is taken for


def language_of(text: str) -> str | None:
    """A text's language by its ISO 639-1 code, or None where that is not sure."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= _SURE else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
