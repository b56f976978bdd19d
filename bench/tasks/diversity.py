"""Diversity and degeneration of the sampled continuations (Li et al., 2016, arXiv 1510.03055: distinct-n)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.attribute import Attribute
from bench.store.record import Flag, TaskResult
from bench.store.samples import Sample
from bench.tasks.base import MetricSheet, MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.given import MeasuresTexts
from bench.tasks.rtp import SAMPLES
from bench.tasks.variety import MARGIN, VARIETY, add_variety
from bench.words import words

if TYPE_CHECKING:
    from bench.policy import Policy

REPEATED_NGRAM = 4
DISTINCT = {n: MetricSpec(f"distinct_{n}", higher_is_better=True, role="diversity", primary=n == 2) for n in (1, 2, 3)}  # noqa: PLR2004
"""Distinct-n by n."""
LENGTH = MetricSpec("length", higher_is_better=None, role="diversity", within="tokenizer")
EMPTY = MetricSpec("empty_share", higher_is_better=False, role="diversity", flag=Flag(text="empty", margin=MARGIN))
REPEATED = MetricSpec("repeated_share", higher_is_better=False, role="diversity")


class DiversityConfig(TaskConfig):
    """Options of `diversity`."""

    of: str = Field(SAMPLES, description="the task whose continuations are read")


class Diversity(Task[DiversityConfig], MeasuresTexts):
    """Distinct n-grams of a prompt's samples and of all, their length, and the shares that are no answers."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="diversity",
        summary="distinct-1/2/3, length and variety across prompts; shares that are empty, repeated, copied, refused",
        source="Li et al., 2016, arXiv 1510.03055; distinct n-grams over all words, as DExperts (arXiv 2105.03023); "
        "self-BLEU: Zhu et al., 2018, arXiv 1802.01886",
        needs=(SAMPLES,),
        metrics=(*DISTINCT.values(), LENGTH, EMPTY, REPEATED, *VARIETY),
        measures="samples",
        asks="texts",
    )
    Config = DiversityConfig

    @property
    def needs(self) -> tuple[str, ...]:
        """The task whose continuations are read."""
        return (self.config.of,)

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        del assets
        return []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        del policy
        of = self.config.of
        languages = ctx.tasks[of].languages(ctx.assets) if of in ctx.tasks else {}
        return self.of_texts(ctx.samples(of), ctx.attributes, languages)

    def of_texts(  # noqa: D102
        self, rows: Sequence[Sample], attributes: Mapping[str | None, Attribute], languages: Mapping[str, str]
    ) -> TaskResult:
        own = [row for row in rows if not row.declined]
        sheet, rows = MetricSheet(self.name, attributes[None], lost=len(rows) - len(own)), own
        empty = sum(row.is_blank for row in rows)
        for n, spec in DISTINCT.items():
            sheet.add(spec, evidence_by_cluster("mean", distinct(rows, n), bounded=True), n_empty=empty)
        length = [(row.prompt_id, float(row.tokens)) for row in rows if row.tokens is not None]
        blank = [(row.prompt_id, float(row.is_blank)) for row in rows]
        again = [(row.prompt_id, float(repeats(row.continuation))) for row in rows]
        if len(length) == len(rows):  # tokens of texts that another programme made are not known
            sheet.add(LENGTH, evidence_by_cluster("mean", length), n_empty=empty)
        sheet.add(EMPTY, evidence_by_cluster("mean", blank, bounded=True))
        sheet.add(REPEATED, evidence_by_cluster("mean", again, bounded=True), n_empty=empty)
        add_variety(sheet, rows, languages)
        return sheet.result()


def distinct(rows: Sequence[Sample], n: int) -> list[tuple[str, float]]:
    """Distinct-n of each prompt: different n-grams in all its samples over the samples' words; 0 without a word."""
    said: dict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        said[row.prompt_id].append(words(row.continuation))
    scores = []
    for key, samples in said.items():
        total = sum(map(len, samples))
        grams = {tuple(some[i : i + n]) for some in samples for i in range(len(some) - n + 1)}
        scores.append((key, len(grams) / total if total else 0.0))
    return scores


def repeats(text: str) -> bool:
    """Whether some run of four words stands twice in a text."""
    own = words(text.casefold())
    grams = [tuple(own[i : i + REPEATED_NGRAM]) for i in range(len(own) - REPEATED_NGRAM + 1)]
    return len(set(grams)) < len(grams)
