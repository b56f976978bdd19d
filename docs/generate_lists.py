"""Write lists of methods, tasks and scorers with all options, of models, and measured tables into the pages.

Run `python docs/generate_lists.py` after a change of options or of kept figures; a test fails until then.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from bench import registry
from bench.cli.show import options, searched
from bench.method import Departure
from bench.scorers.people import by_people
from bench.scorers.people import names as scorers_checked
from bench.stats.classification import told
from bench.tasks.refusals import FIGURES
from bench.tasks.refusals import by_people as by_people_of_refusals

DOCS = Path(__file__).parent
_END = "<!-- end -->"
_NONE = "\N{EN DASH}"
_LONG = 90  # characters of a default that are shown


def methods() -> str:
    """Section of each method of this distribution."""
    parts = []
    for name, kind in _own("methods"):
        info = kind.info
        facts = [f"Kind: {info.kind}."]
        facts += [f"Source: {info.paper}."] if info.paper else []
        facts += ["Learns from [contrastive sets](sets.md)."] if info.needs_sets else []
        facts += ["Learns from the suite's scorer."] if info.needs_scorer and not info.chooses else []
        facts += [_spoken(info.speaks_of, info.texts)] if info.speaks_of else []
        facts += ["Chooses among continuations: likelihoods are the base's."] if info.chooses else []
        facts += [] if info.quantised else ["Not for a base model whose weights are quantised."]
        facts += [] if info.seeded else ["Does not depend on the seed."]
        facts += [f"Needs the extra `{extra}`." for extra in info.extras]
        facts += [f"Strength: `{info.strength}`."] if info.strength else []
        facts += [_measured_along(kind)] if kind.along else []
        over = ", ".join(f"`{option}` ({one})" for option, one in searched(info).items())
        facts += [f"[`bench tune`](tune.md) searches {over}."] if over else []
        departures = _departures(info.departures)
        parts.append(
            f"### `{name}`\n\n{_sentence(info.summary)} {' '.join(facts)}\n\n{_options(kind.Config)}{departures}"
        )
    return "## List\n\n" + "\n".join(parts)


def _measured_along(kind: Any) -> str:
    unknown = kind.steps_of(kind.Config()) is None
    only = ", with `epochs=null`: how many steps a pass over the sets takes is not known beforehand" if unknown else ""
    return f"[`bench sweep`](sweep.md#along-a-training) can measure it along its training{only}."


def _spoken(attributes: Sequence[str], texts: Sequence[str]) -> str:
    told = " and ".join(f"`{option}`" for option in texts)
    unless = f" unless {told} say{'s' * (len(texts) == 1)} otherwise" if texts else " and of nothing else"
    untold = " and says nothing there" if texts else ""
    return f"Speaks of {attributes[0]}{unless}: refused where a suite controls something else{untold}."


def tasks() -> str:
    """Section of each task of this distribution."""
    parts = []
    for name, kind in _own("tasks"):
        config = _options(kind.Config, leave_out=("task",))
        parts.append(
            f"### Options of `{name}`\n\n{_sentence(kind.info.summary)} Source: {kind.info.source}.\n\n{config}"
        )
    return "## List\n\n" + "\n".join(parts)


def scorers() -> str:
    """Options of each scorer of this distribution."""
    parts = []
    for name, kind in _own("scorers"):
        info = kind.info
        facts = [f"Measures {info.measures}.", f"Source: {info.source}."]
        facts += [f"Needs the extra `{extra}`." for extra in info.extras]
        parts.append(
            f"### Options of `{name}`\n\n{_sentence(info.summary)} {' '.join(facts)}\n\n{_options(kind.Config)}"
        )
    return "## List\n\n" + "\n".join(parts)


def people() -> str:
    """What scorers make of texts that people have labelled."""
    figures = ("precision", "recall", "false_positives", "auc")
    lines = ["| data | scorer | precision | recall | false positives | AUC |", "|---|---|---|---|---|---|"]
    rows = sorted((data, name, found) for name in scorers_checked() for data, found in by_people(name).items())
    for data, name, found in rows:
        lines.append(f"| `{data}`, {found['auc'].n} | `{name}` | {' | '.join(told(found[one]) for one in figures)} |")
    return "\n".join(lines) + "\n"


def refusals() -> str:
    """What the rule that tells refusals makes of answers that people have labelled."""
    lines = ["| half of the answers | " + " | ".join(name.replace("_", " ") for name in FIGURES) + " |"]
    lines.append("|---" * (len(FIGURES) + 1) + "|")
    halves = {"reported": "not looked at before", "chosen_by": "the rule was mended on"}
    for half, found in by_people_of_refusals().items():
        n = found["recall"].n + found["false_positives"].n
        lines.append(f"| {halves[half]}, {n} | {' | '.join(told(found[one]) for one in FIGURES)} |")
    return "\n".join(lines) + "\n"


def models() -> str:
    """What holds for each family of models, as the tests have it."""
    return str(_module(DOCS.parent / "tests" / "families.py").table())


def dependencies() -> str:
    """The project's direct dependencies: what for, licence and size, as docs/measure_dependencies.py has found them."""
    found = json.loads((DOCS / "dependencies.json").read_text(encoding="utf-8"))
    groups = _module(DOCS / "measure_dependencies.py").direct()
    lines = ["| package | extra | version | licence | MB |", "|---|---|---|---|--:|"]
    for name, facts in found["packages"].items():
        extras = ", ".join(f"`{extra}`" for extra, names in groups.items() if extra and name in names)
        cells = (
            facts["version"] or _NONE,
            facts["licence"],
            _NONE if facts["megabytes"] is None else facts["megabytes"],
        )
        lines.append(f"| `{name}` | {extras} | {' | '.join(map(str, cells))} |")
    base = found["base"]
    copyleft = ", ".join(f"`{name}` ({licence})" for name, licence in base["copyleft"].items())
    measured = (
        f"Measured on {found['when']} ({found['where']}, the CPU build of torch): the files that each package's own\n"
        "list names; a dash is what was not installed there. With all that they need in turn, the dependencies\n"
        f"without an extra are {base['count']} packages of {base['megabytes']:,} MB.\n"
        f"Those of them whose licence asks that changes to their own code be passed on: {copyleft}.\n"
    )
    return "\n".join([*lines, "", measured, *_brought(found)])


def _brought(found: dict[str, Any]) -> list[str]:
    """What those bring in turn, a line a package."""
    direct = {canonicalize_name(name) for name in found["packages"]}
    brought: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for extra, packages in {"": found["base"]["packages"], **found["extras"]}.items():
        for name, facts in (packages or {}).items():
            if name not in direct:
                brought.setdefault(name, (facts, []))[1].append(f"`{extra}`" if extra else "")
    unknown = ", ".join(f"`{extra}`" for extra, packages in found["extras"].items() if packages is None)
    return [
        "### What they bring in turn",
        "",
        f"Of {unknown} it is not known: they were not installed there.\n" if unknown else "",
        "| package | extra | version | licence | MB |",
        "|---|---|---|---|--:|",
        *(
            f"| `{name}` | {', '.join(extras)} | {facts['version']} | {facts['licence']} | {facts['megabytes']} |"
            for name, (facts, extras) in sorted(brought.items())
        ),
        "",
    ]


def defaults() -> str:
    """What stands behind each method's defaults: kept searches, or rows of the page itself."""
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    return str(_module(DOCS / "searches.py").overview(page))


def search(name: str) -> str:
    """A kept search of settings."""
    return str(_module(DOCS / "searches.py").render(name))


def measured(name: str) -> str:
    """A table of figures that are kept beside the documentation."""
    return str(_module(DOCS / "measured_tables.py").render(name))


def costs(name: str) -> str:
    """What the systems of such a table took to prepare."""
    return str(_module(DOCS / "measured_tables.py").costs(name))


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "methods.md": {"methods": methods},
    "tasks.md": {"tasks": tasks, "refusals": refusals},
    "scorers.md": {"people": people, "scorers": scorers, "mini-sentiment": partial(measured, "mini-sentiment")},
    "models.md": {"models": models},
    "edits.md": {name: partial(measured, name) for name in ("mini-edit", "mini-edit-against")},
    "settings.md": {"defaults": defaults}
    | {
        name: partial(search, name)
        for name in ("four-methods", "contrastive-own", "contrastive-above", "contrastive-written")
    },
    "results.md": {
        **{name: partial(measured, name) for name in ("mini", "mini-sets")},
        "costs of mini": partial(costs, "mini"),
    },
    "facts.md": {name: partial(measured, name) for name in ("mini-facts", "mini-facts-more", "mini-facts-others")},
    "licences.md": {"dependencies": dependencies},
}
"""Page to its markers, and what stands below each."""


def render(page: str) -> str:
    """A page with its lists made anew."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        begin = f"<!-- generated by docs/generate_lists.py: {name} -->"
        before, _, rest = text.partition(begin)
        _, end, after = rest.partition(_END)
        if not end:
            raise ValueError(f"{page} has no '{begin}' … '{_END}'")
        text = f"{before}{begin}\n\n{make()}\n{end}{after}"
    return text


def _module(path: Path) -> Any:
    spec = spec_from_file_location(path.stem, path)
    found = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(found)  # type: ignore[union-attr]
    return found


def _own(kind: registry.Kind) -> list[tuple[str, Any]]:
    """What this distribution brings; a third party's that is installed beside it is left out."""
    names = [name for name in registry.names(kind) if registry.origin(kind, name).startswith("contrastive-bench ")]
    return [(name, registry.load(kind, name)) for name in names]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _options(config: Any, leave_out: tuple[str, ...] = ()) -> str:
    rows = [row for row in options(config) if row["name"] not in leave_out]
    if not rows:
        return "It has no options.\n"
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = "required" if row["required"] else f"`{_default(row['default'])}`"
        cells = (f"`{row['name']}`", row["type"], default, row["description"] or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _departures(departures: Sequence[Departure]) -> str:
    if not departures:
        return ""
    lines = ["", "| as published | here | why |", "|---|---|---|"]
    for one in departures:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (one.published, one.here, one.why)) + " |")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str) and len(value) > _LONG:
        value = f"{value[:_LONG].rstrip()}..."
    if isinstance(value, str):
        return value.replace("\n", "\\n")  # a line's end would end the table's row
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(render(page), encoding="utf-8")
