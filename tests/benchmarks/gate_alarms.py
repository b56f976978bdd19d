"""How often `bench check` raises an alarm: over repeats of an unchanged method, and over regressions of several sizes.

python tests/benchmarks/gate_alarms.py [--repeats 400] [--jobs 2]

Each repeat makes up the runs of a baseline and of a check, on the same prompts, with all the metrics that a suite has;
the baseline goes through its file's form. `same seeds`: trainings are those of the baseline, samples are new (another
machine's rounding draws other tokens). `redrawn`: the seeds have the same numbers, but a change has turned every
training's luck. `failed`, `inconclusive` and `refused` are shares of checks; `primary` is that of checks in which the
primary metric is not passed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simulated

from bench import stats
from bench.store.record import Evidence, Manifest, Metric, Result
from bench.store.runs import Run
from reports.gate import Baseline, decide, make_baseline
from reports.gate.writing import Plan

RESAMPLES = 1000
LEFT, LOST = -1.75, 1.5
"""How toxic the method leaves the model, and what is lost where it stops working: shifts of prompts' logits."""
AGREEMENT = 0.8
"""How alike the samples of one prompt are (the beta law's a + b): as the embedded model's are, that is little."""


@dataclass(frozen=True)
class Size:
    """What a suite measures: prompts and samples of each, held-out passages, tasks and questions of each."""

    prompts: int
    samples: int
    passages: int
    tasks: int
    questions: int


SIZES = {"smoke": Size(96, 4, 6, 2, 10), "mini": Size(64, 5, 24, 6, 100)}


@dataclass(frozen=True)
class Simulated(Run):
    """A run that was never on a disk."""

    evidence: dict[str, Evidence] = field(default_factory=dict)


@dataclass(frozen=True)
class Effect:
    """What a change does: to the toxicity (as a share of the method's effect), to log-perplexities, to skill."""

    toxicity: float = 0.0
    perplexity: float = 0.0
    skill: float = 0.0


def made(values: Any, statistic: str = "mean", *, bounded: bool = True, weight: Any = None) -> Evidence:
    """Evidence of values by cluster (clusters x observations)."""
    n, each = values.shape
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=[f"{number:05}" for number in range(n)],
        cluster=np.repeat(np.arange(n), each).tolist(),
        value=np.round(values, 6).ravel().tolist(),
        weight=None if weight is None else weight.ravel().astype(float).tolist(),
    )


@dataclass
class World:
    """What stays the same over repeats: how prompts, passages and questions are."""

    size: Size
    rng: np.random.Generator

    def __post_init__(self) -> None:
        size, rng = self.size, self.rng
        self.toxicity = simulated.prompts(rng, "expected_maximum_toxicity", size.prompts) + LEFT
        self.fluency = simulated.prompts(rng, "perplexity_pooled", size.prompts)
        self.passages = simulated.prompts(rng, "perplexity_pooled", size.passages)
        self.questions = simulated.prompts(rng, "acc", size.tasks * size.questions)

    def metrics(self, luck: np.ndarray, effect: Effect) -> Iterator[tuple[str, str, bool, Evidence]]:
        """Task, name, direction and evidence of all metrics of one seed; `luck` is what its training did."""
        rng, size = self.rng, self.size
        mean = 1 / (1 + np.exp(-(self.toxicity + luck[0] + LOST * effect.toxicity)))[:, None]
        each = (size.prompts, size.samples)
        scores = rng.beta(AGREEMENT * mean, AGREEMENT * (1 - mean), size=each)
        most = scores.max(axis=1, keepdims=True)
        yield "rtp", "expected_maximum_toxicity", False, made(most)
        yield "rtp", "toxicity_probability", False, made((most >= 0.5).astype(float))
        yield "rtp", "toxic_fraction", False, made((scores >= 0.5).astype(float))
        nll = (self.fluency + luck[1] + effect.perplexity)[:, None] + 0.4 * rng.normal(size=each)
        weight = rng.integers(5, 21, size=each)
        yield "fluency", "perplexity_pooled", False, made(nll, "exp_mean", bounded=False, weight=weight)
        yield "fluency", "perplexity_median", False, made(np.exp(nll), "median", bounded=False)
        for n in (1, 2, 3):
            spread = 0.8 + 0.05 * rng.normal(size=(size.prompts, 1)) + 0.05 * np.tanh(self.toxicity)[:, None]
            yield "diversity", f"distinct_{n}", True, made(np.clip(spread, 0, 1))
        for name, rare in (("empty_share", 0.002), ("repeated_share", 0.01)):
            yield "diversity", name, False, made((rng.uniform(size=each) < rare).astype(float))
        kept = (self.passages + luck[2] + effect.perplexity)[:, None] + 0.01 * rng.normal(size=(size.passages, 1))
        yield "heldout", "perplexity", False, made(kept, "exp_mean", bounded=False)
        skill = luck[3] - effect.skill
        for name in ("acc", "acc_norm"):  # a training moves the answer to a few questions in a hundred
            right = (self.questions + skill + 0.15 * rng.normal(size=len(self.questions)) > 0).astype(float)
            for task, some in enumerate(np.split(right, size.tasks)):
                yield f"task{task}", name, True, made(some[:, None])

    def runs(self, seeds: list[int], lucks: np.ndarray, effect: Effect | None = None) -> list[Run]:
        """Records of these seeds."""
        return [
            record(seed, list(self.metrics(luck, effect or Effect()))) for seed, luck in zip(seeds, lucks, strict=True)
        ]


def record(seed: int, found: list[tuple[str, str, bool, Evidence]]) -> Run:
    """A run's record with these metrics."""
    metrics = [
        Metric(task=task, name=name, value=stats.value(one), n=len(one.value), higher_is_better=higher)
        for task, name, higher, one in found
    ]
    name = f"made-s{seed}"
    manifest = Manifest(
        run_id=name,
        key=name,
        status="done",
        created=f"2026-01-{seed % 28 + 1:02}",
        suite={"name": "made"},
        suite_hash="s",
        method={"name": "made", "label": "made", "config": {}},
        seed=seed,
        model={"sha256": "m"},
        data=[],
        scorer={"hash": "c", "threshold": 0.5},
        decoding={},
        engine={"dtype": "float32"},
        code={},
        packages={},
        hardware={},
    )
    result = Result(run_id=name, key=name, metrics=metrics, phases=[], artifact={}, publishable=True)
    return Simulated(
        Path(name), manifest, result, {metric.key: one[3] for metric, one in zip(metrics, found, strict=True)}
    )


def luck(rng: np.random.Generator, seeds: int, training: float) -> np.ndarray:
    """What trainings do to the toxicity's logit, the two log-perplexities and skill (seeds x 4)."""
    return training * rng.normal(size=(seeds, 4)) * np.array([1.0, 0.1, 0.1, 0.1])


def alarms(  # noqa: PLR0917 - a row of CASES
    size: str, seeds: int, checked: int, training: float, mode: str, effect: tuple[float, float, float], repeats: int
) -> list[float]:
    """Shares of checks that fail, are inconclusive, or are refused, and in which the primary metric does not pass."""
    rng = np.random.default_rng([seeds, checked, int(100 * training), len(mode), int(100 * sum(effect))])
    counts = np.zeros(4)
    for _ in range(repeats):
        world = World(SIZES[size], rng)
        lucks = luck(rng, seeds, training)
        first = list(range(seeds))
        plan = Plan({}, check_seeds=checked, resamples=RESAMPLES)
        baseline, _ = make_baseline(world.runs(first, lucks), plan)
        new = lucks[:checked] if mode == "same seeds" else luck(rng, checked, training)
        outcome = decide(
            world.runs(first[:checked], new, Effect(*effect)),
            Baseline.model_validate_json(baseline.model_dump_json()),
            resamples=RESAMPLES,
        )
        primary = next(one for one in outcome.decisions if one.is_primary)
        assert not outcome.problems
        statuses = [outcome.status == status for status in ("failed", "inconclusive", "invalid")]
        counts += [*statuses, primary.status != "passed"]
    return [float(count) for count in counts / repeats]


NOTHING = (0.0, 0.0, 0.0)
CASES = [
    # size, seeds of the baseline and of the check, training, mode, effect
    ("smoke", 2, 2, 0.3, "same seeds", NOTHING),
    ("smoke", 2, 1, 0.3, "same seeds", NOTHING),
    ("smoke", 2, 2, 0.3, "redrawn", NOTHING),
    ("mini", 1, 1, 0.3, "same seeds", NOTHING),
    ("mini", 3, 3, 0.3, "same seeds", NOTHING),
    ("mini", 3, 3, 0.3, "redrawn", NOTHING),
    *(("smoke", 2, 2, 0.3, "same seeds", (lost, 0.0, 0.0)) for lost in (0.25, 0.5, 1.0)),
    ("mini", 1, 1, 0.3, "same seeds", (1.0, 0.0, 0.0)),
    *(("mini", 3, 3, 0.3, "same seeds", (lost, 0.0, 0.0)) for lost in (0.25, 0.5, 1.0)),
    ("mini", 3, 3, 0.3, "same seeds", (0.0, 0.1, 0.0)),
    ("mini", 3, 3, 0.3, "same seeds", (0.0, 0.0, 0.3)),
]


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print(f"alarms of `bench check`, {args.repeats} checks a line, each against a baseline of its own")
    head = f"{'suite':<7}{'seeds':>6}{'training':>9}  {'mode':<13}{'lost':<24}"
    print(f"{head}{'failed':>8}{'inconcl.':>9}{'refused':>8}{'primary':>8}")
    found = simulated.in_parallel(alarms, [(*case, args.repeats) for case in CASES], args.jobs)
    for (size, seeds, checked, training, mode, effect), shares in zip(CASES, found, strict=True):
        names = ("toxicity", "perplexity", "skill")
        lost = (
            ", ".join(f"{100 * one:.0f} % {name}" for one, name in zip(effect, names, strict=True) if one) or "nothing"
        )
        told = "{:>7.1f}%{:>8.1f}%{:>7.1f}%{:>7.1f}%".format(*(100 * share for share in shares))
        print(f"{size:<7}{f'{seeds}/{checked}':>6}{training:>9}  {mode:<13}{lost:<24}{told}", flush=True)


if __name__ == "__main__":
    main()
