"""Fluency: how likely the base model finds the continuations, and how likely the edited model finds plain text.

Perplexities are pooled over tokens, exp(sum NLL / sum tokens), beside the median over continuations; none is dropped
for being large, and what cannot be scored is counted.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue, Resolved
from bench.data.files import read_rows
from bench.errors import UsageError
from bench.hashing import content_id
from bench.store.record import TaskResult
from bench.tasks.base import MetricSheet, Task, TaskConfig, TaskContext, TaskInfo, evidence_by_cluster
from bench.tasks.rtp import SAMPLES

if TYPE_CHECKING:
    from bench.policy import Policy


class FluencyConfig(TaskConfig):
    """`fluency` has no options; it reads the samples of `rtp`."""


class Fluency(Task[FluencyConfig]):
    """Perplexity of the sampled continuations, given their prompts, under the base model."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="fluency",
        summary="perplexity of the sampled continuations under the base model, pooled and median",
        source="DExperts, Liu et al., 2021, arXiv 2105.03023 (there under GPT-2 XL, very large ones dropped)",
        needs=(SAMPLES,),
        measures="samples",
    )
    Config = FluencyConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        del assets
        return []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """An empty continuation has no token to score: it is counted as empty and in the share of unscored ones."""
        from bench.engine.generation import encode_after

        rows = ctx.samples(SAMPLES)
        requests, owners = [], []
        for row in rows:
            if row["continuation"].strip():
                requests.append(encode_after(policy.tokenizer, row["prompt"], row["continuation"]))
                owners.append(row["prompt_id"])
        scored = nll_rows(policy, ctx, owners, requests, "fluency")
        sheet = MetricSheet(self.info.name)
        empty = len(rows) - len(requests)
        for name, evidence in (
            ("perplexity_pooled", evidence_by_cluster("exp_mean", scored)),
            ("perplexity_median", evidence_by_cluster("median", [(key, _exp(nll)) for key, nll, _ in scored])),
        ):
            sheet.add(name, evidence, higher_is_better=False, n_empty=empty)
        unscored = [(row["prompt_id"], float(not row["continuation"].strip())) for row in rows]
        sheet.add("unscored_share", evidence_by_cluster("mean", unscored, bounded=True), higher_is_better=False)
        return sheet.result()


def _exp(nll: float) -> float:
    """exp, kept finite: a perplexity beyond 1e300 is one however it is written."""
    import math

    return math.exp(min(nll, 690.0))


def unprompted(policy: "Policy", texts: Iterable[str], most: int | None = None) -> list[tuple[list[int], list[int]]]:
    """Requests for `nll_rows`: at most so many tokens of each text, after the token that stands before a text."""
    from bench.engine.generation import first_token

    first = [first_token(policy.tokenizer)]
    return [(first, policy.tokenizer(text, add_special_tokens=False)["input_ids"][:most]) for text in texts]


def nll_rows(
    policy: "Policy",
    ctx: TaskContext,
    owners: Sequence[str],
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    label: str,
) -> list[tuple[str, float, float]]:
    """(owner, mean NLL, tokens) of each request."""
    from bench.engine.likelihood import loglikelihood

    with ctx.progress.bar(label, len(requests), "texts") as bar:
        scored = loglikelihood(policy, requests, done=bar.advance)
    ctx.tokens += sum(one.tokens for one in scored)
    return [
        (owner, -one.logprob / one.tokens, float(one.tokens))
        for owner, one in zip(owners, scored, strict=True)
        if one.tokens
    ]


class HeldOutConfig(TaskConfig):
    """Options of `heldout`."""

    data: str = Field("boolq", description="JSONL with a text in each row: an asset, a file, or hub:ID:FILE")
    field: str = Field("passage", description="the key of the text")
    passages: int = Field(24, ge=1, description="texts to take, the first by content id")
    skip: int = Field(0, ge=0, description="texts to pass over first")
    max_tokens: int = Field(128, ge=2, description="tokens of each text that are scored")


class HeldOutPerplexity(Task[HeldOutConfig]):
    """Perplexity of the edited model on text that it was not trained on."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="heldout",
        summary="perplexity of the edited model on held-out text, pooled over tokens",
        source="token perplexity, exp(sum NLL / sum tokens)",
    )
    Config = HeldOutConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        return [assets.data(self.config.data)]

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        texts = self._texts(ctx)
        requests = unprompted(policy, texts.values(), self.config.max_tokens)
        scored = nll_rows(policy, ctx, list(texts), requests, self.info.name)
        sheet = MetricSheet(self.info.name)
        sheet.add("perplexity", evidence_by_cluster("exp_mean", scored), higher_is_better=False)
        return sheet.result()

    def _texts(self, ctx: TaskContext) -> dict[str, str]:
        texts = self._all(ctx.assets)
        return {key: texts[key] for key in sorted(texts)[self.config.skip :][: ctx.take(self.config.passages)]}

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """All texts of the data, whatever this suite takes of them."""
        return list(self._all(assets).values())

    def _all(self, assets: AssetCatalogue) -> dict[str, str]:
        """Every text once, by its content id."""
        texts: dict[str, str] = {}
        for where, row in read_rows(assets.data(self.config.data).path):
            text = row.get(self.config.field)
            if not isinstance(text, str):
                raise UsageError(f"{where}: no text under the key '{self.config.field}'")
            if text.strip():
                texts.setdefault(content_id(text), text)
        return texts
