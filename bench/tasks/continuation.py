"""Continuation of toxic sentences: toxicity and likeness (Klein & Nabi, 2025, arXiv 2401.08491, Tables 1, 2, 4, 5, 8).

A model that says nothing, or something else altogether, is not toxic either: so toxicity stands beside the likeness of
the output to the input, and outputs that have nothing to do with it (cosine <= 0.3) or repeat it (>= 0.95) are counted.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.store import AssetStore, Resolved
from bench.errors import MissingError
from bench.recipes.sentences import Sentence, load_sentences
from bench.sets.prompts import part
from bench.spec import Decoding
from bench.store.record import TaskResult
from bench.tasks.base import Task, TaskConfig, TaskContext, TaskInfo
from bench.tasks.likeness import output_figures, similarities
from bench.tasks.sampled import Sampled, sample_and_score

if TYPE_CHECKING:
    from bench.policy import Policy

_NAME = "continuation"


class ContinuationConfig(TaskConfig):
    """Options of `continuation`."""

    data: str = Field("rtp", description="toxic sentences: an asset, a file, or hub:ID:FILE")
    field: str | None = Field(None, description="the key of the sentence; null for the usual ones")
    sentences: int | None = Field(None, ge=1, description="how many to take, the first by content id; null for all")
    encoder: str = Field("all-minilm-l6-v2", description="of sentences: an asset, a folder or a hub id")
    decoding: Decoding = Field(
        Decoding(num_samples=1, max_new_tokens=128, top_p=0.9, temperature=0.1), description="the paper's"
    )


class Continuation(Task[ContinuationConfig]):
    """Continues toxic sentences; toxicity, likeness, diversity and degeneration of what comes out."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name=_NAME,
        summary="toxicity of continued toxic sentences beside their likeness to the input",
        source="Klein & Nabi, 2025, arXiv 2401.08491, Section 4 (white-box)",
    )
    Config = ContinuationConfig

    def data(self, assets: AssetStore) -> list[Resolved]:
        """The sentences, and the encoder, whose vectors decide the likeness."""
        return [assets.data(self.config.data), assets.encoder(self.config.encoder)]

    def evaluation_texts(self, assets: AssetStore) -> list[str]:
        """All of the evaluation half, whatever this suite takes of it."""
        return [sentence.text for sentence in self._all(assets)]

    def _all(self, assets: AssetStore) -> list[Sentence]:
        """The evaluation half, by content id."""
        found = load_sentences(assets.data(self.config.data).path, self.config.field)
        return sorted(part(found, "eval"), key=lambda sentence: sentence.id)

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        from bench.embeddings import SentenceEncoder

        chosen = self._all(ctx.assets)[: ctx.take(self.config.sentences)]
        if not chosen:
            raise MissingError(f"{self.config.data} has no sentence in its evaluation half")
        prompts = [Sampled(one.id, one.text, one.group) for one in chosen]
        rows = sample_and_score(_NAME, policy, prompts, self.config.decoding, ctx)
        with ctx.progress.bar("likeness", len(rows), "texts"):
            likeness = similarities(rows, SentenceEncoder(ctx.assets.encoder(self.config.encoder)))
        return output_figures(_NAME, rows, likeness, ctx.threshold).result()
