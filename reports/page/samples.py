"""The samples of some runs side by side, as compact columns: what the page's reader reads."""

import base64
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.store.files import files_in
from bench.store.runs import Run
from bench.store.samples import Answer, Sample, read_samples
from reports.page.chosen import Chosen
from reports.page.text import shown
from reports.table.cells import clean

_LEVEL = 6
_ALL = Chosen(0)


def gather(systems: Sequence[Sequence[Run]], chosen: Chosen = _ALL) -> list[dict[str, Any]]:
    """The samples of each system's runs, task by task: those with texts first, then in the order of their names.

    Those that are chosen. A task's samples are continuations (`texts`) or answers (`questions`, of lm-eval).

    Returns:
        Of a task with `texts`: prompts with their ids, groups and lengths cut; the rows (prompt, seed, sample); and for
        each system the text and score of each row. Of a task with `questions`: their ids and targets, and for each
        system and seed the answer to and the metrics of each.

    Raises:
        MissingError: a file is damaged.
    """
    texts: dict[str, _Texts] = {}
    questions: dict[str, _Questions] = {}
    for place, runs in enumerate(systems):
        for run in runs:
            for path in files_in(run.path / "samples", ".jsonl"):
                task, seed = clean(path.stem, 80), run.manifest.seed
                for sample in _read(path):
                    if not chosen.takes(path.stem, sample):
                        continue
                    if isinstance(sample, Sample):
                        score = (sample.scores or {}).get(run.scored.name)
                        texts.setdefault(task, _Texts()).add(place, seed, sample, score)
                    else:  # each filter of an lm-eval task is a task of its own
                        label = task if sample.filter == "none" else clean(f"{task} ({sample.filter})")
                        questions.setdefault(label, _Questions()).add(place, seed, sample)
    both = texts.keys() & questions.keys()  # a file may hold both
    found = [task.columns(name, len(systems)) for name, task in texts.items()]
    return found + [
        task.columns(f"{name} (questions)" if name in both else name, len(systems)) for name, task in questions.items()
    ]


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


def _read(path: Path) -> Iterator[Sample | Answer]:
    """The samples of a file; the remedy for a damaged one is the page's."""
    try:
        yield from read_samples(path)
    except MissingError as error:
        mend = "run that experiment again, or leave the samples out (--no-samples)"
        raise MissingError(error.what, mend=mend) from None


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

    def add(self, place: int, seed: int, sample: Sample, score: float | None) -> None:
        key = (self._prompt(sample), seed, sample.sample)
        at = self._rows.setdefault(key, len(self._rows))
        cut = shown(sample.continuation)
        self._texts.setdefault(place, {})[at] = cut.text
        self._scores.setdefault(place, {})[at] = score
        if cut.left_out:
            self._left_out.setdefault(place, {})[at] = cut.left_out

    def _prompt(self, sample: Sample) -> int:
        name = sample.prompt_id
        if name not in self._ids:
            cut, group = shown(sample.prompt), sample.group
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

    def add(self, place: int, seed: int, answer: Answer) -> None:
        name = answer.doc_hash
        if name not in self._ids:
            self._ids[name] = len(self._ids)
            self._targets.append(shown(answer.target).text)
        metrics = {
            clean(key, 40): float(value)
            for key, value in answer.metrics.items()
            if isinstance(value, bool | int | float) and math.isfinite(value)
        }
        self._metrics |= dict.fromkeys(metrics)
        answers = self._runs.setdefault(place, {}).setdefault(seed, {})
        answers[self._ids[name]] = (_answer(answer.responses), metrics)

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
