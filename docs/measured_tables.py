"""Tables in the documentation, laid out from figures that are kept beside it.

`docs/measured/NAME.json` holds a table with all of its figures, and what made it; `NAME.yaml` is a page's layout of it.

    python docs/measured_tables.py NAME RUN...       # keep the figures of these records
    python docs/measured_tables.py NAME RUN... --against METHOD     # with differences to this method, not to the base
    python docs/generate_lists.py                    # lay the tables out in their pages again

A test holds that the pages show what is kept, and that the figures that their sentences quote are among it.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from bench.store.runs import Run, load_run
from reports.table.cells import MetricRow, System, Table, TableCell
from reports.table.forms.json import from_json_values
from reports.table.forms.markdown import to_markdown
from reports.table.layout import arrange, load_layout
from reports.table.opening import arranged

MEASURED = Path(__file__).parent / "measured"
SEARCHES = Path(__file__).parent / "searches"
SEARCHED_BY = {"mini": "four-methods"}
"""Of tables whose records do not say by how many trials settings were chosen: the kept search that chose them."""
_TRIALS = "cost/search_trials"


def keep(name: str, folders: Sequence[Path], against: str | None = None) -> None:
    """Write the table of some records, with the commits and processors that made them."""
    runs = [load_run(folder) for folder in folders]
    table, _ = arranged(runs, load_layout("full"), against=against)
    value = made_by(runs) | {"trainings": trainings(table, runs), "table": _shortened(replace(table, runs=()))}
    (MEASURED / f"{name}.json").write_text(json.dumps(value, indent=0) + "\n", encoding="utf-8")


def trainings(table: Table, runs: Iterable[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """What each training of each system has of the figures that speak for the attribute: by metric, label and seed."""
    by_id = {run.id: run for run in runs}
    metrics = [row.key for row in table.rows if row.role == "attribute" and row.primary and row.scorer is None]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for metric in metrics:
        for one in table.systems:
            own = {str(by_id[name].manifest.seed): _figure(by_id[name], metric) for name in one.run_ids}
            found.setdefault(metric, {})[one.label] = {seed: value for seed, value in own.items() if value is not None}
    return found


def _figure(run: Run, metric: str) -> float | None:
    metrics = run.result.metrics if run.result else []
    return next((one.value for one in metrics if one.key == metric), None)


def made_by(runs: Iterable[Run]) -> dict[str, list[str]]:
    """The commits and processors that made some records, and on which days."""
    made = [run.manifest for run in runs]
    return {
        "commits": sorted({f"{one.code['commit']}{' with changes' if one.code['dirty'] else ''}" for one in made}),
        "processors": sorted({str(one.hardware["cpu"]) for one in made}),
        "created": sorted({one.created[:10] for one in made}),
    }


def maker(kept: Mapping[str, Any]) -> str:
    """The commits and processors that made what is kept, for a sentence."""
    return f"commit {', '.join(one[:7] for one in kept['commits'])}, {', '.join(kept['processors'])}"


def load(name: str) -> Table:
    """The kept table of that name."""
    return from_json_values(_kept(name)["table"])


def render(name: str) -> str:
    """The kept table as its layout has it, in Markdown, and a line on what made it."""
    kept = _kept(name)
    table = from_json_values(kept["table"])
    seeds = f"seed{'s' if len(table.caption.seeds) > 1 else ''} {', '.join(map(str, table.caption.seeds))}"
    return "\n".join([*_lines(table, name), "", f"C{maker(kept)[1:]}; {seeds}."]) + "\n"


def costs(name: str) -> str:
    """What each system of a kept table took to find its settings and to prepare, in Markdown."""
    table = load(name)
    rows = tuple(_with_trials(row, table.systems, name) if row.key == _TRIALS else row for row in table.rows)
    return "\n".join(_lines(replace(table, rows=rows), "costs")) + "\n"


def _lines(table: Table, layout: str) -> list[str]:
    """The lines of a table in Markdown, as a layout of the folder has it."""
    sheet = arrange(table, load_layout(str(MEASURED / f"{layout}.yaml")))
    return [line for line in to_markdown(sheet).splitlines() if line.startswith("|")]


def _with_trials(row: MetricRow, systems: Sequence[System], name: str) -> MetricRow:
    """The trials that chose a system's settings, where its records do not say: those of the search that chose them."""
    told = [
        cell if cell.value is not None else replace(cell, value=_trials(one, SEARCHED_BY.get(name)))
        for one, cell in zip(systems, row.cells, strict=True)
    ]
    return replace(row, cells=tuple(told))


def _trials(system: System, search: str | None) -> float | None:
    """How many trials of a kept search stand behind a system; None where the search did not choose its settings."""
    if search is None:
        return None
    kept = json.loads((SEARCHES / f"{search}.json").read_text(encoding="utf-8"))
    for method in kept["methods"]:
        if method["method"] == system.method:
            for trial in method["trials"]:
                wanted = {**method["settled"], **trial["settings"]}
                if trial["chosen"] and all(system.config.get(option) == value for option, value in wanted.items()):
                    return float(len(method["trials"]))
    return None


def figures(name: str, labels: Iterable[str]) -> set[str]:
    """Figures of some systems and of the base as a sentence may write them: no sign, 1 to 4 decimals; or percent.

    They are those of the metrics that the table shows (an interval's end of something else is no source of a sentence),
    and those of single trainings.
    """
    table, wanted = load(name), set(labels)
    shown = {column.metric for column in load_layout(str(MEASURED / f"{name}.yaml")).columns}
    own = [place for place, one in enumerate(table.systems) if one.is_base or one.label in wanted]
    values = [value for row in table.rows if row.key in shown for place in own for value in _values(row.cells[place])]
    for by_label in _kept(name).get("trainings", {}).values():
        values += [value for label, by_seed in by_label.items() if label in wanted for value in by_seed.values()]
    return {text for value in values for text in written(value)}


def written(value: float) -> set[str]:
    """A figure as a sentence may write it: no sign, with 1 to 4 decimals; or as percent."""
    return {f"{abs(value):.{digits}f}" for digits in range(1, 5)} | {
        f"{abs(value) * 100:.{digits}f}" for digits in range(3)
    }


def _values(cell: TableCell) -> list[float]:
    difference = cell.difference
    values = [cell.value, cell.low, cell.high, cell.loss_at_most]
    values += [difference.value, difference.low, difference.high] if difference else []
    return [value for value in values if value is not None]


def _kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _shortened(value: Any) -> Any:
    """JSON values of a table's parts, without what is as its default."""
    if is_dataclass(value):
        own = {one.name: (getattr(value, one.name), one.default) for one in fields(value)}
        return {name: _shortened(found) for name, (found, default) in own.items() if found != default}
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(one) for one in value]
    return value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--against")
    asked = parser.parse_args()
    keep(asked.name, asked.runs, asked.against)
