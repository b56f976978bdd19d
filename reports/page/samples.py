"""The samples of some runs side by side, as compact columns: what the page's reader reads."""

import base64
import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.store.runs import Run
from reports.page.text import shown
from reports.table.cells import clean

_ATTRIBUTE = "toxicity"
_IDENTITY = ("doc_hash", "filter", "target", "responses")
_LEVEL = 6

Row = Mapping[str, Any]


def gather(systems: Sequence[Sequence[Run]]) -> list[dict[str, Any]]:
    """The samples of each system's runs, task by task: those with texts first, then in the order of their names.

    A task's samples are continuations (`texts`: lines with a prompt and a continuation) or answers (`questions`: lines
    of lm-eval); files of another kind are left out.

    Returns:
        Of a task with `texts`: prompts with their ids, groups and lengths cut; the rows (prompt, seed, sample); and for
        each system the text and score of each row. Of a task with `questions`: their ids and targets, and for each
        system and seed the answer to and the metrics of each.

    Raises:
        MissingError: a file is damaged.
    """
    tasks: dict[str, _Texts | _Questions] = {}
    for place, runs in enumerate(systems):
        for run in runs:
            for path in sorted((run.path / "samples").glob("*.jsonl")):
                for row in lines(path):
                    _add(tasks, clean(path.stem, 80), place, run.manifest.seed, row)
    found = [task.columns(name, len(systems)) for name, task in tasks.items()]
    return sorted(found, key=lambda task: task["kind"] != "texts")


def count(tasks: Iterable[Mapping[str, Any]]) -> int:
    """Continuations and answers in what `gather` returned."""
    found = 0
    for task in tasks:
        for system in task["systems"]:
            lists = [system["texts"]] if task["kind"] == "texts" else [run["answers"] for run in system["runs"]]
            found += sum(one is not None for values in lists for one in values)
    return found


def pack(value: object) -> str:
    """JSON values as base64 of gzip: nothing in it can end a script or be read over a shoulder; the same each time."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("ascii"), _LEVEL, mtime=0)).decode("ascii")


def lines(path: Path) -> Iterator[Row]:
    """The whole lines of a JSONL file one by one; a last line that was cut off is left out.

    Raises:
        MissingError: a line is damaged; the message says which.
    """
    number = 0
    try:
        with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for line in stream:
                number += 1
                if line.endswith("\n") and line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("no mapping")
                    yield row
    except (OSError, ValueError, RecursionError) as error:
        what = f"{path} is damaged (line {number}: {type(error).__name__})"
        raise MissingError(what, mend="run that experiment again, or leave the samples out (--no-samples)") from None


def _add(tasks: "dict[str, _Texts | _Questions]", name: str, place: int, seed: int, row: Row) -> None:
    """File a line under its task; each filter of an lm-eval task is a task of its own."""
    kind: type[_Texts | _Questions]
    if "continuation" in row and "prompt_id" in row:
        kind, label = _Texts, name
    elif "doc_hash" in row:
        how = row.get("filter", "none")
        kind, label = _Questions, name if how == "none" else clean(f"{name} ({how})")
    else:
        return
    if not isinstance(tasks.setdefault(label, kind()), kind):  # a file may hold both
        label = f"{label} ({'texts' if kind is _Texts else 'questions'})"
    tasks.setdefault(label, kind()).add(place, seed, row)


class _Texts:
    """Continuations by (prompt, seed, sample) and system."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._prompts: list[str] = []
        self._groups: list[str | None] = []
        self._rows: dict[tuple[int, int, int], int] = {}
        self._texts: dict[int, dict[int, str]] = {}
        self._scores: dict[int, dict[int, float | None]] = {}
        self._left_out: dict[int, dict[int, int]] = {}
        self._prompts_left_out: dict[int, int] = {}
        self._unnumbered: Counter[tuple[int, int, int]] = Counter()

    def add(self, place: int, seed: int, row: Row) -> None:
        prompt = self._prompt(row)
        given = row.get("sample")
        key = (prompt, seed, self._next(place, prompt, seed) if given is None else _whole(given))
        at = self._rows.setdefault(key, len(self._rows))
        cut = shown(_text(row["continuation"]))
        self._texts.setdefault(place, {})[at] = cut.text
        self._scores.setdefault(place, {})[at] = _score(row.get("scores"))
        if cut.left_out:
            self._left_out.setdefault(place, {})[at] = cut.left_out

    def _next(self, place: int, prompt: int, seed: int) -> int:
        """The number of a sample that has none: the order in which they stand."""
        self._unnumbered[place, prompt, seed] += 1
        return self._unnumbered[place, prompt, seed] - 1

    def _prompt(self, row: Row) -> int:
        name = _text(row["prompt_id"])
        if name not in self._ids:
            cut, group = shown(_text(row.get("prompt"))), row.get("group")
            if cut.left_out:
                self._prompts_left_out[len(self._ids)] = cut.left_out
            self._ids[name] = len(self._ids)
            self._prompts.append(cut.text)
            self._groups.append(clean(group, 40) if group else None)
        return self._ids[name]

    def columns(self, name: str, num_systems: int) -> dict[str, Any]:
        order = sorted(self._rows)
        places = [self._rows[key] for key in order]
        back = {place: n for n, place in enumerate(places)}
        systems = []
        for one in range(num_systems):
            texts, scores = self._texts.get(one, {}), self._scores.get(one, {})
            left = {back[at]: left for at, left in self._left_out.get(one, {}).items()}
            columns = [texts.get(at) for at in places], [scores.get(at) for at in places]
            systems.append({"texts": columns[0], "scores": columns[1], "left_out": left})
        return {
            "name": name,
            "kind": "texts",
            "ids": list(map(clean, self._ids)),
            "prompts": self._prompts,
            "prompts_left_out": self._prompts_left_out,
            "groups": self._groups,
            "rows": [list(column) for column in zip(*order, strict=True)],
            "systems": systems,
        }


class _Questions:
    """Answers and metrics by question, system and seed."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._targets: list[str] = []
        self._metrics: dict[str, None] = {}
        self._runs: dict[int, dict[int, dict[int, tuple[Any, dict[str, float]]]]] = {}

    def add(self, place: int, seed: int, row: Row) -> None:
        name = _text(row["doc_hash"])
        if name not in self._ids:
            self._ids[name] = len(self._ids)
            self._targets.append(shown(_text(row.get("target"))).text)
        metrics = {
            clean(key, 40): float(value)
            for key, value in row.items()
            if key not in _IDENTITY and isinstance(value, bool | int | float) and math.isfinite(value)
        }
        self._metrics |= dict.fromkeys(metrics)
        answers = self._runs.setdefault(place, {}).setdefault(seed, {})
        answers[self._ids[name]] = (_answer(row.get("responses")), metrics)

    def columns(self, name: str, num_systems: int) -> dict[str, Any]:
        def column(answers: dict[int, tuple[Any, dict[str, float]]], metric: str) -> list[float | None]:
            return [answers[n][1].get(metric) if n in answers else None for n in range(len(self._ids))]

        systems = [
            {
                "runs": [
                    {
                        "seed": seed,
                        "answers": [answers[n][0] if n in answers else None for n in range(len(self._ids))],
                        "values": [column(answers, metric) for metric in self._metrics],
                    }
                    for seed, answers in sorted(self._runs.get(place, {}).items())
                ]
            }
            for place in range(num_systems)
        ]
        ids, metrics = list(map(clean, self._ids)), list(self._metrics)
        return {
            "name": name,
            "kind": "questions",
            "ids": ids,
            "targets": self._targets,
            "metrics": metrics,
            "systems": systems,
        }


def _answer(responses: object) -> int | str | None:
    """The place of the likeliest answer of a multiple choice, else the text that was answered."""
    found = responses if isinstance(responses, list) else [responses]
    likelihoods = [one[0] for one in found if isinstance(one, list) and one and isinstance(one[0], int | float)]
    if likelihoods and len(likelihoods) == len(found):
        return max(range(len(likelihoods)), key=likelihoods.__getitem__)
    cut = shown(_text(found[0] if found else ""))
    return f"{cut.text} … and {cut.left_out} characters more" if cut.left_out else cut.text


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _score(scores: object) -> float | None:
    """The score of a text, or None where scoring failed."""
    value = scores.get(_ATTRIBUTE) if isinstance(scores, Mapping) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None
