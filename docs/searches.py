"""Searches of settings in the documentation: one small file of figures for each, and its table.

`docs/searches/NAME.json` holds every trial that `bench tune` made, with what made it.

    python docs/searches.py NAME FOLDER --runs-dir DIR    # keep what `bench tune -o FOLDER` found, with records in DIR
    python docs/generate_lists.py                         # lay the tables out in their page again
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured_tables import made_by, maker

from bench import registry
from bench.run.stack import variant_of
from bench.store.runs import Run, load_run
from bench.suites import load_suite
from bench.suites import names as suites
from reports.table.comparable import flat
from reports.table.sheet import DASH, number, signed

SEARCHES = Path(__file__).parent / "searches"
_DIGITS, _PERCENT = 3, 100
_TRIED = ("default", "suite")
"""Where the value of an option comes from that nobody settled for the search."""


def keep(name: str, folder: Path, runs_dir: Path, into: Path = SEARCHES) -> Path:
    """Write what a search found.

    Args:
        name: What the search is called in the documentation.
        folder: What `bench tune` was given by `-o`.
        runs_dir: The folder of the trials' records.
        into: Where the file goes.

    Returns:
        The file.
    """
    told = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    names = [trial["run_id"] for method in told["methods"] for trial in method["trials"] if trial["run_id"]]
    runs = {run_id: load_run(runs_dir / run_id) for run_id in names}
    value = {
        "suite": told["caption"]["suite"],
        "setup": _setup(next(iter(runs.values()))),
        **{key: told[key] for key in ("seed", "limit", "budget")},
        "metric": told["attribute"],
        **made_by(runs.values()),
        "base": _figures(told["base"]),
        "methods": [_method(one, runs) for one in told["methods"]],
    }
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{name}.json"
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return path


def render(name: str, of: Path = SEARCHES) -> str:
    """A search in Markdown: of each method its defaults then and what was chosen, and below them what made it."""
    search = json.loads((of / f"{name}.json").read_text(encoding="utf-8"))
    lines = ["| method | trials | at its defaults then | chosen | its settings | the default now? |", "|---" * 6 + "|"]
    lines += [row for method in search["methods"] for row in _rows(method)]
    return "\n".join([*lines, "", _made(search)]) + "\n"


def _method(method: Mapping[str, Any], runs: Mapping[str, Run]) -> dict[str, Any]:
    """A method's trials, and the options that were settled for its search."""
    asked = next((runs[one["run_id"]].manifest.method for one in method["trials"] if one["run_id"]), {})
    config, origins = asked.get("config", {}), asked.get("origins", {})
    settled = [option for option in config if origins.get(option, "default") not in _TRIED]
    return {
        "method": method["asked"].partition(":")[0],
        "search": method["asked"],
        "settled": {option: config[option] for option in settled if option not in method["space"]},
        "space": method["space"],
        "trials": [_trial(one, method["space"], runs.get(one["run_id"])) for one in method["trials"]],
    }


def _trial(trial: Mapping[str, Any], space: Sequence[str], run: Run | None) -> dict[str, Any]:
    """What a trial's searched options were, all of them where it has a record, and what it came to."""
    config = run.manifest.method["config"] if run else trial["settings"]
    return {
        "settings": {option: config[option] for option in space if option in config},
        **(_figures(trial["point"]) if trial["point"] else {}),
        "why": trial["why"],
        "chosen": trial["chosen"],
    }


def _figures(point: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the base or of a trial: of the attribute, perplexity, and the share by which that rises."""
    share = point["costs"].get("perplexity", {}).get("value")
    return {"attribute": point["attribute"]["value"], "perplexity": point["perplexity"]["value"], "share": share} | (
        {"flags": point["flags"]} if point["flags"] else {}
    )


def _setup(run: Run) -> dict[str, Any]:
    """In what the suite of a search differs from the one of its name: what methods learned from, on which model."""
    asked = dict(run.manifest.suite)
    if asked["name"] not in suites():
        return {}
    asked.pop("limit")  # said by itself
    own = flat(load_suite(asked["name"]).model_dump())
    return {key: value for key, value in flat(asked).items() if own.get(key) != value}


def _rows(method: Mapping[str, Any]) -> list[str]:
    """A row for each chosen trial, and one where there is none."""
    failed = sum(one["why"] is not None for one in method["trials"])
    head = (
        _label(method),
        f"{len(method['trials'])}" + (f", {failed} failed" if failed else ""),
        _told(method["trials"][0]),
    )
    chosen = [one for one in method["trials"] if one["chosen"]]
    rows = [(*head, *_chosen(method, one)) for one in chosen] or [(*head, "none", DASH, DASH)]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def _label(method: Mapping[str, Any]) -> str:
    """A method as tables call it: with its variant, and what was settled for its search."""
    config = registry.load("methods", method["method"]).Config(**method["settled"])
    variant = variant_of(method["method"], config)
    settled = {option: value for option, value in method["settled"].items() if option not in variant}
    told = [*map(str, variant.values()), *(f"{option}={value}" for option, value in settled.items())]
    return method["method"] + (f" ({', '.join(told)})" if told else "")


def _chosen(method: Mapping[str, Any], trial: Mapping[str, Any]) -> tuple[str, str, str]:
    """A chosen trial's figures and settings, and whether they are the defaults now, beside what was settled."""
    settings = trial["settings"]
    now = registry.load("methods", method["method"]).Config(**method["settled"]).model_dump(mode="json")
    others = [f"`{option}={now.get(option)}`" for option, value in settings.items() if now.get(option) != value]
    told = ", ".join(f"`{option}={value}`" for option, value in settings.items()) or DASH
    return _told(trial), told, f"no: {', '.join(others)}" if others else "yes"


def _told(trial: Mapping[str, Any]) -> str:
    """A trial's figures: the attribute, and the change of perplexity."""
    if trial["why"]:
        return "failed"
    attribute = number(trial["attribute"], _DIGITS)
    share = DASH if trial["share"] is None else f"{signed(_PERCENT * trial['share'], 1)} %"
    return f"{attribute}; {share}" + (f" ({', '.join(trial['flags'])})" if trial.get("flags") else "")


def _made(search: Mapping[str, Any]) -> str:
    setup = "".join(f", `{key}={value}`" for key, value in search["setup"].items())
    limit = "" if search["limit"] is None else f", at most {search['limit']} prompts of each task"
    chosen = " and ".join(f"`{one}`" for one in search["budget"])
    rule = f"chosen: the best within {chosen}" if chosen else "chosen: all that no other trial beats in both figures"
    metric, base = search["metric"].replace("_", " "), number(search["base"]["attribute"], _DIGITS)
    where = f"On `{search['suite']}`{setup}{limit}, seed {search['seed']} ({maker(search)})"
    return f"{where}. In each cell {metric} and the change of held-out perplexity; the base has {base}; {rule}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    given = parser.parse_args()
    print(keep(given.name, given.folder, given.runs_dir))
