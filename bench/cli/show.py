"""`bench methods|tasks|suites|scorers`: what there is to choose from, and every option of it."""

import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import registry
from bench.cli.common import Commands, Json
from bench.cli.output import print_json
from bench.errors import BenchError
from bench.printed import echo

if TYPE_CHECKING:
    from bench.method import MethodInfo
    from bench.spec import Spec

Facts = dict[str, Any]
_MAX_WIDTH = 100
_LEAST, _BELOW = 16, " " * 4
"""Columns that a text must have beside what it is about, and what stands before it below."""
_APART = ("name", "summary", "options", "departures")
"""Facts that a page does not show as a line of `key  value`."""


@dataclass(frozen=True)
class _Choice:
    """One kind of thing to choose from: how to list it, and how to show one."""

    kind: str
    help: str
    columns: tuple[str, ...]
    ls: Callable[[], list[Facts]]
    show: Callable[[str], Facts]
    render: Callable[[Facts], str]


def _sub_app(choice: _Choice) -> typer.Typer:
    app = Commands(name=choice.kind, help=choice.help, rich_markup_mode=None)

    def ls(json: Json = False) -> None:
        rows = choice.ls()
        if json:
            print_json(rows)
        else:
            echo(_table(rows, choice.columns))

    def show(name: Annotated[str, typer.Argument(help="A name out of the list.")], json: Json = False) -> None:
        facts = choice.show(name)
        if json:
            print_json(facts)
        else:
            echo(choice.render(facts))

    def root(context: typer.Context, json: Json = False) -> None:
        if context.invoked_subcommand is None:
            ls(json)

    app.callback(invoke_without_command=True, help=f"{choice.help} Alone: the list.")(root)
    app.command("ls", help=f"List the {choice.kind}.")(ls)
    app.command("show", help=f"Show one of the {choice.kind} with all that is known of it.")(show)
    return app


def _rows(kind: registry.Kind, facts: Callable[[str], Facts]) -> list[Facts]:
    """Facts on each of a kind; one that cannot be loaded is listed with the reason."""
    rows = []
    for name in registry.names(kind):
        try:
            rows.append(facts(name))
        except BenchError as error:
            rows.append({"name": name, "summary": error.what, "from": registry.origin(kind, name), "broken": True})
    return rows


def _method(name: str) -> Facts:
    from bench.run.stack import method_of, names_of

    info = method_of(name).info
    return {
        "name": name,
        "kind": info.kind,
        "summary": info.summary,
        "paper": info.paper,
        "needs_sets": info.needs_sets,
        "speaks_of": list(info.speaks_of[:1]),
        "texts": list(info.texts),
        "extras": list(info.extras),
        "quantised": info.quantised,
        "seeded": info.seeded,
        "strength": info.strength,
        "strengths": list(info.strengths),
        "search": searched(info),
        "inputs": dict(info.inputs),
        "from": "; ".join(dict.fromkeys(registry.origin("methods", part) for part in names_of(name))),
    }


def searched(info: "MethodInfo") -> dict[str, str]:
    """What `bench tune` searches of a method, by option, for people."""
    return {
        option: ", ".join(map(str, over)) if isinstance(over, tuple) else str(over)
        for option, over in info.search.items()
    }


def _method_page(name: str) -> Facts:
    """Facts on a method with its options and where it departs from what was published."""
    from bench.run.stack import method_of

    kind = method_of(name)
    departures = [asdict(departure) for departure in kind.info.departures]
    return _method(name) | {"options": options(kind.Config), "departures": departures}


def _task(name: str) -> Facts:
    info = registry.load("tasks", name).info
    return {"name": name, "summary": info.summary, "source": info.source, "from": registry.origin("tasks", name)}


def _scorer(name: str) -> Facts:
    info = registry.load("scorers", name).info
    return {
        "name": name,
        "summary": info.summary,
        "measures": info.measures,
        "source": info.source,
        "extras": list(info.extras),
        "from": registry.origin("scorers", name),
    }


def _with_options(kind: registry.Kind, facts: Callable[[str], Facts]) -> Callable[[str], Facts]:
    return lambda name: facts(name) | {"options": options(registry.load(kind, name).Config)}


def options(config: "type[Spec]") -> list[Facts]:
    """Every option of a configuration: its name, type, default (None also where it is required) and description."""
    schema = config.model_json_schema()
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type(part, schema.get("$defs", {})),
            "required": name in required,
            "default": part.get("default"),
            "description": part.get("description"),
        }
        for name, part in schema.get("properties", {}).items()
    ]


_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _type(schema: Facts, shared: Facts) -> str:
    """A JSON schema's type in words: `a | b`, `integer >= 1`, `list of string`."""
    if "$ref" in schema:
        return _type(shared[schema["$ref"].rsplit("/", 1)[-1]], shared)
    if "anyOf" in schema:
        return " | ".join(_type(part, shared) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    name = schema.get("type", "anything")
    if name == "array":
        return f"list of {_type(schema.get('items', {}), shared)}"
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema)
    return f"{name} {bounds}".rstrip()


def _suites() -> list[Facts]:
    from bench import suites

    found = {name: suites.read_suite(name)[0] for name in suites.names()}
    return [{"name": name, "description": str(suite.get("description", ""))} for name, suite in found.items()]


def _suite(name: str) -> Facts:
    from bench.suites import load_suite

    suite = load_suite(name)
    dumped = suite.model_dump(mode="json")
    # What is left out of keys where it is not set can be set all the same.
    return dumped | {key: getattr(suite, key) for key in type(suite).model_fields if key not in dumped}


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _MAX_WIDTH)


def _table(rows: list[Facts], columns: tuple[str, ...]) -> str:
    """Aligned columns without rules; the last one is wrapped."""
    if not rows:
        return "none is installed"
    *short, last = columns
    widths = [max(len(str(row.get(column) or "-")) for row in rows) for column in short]
    if _width() - sum(width + 2 for width in widths) < _LEAST:  # all of it goes below
        widths = [0] * len(widths)
    lines = []
    for row in rows:
        cells = [str(row.get(column) or "-").ljust(width) for column, width in zip(short, widths, strict=True)]
        lines.append(_hang("  ".join(cells), str(row.get(last) or "-")))
    return "\n".join(lines)


def _hang(head: str, text: str) -> str:
    """`head`, then `text` in lines under each other: beside it, or below it where that is narrow."""
    lead = f"{head}  "
    if _width() - len(lead) < _LEAST:
        return f"{head.rstrip()}\n{_filled(_BELOW, _BELOW, text)}"
    return _filled(lead, " " * len(lead), text)


def _filled(lead: str, indent: str, text: str) -> str:
    # Names and paths stay whole, also on a narrow terminal.
    return textwrap.TextWrapper(_width(), lead, indent, break_on_hyphens=False, break_long_words=False).fill(text)


def _page(facts: Facts, how: str) -> str:
    """All facts on one choice; `how` says how its options are set."""
    lines = [_hang(facts["name"], facts["summary"]), ""]
    known = [(key, value) for key, value in facts.items() if key not in _APART and value != ""]
    width = max(len(key) for key, _ in known)
    lines += [_hang(f"  {key.replace('_', ' '):<{width}}", _value(value)) for key, value in known]
    options = facts.get("options", [])
    lines += ["", f"Options ({how}):"] if options else []
    for option in options:
        default = "required" if option["required"] else f"default {_value(option['default'])}"
        lines.append(_hang(f"  {option['name']}", f"{option['type']}; {default}"))
        if option["description"]:
            lines.append(_hang("     ", option["description"]))
    departures = facts.get("departures", [])
    lines += ["", "Where it departs from its authors' paper or code:"] if departures else []
    for departure in departures:
        lines.append(_hang("  published", departure["published"]))
        lines.append(_hang("  here     ", departure["here"]))
        lines.append(_hang("  why      ", departure["why"]))
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} ({what})" for key, what in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _yaml(facts: Facts) -> str:
    import yaml

    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=_width())).rstrip()


methods = _sub_app(
    _Choice(
        kind="methods",
        help="Ways to edit a model or its decoding.",
        columns=("name", "kind", "strength", "summary"),
        ls=lambda: _rows("methods", _method),
        show=_method_page,
        render=partial(_page, how="--set NAME=VALUE"),
    )
)
tasks = _sub_app(
    _Choice(
        kind="tasks",
        help="What is measured on an edited model.",
        columns=("name", "summary"),
        ls=lambda: _rows("tasks", _task),
        show=_with_options("tasks", _task),
        render=partial(_page, how="keys of its entry in a suite's tasks"),
    )
)
suites = _sub_app(
    _Choice(
        kind="suites",
        help="Experiments: model, data, tasks, sizes, scorer, decoding.",
        columns=("name", "description"),
        ls=_suites,
        show=_suite,
        render=_yaml,
    )
)
scorers = _sub_app(
    _Choice(
        kind="scorers",
        help="What scores texts, for their toxicity or another attribute.",
        columns=("name", "summary"),
        ls=lambda: _rows("scorers", _scorer),
        show=_with_options("scorers", _scorer),
        render=partial(_page, how="--set suite.scorer.options.NAME=VALUE"),
    )
)
