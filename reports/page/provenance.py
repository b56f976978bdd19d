"""Where the page's figures come from: what the runs' manifests say, and in what they differ."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.stats.classification import Estimated, told
from bench.store.runs import Run
from reports.page.elements import DASH, code, folded, grid, pairs, text
from reports.table.cells import Table
from reports.table.taken import facts_of, left_out

_GIB = 2**30
_JUDGED = (("precision", "precision"), ("recall", "recall"), ("false_positives", "false positives"), ("auc", "AUC"))


def provenance(table: Table, systems: Sequence[Sequence[Run]]) -> str:
    """The facts that all runs share, the data, the runs, and the settings of each method, as HTML."""
    runs = [run for system in systems for run in system]
    return "".join(
        [
            *_warnings(table),
            pairs(dict(_shared(table, next((run for run in runs if not run.is_elsewhere), runs[0])))),
            *_models(table, systems),
            _data(runs),
            _taken(runs),
            _scorers(runs[0]),
            _runs(systems, table),
            folded("Settings of the methods", _settings(table, systems)),
            folded("Code, packages, hardware", _machines(runs)),
        ]
    )


def _warnings(table: Table) -> Iterator[str]:
    for system in table.systems:
        if not system.publishable:
            failed = f": {system.n_failed} measurements failed" if system.n_failed else ": some measurements failed"
            yield f'<p class="warning"><strong>Not publishable:</strong> {text(system.label)}{failed}.</p>'


def _shared(table: Table, run: Run) -> Iterator[tuple[str, str]]:
    """Names and values of what the runs of a table have in common."""
    caption, manifest = table.caption, run.manifest
    scorer = manifest.scorer
    if len({system.model for system in table.systems}) == 1:
        yield "suite", f"<strong>{text(caption.suite)}</strong> {code(manifest.suite_hash)}"
        yield from _model(table, run)
    else:
        yield "suite", f"<strong>{text(caption.suite)}</strong>"
    yield (
        "scorer",
        f"<strong>{text(caption.scorer)}</strong>, {text(caption.scored.adjective)} from {caption.threshold:g} "
        f"{code(scorer.get('hash'))}",
    )
    yield "scorer's licence", text(scorer.get("licence"))
    yield "decoding", text(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in caption.decoding.items()))
    yield "prompts", text(caption.num_prompts)
    yield "seeds", text(", ".join(map(str, caption.seeds)))


def _model(table: Table, run: Run) -> Iterator[tuple[str, str]]:
    """Names and values of the one base model."""
    caption, model = table.caption, run.manifest.model
    revision = f" at {text(caption.revision)}" if caption.revision else ""
    dtype = f", {text(caption.dtype)}" if caption.dtype else ""
    yield (
        "model",
        f"<strong>{text(caption.model)}</strong>{revision}{dtype} {code(model.get('sha256'))}",
    )
    yield "model's licence", text(model.get("licence"))


def _models(table: Table, systems: Sequence[Sequence[Run]]) -> Iterator[str]:
    """The base models, where there are several."""
    firsts = {system.model: runs[0] for system, runs in zip(table.systems, systems, strict=True)}
    if len(firsts) == 1:
        return
    rows = []
    for name, run in firsts.items():
        model = run.manifest.model
        known = (model.get("id"), model.get("revision"), run.manifest.engine.get("dtype"), model.get("licence"))
        hashes = (model.get("sha256"), model.get("tokenizer_sha256"), run.manifest.suite_hash)
        rows.append([text(name), *map(text, known), *map(code, hashes)])
    heads = ["model", "id", "revision", "dtype", "licence", "sha256", "tokenizer", "suite's hash"]
    yield grid("Models", heads, rows)


def _data(runs: Sequence[Run]) -> str:
    found = {str(one.get("id")): one for run in runs for one in run.manifest.data}
    keys = ("revision", "licence", "source")
    rows = [[text(name), *(text(one.get(key)) for key in keys), code(one.get("sha256"))] for name, one in found.items()]
    return grid("Data", ["data", *keys, "sha256"], rows)


def _taken(runs: Sequence[Run]) -> str:
    keys = ("data", "rows", "taken")
    rows = [[*(text(fact.get(key)) for key in keys), text(left_out(fact))] for fact in facts_of(runs)]
    return grid("Rows taken", [*keys, "left out"], rows) if rows else ""


def _scorers(run: Run) -> str:
    """What each scorer makes of texts that people have labelled."""
    rows = []
    for scorer in (run.manifest.scorer, *run.manifest.further.values()):
        found = scorer.get("by_people") or {"no figures: see 'bench scorers check'": {}}
        for data, figures in found.items():
            judged = (Estimated(**figures[key]) if key in figures else None for key, _ in _JUDGED)
            rows.append([text(scorer.get("name")), text(data), *(text(told(one) if one else DASH) for one in judged)])
    return grid("Scorers against people's labels", ["scorer", "data", *(label for _, label in _JUDGED)], rows)


def _runs(systems: Sequence[Sequence[Run]], table: Table) -> str:
    rows = [
        [
            text(system.label),
            text(run.manifest.seed),
            code(run.id),
            text(run.manifest.created),
            DASH if run.seconds is None else f"{run.seconds:.0f}",
            "yes" if run.result and run.result.publishable else "<strong>no</strong>",
            code(run.manifest.method.get("hash")),
        ]
        for system, runs in zip(table.systems, systems, strict=True)
        for run in runs
    ]
    return grid("Runs", ["system", "seed", "run", "made", "seconds", "publishable", "hash of the method"], rows)


def _settings(table: Table, systems: Sequence[Sequence[Run]]) -> str:
    """Every option of each system, with where it comes from."""
    parts = []
    for system, runs in zip(table.systems, systems, strict=True):
        method = runs[0].manifest.method
        origins = method.get("origins") or {}
        options = {
            key: f"{text(json.dumps(value))} <small>({text(origins.get(key))})</small>"
            for key, value in system.config.items()
        }
        parts.append(f"<h3>{text(system.label)}</h3>{pairs(options) if options else '<p>No options.</p>'}")
    return "".join(parts)


def _machines(runs: Sequence[Run]) -> str:
    """Code, packages and hardware: once where all runs agree, else once for each kind."""
    kinds: tuple[tuple[str, Callable[[Run], Mapping[str, Any]]], ...] = (
        ("Code", lambda run: run.manifest.code),
        ("Engine", lambda run: run.manifest.engine),
        ("Packages", lambda run: run.manifest.packages),
        ("Hardware", lambda run: run.manifest.hardware),
    )
    parts = []
    for name, of in kinds:
        groups: dict[str, list[Run]] = {}
        for run in runs:
            groups.setdefault(json.dumps(of(run), sort_keys=True), []).append(run)
        for same in groups.values():
            whose = "" if len(groups) == 1 else f" of {', '.join(run.id for run in same)}"
            values = {key: _value(key, value) for key, value in of(same[0]).items()}
            parts.append(f"<h3>{text(name + whose)}</h3>{pairs(values) if values else '<p>Not recorded.</p>'}")
    return "".join(parts)


def _value(key: str, value: object) -> str:
    if key in ("hash", "commit"):
        return code(value)
    is_bytes = key == "memory" and isinstance(value, int)
    return f"{value / _GIB:.1f} GiB" if is_bytes and isinstance(value, int) else text(value)
