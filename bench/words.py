"""The words of a text, of scripts that have no spaces between them too."""

import re
import unicodedata

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Chinese characters
)
_MARKS = "".join(chr(code) for code in range(0x0E00, 0x1800) if unicodedata.category(chr(code)).startswith("M"))
_CHARACTER = re.compile(f"[{_UNSPACED}][{_MARKS}]*")
"""A character of these scripts, with the vowel signs and tones that are written onto it."""


def words(text: str) -> list[str]:
    """What white space separates; each character is a word of its own in scripts that have none between words.

    So in evaluations of Chinese answers (Cui et al., 2019, arXiv 1810.07366).
    """
    return _CHARACTER.sub(r" \g<0> ", text).split()


def bare_words(text: str) -> list[str]:
    """Words as `words` parts them, without punctuation and symbols; marks stay on their letters."""
    kept = (c if c.isalnum() or c == "_" or unicodedata.category(c)[0] == "M" else " " for c in text)
    return words("".join(kept))


def places_of(part: str, text: str, *, any_case: bool = False) -> list[int]:
    """Where a part stands in a text: as whole words, else (in scripts without spaces) anywhere."""
    forms = rf"(?<!\w){re.escape(part)}(?!\w)", re.escape(part)
    found = ([one.start() for one in re.finditer(form, text, re.IGNORECASE if any_case else 0)] for form in forms)
    return next(filter(None, found), [])
