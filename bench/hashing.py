"""Content hashes: what two runs must share to be the same thing."""

import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def hash_json(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    return hash_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def hash_text(text: str) -> str:
    """SHA-256 (hex) of a text's UTF-8 bytes; lone surrogates are kept apart, not refused."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


_FORMS = str.maketrans({"\ufe0e": None, "\ufe0f": None, "\u00b4": "'", "`": "'", "\u00a8": '"'})
"""Forms of one character: how an emoji is drawn, and what is typed for quotation marks."""
_UNKNOWN = ("Cn", "Co", "Cs")
"""Kinds of characters that Unicode says nothing about, or not yet: they count."""
_JOINS = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")
"""Characters that are not seen and change the word or the emoji that they stand in."""
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+")
_SIGNS = re.compile(r"[#%&]|(?<!\S)-(?=\d)|(?<=\d)\s*[*/](?=\s*\d)")
"""Punctuation that means something: C#, 5 %, R&B; and, beside digits, signs and operators: -5, 3 * 5, 9/11."""


def normalise(text: str) -> str:
    """Fold what does not make two prompts different, and nothing else.

    The rule against near duplicates: case, white space, Unicode form (NFKC) and punctuation do not count. Everything
    else does, in every script: letters with their marks, digits, symbols (C++, 5 < 7, $5, emoji), `#`, `%`, `&`, and
    `-`, `*`, `/` as signs before or between digits. Raised digits are not plain ones. Where nothing else is left of a
    text, its punctuation counts too.
    """
    raised = _RAISED.sub(lambda digits: f"\ue000{digits[0]}\ue000", text.translate(_FORMS))  # a mark that stays
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raised).casefold())
    signs = {match.end() - 1 for match in _SIGNS.finditer(folded)}
    kept = " ".join("".join(_kept(c, place in signs) for place, c in enumerate(folded)).split())
    return kept or " ".join(folded.split())


def _kept(character: str, is_sign: bool) -> str:
    """What stands for a character: a symbol is a word of its own, so that the spaces around it do not count."""
    if character.isalnum():
        return character
    kind = unicodedata.category(character)
    if is_sign or kind[0] == "S":
        return f" {character} "
    return character if kind[0] == "M" or kind in _UNKNOWN or _JOINS.match(character) else " "


def content_id(text: str) -> str:
    """Name a prompt by its normalised content: hex digits, the same for texts that differ in form alone.

    Its first 16 are a hash of the letters and digits alone, and its last one is even where that hash is: so texts that
    differ in symbols or marks alone are different prompts, and stand beside each other in one half of the data. Of a
    text of letters, digits and ordinary punctuation, the id is these 16.
    """
    own = normalise(text)
    letters = _letters(text)
    name = hash_text(letters)[:16]
    return name if own == letters else f"{name}{hash_text(own)[:15]}{name[-1]}"


def _letters(text: str) -> str:
    """The letters and digits of a text alone, case and Unicode form folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())
