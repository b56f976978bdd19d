"""What people write in YAML: suites, and layouts of tables."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import yaml
from fuzz.driver import Call, Case, Kind, Trial
from fuzz.mutation import LEAVES, mutated, put, spoilt, take_away
from synthetic import write_run

from bench import registry, suites
from bench.run.plan import Request, make_experiments
from bench.run.sweep import STRENGTH, make_sweep
from bench.store.runs import load_run
from reports.table.build import build
from reports.table.forms import FORMS
from reports.table.forms.latex import LatexOptions
from reports.table.layout import arrange, layouts, load_layout
from reports.table.terminal import text_of

_TAGS = (
    "",
    "",
    "",
    "",
    "!!str ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!null ",
    "!!binary ",
    "!!set ",
    "!!omap ",
    "!x ",
    "!!timestamp ",
)
_SCALARS = (
    *("1", "-1", "0x10", "0o7", "1_000", "1e3", ".5", ".inf", ".nan", "~", "yes", "no", "on", "2001-99-99", "12:30:45"),
    *(
        "x",
        "'x'",
        '"\\x1b"',
        '"\\ud800"',
        "|\n   x\n",
        ">-\n   x\n",
        "=",
        "<<",
        "*a",
        "&a x",
        "@x",
        "`x",
        "%x",
        "? x",
        "rtp",
    ),
)


def _yaml(chance: Random, keys: list[str], depth: int = 0) -> str:
    """YAML by its grammar: blocks and flows, tags, anchors, aliases, merges."""
    pad, tag = "  " * depth, chance.choice(_TAGS)
    anchor = chance.choice(("", "", "", "", "&a ", "&b "))
    shape = chance.randrange(6) if depth < 5 else 5
    some = range(chance.randrange(4))
    if shape == 0:
        return f"{tag}{anchor}\n" + "".join(f"{pad}- {_yaml(chance, keys, depth + 1)}\n" for _ in some)
    if shape in (1, 2):
        lines = (
            f"{pad}{chance.choice((*keys, '<<', '? x', '1', '*a'))}: {_yaml(chance, keys, depth + 1)}\n" for _ in some
        )
        return f"{tag}{anchor}\n" + "".join(lines)
    if shape == 3:
        return f"{tag}{anchor}[{', '.join(_flow(chance, keys) for _ in some)}]"
    if shape == 4:
        return f"{tag}{anchor}{{{', '.join(f'{chance.choice(keys)}: {_flow(chance, keys)}' for _ in some)}}}"
    return f"{tag}{anchor}{chance.choice(_SCALARS)}"


def _flow(chance: Random, keys: list[str]) -> str:
    return chance.choice(("[]", "{}", "*a", "*b", "1", "x", "~", "[[x]]", f"{{{chance.choice(keys)}: 1}}"))


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*map(str, value), *(key for inner in value.values() for key in _keys(inner))]
    return [key for inner in value for key in _keys(inner)] if isinstance(value, list) else []


def _written(chance: Random, known: list[dict[str, Any]], keys: list[str]) -> bytes:
    """A file: a known value, changed as a value or as bytes; or YAML by its grammar, beside good keys or alone."""
    value = chance.choice(known)
    kind = chance.random()
    if kind < 0.25:
        text = "".join(f"{chance.choice(keys)}: {_yaml(chance, keys, 1)}\n" for _ in range(chance.randrange(1, 4)))
        if chance.random() < 0.5:
            rest = {key: inner for key, inner in value.items() if f"{key}: " not in text}
            text = f"{yaml.safe_dump(rest)}\n{text}"
        return text.encode("utf-8", "surrogatepass")
    if kind < 0.8:
        value = mutated(chance, value)
    text = json.dumps(value)
    with suppress(RecursionError):  # PyYAML writes less deep values
        text = text if chance.random() < 0.7 else yaml.safe_dump(value)
    data = text.encode("utf-8", "surrogatepass")
    return spoilt(chance, data) if kind > 0.7 else data


def _suites(folder: Path) -> Case:
    known = [suites.read_suite(name)[0] for name in suites.names()]
    known += [{**one, "extends": "standard"} for one in known]
    known += [{"extends": name, "name": "mine"} for name in ("mini", "./other.yaml", "suite.yaml")]
    keys = [key for key in dict.fromkeys(_keys(known)) if key.isidentifier()]
    (folder / "other.yaml").write_text("extends: mini\nname: other\n", encoding="utf-8")
    path = folder / "suite.yaml"
    methods = [name for name in registry.names("methods") if _needs_nothing(name)]

    @contextmanager
    def case(chance: Random) -> Iterator[Trial]:
        put(chance, path, _written(chance, known, keys))
        settings = []
        if chance.random() < 0.3:
            where = ".".join(chance.choice(keys) for _ in range(chance.randrange(1, 4)))
            settings = [f"suite.{where}={chance.choice((*_SCALARS, *map(str, LEAVES)))}"]
        model = chance.choice((None, None, "other@main"))
        request = Request([chance.choice(methods)], str(path), model, settings=settings)

        def plan() -> None:
            for experiment in make_experiments(request):
                experiment.build()
                experiment.tasks()
                experiment.suite.model_dump_json()

        yield Trial(
            [path],
            [
                Call.of("suites", "show", str(path)),
                Call("make_experiments", plan),
                Call("make_sweep", lambda: make_sweep(request, STRENGTH, None, 4)),
            ],
        )
        take_away(path)

    return case


def _needs_nothing(method: str) -> bool:
    return not any(field.is_required() for field in registry.load("methods", method).Config.model_fields.values())


def _layouts(folder: Path) -> Case:
    systems = (
        ("none", {"toxicity": 0.6}),
        ("dpo", {"toxicity": 0.5, "config": {"beta": 1}}),
        ("sft", {"toxicity": 0.3}),
    )
    runs = [load_run(write_run(folder / "runs", name, **more)) for name, more in systems]
    place = files("reports.table") / "layouts"
    known = [yaml.safe_load((place / f"{name}.yaml").read_text(encoding="utf-8")) for name in layouts()]
    keys = [key for key in dict.fromkeys([*_keys(known), "published", "source", "figures"]) if key.isidentifier()]
    built, path = build(runs), folder / "layout.yaml"

    def shown(form: Callable[..., str] | None) -> Callable[[], None]:
        def show() -> None:
            layout = load_layout(str(path))
            sheet = arrange(built, layout)
            print(form(built, sheet, LatexOptions()) if form else text_of(sheet))

        return show

    @contextmanager
    def case(chance: Random) -> Iterator[Trial]:
        put(chance, path, _written(chance, known, keys))
        calls = [Call(f"table --format {name}", shown(form), is_json=name == "json") for name, form in FORMS.items()]
        yield Trial([path], [Call("table", shown(None), is_text=True), *calls])
        take_away(path)

    return case


SUITES = Kind("suites", 10_000, _suites)
LAYOUTS = Kind("layouts", 2_000, _layouts)
