"""Held-out perplexity: how likely the edited model finds plain text.

It is pooled over tokens, exp(sum NLL / sum tokens).
"""

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.data.counted import REPEATED, Counted
from bench.data.files import TEXT, form_of, read_rows
from bench.errors import UsageError
from bench.hashing import content_id
from bench.store.record import TaskResult
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.texts import nll_rows, unprompted

if TYPE_CHECKING:
    from bench.policy import Policy

PERPLEXITY = MetricSpec(
    "perplexity", higher_is_better=False, role="fluency", difference="ratio", primary=True, within="tokenizer"
)


class HeldOutConfig(TaskConfig):
    """Options of `heldout`."""

    data: str = Field("boolq", description="a text in each row: an asset, a file, or hub:ID:FILE")
    field: str = Field("passage", description="the key of the text (a .txt file needs none)")
    passages: int = Field(24, ge=1, le=100_000_000, description="texts to take, the first by content id")
    skip: int = Field(0, ge=0, le=1_000_000_000, description="texts to pass over first")
    max_tokens: int = Field(128, ge=2, le=1_000_000, description="tokens of each text that are scored")


class HeldOutPerplexity(Task[HeldOutConfig]):
    """Perplexity of the edited model on text that it was not trained on."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="heldout",
        summary="perplexity of the edited model on held-out text, pooled over tokens",
        source="token perplexity, exp(sum NLL / sum tokens)",
        metrics=(PERPLEXITY,),
    )
    Config = HeldOutConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        return [assets.data(self.config.data)]

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        every = self._all(ctx.assets)
        texts = self._first(ctx, every)
        taken = ctx.took(self.config.data, Counted(texts.items()), every)
        requests = unprompted(policy, texts.values(), self.config.max_tokens)
        scored = nll_rows(policy, ctx, list(texts), requests, self.info.name)
        sheet = ctx.sheet(self.name)
        sheet.taken.append(taken)
        sheet.add(PERPLEXITY, evidence_by_cluster("exp_mean", scored))
        return sheet.result()

    def texts(self, ctx: TaskContext) -> dict[str, str]:
        """The texts that it takes, by content id."""
        return self._first(ctx, self._all(ctx.assets))

    def _first(self, ctx: TaskContext, every: Counted[tuple[str, str]]) -> dict[str, str]:
        return dict(sorted(every)[self.config.skip :][: ctx.take(self.config.passages)])

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """All texts of the data, whatever this suite takes of them."""
        return [text for _, text in self._all(assets)]

    def _all(self, assets: AssetCatalogue) -> Counted[tuple[str, str]]:
        """Every text once, by its content id."""
        texts: dict[str, str] = {}
        left_out: Counter[str] = Counter()
        path = assets.data(self.config.data).path
        field = TEXT if form_of(path) == ".txt" else self.config.field
        for where, row in read_rows(path):
            text = row.get(field)
            if not isinstance(text, str):
                raise UsageError(f"{where}: no text under the key '{field}'")
            name = content_id(text)
            if not text.strip():
                left_out["without a text"] += 1
            elif name in texts:
                left_out[REPEATED] += 1
            else:
                texts[name] = text
        return Counted(texts.items(), left_out)
