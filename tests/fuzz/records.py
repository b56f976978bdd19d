"""Records of runs, and baselines made of them: changed, and read by every command that reads any."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from random import Random
from typing import Any

import synthetic
from fuzz.driver import Call, Case, Kind, Trial
from fuzz.mutation import as_json, as_lines, mutated, put, spoilt, take_away

from bench.cli.app import app
from bench.store.runs import list_runs
from reports.plots import FIGURES
from reports.table.layout import layouts
from reports.tradeoff.build import build, to_json
from reports.tradeoff.terminal import print_tradeoff

_FORMS = ("terminal", "markdown", "latex", "html", "csv", "json")
_SYSTEMS = (
    ("none", 0, {"toxicity": 0.6, "nll": 3.0}),
    ("contrastive", 0, {"toxicity": 0.3, "nll": 3.2, "config": {"tau": 0.5}}),
    ("contrastive", 1, {"toxicity": 0.35, "nll": 3.2, "config": {"tau": 0.5}}),
)


def _answers(seed: int) -> bytes:
    """What an lm-eval task leaves, of the questions of the synthetic records."""
    return as_lines(
        [
            {
                **{"kind": "answer", "version": 2, "doc_hash": f"p{number}", "filter": "none", "target": "0"},
                **{"responses": [[-1.5, True], [-2.0, False]], "metrics": {"acc": (number + seed) % 2}},
            }
            for number in range(synthetic.PROMPTS)
        ]
    )


@contextmanager
def _small() -> Iterator[None]:
    """Records as small as say anything, so that thousands are read in minutes."""
    usual = synthetic.PROMPTS, synthetic.SAMPLES
    synthetic.PROMPTS, synthetic.SAMPLES = 8, 3
    try:
        yield
    finally:
        synthetic.PROMPTS, synthetic.SAMPLES = usual


class _Records:
    """A folder of good records; a case changes some files, and they are put back."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "runs"
        with _small():
            for name, seed, more in _SYSTEMS:
                made = synthetic.write_run(self.root, name, seed, label=name, whole=True, **more)
                (made / "samples" / "embedded_piqa.jsonl").write_bytes(_answers(seed))
        self.runs = sorted(self.root.iterdir())
        self.ids = [path.name for path in self.runs]
        self.good = {path: path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file()}

    def put_back(self) -> None:
        """Make everything good again."""
        for path, data in self.good.items():
            take_away(path)
            path.write_bytes(data)
        for path in self.root.rglob("*"):
            if path.is_file() and path not in self.good:
                path.unlink()

    def changed(self, chance: Random) -> list[Path]:
        """Change something in some way; the files that it was done to."""
        return chance.choice((self._one, self._one, self._spoil, self._all, self._evidence, self._figures))(chance)

    def _value(self, path: Path) -> Any:
        lines = self.good[path].decode().splitlines()
        return [json.loads(line) for line in lines] if path.suffix == ".jsonl" else json.loads(self.good[path])

    def _write(self, path: Path, value: Any) -> None:
        path.write_bytes(as_lines(value) if path.suffix == ".jsonl" else as_json(value))

    def _one(self, chance: Random) -> list[Path]:
        """One file, as a value."""
        path = chance.choice(list(self.good))
        self._write(path, mutated(chance, self._value(path)))
        return [path]

    def _spoil(self, chance: Random) -> list[Path]:
        """One file, as bytes; or something else in its place."""
        path = chance.choice(list(self.good))
        put(chance, path, spoilt(chance, self.good[path]))
        return [path]

    def _all(self, chance: Random) -> list[Path]:
        """The same change in every run, so that they stay comparable."""
        name, state = (
            chance.choice(("manifest.json", "manifest.json", "result.json", "samples/rtp.jsonl")),
            chance.getstate(),
        )
        for run in self.runs:
            chance.setstate(state)
            self._write(run / name, mutated(chance, self._value(run / name)))
        return [run / name for run in self.runs]

    def _evidence(self, chance: Random) -> list[Path]:
        """Evidence, with figures that follow from it: the record is sound, whatever it says."""
        run = chance.choice(self.runs)
        path = chance.choice(sorted((run / "tasks").glob("*.json")))
        value = self._value(path)
        key = chance.choice(list(value["evidence"]))
        value["evidence"][key] = mutated(chance, value["evidence"][key])
        self._write(path, value)
        with suppress(Exception):
            synthetic.settle(run)
        return [path, run / "result.json"]

    def _figures(self, chance: Random) -> list[Path]:
        """What a metric says of itself, in the task's file and the result, in one run or all."""
        runs = self.runs if chance.random() < 0.5 else [chance.choice(self.runs)]
        place, state, touched = chance.randrange(7), chance.getstate(), []
        for run in runs:
            result = self._value(run / "result.json")
            old = result["metrics"][place]
            chance.setstate(state)
            result["metrics"][place] = new = mutated(chance, old)
            for path in sorted((run / "tasks").glob("*.json")):
                task = self._value(path)
                if old in task["metrics"]:
                    task["metrics"][task["metrics"].index(old)] = new
                    if _key(old) in task["evidence"]:
                        task["evidence"][_key(new)] = task["evidence"].pop(_key(old))
                    self._write(path, task)
                    touched.append(path)
            self._write(run / "result.json", result)
            touched.append(run / "result.json")
        return touched


def _key(metric: Any) -> str:
    parts = [metric.get(part) for part in ("task", "group", "name")] if isinstance(metric, dict) else []
    return "/".join(str(part) for part in parts if part)


def _records(folder: Path) -> Case:
    records = _Records(folder)
    baseline = folder / "baseline.json"
    _make_baseline(records, baseline)

    @contextmanager
    def case(chance: Random) -> Iterator[Trial]:
        files = records.changed(chance)
        yield Trial(files, list(_reading(chance, records, baseline, folder / "out")))
        records.put_back()
        shutil.rmtree(folder / "out", ignore_errors=True)

    return case


def _make_baseline(records: _Records, path: Path) -> None:
    mine = [name for name in records.ids if "contrastive" in name]
    with redirect_stdout(io.StringIO()):
        app(["baseline", *mine, "--runs-dir", str(records.root), "-o", str(path)], standalone_mode=False)


def _reading(chance: Random, records: _Records, baseline: Path, out: Path) -> Iterator[Call]:
    """Every command that reads records, in one of its forms; each form has its turn in some hundreds of cases."""
    where = ("--runs-dir", str(records.root))
    ids = records.ids if chance.random() < 0.5 else ["--all"]
    mine = [name for name in records.ids if "contrastive" in name]
    more: tuple[str, ...] = chance.choice(((), ("--json",)))
    yield Call.of("runs", *where, *more, is_text=not more)
    form, layout = chance.choice(_FORMS), chance.choice(layouts())
    more = ("--layout", layout, *chance.choice(((), ("--force",))))
    yield Call.of("table", *ids, *where, *more, "--format", form, is_text=form == "terminal")
    yield Call.of(
        "report", *ids, *where, "-o", "-", *chance.choice((("--no-figures",), ("--no-figures", "--no-samples")))
    )
    base = next(name for name in records.ids if "none" in name)
    form = chance.choice(("terminal", "markdown", "json"))
    more = chance.choice(((), ("--force", "--show-text")))
    yield Call.of("compare", base, mine[0], *where, *more, "--format", form, is_text=form == "terminal")
    figure = chance.choice(list(FIGURES))
    yield Call.of("plot", figure, *ids, *where, "-o", str(out / f"figure.{chance.choice(('svg', 'png', 'pdf'))}"))
    more = chance.choice(((), ("--json",)))
    yield Call.of("plan", *ids, *where, *more, is_text=not more)
    yield Call("sweep", lambda: _sweep(records.root), is_text=True)
    yield Call.of("baseline", *mine, *where, "-o", str(out / "b.json"), is_text=True)
    more = chance.choice(
        ((), ("--json",), ("--github", "--junit", str(out / "j.xml"), "--markdown", str(out / "m.md")))
    )
    yield Call.of("check", "--against", str(baseline), *mine, *where, *more, is_text=not more)


def _sweep(root: Path) -> None:
    """What `bench sweep` does when its runs are there."""
    found = build(list_runs(root), {"contrastive": "tau"})
    print_tradeoff(found)
    json.dumps(to_json(found), allow_nan=False)


def _baselines(folder: Path) -> Case:
    records = _Records(folder)
    path = folder / "baseline.json"
    _make_baseline(records, path)
    good = path.read_bytes()
    value = json.loads(good)
    mine = [name for name in records.ids if "contrastive" in name]
    where = (*mine, "--runs-dir", str(records.root), "--against", str(path))

    @contextmanager
    def case(chance: Random) -> Iterator[Trial]:
        put(chance, path, spoilt(chance, good) if chance.random() < 0.3 else as_json(mutated(chance, value)))
        forms = (
            (),
            ("--json",),
            ("--allow-config", "--github", "--junit", str(folder / "j.xml"), "--markdown", str(folder / "m.md")),
        )
        yield Trial([path], [Call.of("check", *where, *more, is_text=not more) for more in forms])
        take_away(path)

    return case


RECORDS = Kind("records", 5_000, _records)
BASELINES = Kind("baselines", 2_000, _baselines)
