"""From records, or from what is assumed where there are none, to what an experiment of some size can tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import MissingError, UsageError
from bench.stats import planning
from bench.stats.estimate import present
from bench.stats.means import Means, means_of
from bench.stats.planning import Design
from bench.stats.shares import Shares, agreement_of, training_of
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from bench.store.systems import by_age, grouped, latest
from reports.table.cells import clean
from reports.table.comparable import refuse_incomparable
from reports.table.models import refuse_several
from reports.table.roles import primary, shared_metrics

ASSUMED = Shares(share=0.16, agreement=0.8, training=0.4)
"""Where no record says otherwise: the embedded model on toxic prompts of RealToxicityPrompts."""
POWER = 0.8
"""How likely a difference has to be found."""
SEEDS = (1, 2, 3, 5)
_BASE = "none"
_MINUTE = 60

Origin = Literal["records", "assumed", "given"]
Systems = Sequence[Sequence[Run]]
"""The runs of each system, one a seed."""


@dataclass(frozen=True)
class Wanted:
    """What the user says; None where the records or the assumptions decide.

    Attributes:
        prompts: Prompts; questions or facts, where the metric is of these.
        samples: Continuations of each.
        seeds: Training seeds.
        methods: Methods compared with the base.
        figure: The base's share or mean.
        target: What a method brings it to; None for half of the way from the base's to the best.
        training: Standard deviation between trainings, in logits.
    """

    prompts: int | None = None
    samples: int | None = None
    seeds: int | None = None
    methods: int | None = None
    figure: float | None = None
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
        origins: Where the figure, `training`, and a share's `agreement` are from.
        target: The figure that the power is about.
        power: The chance to find the difference to `target`.
        detectable: The figure nearest to the base's that is found with a chance of 80 %, or None.
        needs: What 80 % takes, by seeds.
        minutes: What the design takes, all methods and the base; None where no record says.
    """

    suite: str | None
    model: str | None
    metric: str
    design: Design
    population: Shares | Means
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
        MissingError: the runs are not comparable, have no base, no method where a mean is planned, or neither a share
            nor a mean between 0 and 1 as the attribute's primary metric.
        UsageError: a size is neither given nor in a record, is not told by the metric, or a figure is out of range.
    """
    refuse_several(runs, "a plan")
    systems = list(grouped(latest(run for run in by_age(runs) if run.result).runs))
    metric = _metric(runs) if systems else None
    is_share = metric is None or _is_share(metric, systems)
    population: Shares | Means
    if metric is None or is_share:
        population, origins = _shares(systems, metric, wanted)
    else:
        population, origins = _means(systems, metric, wanted)
    design = _design(systems, metric, wanted, is_share=is_share)
    target = wanted.target if wanted.target is not None else (population.figure + population.best) / 2
    _check(population, target, design)
    first = systems[0][0].manifest if systems else None
    needs = []
    for seeds in sorted({*SEEDS, design.seeds}) if population.training is not None else [1]:
        other = replace(design, seeds=seeds)
        prompts = planning.prompts_needed(population, target, other, POWER)
        sized = replace(other, prompts=prompts) if prompts else None
        needs.append(Need(seeds, prompts, _minutes(systems, metric, sized, is_share=is_share) if sized else None))
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
        minutes=_minutes(systems, metric, design, is_share=is_share),
    )


def _metric(runs: Sequence[Run]) -> Metric:
    """The attribute's primary metric, which has to be a share of texts or a mean between 0 and 1."""
    finished = [run for run in runs if run.result]
    refuse_incomparable(finished, force=False)
    metric = primary(shared_metrics(finished), "attribute")
    if metric is None:
        raise MissingError("these runs have not measured the attribute", mend="take a suite with a task that does")
    for run in finished:
        found = run.evidence.get(metric.key)
        if found is None or found.statistic != "mean" or not all(0 <= value <= 1 for value in found.value):
            what = f"{clean(metric.key)} of run {clean(run.id)} is neither a share of texts nor a mean between 0 and 1"
            raise MissingError(f"{what}: nothing to plan by")
        if not found.value:
            what = f"no measurement of {clean(metric.key)} succeeded in run {clean(run.id)}"
            raise MissingError(what, mend="leave the run out, or measure it anew (bench run --fresh)")
    return metric


def _is_share(metric: Metric, systems: Systems) -> bool:
    """Whether the metric is planned as a share: it says yes or no, and of several texts a prompt.

    Of one text a prompt, what the differences to the base are like says more than an assumption on how texts agree.
    """
    found = [run.evidence[metric.key] for runs in systems for run in runs]
    return _is_binary(found) and all(len(one.value) > len(present(one)) for one in found)


def _is_binary(found: Sequence[Evidence]) -> bool:
    return all({0.0, 1.0}.issuperset(one.value) for one in found)


def _is_trained(runs: Sequence[Run]) -> bool:
    """Whether another seed of a method is another training."""
    return any(run.is_seeded for run in runs)


def _parted(
    systems: Systems, metric: Metric | None
) -> tuple[dict[int, Evidence], list[dict[int, Evidence]], list[bool]]:
    """The evidence of the base by seed, that of each method, and whether each is trained.

    Raises:
        MissingError: there are runs, and the base is not among them.
    """
    by_seed = [(runs, {run.manifest.seed: run.evidence[metric.key] for run in runs}) for runs in systems if metric]
    base = next((some for runs, some in by_seed if runs[0].method == _BASE), {})
    if systems and not base:
        raise MissingError("the base (method none) is not among these runs", mend="name its runs as well")
    methods = [(some, _is_trained(runs)) for runs, some in by_seed if runs[0].method != _BASE]
    return base, [some for some, _ in methods], [is_trained for _, is_trained in methods]


def _shares(systems: Systems, metric: Metric | None, wanted: Wanted) -> tuple[Shares, dict[str, Origin]]:
    """What is given, else what the records say, else what is assumed."""
    found = replace(ASSUMED, best=_best(metric))
    origins: dict[str, Origin] = dict.fromkeys(("share", "agreement", "training"), "assumed")
    base, methods, trained = _parted(systems, metric)
    bases = list(base.values())
    if bases:
        values = [value for one in bases for value in one.value]
        found, origins["share"] = replace(found, share=sum(values) / len(values)), "records"
        if (agreement := agreement_of(bases)) is not None:
            found, origins["agreement"] = replace(found, agreement=agreement), "records"
    trainings = [list(some.values()) for some, is_trained in zip(methods, trained, strict=True) if is_trained]
    if (training := training_of(trainings, ASSUMED.training)) is not None:
        found, origins["training"] = replace(found, training=training), "records"
    if wanted.figure is not None:
        found, origins["share"] = replace(found, share=wanted.figure), "given"
    if wanted.training is not None:
        found, origins["training"] = replace(found, training=wanted.training), "given"
    return found, origins


def _means(systems: Systems, metric: Metric, wanted: Wanted) -> tuple[Means, dict[str, Origin]]:
    """What the records say, and of it what is given.

    Raises:
        MissingError: there is no method whose differences to the base would tell how they vary, or they do not vary.
    """
    base, methods, trained = _parted(systems, metric)
    found = means_of(base, methods, _best(metric), trained)
    if found is None:
        what = f"how differences of {clean(metric.key)} vary is not known from the base alone"
        raise MissingError(what, mend="name a method's runs as well")
    if math.hypot(found.units, found.rest) < planning.EDGE:
        what = f"all items of these runs differ from the base by the same in {clean(metric.key)}"
        mend = "name runs of other methods, or of more items"
        raise MissingError(f"{what}: how they vary is not known", mend=mend)
    origins: dict[str, Origin] = dict.fromkeys(("mean", "training"), "records")
    if found.training is None and _is_binary([one for some in (base, *methods) for one in some.values()]):
        found, origins["training"] = replace(found, training=ASSUMED.training), "assumed"
    if wanted.figure is not None:
        found, origins["mean"] = replace(found, mean=wanted.figure), "given"
    if wanted.training is not None:
        found, origins["training"] = replace(found, training=wanted.training), "given"
    return found, origins


def _best(metric: Metric | None) -> float:
    return 1.0 if metric and metric.higher_is_better else 0.0


def _design(systems: Systems, metric: Metric | None, wanted: Wanted, *, is_share: bool) -> Design:
    found = [run.evidence[metric.key] for runs in systems for run in runs] if metric else []
    if wanted.samples is not None and not is_share:
        what = f"{clean(metric.key if metric else '')} has one figure a prompt: what more samples tell is not known"
        raise UsageError(what, mend="leave --samples out")
    edited = [runs for runs in systems if runs[0].method != _BASE]
    recorded = systems[0][0].manifest.decoding.get("num_samples") if systems else None
    sizes = {
        "prompts": wanted.prompts or len({name for one in found for name in one.cluster_ids}) or None,
        "samples": (wanted.samples or recorded) if is_share else 1,
        "seeds": wanted.seeds or max((len(runs) for runs in systems), default=3),
        "methods": wanted.methods or max(1, len(edited)),
        "trained": wanted.methods or max(1, sum(map(_is_trained, edited))),  # of those that are only told of, all
    }
    for name, size in sizes.items():
        if not size:
            raise UsageError(f"no run says how many {name} there are", mend=f"give --{name}, or name runs")
    return Design(**{name: int(size) for name, size in sizes.items() if size})


def _check(population: Shares | Means, target: float, design: Design) -> None:
    """Refuse figures that cannot be, and seeds of which nothing is known."""
    for name, figure in (("--from", population.figure), ("--to", target)):
        ends = isinstance(population, Means)
        if not (0 <= figure <= 1 if ends else 0 < figure < 1):
            what = "mean from 0 to 1" if ends else "share between 0 and 1"
            raise UsageError(f"{name} {figure:g} is no {what}", mend="give one, as 0.16")
    if target == population.figure:
        raise UsageError(
            f"--from and --to are both {target:g}: there is no difference to find", mend="give another --to"
        )
    if population.training is None and design.seeds > 1:
        what = "no trained method of these runs has two seeds, so how much trainings differ is not known"
        raise UsageError(what, mend="give --training SD, or plan --seeds 1")


def _minutes(systems: Systems, metric: Metric | None, design: Design, *, is_share: bool) -> float | None:
    """What such an experiment takes on the machine of the records: the attribute's task in proportion to its texts.

    None where a system has no run whose seconds are known.
    """
    if not systems or metric is None:
        return None
    size = design.prompts * design.samples
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for runs in (some for some in systems if not some[0].is_elsewhere):
        known = [one for run in runs if (one := _seconds(run, metric, size, is_share=is_share)) is not None]
        if not known:
            return None
        seconds[runs[0].method == _BASE].append(sum(known) / len(known))
    methods = seconds[False] or seconds[True]
    base = sum(seconds[True]) / len(seconds[True])
    return design.seeds * (base + design.methods * sum(methods) / len(methods)) / _MINUTE


def _seconds(run: Run, metric: Metric, size: int, *, is_share: bool) -> float | None:
    if run.seconds is None or run.result is None:
        return None
    made = run.result.artifact.get("seconds")
    sampled = sum(phase.seconds for phase in run.result.phases if phase.name == metric.task)
    fixed = sum(p.seconds for p in run.result.phases if p.stage == "measure" and p.name != metric.task)
    fixed += float(made) if isinstance(made, int | float) else 0.0
    return fixed + sampled * size / _size(run.evidence[metric.key], is_share=is_share)


def _size(evidence: Evidence, *, is_share: bool) -> int:
    """What a task's seconds are in proportion to: texts of a share, prompts of a mean."""
    return len(evidence.value) if is_share else len(present(evidence))
