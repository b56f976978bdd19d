"""Searches of settings in the documentation: one small file of figures for each, and the table of them all.

`docs/searches/NAME.json` holds every trial that `bench tune` made of one method, with what made it.

    python docs/searches.py FOLDER --runs-dir DIR    # keep what `bench tune -o FOLDER` found, with records in DIR
    python docs/generate_lists.py                    # lay the table out in its page again
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured_tables import made_by, maker

from bench import registry
from bench.store.runs import Run, load_run
from reports.table.sheet import DASH, number, signed

SEARCHES = Path(__file__).parent / "searches"
_DIGITS, _PERCENT = 3, 100


def keep(folder: Path, runs_dir: Path, into: Path = SEARCHES) -> list[Path]:
    """Write what a search found, one file for each method that was searched.

    Args:
        folder: What `bench tune` was given by `-o`.
        runs_dir: The folder of the trials' records.
        into: Where the files go.

    Returns:
        The files.
    """
    told = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    into.mkdir(parents=True, exist_ok=True)
    return [_keep(told, method, runs_dir, into) for method in told["methods"]]


def render(of: Path = SEARCHES) -> str:
    """All searches in Markdown: of each its defaults then and what it chose, and below them what made them."""
    searches = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(of.glob("*.json"))]
    lines = ["| search | trials | at its defaults then | chosen | its settings | the default now? |", "|---" * 6 + "|"]
    lines += [_row(one) for one in searches]
    return "\n".join([*lines, "", *sorted({_made(one) for one in searches})]) + "\n"


def _keep(told: Mapping[str, Any], method: Mapping[str, Any], runs_dir: Path, into: Path) -> Path:
    runs = {one["run_id"]: load_run(runs_dir / one["run_id"]) for one in method["trials"] if one["run_id"]}
    value = {
        "search": method["label"],
        "method": method["label"].partition(":")[0],
        **{name: told[name] for name in ("seed", "limit", "budget")},
        "suite": told["caption"]["suite"],
        "metric": told["attribute"],
        **made_by(runs.values()),
        "space": method["space"],
        "base": _figures(told["base"]),
        "trials": [_trial(one, method["space"], runs.get(one["run_id"])) for one in method["trials"]],
    }
    path = into / f"{re.sub('[^A-Za-z0-9_.-]+', '-', method['label'])}.json"
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return path


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


def _row(search: Mapping[str, Any]) -> str:
    chosen = [one for one in search["trials"] if one["chosen"]]
    failed = sum(one["why"] is not None for one in search["trials"])
    best = chosen[0] if chosen else None
    cells = (
        f"`{search['search']}`",
        f"{len(search['trials'])}" + (f", {failed} failed" if failed else ""),
        _told(search["trials"][0]),
        _told(best) if best else "none keeps the budget",
        ", ".join(f"`{option}={value}`" for option, value in best["settings"].items()) if best else DASH,
        _is_default(search["method"], best["settings"]) if best else DASH,
    )
    return f"| {' | '.join(cells)} |"


def _told(trial: Mapping[str, Any]) -> str:
    """A trial's figures: the attribute, and the change of perplexity."""
    if trial["why"]:
        return "failed"
    attribute = number(trial["attribute"], _DIGITS)
    share = DASH if trial["share"] is None else f"{signed(_PERCENT * trial['share'], 1)} %"
    return f"{attribute}; {share}" + (f" ({', '.join(trial['flags'])})" if trial.get("flags") else "")


def _is_default(method: str, settings: Mapping[str, Any]) -> str:
    """Whether a method's defaults are these settings."""
    own = registry.load("methods", method).Config().model_dump(mode="json")
    others = [f"`{option}={own.get(option)}`" for option, value in settings.items() if own.get(option) != value]
    return f"no: {', '.join(others)}" if others else "yes"


def _made(search: Mapping[str, Any]) -> str:
    limit = "" if search["limit"] is None else f", at most {search['limit']} prompts of each task"
    budget = " and ".join(f"`{one}`" for one in search["budget"])
    metric, base = search["metric"].replace("_", " "), number(search["base"]["attribute"], _DIGITS)
    where = f"On `{search['suite']}`{limit}, seed {search['seed']} ({maker(search)})"
    return f"{where}: the base has a {metric} of {base}; chosen within {budget}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    given = parser.parse_args()
    for path in keep(given.folder, given.runs_dir):
        print(path)
