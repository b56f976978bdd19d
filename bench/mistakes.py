"""What is wrong with a user's configuration, in a line: every mistake, unknown keys with the closest known one."""

from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import did_you_mean

_MOST, _SHOWN = 20, 80  # errors that are told, and characters of a name that somebody made up


def mistakes_in(kind: type[BaseModel], error: ValidationError, *, show_values: bool) -> str:
    """What an error in data for a `kind` says; values are shown unless they may be offensive."""
    found = error.errors()
    lines = [_explain(kind, detail, show_values=show_values) for detail in found[:_MOST]]
    lines += [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return "; ".join(lines)


def _explain(kind: type[BaseModel], detail: Any, *, show_values: bool) -> str:
    path = [part for part in detail["loc"] if isinstance(part, str | int)]
    if not path and detail["type"] == "value_error":  # it names the keys itself
        return str(detail["ctx"]["error"])
    name = ".".join(map(str, path)) or "the whole"
    name = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    if detail["type"] == "extra_forbidden":
        known = _fields(kind, path[:-1])
        return f"unknown key '{name}', " + (did_you_mean(str(path[-1]), known) if known else "there is none to set")
    if detail["type"] == "missing":
        return f"'{name}' is missing"
    shown = f" = {detail['input']!r:.80}" if show_values else ""
    quoted = "; quoted it is one: '\"...\"'" if shown and detail["type"] == "string_type" else ""
    if quoted and isinstance(detail["input"], bool):
        quoted += " (YAML reads yes, no, on and off as true and false)"
    return f"'{name}'{shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{quoted}"


def _fields(kind: type[BaseModel], path: list[str | int]) -> list[str]:
    model: Any = kind
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
