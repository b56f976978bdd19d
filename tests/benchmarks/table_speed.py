"""How long a large table takes: methods x prompts x samples, with 10,000 resamples and 10,000 exchanges.

python tests/benchmarks/table_speed.py [--methods 20] [--prompts 1000] [--samples 25] [--seeds 1] [--fluency]

Writes records as a run leaves them, in a temporary folder, and prints the seconds to read them and to build the whole
table from them (intervals, differences, tests, marks), and the peak memory. The nine figures of `rtp` (three, each over
all prompts and over two groups); with --fluency the pooled and the median perplexity of all continuations too.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.attribute import Attribute
from bench.stats import interval, value
from bench.store.files import write_json
from bench.store.record import Evidence, Manifest, Metric, Phase, Result, TaskResult
from bench.store.runs import list_runs
from bench.store.samples import Sample
from bench.tasks.base import evidence_by_cluster
from bench.tasks.rtp import attribute_metrics
from reports.table.build import build


def rows(method: int, seed: int, n_prompts: int, n_samples: int) -> list[Sample]:
    """Scored samples; prompts are as toxic for every method, methods are less toxic one by one."""
    prompts, own = np.random.default_rng(0), np.random.default_rng([method, seed])
    toxic = np.clip(prompts.beta(0.6, 1.4, n_prompts) * (1 - 0.03 * method), 0.01, 0.99)
    scores = own.beta(4 * toxic, 4 * (1 - toxic), (n_samples, n_prompts)).T
    return [
        Sample(
            prompt_id=f"{prompt:016x}",
            sample=number,
            prompt="",
            continuation="text",
            scores={"toxicity": float(score)},
            group="toxic" if prompt % 2 else "nontoxic",
        )
        for prompt in range(n_prompts)
        for number, score in enumerate(scores[prompt])
    ]


def fluency(method: int, seed: int, n_prompts: int, n_samples: int) -> dict[str, Evidence]:
    """Evidence of the pooled and the median perplexity."""
    prompts, own = np.random.default_rng(1), np.random.default_rng([method, seed, 1])
    nll = 3 + 0.01 * method + 0.5 * prompts.normal(size=(n_prompts, 1)) + 0.4 * own.normal(size=(n_prompts, n_samples))
    tokens = own.integers(5, 21, size=nll.shape)
    names = [f"{prompt:016x}" for prompt in range(n_prompts) for _ in range(n_samples)]
    return {
        "perplexity_pooled": evidence_by_cluster(
            "exp_mean", list(zip(names, nll.ravel(), tokens.ravel().astype(float), strict=True))
        ),
        "perplexity_median": evidence_by_cluster("median", list(zip(names, np.exp(nll.ravel()), strict=True))),
    }


def write_run(folder: Path, method: int, seed: int, found: list[TaskResult]) -> None:
    """Write the record of one run."""
    name = "none" if method == 0 else f"method{method}"
    manifest = Manifest(
        run_id=folder.name, key=folder.name, status="done", error=None, created=f"2026-01-01T00:{method:02}:{seed:02}",
        suite={"name": "speed"}, suite_hash="s", method={"name": name, "label": name, "config": {}}, seed=seed,
        model={"id": "m", "sha256": "m"}, data=[], scorer={"label": "s", "hash": "s", "threshold": 0.5},
        decoding={"num_samples": 25}, engine={"dtype": "float32"}, code={}, packages={}, hardware={},
    )  # fmt: skip
    metrics = [metric for one in found for metric in one.metrics]
    write_json(folder / "manifest.json", manifest.model_dump())
    for one in found:
        write_json(folder / "tasks" / f"{one.metrics[0].task}.json", one.model_dump())
    result = Result(
        run_id=folder.name, key=folder.name, metrics=metrics, phases=[Phase(name="rtp", seconds=1)], artifact={},
        publishable=True,
    )  # fmt: skip
    write_json(folder / "result.json", result.model_dump())


def measured(task: str, name: str, evidence: Evidence) -> Metric:
    """A metric from its evidence."""
    ends = interval([evidence], resamples=1000)
    return Metric(
        task=task, name=name, value=value(evidence), n=len(evidence.value), higher_is_better=False,
        ci_low=ends.low if ends else None, ci_high=ends.high if ends else None,
    )  # fmt: skip


def main() -> None:
    """Write the records, build the table, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("methods", 20), ("prompts", 1000), ("samples", 25), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--fluency", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for method in range(args.methods + 1):
            for seed in range(args.seeds):
                found = [
                    attribute_metrics(
                        rows(method, seed, args.prompts, args.samples), Attribute("toxicity", "low", "toxic", 0.5)
                    )
                ]
                if args.fluency:
                    evidence = fluency(method, seed, args.prompts, args.samples)
                    metrics = [measured("fluency", name, one) for name, one in evidence.items()]
                    keyed = {f"fluency/{name}": one for name, one in evidence.items()}
                    found.append(TaskResult(metrics=metrics, evidence=keyed))
                write_run(Path(folder) / f"m{method:02}-s{seed}", method, seed, found)
        writing = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        runs = list_runs(Path(folder))
        for run in runs:
            _ = run.evidence
        read = time.perf_counter()
        table = build(runs)
        built, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{args.methods} methods and the base x {args.seeds} seed(s) x {args.prompts} prompts x {args.samples} samples"
    )
    took = f"read {read - start:.1f} s, built {built - read:.1f} s ({cpu:.1f} s of the processor for both)"
    print(f"{len(table.rows)} rows: {took}")
    print(f"peak memory {peak / 1024:.0f} MiB (of which writing the records took {writing / 1024:.0f} MiB at most)")


if __name__ == "__main__":
    main()
