"""A model card: what an exported edit is, what was measured of it, and how it was made."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.parsing import written
from bench.store.runs import Run
from reports.table.cells import clean
from reports.table.forms.markdown import escape, to_markdown
from reports.table.opening import arranged

_UNCHANGED = ("default", "suite")
_LONGEST = 100_000  # characters of the command: one that is cut is none
_LIBRARIES = {"model": "transformers", "adapter": "peft", "recipe": "contrastive-bench"}


@dataclass(frozen=True)
class Exported:
    """What lies beside the card.

    Attributes:
        what: `model`, `adapter` or `recipe`.
        summary: The method in a line.
        paper: Where it comes from.
        suite: The file beside the card that is the run's suite; None where its name says it.
    """

    what: str
    summary: str
    paper: str
    suite: str | None = None


def card(run: Run, records: Sequence[Run], exported: Exported) -> str:
    """The card, as Markdown with the hub's front matter.

    Args:
        run: The run whose edited model is exported.
        records: Runs of the base and of the method that the table shows, `run` among them.
        exported: What lies beside the card.
    """
    return (
        "\n".join([*_front(run, exported), *_opening(run, exported), *_measured(run, records), *_made(run, exported)])
        + "\n"
    )


def _front(run: Run, exported: Exported) -> Iterator[str]:
    """The front matter: JSON values, which are YAML."""
    model = run.manifest.model
    facts = {
        **({"base_model": clean(model.get("id"), 120)} if model.get("source") == "hub" else {}),  # it takes no other
        "library_name": _LIBRARIES[exported.what],
        "license": clean(model.get("licence") or "other", 60).lower(),
        "pipeline_tag": "text-generation",
        "tags": ["contrastive-bench", clean(run.method, 60)],
    }
    yield "---"
    yield from (f"{key}: {json.dumps(value)}" for key, value in facts.items())
    yield "---"


def _opening(run: Run, exported: Exported) -> Iterator[str]:
    model = clean(run.manifest.model.get("id"), 120)
    yield f"# {escape(model)}, edited by {escape(clean(run.label, 120))}"
    yield ""
    yield f"{_sentence(exported.summary)} {_sentence(exported.paper)}"
    yield ""
    if exported.what == "recipe":
        yield "The method changes how the base model decodes or runs: this folder holds what it left, and the record."
        yield ""
        yield "```"
        yield "bench chat PATH/OF/THIS/FOLDER"
        yield "bench generate PATH/OF/THIS/FOLDER --prompts prompts.txt"
        yield "```"
        yield ""
        return
    yield "```python"
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    yield ""
    if exported.what == "adapter":
        revision = clean(run.manifest.model.get("revision") or "", 120)
        pinned = f", revision={json.dumps(revision)}" if revision else ""
        yield f"base = {json.dumps(model)}  # or its folder"
        yield f"tokenizer = AutoTokenizer.from_pretrained(base{pinned})"
        yield f"model = AutoModelForCausalLM.from_pretrained(base{pinned})"
        yield 'model.load_adapter("PATH/OF/THIS/FOLDER")  # needs peft'
    else:
        yield 'tokenizer = AutoTokenizer.from_pretrained("PATH/OF/THIS/FOLDER")'
        yield 'model = AutoModelForCausalLM.from_pretrained("PATH/OF/THIS/FOLDER")'
    yield "```"
    yield ""


def _measured(run: Run, records: Sequence[Run]) -> Iterator[str]:
    caption_seeds = sorted({one.manifest.seed for one in records if one.method == run.method})
    yield "## What was measured"
    yield ""
    yield f"This is the training with seed {run.manifest.seed}, of {len(caption_seeds)} that the table counts."
    yield "Intervals are of 95 %; a dagger marks what differs from the base after correction for all comparisons."
    yield ""
    yield to_markdown(arranged(records)[1])
    yield "## What it is for"
    yield ""
    attribute = escape(clean(run.attribute, 60))
    yield f"Research on the control of {attribute}. The table speaks of the prompts, questions and scorers that it"
    yield "names. It says nothing of other languages, longer texts or other kinds of harm. A scorer counts what it"
    yield "knows; people may find otherwise. Measure on your own prompts before you rely on it."
    yield ""


def _made(run: Run, exported: Exported) -> Iterator[str]:
    manifest = run.manifest
    yield "## How it was made"
    yield ""
    yield "```"
    yield clean(command_of(run, exported.suite and f"PATH/OF/THIS/FOLDER/{exported.suite}"), _LONGEST)
    yield "```"
    if exported.suite:
        yield ""
        yield f"`{exported.suite}` lies beside this card. Run the command in the folder in which the run was made:"
        yield "relative paths in that file begin there. Others may be of another machine."
    yield ""
    yield "| what | |"
    yield "|---|---|"
    for name, value in _facts(run):
        yield f"| {escape(name)} | {escape(clean(value, 400))} |"
    yield ""
    yield "Options:"
    yield ""
    yield "```json"
    yield json.dumps(manifest.method.get("config") or {}, indent=1)
    yield "```"


def _facts(run: Run) -> Iterator[tuple[str, Any]]:
    manifest = run.manifest
    yield "run", run.id
    for what, one in (("base model", manifest.model), *((f"data {entry.get('id')}", entry) for entry in manifest.data)):
        revision = f" at {one['revision']}" if one.get("revision") else ""
        yield (
            what,
            f"{one.get('id')}{revision}, {_licence(one)}, SHA-256 {one.get('sha256')}",
        )
    for entry in (manifest.scorer, *manifest.further.values()):
        yield "scorer", f"{entry.get('label')}, {_licence(entry)}"
    sets = (run.result.artifact.get("sets") if run.result else None) or {}
    if sets:
        yield (
            "contrastive sets",
            f"{sets.get('anchors')} anchors, source {sets.get('source')}, SHA-256 {sets.get('hash')}",
        )
    yield "code", f"{manifest.code.get('hash')}, commit {manifest.code.get('commit') or 'unknown'}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())


def _licence(entry: Mapping[str, Any]) -> str:
    return str(entry.get("licence") or "licence not declared")


def command_of(run: Run, suite: str | None = None) -> str:
    """The command that makes the run: its suite, its method with the options that are not its own, its seed.

    Args:
        run: The run.
        suite: A file that is its suite, with all that was changed of it; None for the suite of its name.
    """
    manifest = run.manifest
    origins: dict[str, Any] = manifest.method.get("origins") or {}
    config: dict[str, Any] = manifest.method.get("config") or {}
    words = ["bench run", f"--method {run.method}", f"--suite {suite or manifest.suite.get('name')}"]
    changed = {name: value for name, value in config.items() if origins.get(name, "default") not in _UNCHANGED}
    options = {name if "." in name else f"{run.method}.{name}": value for name, value in changed.items()}
    words += [f"--set {option}={_word(value)}" for option, value in options.items()]
    for key in origins:
        if key.startswith("suite.") and suite is None:
            value = inside(manifest.suite, key.removeprefix("suite.").split("."))
            words.append(f"--model {_word(_model(value))}" if key == "suite.model" else f"--set {key}={_word(value)}")
    if manifest.suite.get("limit") is not None:
        words.append(f"--limit {manifest.suite['limit']}")
    return " ".join([*words, f"--seeds {manifest.seed}"])


def inside(suite: Mapping[str, Any], path: Sequence[str]) -> Any:
    """A suite's value by the names that lead to it."""
    found: Any = suite
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _model(spec: Any) -> str:
    """A model as `--model` names it."""
    revision = spec.get("revision")
    return f"{spec.get('id')}@{revision}" if revision else str(spec.get("id"))


def _word(value: Any) -> str:
    """A value as the shell and `--set` read it."""
    return shlex.quote(written(value))


def _sentence(text: str) -> str:
    said = escape(clean(text, 400)).rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."
