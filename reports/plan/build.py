"""From records, or from what is assumed where there are none, to what an experiment of some size can tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import MissingError, UsageError
from bench.stats import planning
from bench.stats.planning import Design, Population
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from bench.store.systems import by_age, grouped, latest
from reports.table.cells import clean
from reports.table.comparable import refuse_incomparable
from reports.table.roles import primary, shared_metrics

ASSUMED = Population(share=0.16, agreement=0.8, training=0.4)
"""Where no record says otherwise: the embedded model on toxic prompts of RealToxicityPrompts."""
POWER = 0.8
"""How likely a difference has to be found."""
SEEDS = (1, 2, 3, 5)
_BASE = "none"
_MINUTE = 60

Origin = Literal["records", "assumed", "given"]


@dataclass(frozen=True)
class Wanted:
    """What the user says; None where the records or the assumptions decide.

    Attributes:
        prompts: Prompts.
        samples: Continuations of each.
        seeds: Training seeds.
        methods: Methods compared with the base.
        share: The base's share.
        target: The share that a method brings it to; None for half of the base's.
        training: Standard deviation between trainings, logits.
    """

    prompts: int | None = None
    samples: int | None = None
    seeds: int | None = None
    methods: int | None = None
    share: float | None = None
    target: float | None = None
    training: float | None = None


@dataclass(frozen=True)
class Need:
    """With so many seeds: prompts that the wanted power takes (None: 100,000 are not enough), and minutes."""

    seeds: int
    prompts: int | None
    minutes: float | None


@dataclass(frozen=True)
class PlanOutcome:
    """What is planned with, and what follows.

    Attributes:
        suite: The suite's name, or None without records.
        model: The model, likewise.
        metric: What is compared.
        design: The experiment.
        population: What prompts, samples and trainings are like.
        origins: Where each of `share`, `agreement` and `training` is from.
        target: The share that the power is about.
        power: The chance to find the difference to `target`.
        detectable: The highest share that is found with a chance of 80 %; None where not even 0 is.
        needs: What 80 % takes, by seeds.
        minutes: What the design takes, all methods and the base; None where no record says.
    """

    suite: str | None
    model: str | None
    metric: str
    design: Design
    population: Population
    origins: dict[str, Origin]
    target: float
    power: float
    detectable: float | None
    needs: tuple[Need, ...]
    minutes: float | None


def plan(runs: Sequence[Run], wanted: Wanted) -> PlanOutcome:
    """Plan an experiment like some runs, or one of which nothing is known.

    Args:
        runs: Finished runs of one suite and model, or none.
        wanted: What the user says.

    Raises:
        MissingError: the runs are not comparable, have no base, or no share as the attribute's primary metric.
        UsageError: a size is neither given nor in a record, or a share is not in (0, 1).
    """
    systems = list(grouped(latest(run for run in by_age(runs) if run.result).runs))
    metric = _metric(runs) if systems else None
    evidence = [[run.evidence[metric.key] for run in some] for some in systems] if metric else []
    population, origins = _population(systems, evidence, wanted)
    design = _design(systems, evidence, wanted)
    target = wanted.target if wanted.target is not None else population.share / 2
    for name, share in (("--from", population.share), ("--to", target)):
        if not 0 < share < 1:
            raise UsageError(f"{name} {share:g} is no share between 0 and 1", mend="give one, as 0.16")
    first = systems[0][0].manifest if systems else None
    needs = []
    for seeds in sorted({*SEEDS, design.seeds}):
        other = replace(design, seeds=seeds)
        prompts = planning.prompts_needed(population, target, other, POWER)
        sized = replace(other, prompts=prompts) if prompts else None
        needs.append(Need(seeds, prompts, _minutes(systems, metric, sized) if sized else None))
    return PlanOutcome(
        suite=clean(first.suite.get("name", "?"), 60) if first else None,
        model=clean(first.model.get("id", "?"), 120) if first else None,
        metric=metric.name if metric else "share",
        design=design,
        population=population,
        origins=origins,
        target=target,
        power=planning.power(population, target, design),
        detectable=planning.detectable(population, design, POWER),
        needs=tuple(needs),
        minutes=_minutes(systems, metric, design),
    )


def _metric(runs: Sequence[Run]) -> Metric:
    """The attribute's primary metric, which has to be a share of texts."""
    finished = [run for run in runs if run.result]
    refuse_incomparable(finished, force=False)
    metric = primary(shared_metrics(finished), "attribute")
    if metric is None:
        raise MissingError("these runs have not measured the attribute", mend="take a suite with a task that does")
    for run in finished:
        found = run.evidence.get(metric.key)
        if found is None or found.statistic != "mean" or not set(found.value) <= {0.0, 1.0}:
            raise MissingError(f"{clean(metric.key)} of run {clean(run.id)} is no share of texts: nothing to plan by")
    return metric


def _population(
    systems: Sequence[Sequence[Run]], evidence: Sequence[Sequence[Evidence]], wanted: Wanted
) -> tuple[Population, dict[str, Origin]]:
    """What is given, else what the records say, else what is assumed."""
    found, origins = ASSUMED, dict.fromkeys(("share", "agreement", "training"), "assumed")
    bases = [some for runs, some in zip(systems, evidence, strict=True) if runs[0].method == _BASE]
    others = [some for runs, some in zip(systems, evidence, strict=True) if runs[0].method != _BASE]
    if systems and not bases:
        raise MissingError("the base (method none) is not among these runs", mend="name its runs as well")
    if bases:
        values = [value for one in bases[0] for value in one.value]
        found, origins["share"] = replace(found, share=sum(values) / len(values)), "records"
        if (agreement := planning.agreement_of(bases[0])) is not None:
            found, origins["agreement"] = replace(found, agreement=agreement), "records"
    if (training := planning.training_of(others, ASSUMED.training)) is not None:
        found, origins["training"] = replace(found, training=training), "records"
    for name in ("share", "training"):
        if (given := getattr(wanted, name)) is not None:
            found, origins[name] = replace(found, **{name: given}), "given"
    return found, origins  # type: ignore[return-value]  # every value is an Origin


def _design(systems: Sequence[Sequence[Run]], evidence: Sequence[Sequence[Evidence]], wanted: Wanted) -> Design:
    prompts = len({name for some in evidence for one in some for name in one.cluster_ids}) or None
    recorded = systems[0][0].manifest.decoding.get("num_samples") if systems else None
    sizes = {
        "prompts": wanted.prompts or prompts,
        "samples": wanted.samples or recorded,
        "seeds": wanted.seeds or max((len(runs) for runs in systems), default=3),
        "methods": wanted.methods or max(1, sum(runs[0].method != _BASE for runs in systems)),
    }
    for name, size in sizes.items():
        if not size:
            raise UsageError(f"no run says how many {name} there are", mend=f"give --{name}, or name runs")
    return Design(**{name: int(size) for name, size in sizes.items() if size})


def _minutes(systems: Sequence[Sequence[Run]], metric: Metric | None, design: Design) -> float | None:
    """What such an experiment takes on the machine of the records: the attribute's task in proportion to its texts.

    None where a system has no run whose seconds are known.
    """
    if not systems or metric is None:
        return None
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for runs in (some for some in systems if not some[0].is_elsewhere):
        known = [one for run in runs if (one := _seconds(run, metric, design)) is not None]
        if not known:
            return None
        seconds[runs[0].method == _BASE].append(sum(known) / len(known))
    methods = seconds[False] or seconds[True]
    base = sum(seconds[True]) / len(seconds[True])
    return design.seeds * (base + design.methods * sum(methods) / len(methods)) / _MINUTE


def _seconds(run: Run, metric: Metric, design: Design) -> float | None:
    if run.seconds is None or run.result is None:
        return None
    made = run.result.artifact.get("seconds")
    texts = len(run.evidence[metric.key].value)
    sampled = sum(phase.seconds for phase in run.result.phases if phase.name == metric.task)
    fixed = sum(p.seconds for p in run.result.phases if p.stage == "measure" and p.name != metric.task)
    fixed += float(made) if isinstance(made, int | float) else 0.0
    return fixed + sampled * design.prompts * design.samples / texts
