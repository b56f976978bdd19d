"""A baseline: the figures of a method with what is needed to test a later run against them; no text is in it.

One JSON file, with sorted keys and a line for each list of numbers, so that a review sees what a renewal changed.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import MissingError
from bench.hashing import hash_text
from bench.parsing import check_regular, parse_json
from bench.stats import average
from bench.stats.estimate import observations, sums
from bench.store.files import write_text
from bench.store.record import Evidence, metric_key

VERSION: Literal[1] = 1
_DIGITS = 6
"""Significant digits that observations are rounded to, in the file and on the run's side alike."""
_ROUNDED = 1e-4
"""Relative error that rounding may make in a figure, many times over."""
_NAME = 16
_LISTS = re.compile(r"\[\n[^][{}]*\n *\]")
"""A list of plain values: no string holds a line break, so this is never found inside one."""
_RENEW = "write it anew with 'bench baseline'"

Amount = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Observed(_Part):
    """One seed's evidence on the clusters of its metric.

    Attributes:
        cluster: For each value, the place of its prompt or question; None where there is one value for each, in order.
        value: The clusters' weighted means, or every observation where the figure is a median.
        weight: What each weighs; None where all weigh the same.
    """

    cluster: list[int] | None = None
    value: list[float]
    weight: list[float] | None = None


class Reference(_Part):
    """One metric.

    Attributes:
        task: The task that measured it.
        group: The part of the data, or None for all of it.
        name: The metric.
        scorer: Which of the suite's further scorers it is by, or None.
        higher_is_better: Its direction, or None.
        value: The figure, averaged over seeds.
        ci_low: Lower end of its 95 % interval, or None.
        ci_high: Upper end, or None.
        n: Observations, over all seeds.
        relative: Whether losses are shares of the figure (perplexities), not differences.
        tolerance: The loss that is tolerated; None for a metric that is not judged.
        limit: The loss that a check as large as planned will not let pass; None for a metric that is not judged.
        unjudged: Why it is not judged, or None.
        statistic: As in the record's evidence.
        bounded: As in the record's evidence.
        answers: Observations of one seed, where each is right or wrong; else None.
        clusters: Which of the baseline's lists of clusters it was observed on; None without evidence.
        seeds: The evidence of each seed, in the baseline's order; empty for a metric that is not judged.
    """

    task: str
    group: str | None
    name: str
    higher_is_better: bool | None
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    relative: bool
    tolerance: Amount | None
    limit: Amount | None
    unjudged: str | None
    statistic: Literal["mean", "exp_mean", "median"] | None
    bounded: bool
    answers: Annotated[int, Field(ge=1)] | None
    clusters: Annotated[int, Field(ge=0)] | None
    seeds: list[Observed]
    scorer: str | None = None  # baselines of earlier versions know one scorer

    @property
    def key(self) -> str:
        """The metric's identity, as in the record."""
        return metric_key(self.task, self.group, self.name, self.scorer)


class BaselineMethod(_Part):
    """What was measured: the method with every option, and the settings of the sets that it learned from."""

    name: str
    label: str
    config: dict[str, Any]
    sets: dict[str, Any] | None


class Baseline(_Part):
    """A baseline file.

    Attributes:
        schema_version: Of this format.
        created: When it was written, ISO 8601 in UTC.
        bench: The version that wrote it.
        method: What was measured.
        seeds: Its seeds.
        check_seeds: How many seeds a check has at least; limits are planned for as many.
        run_ids: The runs, in the seeds' order.
        facts: What a run must share to be comparable (`reports.table.comparable.facts`).
        primary: The metric that has half of the allowance for false alarms to itself.
        clusters: Lists of hashed ids of prompts, questions or passages.
        metrics: The metrics, by key.
    """

    schema_version: Literal[1] = VERSION
    created: str
    bench: str
    method: BaselineMethod
    seeds: Annotated[list[int], Field(min_length=1)]
    check_seeds: Annotated[int, Field(ge=1)]
    run_ids: list[str]
    facts: dict[str, Any]
    primary: str
    clusters: list[list[str]]
    metrics: Annotated[list[Reference], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        judged = {one.key for one in self.metrics if one.tolerance is not None}
        if len({one.key for one in self.metrics}) < len(self.metrics) or self.primary not in judged:
            raise ValueError("a metric stands there twice, or the primary one is not judged")
        for one in self.metrics:
            if (problem := self._problem(one)) is not None:
                raise ValueError(f"{one.key}: {problem}")
        return self

    def evidence(self, metric: Reference) -> list[Evidence]:
        """A judged metric's evidence, one entry a seed."""
        if metric.clusters is None or metric.statistic is None:
            return []
        names = self.clusters[metric.clusters]
        return [
            Evidence(
                statistic=metric.statistic,
                bounded=metric.bounded,
                cluster_ids=names,
                cluster=list(range(len(names))) if one.cluster is None else one.cluster,
                value=one.value,
                weight=one.weight,
            )
            for one in metric.seeds
        ]

    def _problem(self, metric: Reference) -> str | None:
        """What is wrong with a metric: a file that was cut or edited must not decide anything."""
        if metric.tolerance is None:
            return "neither judged nor said why not" if metric.unjudged is None else None
        if metric.limit is None or metric.limit < metric.tolerance or metric.higher_is_better is None:
            return "a judged metric needs a direction, and a limit that is not below its tolerance"
        if len(metric.seeds) != len(self.seeds) or (metric.clusters or 0) >= len(self.clusters):
            return "its evidence is not whole"
        for one in self.evidence(metric):
            lengths = {len(one.cluster), len(one.value), len(one.weight or one.value)}
            if len(lengths) > 1 or not all(0 <= place < len(one.cluster_ids) for place in one.cluster):
                return "its evidence is not whole"
        found = average(self.evidence(metric))
        if found is None or abs(found - metric.value) > _ROUNDED * max(1.0, abs(metric.value)):
            return f"its figure {metric.value} is not what its evidence gives"
        return None


def compact(evidence: Evidence) -> Evidence:
    """Evidence with hashed ids, rounded, and one value a cluster where the figure does not need more.

    Both sides of a check pass through this, so that the same run has a loss of exactly 0.
    """
    names = [hash_text(one)[:_NAME] for one in evidence.cluster_ids]
    if evidence.statistic == "median":
        weight = evidence.weight and [_rounded(one) for one in evidence.weight]
        value = [_rounded(one) for one in evidence.value]
        return evidence.model_copy(update={"cluster_ids": names, "value": value, "weight": weight})
    found = sums(*observations(evidence, evidence.cluster_ids), len(names))
    kept = [place for place in range(len(names)) if found[place, 1] > 0]
    return evidence.model_copy(
        update={
            "cluster_ids": names,
            "cluster": kept,
            "value": [_rounded(found[place, 0] / found[place, 1]) for place in kept],
            "weight": [_rounded(found[place, 1]) for place in kept],
        }
    )


def save_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline: keys sorted, numbers of a list on one line."""
    text = json.dumps(baseline.model_dump(), indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
    write_text(path, _LISTS.sub(lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n")


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        MissingError: there is none, it is damaged, or another version wrote it.
    """
    try:
        check_regular(path)
        data = parse_json(path.read_text(encoding="utf-8"), halves=False)
    except FileNotFoundError:
        raise MissingError(f"there is no baseline {path}", mend=_RENEW) from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingError(f"the baseline {path} cannot be read ({type(error).__name__})", mend=_RENEW) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version != VERSION:
        mend = f"this bench reads version {VERSION}: use the one that wrote it, or {_RENEW}"
        raise MissingError(f"the baseline {path} is of version {version}", mend=mend)
    try:
        return Baseline.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise MissingError(f"the baseline {path} is damaged (at '{where}': {first['msg']})", mend=_RENEW) from None


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
