"""What runs must have in common before their figures are set side by side."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import MissingError
from bench.spec import EDITS
from bench.store.record import Metric, Within
from bench.store.runs import Run
from bench.store.systems import model_of
from reports.table.cells import clean, listed

_SHOWN = 6
_NEEDED = ("model.sha256", "scorer.hash", "scorer.threshold", "suite_hash")
"""Without these, a run is comparable with none."""
_OF_MODEL = ("model.sha256", "engine.dtype", "suite_hash")
_HERE_ALONE = ("model.sha256",)
"""What is not known of a run whose continuations were made elsewhere."""
_MEASURED = ("tasks", "attribute", "scored", "limit", "engine", "chat_template", "system")
"""What of a suite decides figures, whatever the model."""
_SHORT = 24
Known = Callable[[Run], Mapping[str, Any]]

WHY_APART: Mapping[Within, str] = {
    "tokenizer": "figures a token, and these models cut texts into tokens otherwise",
    "model": "by its own base model, or of a record that does not say whether it can be compared",
}
"""Why figures are not compared across models, by how far they can be."""


@dataclass(frozen=True)
class Differing:
    """A fact in which two records differ; None where one has none."""

    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        """`key (a, b)`, cut to what is readable, and safe to show."""
        return clean(f"{self.key} ({_short(self.a)}, {_short(self.b)})")


def facts(run: Run) -> dict[str, Any]:
    """What must be the same in all runs of a table: everything but method, configuration and seed."""
    manifest = run.manifest
    data = {str(one.get("id", index)): one for index, one in enumerate(manifest.data)}
    return {
        "suite.name": manifest.suite.get("name"),
        "model.sha256": manifest.model.get("sha256"),
        "scorer.hash": manifest.scorer.get("hash"),
        "scorer.threshold": manifest.scorer.get("threshold"),
        **flat({"scorers": {key: _identity(one) for key, one in manifest.further.items()}}),
        **flat({"decoding": manifest.decoding, "data": data}),
        "engine.dtype": manifest.engine.get("dtype"),
        "suite_hash": manifest.suite_hash,
    }


def measured_by(run: Run) -> dict[str, Any]:
    """What must be the same in runs of several models: all of `facts` but the model and how it computes."""
    suite = {key: run.manifest.suite.get(key) for key in _MEASURED}
    sets = run.manifest.suite.get("sets")
    if sets and sets.get("source") == EDITS:  # they are measured too
        suite["sets"] = sets
    own = facts(run)
    return {key: one for key, one in own.items() if key not in _OF_MODEL} | {
        f"suite.{key}": suite[key] for key in suite
    }


def crossed(runs: Sequence[Run]) -> frozenset[Within]:
    """The bounds that a comparison of these runs crosses: what is comparable only within one is not compared.

    A record that names no tokenizer has one of its own model's. Of a run whose continuations were made elsewhere no
    model is known, and nothing that was measured depends on it.
    """
    runs = [run for run in runs if not run.is_elsewhere]
    tokenizers = {str(run.manifest.model.get("tokenizer_sha256") or f"of {model_of(run)}") for run in runs}
    models = {model_of(run) for run in runs}
    found: dict[Within, set[str]] = {"model": models, "tokenizer": tokenizers}
    return frozenset(bound for bound, kinds in found.items() if len(kinds) > 1)


def within_of(metrics: Iterable[Metric]) -> Within:
    """How far a figure can be compared: no farther than any of its records says."""
    said = {metric.within for metric in metrics}
    return "model" if "model" in said else "tokenizer" if "tokenizer" in said else "any"


def lacking(run: Run) -> list[str]:
    """The hashes that a record should have, and has not."""
    known = facts(run)
    names = [key for key in known if key.endswith(("hash", "sha256")) and not (run.is_elsewhere and key in _HERE_ALONE)]
    return [key for key in names if not known[key]]


def apart(a: Run, b: Run, known: Known = facts) -> list[Differing]:
    """Where two runs differ in what must be the same.

    Of a run whose continuations were made elsewhere no model is known, nor how they were sampled, but for their number:
    it is held against another in what was measured on them, and how.

    Args:
        a: A run.
        b: Another.
        known: What must be the same in runs of which neither was made elsewhere.
    """
    elsewhere = [run for run in (a, b) if run.is_elsewhere]
    if not elsewhere:
        return _named(differing(known(a), known(b)), a, b)
    tasks = {str(entry.get("task")) for run in elsewhere for entry in _entries(run)}
    data = {str(one.get("id")) for run in elsewhere for one in run.manifest.data}
    return differing(*(_facts_of_texts(run, tasks, data) for run in (a, b)))


def _named(found: list[Differing], a: Run, b: Run) -> list[Differing]:
    """The same, with what differs in the suites in place of their hash, where the records say it."""
    suites = ({f"suite.{key}": run.manifest.suite.get(key) for key in _MEASURED} for run in (a, b))
    more = [one for one in differing(*suites) if one not in found]
    if not more or all(one.key != "suite_hash" for one in found):
        return found
    return [*more, *(one for one in found if one.key != "suite_hash")]


def _facts_of_texts(run: Run, tasks: Collection[str], data: Collection[str]) -> dict[str, Any]:
    """What decides the figures of a run's continuations, once they are there."""
    manifest = run.manifest
    suite = manifest.suite
    read = {str(one.get("id")): one for one in manifest.data if str(one.get("id")) in data}
    return {
        "suite.name": suite.get("name"),
        **flat({"suite": {key: suite.get(key) for key in ("attribute", "scored", "limit")}}),
        "scorer.hash": manifest.scorer.get("hash"),
        "scorer.threshold": manifest.scorer.get("threshold"),
        **flat({"scorers": {key: _identity(one) for key, one in manifest.further.items()}}),
        "decoding.num_samples": manifest.decoding.get("num_samples"),
        **flat({"data": read}),
        "suite.tasks": [entry for entry in _entries(run) if str(entry.get("task")) in tasks],
    }


def _entries(run: Run) -> list[dict[str, Any]]:
    """The entries of a run's suite, those that are mappings: a record can be edited."""
    entries = run.manifest.suite.get("tasks")
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Differing]:
    """Where two runs' facts differ, in the order of the facts."""
    return [Differing(key, a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]


def told(found: Sequence[Differing]) -> str:
    """The first of them, for a message."""
    return listed(list(map(str, found)), _SHOWN)


def refuse_incomparable(runs: Sequence[Run], *, force: bool = False) -> tuple[str, ...]:
    """Refuse runs that differ in anything but method, configuration and seed.

    Args:
        runs: The runs.
        force: Take them all the same.

    Returns:
        With `force`: what any of them differ in from the first, each once; else nothing.

    Raises:
        MissingError: two differ, or one does not say what it was measured with; the message names the fields.
    """
    return _refuse(runs, facts, force=force)


def refuse_measured_otherwise(runs: Sequence[Run], *, force: bool = False) -> tuple[str, ...]:
    """Refuse runs of several models that differ in anything but these, method, configuration and seed.

    Args, returns and raises as `refuse_incomparable`.
    """
    return _refuse(runs, measured_by, force=force)


def _refuse(runs: Sequence[Run], known: Known, *, force: bool) -> tuple[str, ...]:
    forced: dict[str, Differing] = {}
    for run in runs:
        own = known(run)
        needed = [key for key in _NEEDED if key in own and not (run.is_elsewhere and key in _HERE_ALONE)]
        if absent := [key for key in needed if not own[key]]:
            if not force:
                what = f"run {clean(run.id)} does not say what it was measured with ({', '.join(absent)})"
                raise MissingError(what, mend="run it again, or leave it out")
            forced |= {key: Differing(key, known(runs[0]).get(key), own.get(key)) for key in absent}
    here = [run for run in runs if not run.is_elsewhere]
    for first, run in ((one, other) for one in [*here, *runs][:1] for other in runs if other is not one):
        found = apart(first, run, known)
        if found and not force:
            raise MissingError(
                f"runs {clean(first.id)} and {clean(run.id)} are not comparable: they differ in {told(found)}",
                mend="look at each kind on its own (models stand side by side where all else is the same)",
            )
        for one in found:
            forced.setdefault(one.key, one)
    return tuple(map(str, forced.values()))


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        found |= flat(one, f"{prefix}{key}.") if isinstance(one, Mapping) else {f"{prefix}{key}": one}
    return found


def _identity(scorer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: scorer.get(key) for key in ("hash", "threshold")}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHORT else f"{text[:12]}…"
