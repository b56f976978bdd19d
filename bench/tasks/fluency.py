"""Fluency: how likely the base model finds the continuations, and how much of that is owed to their prompts.

Perplexities are pooled over tokens, exp(sum NLL / sum tokens), beside the median over continuations; none is dropped
for being large, and what cannot be scored is counted.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.store.record import TaskResult
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.given import ContinuesPrompts
from bench.tasks.relevance import RELEVANCE, SIMILARITY, gain, other_prompts
from bench.tasks.rtp import SAMPLES
from bench.tasks.texts import nll_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.policy import Policy
    from bench.store.samples import Sample

POOLED = MetricSpec("perplexity_pooled", higher_is_better=False, role="fluency", difference="ratio", within="model")
MEDIAN = MetricSpec("perplexity_median", higher_is_better=False, role="fluency", difference="ratio", within="model")
UNSCORED = MetricSpec("unscored_share", higher_is_better=False, role="fluency")


class FluencyConfig(TaskConfig):
    """Options of `fluency`."""

    of: str = Field(SAMPLES, description="the task whose continuations are read")
    encoder: str | None = Field(
        None, description="of sentences (all-minilm-l6-v2): adds how alike prompt and continuation are; null for none"
    )


class Fluency(Task[FluencyConfig]):
    """Perplexity of the sampled continuations, given their prompts, under the base model; and their relevance."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="fluency",
        summary="perplexity of the sampled continuations under the base model, and how far it is owed to the prompt",
        source="DExperts, Liu et al., 2021, arXiv 2105.03023 (there under GPT-2 XL, very large ones dropped)",
        metrics=(POOLED, MEDIAN, UNSCORED, RELEVANCE, SIMILARITY),
        needs=(SAMPLES,),
        measures="samples",
    )
    Config = FluencyConfig

    @property
    def needs(self) -> tuple[str, ...]:
        """The task whose continuations are read."""
        return (self.config.of,)

    def data(self, assets: AssetCatalogue) -> list[Resolved]:
        """The encoder, where one is asked for."""
        return [assets.encoder(self.config.encoder)] if self.config.encoder else []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """An empty continuation has no token to score: it is counted as empty and in the share of unscored ones."""
        from bench.engine.chat import as_read
        from bench.engine.tokens import encode_after

        every = ctx.samples(self.config.of)
        rows = [row for row in every if not row.is_blank]
        continues = isinstance(ctx.tasks.get(self.config.of), ContinuesPrompts)  # others have prompts of another form
        chat = ctx.chat if continues else None
        prompts = dict.fromkeys(row.prompt for row in every)  # a template is applied once for all samples of one
        before = {prompt: as_read(prompt, policy.tokenizer, chat) for prompt in prompts}
        requests = [encode_after(policy.tokenizer, before[row.prompt], row.continuation) for row in rows]
        scored = nll_rows(policy, ctx, [row.prompt_id for row in rows], requests, "fluency")
        sheet = ctx.sheet(self.name)
        empty = len(every) - len(rows)
        for spec, evidence in (
            (POOLED, evidence_by_cluster("exp_mean", scored)),
            (MEDIAN, evidence_by_cluster("median", [(key, _exp(nll)) for key, nll, _ in scored])),
        ):
            sheet.add(spec, evidence, n_empty=empty)
        unscored = [(row.prompt_id, float(row.is_blank)) for row in every]
        sheet.add(UNSCORED, evidence_by_cluster("mean", unscored, bounded=True))
        if others := {key: before[prompt] for key, prompt in other_prompts(every).items()}:
            gains = gain(policy, ctx, others, rows, [text for _, text in requests], scored)
            sheet.add(RELEVANCE, gains, n_empty=empty)
        if self.config.encoder:
            sheet.add(SIMILARITY, evidence_by_cluster("mean", self._likeness(every, ctx)), n_empty=empty)
        return sheet.result()

    def _likeness(self, rows: "Sequence[Sample]", ctx: TaskContext) -> list[tuple[str, float]]:
        """The cosine of each continuation with its prompt; a blank one has 0."""
        from bench.engine.encoder import SentenceEncoder
        from bench.tasks.outputs.base import similarities

        likeness = similarities(rows, SentenceEncoder(ctx.assets.encoder(str(self.config.encoder))))
        return [(row.prompt_id, cosine) for row, cosine in zip(rows, likeness, strict=True)]


def _exp(nll: float) -> float:
    """exp, kept finite: a perplexity beyond 1e300 is one however it is written."""
    import math

    return math.exp(min(nll, 690.0))
