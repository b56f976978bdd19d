"""Seals of what is kept in the cache.

A seal tells what was changed, cut, mixed up or put in another's place. It is no signature: who may write in the cache
can make one.
"""

from typing import Any

from bench.hashing import hash_json

SEAL = "seal"
"""The key under which a row or a note carries its seal."""


def sealed(row: dict[str, Any], under: str) -> dict[str, Any]:
    """A row with its seal.

    Args:
        row: JSON values.
        under: What the row belongs to, so that it fits nowhere else.
    """
    bare = {key: value for key, value in row.items() if key != SEAL}
    return {**bare, SEAL: hash_json([under, bare])[:32]}


def is_sound(row: Any, under: str) -> bool:
    """Whether a row is what was sealed."""
    try:
        return isinstance(row, dict) and SEAL in row and sealed(row, under)[SEAL] == row[SEAL]
    except ValueError:  # NaN
        return False
