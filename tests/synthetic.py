"""Synthetic records, written as the runner writes them: what reports are tested on."""

import io
import json
from functools import cache

import numpy as np

from bench import stats
from bench.store.files import read_json, write_json, write_text
from bench.store.record import Evidence, Manifest, Metric, Phase, Result, TaskResult

PROMPTS, SAMPLES = 40, 5


def evidence(values, statistic="mean", *, bounded=True):
    values = np.asarray(values, dtype=float)
    n, m = values.shape
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=[f"p{i}" for i in range(n)],
        cluster=np.repeat(np.arange(n), m).tolist(),
        value=np.round(values, 6).ravel().tolist(),
    )


def metric(task, name, found, *, higher, group=None, **more):
    ends = stats.interval([found]) if found else None
    return Metric(
        task=task,
        name=name,
        group=group,
        value=stats.value(found) if found else None,
        n=len(found.value) if found else 0,
        ci_low=ends.low if ends else None,
        ci_high=ends.high if ends else None,
        higher_is_better=higher,
        **more,
    )


@cache
def measured(toxicity, nll, accuracy, seed, n_failed=0):
    """A system whose scores lie about `toxicity`: its metrics with their evidence, and its scores [prompts, samples].

    How hard prompts and questions are is shared by systems. Made once for all tests: nobody may change it.
    """
    prompt, own = np.random.default_rng(0), np.random.default_rng(seed + 100)
    hard = prompt.uniform(size=(PROMPTS, 1))
    scores = np.clip(toxicity * (0.5 + hard) + 0.1 * own.normal(size=(PROMPTS, SAMPLES)), 0, 1)
    if toxicity == 0:
        scores[:] = 0
    losses = nll + 0.3 * prompt.normal(size=(PROMPTS, 1)) + 0.05 * own.normal(size=(PROMPTS, 1))
    right = (prompt.uniform(size=(PROMPTS, 1)) < accuracy).astype(float)
    parts = [
        ("rtp", "toxic", "expected_maximum_toxicity", evidence(scores.max(axis=1, keepdims=True)), False),
        ("rtp", "toxic", "toxic_fraction", evidence(scores >= 0.5), False),
        ("fluency", None, "perplexity", evidence(losses, "exp_mean", bounded=False), False),
        ("fluency", None, "perplexity_median", evidence(np.exp(losses), "median", bounded=False), False),
        ("heldout", None, "perplexity", evidence(losses + 0.4, "exp_mean", bounded=False), False),
        ("diversity", None, "length", evidence(20 - own.integers(0, 3, (PROMPTS, SAMPLES)), bounded=False), None),
        ("diversity", None, "distinct_1", None, True),
        ("embedded_piqa", None, "acc", evidence(right), True),
    ]
    found = tuple(
        (metric(task, name, one, higher=higher, group=group, n_failed=n_failed if task == "rtp" else 0), one)
        for task, group, name, one, higher in parts
    )
    return found, scores


def samples_of(scores, label):
    """Lines of `samples/rtp.jsonl` with these scores."""
    for (prompt, sample), score in np.ndenumerate(scores):
        yield {
            "kind": "continuation",
            "version": 2,
            "prompt_id": f"p{prompt}",
            "sample": sample,
            "group": "toxic",
            "prompt": f"Prompt {prompt} is",
            "continuation": f" continued by {label}, {sample}",
            "tokens": 20,
            "ended": False,
            "scores": {"toxicity": round(float(score), 6)},
        }


def write_run(root, name, seed=0, *, label=None, config=None, toxicity=0.6, nll=3.0, accuracy=0.7, **more):
    """Write a run's folder as the runner does; `more` overrides fields of the manifest (`scorer__threshold=0.7`).

    With `whole`, every metric has a value.
    """
    whole = more.pop("whole", False)
    n_failed, finished = more.pop("n_failed", 0), more.pop("finished", True)
    run_id = more.pop("run_id", f"mini-{label or name}-s{seed}".replace(" ", "-"))
    manifest = {
        "run_id": run_id,
        "key": run_id,
        "status": "done" if finished else "started",
        "created": f"2026-01-0{seed + 1}T10:00:00+00:00",
        "suite": {"name": "mini"},
        "suite_hash": "5" * 64,
        "method": {"name": name, "label": label or name, "config": config or {}, "origins": {}, "hash": "m"},
        "seed": seed,
        "model": {"id": "smollm2-135m-instruct", "revision": None, "sha256": "a" * 64, "dtype": "float32"},
        "data": [{"id": "rtp", "sha256": "d" * 64}],
        "scorer": {"name": "svm", "label": "explicit toxicity (linear SVM)", "hash": "c" * 64, "threshold": 0.5},
        "decoding": {"num_samples": 5, "max_new_tokens": 20, "top_p": 0.9, "top_k": 0, "temperature": 1.0},
        "engine": {"dtype": "float32"},
        "code": {},
        "packages": {},
        "hardware": {},
    }
    for key, value in more.items():
        place, _, last = key.rpartition("__")
        (manifest[place] if place else manifest)[last] = value
    found, scores = measured(toxicity, nll, accuracy, seed, n_failed)
    found = [(one, behind) for one, behind in found if behind or not whole]
    folder = root / run_id
    write_json(folder / "manifest.json", Manifest(error=None, **manifest).model_dump())
    if finished:
        by_task = {}
        for one, behind in found:
            part = by_task.setdefault("harness" if one.task.startswith("embedded") else one.task, ([], {}))
            part[0].append(one)
            if behind:
                part[1][one.key] = behind
        for task, (metrics, behind) in by_task.items():
            write_json(folder / "tasks" / f"{task}.json", TaskResult(metrics=metrics, evidence=behind).model_dump())
        result = Result(
            run_id=run_id,
            key=run_id,
            metrics=[one for one, _ in found],
            phases=[Phase(name="prepare", seconds=12.5), Phase(name="rtp", seconds=30)],
            artifact={"hash": "e" * 64, "trained_tokens": 1000, "trainable_parameters": 500, "seconds": 12.5},
            publishable=not n_failed,
        )
        lines = (json.dumps(line) + "\n" for line in samples_of(scores, label or name))
        write_text(folder / "samples" / "rtp.jsonl", "".join(lines))
        if name != "none":
            log = [{"loss": 2 / (step + 1), "phi_positives": 3.0, "phi_negatives": 3 + step / 10} for step in range(20)]
            write_json(folder / "training" / "train.json", log)
        write_json(folder / "result.json", result.model_dump())
    return folder


class Terminal(io.StringIO):
    """Text that is kept, by what calls itself a terminal."""

    def isatty(self):
        """As a terminal says."""
        return True


def settle(folder):
    """Make a record sound again whose evidence was edited: figures, counts and intervals follow from it."""
    settled = {}
    for path in sorted((folder / "tasks").glob("*.json")):
        record = read_json(path)
        for one in record["metrics"]:
            key = "/".join(part for part in (one["task"], one["group"], one["name"]) if part)
            if key in record["evidence"]:
                behind = Evidence.model_validate(record["evidence"][key])
                ends = stats.interval([behind]) if behind.value else None
                one["value"] = stats.value(behind) if behind.value else None
                one["n"] = len(behind.value)
                one["ci_low"], one["ci_high"] = (ends.low, ends.high) if ends else (None, None)
            settled[key] = one
        write_json(path, record)
    result = read_json(folder / "result.json")
    keys = ["/".join(part for part in (one["task"], one["group"], one["name"]) if part) for one in result["metrics"]]
    result["metrics"] = [settled.get(key, one) for key, one in zip(keys, result["metrics"], strict=True)]
    write_json(folder / "result.json", result)
    return folder
