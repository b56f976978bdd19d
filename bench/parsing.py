"""Files, JSON and YAML from people and from the net: plain values of a bounded size, or one error with its cause."""

import errno
import json
import math
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError

_LARGEST = 8 << 30  # bytes of a file that is read into memory
_DIGITS = 300
"""Digits of the longest number that is read: more are no number of anything, and no float holds them."""
_LONGEST, _MOST = 50_000, 20_000
"""Characters of the longest YAML text, and how many values one may stand for, its aliases written out."""
_DEEPEST = 60
_TOO_DEEP = "it is nested too deeply"
_HALF = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
"""What YAML refuses or takes for the end of a line, and JSON does not escape."""
_BARE = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\d.])(\d+)(e[-+]\d+)')
"""A text of JSON's, or a number that YAML 1.1 takes for a text: it wants a point before the exponent."""
_CAN_HALVE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def check_regular(path: Path) -> None:
    """Refuse what is no plain file, or too large to be one of ours: reading a pipe or a device may never end.

    Raises:
        OSError: it is none, it is too large, or there is nothing at the path.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    if found.st_size > _LARGEST:
        raise OSError(errno.EFBIG, "too large to be read", str(path))


def parse_json(text: str, *, nan: bool = False, halves: bool = True) -> Any:
    """Read a JSON value.

    Args:
        text: The JSON.
        nan: Whether NaN may stand for a number that is not known, as other programs write it.
        halves: Whether a text may hold half a character (a lone surrogate), which a model may write.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds a number or a text that is none.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_nan if nan else refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > _DEEPEST:
        _refuse_depth(value)
    if not halves and _CAN_HALVE.search(text):
        _refuse_halves(value)
    return value


def _refuse_depth(value: Any) -> None:
    """Refuse what Python's own functions, or pydantic's, could not walk through; the parser takes some more."""
    level = [value]
    for _ in range(_DEEPEST):
        parts = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [inner for part in parts for inner in part if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def refuse_constant(constant: str) -> float:
    """NaN and infinity are no JSON."""
    raise ValueError(f"{constant} is no JSON")


def _nan(constant: str) -> float:
    return math.nan if constant == "NaN" else refuse_constant(constant)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _refuse_halves(value: Any) -> None:
    if _HALF.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("a text holds half a character (a lone surrogate)")


class _Loader(yaml.SafeLoader):
    """Safe YAML of a bounded depth, whose dates stay texts: nothing that is configured here is a date."""

    _depth = 0

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        """Open a bracket; the scanner's time grows with the square of those that are open."""
        if self.flow_level > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node and those within."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in some if tag != "tag:yaml.org,2002:timestamp"]
    for first, some in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """Read a YAML value: mappings, lists, texts, numbers, yes and no, nothing.

    Raises:
        ValueError: it is not YAML, is too long, is nested too deeply, or stands for too much or for something else.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST:,} characters")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        value = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (
        TypeError,
        LookupError,
        OverflowError,
        AttributeError,
    ) as error:  # PyYAML's own, of tags that do not fit their value
        raise ValueError(f"a value does not fit its tag ({type(error).__name__})") from None
    finally:
        if loader is not None:
            loader.dispose()
    _check(value)
    return value


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, each alias written out; counted before anything is written out."""
    if id(node) in known:
        if not (size := known[id(node)]):
            raise ValueError("a value contains itself")
        return size
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    size = 1 + sum(_size(part, known) for part in parts)
    if size > _MOST:
        raise ValueError(f"it stands for more than {_MOST:,} values, its aliases written out")
    known[id(node)] = size
    return size


def _check(value: Any) -> None:
    """Refuse what is no plain value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check(key)
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
    elif isinstance(value, str):
        if _HALF.search(value):
            raise ValueError("a text holds half a character (a lone surrogate)")
    elif isinstance(value, int):
        if abs(value) >= 10**_DIGITS:
            raise ValueError(f"a number has more than {_DIGITS} digits")
    elif not (value is None or isinstance(value, float)):
        raise ValueError(f"a {type(value).__name__} is nothing that can be set: write a text, a number or a list")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UsageError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        check_regular(path)
        value = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} does not hold a mapping of keys to values")
    return value


def parse_value(text: str) -> Any:
    """What the value of a setting says, read as YAML; `1e-4`, which YAML 1.1 takes for a text, is a number.

    Raises:
        ValueError: it cannot be read.
    """
    parsed = parse_yaml(text)
    if isinstance(parsed, str) and parsed == text.strip():  # what stands in quotes is a text
        with suppress(ValueError):
            return float(parsed)
    return parsed


def written(value: Any) -> str:
    """A JSON value as `parse_value` reads it back: a text in quotes only where it must."""
    if isinstance(value, str):
        with suppress(ValueError):
            if parse_value(value) == value:
                return value
    text = _BARE.sub(lambda one: f"{one[1]}.0{one[2]}" if one[1] else one[0], json.dumps(value, ensure_ascii=False))
    return _UNSAFE.sub(lambda one: f"\\u{ord(one[0]):04x}", text)
