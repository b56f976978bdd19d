"""The commands that are killed: what each is asked for, and what of its outcome must be the same whatever happened."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import build_suite, build_tiny_encoder, build_tiny_model, write_rows

from bench.spec import SetsSpec

SETS = SetsSpec(
    source="self", positive_below=0.04, negative_above=0.05, num_prompts=4, decoding={"num_samples": 40}
).model_dump()
FILTERS = {
    "similarity_above": None,
    "length_ratio": None,
    "rouge_l_below": None,
    "language": None,
    "refusals": False,
    "finished": False,
    "positive_below": 0.0364,
    "negative_above": 0.0364,
}
"""They part a random model's texts."""


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        name: What a user calls it.
        args: Its arguments.
        reads: The command whose records it reads, which are made once; None for none.
    """

    name: str
    args: tuple[str, ...]
    reads: str | None = None


def commands(inputs: Path) -> dict[str, Command]:
    """Write what the commands read to a folder, and return them by name; records are read from `runs` in it."""
    model, runs = inputs / "tiny", ("--runs-dir", str(inputs / "runs"))
    suite, recipe, sentences = _write_inputs(inputs, model)
    edit = ("--method", "contrastive:steps=2", "--suite", str(suite))
    judge = ("--all", "--task", "rtp", "--prompts", "3", "--model", str(model), "--out", "verdicts")
    contrastive = next((inputs / "runs").glob("tiny-contrastive-*"), Path("not-made-yet")).name
    listed = [
        Command("run", ("run", *edit)),
        Command("sweep", ("sweep", *edit, "--points", "2")),
        Command("judge", ("judge", *judge, *runs), "run"),
        Command("data generate", ("data", "generate", str(sentences), "--recipe", str(recipe), "--out", "made")),
        Command("baseline", ("baseline", contrastive, "--output", "kept/baseline.json", *runs), "run"),
        Command("report", ("report", "--all", "--output", "page.html", *runs), "run"),
        Command("table -o", ("table", "--all", "--output", "table.html", *runs), "run"),
    ]
    return {command.name: command for command in listed}


def _write_inputs(inputs: Path, model: Path) -> tuple[Path, Path, Path]:
    """The suite, the recipe and the sentences."""
    sentences, recipe = inputs / "sentences.txt", inputs / "recipe.yaml"
    if sentences.exists():
        return inputs / "tiny.yaml", recipe, sentences
    build_tiny_model(model)
    build_tiny_encoder(inputs / "encoder")
    own = write_rows(inputs / "self.jsonl", [{"text": f"It rained on {n} stones"} for n in range(24)])
    asked = "".join(f"The train number {n} was late.\n" for n in range(8))
    paraphrase = {
        "task": "paraphrase",
        "data": str(sentences),
        "encoder": str(inputs / "encoder"),
        "decoding": {"num_samples": 1, "max_new_tokens": 4},
        "writer": {"model": str(model)},
        "written": {"num_samples": 1, "max_new_tokens": 4},
    }
    judge = {"task": "judge", "of": "paraphrase", "judge": {"model": str(model)}}
    suite = build_suite(inputs, model, sets={**SETS, "prompts": str(own)})
    content = json.loads(suite.read_text(encoding="utf-8"))
    suite.write_text(json.dumps(content | {"tasks": [*content["tasks"], paraphrase, judge]}), encoding="utf-8")
    made = {
        "generator": {"model": str(model)},
        "encoder": None,
        "evaluation": [],
        "decoding": {"num_samples": 3, "max_new_tokens": 8},
        "filters": FILTERS,
    }
    recipe.write_text(json.dumps(made), encoding="utf-8")
    sentences.write_text(asked, encoding="utf-8")
    return suite, recipe, sentences


Essence = dict[str, str]
"""What lies below a folder: a hash of what counts of each file, by the file's path; of a folder `folder`."""


def essence(place: Path) -> Essence:
    """What must be the same however often the work was ended and begun again.

    What may differ: times (`created`, seconds of phases, of artifacts), memory, which phases were done by the last
    process and so their tokens, dates and inodes in stamps and in notes of hashes. The contents that stamps stand for,
    figures, evidence, samples, sets, weights and pages may not.
    """
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        found[name] = "folder" if path.is_dir() else hashlib.sha256(_counting(path, name)).hexdigest()
    return found


def _counting(path: Path, name: str) -> bytes:
    first, file = name.split("/", maxsplit=1)[0], path.name
    if name == "cache/scores.sqlite3":
        with closing(sqlite3.connect(path)) as connection:
            return repr(connection.execute("SELECT * FROM scores ORDER BY scorer, text").fetchall()).encode()
    if path.parent.name == "hashes":
        return b""
    if path.suffix != ".json" or first not in ("runs", "cache", "kept"):
        return path.read_bytes()
    value = json.loads(path.read_text(encoding="utf-8"))
    change = _WITHOUT_TIMES.get(file) or (_task if path.parent.name == "tasks" else lambda whole: whole)
    return json.dumps(change(value)).encode()


def _without(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda value: {key: one for key, one in value.items() if key not in names}


_task = _without("phase")
_WITHOUT_TIMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "manifest.json": _without("created"),
    "baseline.json": _without("created"),
    "result.json": lambda value: _without("phases")(value) | {"artifact": _without("seconds")(value["artifact"])},
    "facts.json": _without("seconds"),
    "bench-stamp.json": lambda value: {
        name: note["sha256"] for name, note in value["files"].items() if not name.endswith("facts.json")
    },
}
