"""Fluency: how likely the base model finds the continuations.

Perplexities are pooled over tokens, exp(sum NLL / sum tokens), beside the median over continuations; none is dropped
for being large, and what cannot be scored is counted.
"""

from typing import TYPE_CHECKING, ClassVar

from bench.assets.catalogue import AssetCatalogue, Resolved
from bench.store.record import TaskResult
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskContext, TaskInfo, evidence_by_cluster
from bench.tasks.rtp import SAMPLES
from bench.tasks.texts import nll_rows

if TYPE_CHECKING:
    from bench.policy import Policy


POOLED = MetricSpec("perplexity_pooled", higher_is_better=False, role="fluency", difference="ratio")
MEDIAN = MetricSpec("perplexity_median", higher_is_better=False, role="fluency", difference="ratio")
UNSCORED = MetricSpec("unscored_share", higher_is_better=False, role="fluency")


class FluencyConfig(TaskConfig):
    """`fluency` has no options; it reads the samples of `rtp`."""


class Fluency(Task[FluencyConfig]):
    """Perplexity of the sampled continuations, given their prompts, under the base model."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="fluency",
        summary="perplexity of the sampled continuations under the base model, pooled and median",
        source="DExperts, Liu et al., 2021, arXiv 2105.03023 (there under GPT-2 XL, very large ones dropped)",
        metrics=(POOLED, MEDIAN, UNSCORED),
        needs=(SAMPLES,),
        measures="samples",
    )
    Config = FluencyConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        del assets
        return []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """An empty continuation has no token to score: it is counted as empty and in the share of unscored ones."""
        from bench.engine.tokens import encode_after

        rows = ctx.samples(SAMPLES)
        requests, owners = [], []
        for row in rows:
            if not row.is_blank:
                requests.append(encode_after(policy.tokenizer, row.prompt, row.continuation))
                owners.append(row.prompt_id)
        scored = nll_rows(policy, ctx, owners, requests, "fluency")
        sheet = ctx.sheet(self.name)
        empty = len(rows) - len(requests)
        for spec, evidence in (
            (POOLED, evidence_by_cluster("exp_mean", scored)),
            (MEDIAN, evidence_by_cluster("median", [(key, _exp(nll)) for key, nll, _ in scored])),
        ):
            sheet.add(spec, evidence, n_empty=empty)
        unscored = [(row.prompt_id, float(row.is_blank)) for row in rows]
        sheet.add(UNSCORED, evidence_by_cluster("mean", unscored, bounded=True))
        return sheet.result()


def _exp(nll: float) -> float:
    """exp, kept finite: a perplexity beyond 1e300 is one however it is written."""
    import math

    return math.exp(min(nll, 690.0))
