"""Content hashes: what two runs must share to be the same thing."""

import hashlib
import json
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


def normalise(text: str) -> str:
    """Fold what does not make two prompts different: Unicode form, case, punctuation, white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def content_id(text: str) -> str:
    """Name a prompt by its normalised content: 16 hex digits, the same for texts that differ in form alone."""
    return hash_text(normalise(text))[:16]
