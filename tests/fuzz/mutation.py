"""What is done to good input: values, bytes and whole files are changed at random, from a given source of chance."""

import copy
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

LEAVES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e-9, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf),
    *(2**31, 2**63, -(2**63) - 1, 10**18, 10**299, -(10**299)),
    *(
        "",
        " ",
        "x",
        "0",
        "1e3",
        "NaN",
        "null",
        "none",
        "toxic",
        "a/b",
        "../../etc",
        "*",
        "[",
        "%s",
        "{0}",
        "{name}",
        "$x$",
    ),
    *(
        "\x00",
        "\x1b[2J",
        "\x9b2J",
        "\u202e",
        "a\nb",
        "a\r\nb",
        "\u2028",
        "::error::x",
        "##[error]x",
        "<script>x</script>",
    ),
    *("é", "\u0301" * 40, "\ud800", "🙂", "\\", "'", '"', "`|`", "&amp;", "]]>", "a" * 5_000, "a " * 3_000),
    *([], {}, [[]], [{}], [None], [0], ["x"], {"": None}, {"x": 1}, {"x": {"x": {}}}),
)
"""Values that something may stumble on."""
TOKENS = (
    b"NaN",
    b"Infinity",
    b"1e999",
    b"9" * 5000,
    b"-0",
    b"00",
    b"0x10",
    b"[" * 500,
    b"[" * 200_000,
    b"\\ud800",
    b"'",
)
"""What may stand in the place of a number, as bytes."""
PIECES = (
    b"\x00",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b"\t",
    b",",
    b'"',
    b"{",
    b"}",
    b"[",
    b":",
    b"- ",
    b"\x1b",
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")


def mutated(chance: Random, value: Any) -> Any:
    """A copy of a JSON value with one to eight changes, at most some hundred levels deep."""
    box = [copy.deepcopy(value)]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        parent, key = _place(chance, box)
        chance.choice(_CHANGES)(chance, parent, key, box)
    return box[0]


def _place(chance: Random, box: list[Any]) -> tuple[Any, Any]:
    """A place in a value: its parent and the key there. Each level is as likely to be the last."""
    parent: Any = box
    key: Any = 0
    while isinstance(inner := parent[key], dict | list) and inner and chance.random() > 0.2:
        parent, key = inner, chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))
    return parent, key


def _leaf(chance: Random, parent: Any, key: Any, _: Any) -> None:
    parent[key] = copy.deepcopy(chance.choice(LEAVES))


def _other(chance: Random, parent: Any, key: Any, box: list[Any]) -> None:
    there, at = _place(chance, box)
    parent[key] = copy.deepcopy(there[at])


def _gone(chance: Random, parent: Any, key: Any, box: list[Any]) -> None:
    if parent is not box:
        del parent[key]


def _more(chance: Random, parent: Any, key: Any, _: Any) -> None:
    if isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[chance.choice(("more", "name", "", "\x1b", f"{key} "))] = copy.deepcopy(parent[key])


def _renamed(chance: Random, parent: Any, key: Any, _: Any) -> None:
    if isinstance(parent, dict):
        parent[str(chance.choice((f"{key}x", str(key)[:-1], chance.choice(LEAVES))))] = parent.pop(key)


def _wrapped(chance: Random, parent: Any, key: Any, _: Any) -> None:
    for _level in range(chance.choice((1, 1, 2, 20, 80))):
        parent[key] = [parent[key]] if chance.random() < 0.5 else {"x": parent[key]}


def _nudged(chance: Random, parent: Any, key: Any, _: Any) -> None:
    value = parent[key]
    if isinstance(value, bool):
        parent[key] = not value
    elif isinstance(value, int | float):
        parent[key] = chance.choice((value + 1, -value, value * 3, value / 7, float(value), str(value), value - 1e-6))
    elif isinstance(value, str):
        odd = str(chance.choice([leaf for leaf in LEAVES if isinstance(leaf, str)]))
        parent[key] = chance.choice((value[:-1], value.upper(), value + odd, odd + value, value * 2, f" {value} "))
    elif isinstance(value, list) and value:
        cut = chance.randrange(len(value))
        parent[key] = chance.choice(
            (value[::-1], value[:cut], value * 2, chance.sample(value, len(value)), value[:1] * 3)
        )
    elif isinstance(value, dict) and value:
        parent[key] = {name: value[name] for name in list(value)[:: chance.choice((-1, 2))]}


_CHANGES: tuple[Callable[[Random, Any, Any, list[Any]], None], ...] = (
    *(_leaf, _leaf, _leaf, _other, _gone, _more, _renamed, _wrapped, _nudged, _nudged),
)


def spoilt(chance: Random, data: bytes) -> bytes:
    """Bytes with one to four changes that know nothing of what they are."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = chance.choice(_DAMAGE)(chance, data)
    return data


def _cut(chance: Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _with_a_piece(chance: Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(PIECES + TOKENS) + data[at:]


def _with_a_byte(chance: Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(1) + data[at + 1 :]


def _with_a_part(chance: Random, data: bytes) -> bytes:
    """A part is left out, or stands there twice."""
    at = chance.randrange(len(data) + 1)
    to = at + chance.choice((1, 10, 1_000, len(data)))
    return data[:at] + data[at:to] * chance.choice((0, 2)) + data[to:]


def _written_otherwise(chance: Random, data: bytes) -> bytes:
    """With a mark, other line ends, other quotes, or in another encoding."""
    encoding = chance.choice(("utf-16", "utf-32", "latin-1"))
    return chance.choice(
        (
            b"\xef\xbb\xbf" + data,
            data.replace(b"\n", b"\r\n"),
            data.replace(b'"', b"'"),
            data.decode("utf-8", "replace").encode(encoding, "replace"),
        )
    )


def _with_another_number(chance: Random, data: bytes) -> bytes:
    if not (found := list(_NUMBER.finditer(data))):
        return data
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(TOKENS) + data[one.end() :]


def _lines(chance: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one] = chance.choice((b"", lines[other], lines[one] * 2, lines[one] + lines[other], b"null", b"[]", b"{}"))
    return b"\n".join(lines)


_DAMAGE: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_cut, _with_a_piece, _with_a_byte, _with_a_byte, _with_a_part, _written_otherwise, _with_another_number, _lines),
)


def as_json(value: Any) -> bytes:
    """JSON, with NaN, and halves of characters escaped."""
    return json.dumps(value).encode()


def as_lines(rows: Any) -> bytes:
    """JSON lines, or JSON where it is no list any more."""
    return b"".join(as_json(row) + b"\n" for row in rows) if isinstance(rows, list) else as_json(rows)


def put(chance: Random, path: Path, data: bytes) -> None:
    """Write a file; now and then something else stands in its place."""
    path.unlink(missing_ok=True)
    if chance.random() > 0.02:
        path.write_bytes(data)
        return
    kind = chance.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        path.symlink_to(path)
    elif kind == 4:
        path.symlink_to("/dev/null")


def take_away(path: Path) -> None:
    """Remove what `put` has put there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def texts(chance: Random) -> Iterator[str]:
    """Words in a row, some of them odd."""
    odd = [leaf for leaf in LEAVES if isinstance(leaf, str)]
    while True:
        words = [f"word{chance.randrange(9)}" for _ in range(chance.randrange(1, 6))]
        if chance.random() < 0.15:
            words.insert(chance.randrange(len(words) + 1), chance.choice(odd))
        yield " ".join(words)
