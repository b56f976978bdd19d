"""KL(base || edited): how far an edit moves the model on text that it was not meant to change.

At each token, the divergence of the edited model's next-token distribution from the base's is exact, over the whole
vocabulary, in nats. It is 0 for the base, and sees what neither accuracy nor perplexity does: an edit that moves every
distribution and leaves the likelihood of these very texts as it was.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.errors import UsageError
from bench.store.record import TaskResult
from bench.tasks.base import MetricSpec, Task, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.heldout import HeldOutConfig, HeldOutPerplexity

if TYPE_CHECKING:
    from bench.engine.divergence import KeptDistributions, Row
    from bench.policy import Policy

KL = MetricSpec("kl_from_base", higher_is_better=False, role="fluency", within="model")
TEXT, QUESTIONS = "text", "questions"


class DivergenceConfig(HeldOutConfig):
    """Options of `divergence`."""

    max_tokens: int = Field(64, ge=2, le=1_000_000, description="tokens of each text, and last ones of each question")
    questions: int = Field(4, ge=0, le=1_000_000, description="documents of each lm-eval task whose contexts are read")


class Divergence(Task[DivergenceConfig]):
    """How far the edited model's distributions are from the base's on plain text and on questions."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="divergence",
        summary="KL(base || edited) in nats a token, on plain text and on the contexts of the lm-eval tasks",
        source="Kullback & Leibler, 1951; as a cost of an edit: Ziegler et al., 2019, arXiv 1909.08593",
        metrics=(KL,),
        measures="both",
    )
    Config = DivergenceConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        return self._passages.data(assets)

    @property
    def _passages(self) -> HeldOutPerplexity:
        own = self.config.model_dump(include=set(HeldOutConfig.model_fields))
        return HeldOutPerplexity(HeldOutConfig(**own))

    @contextmanager
    def beside(self, base: "Policy", ctx: TaskContext) -> Iterator["KeptDistributions"]:
        """The base's distributions, in a file without a name in the run's folder, which ends with the block."""
        from bench.engine.divergence import KeptDistributions

        rows = list(self._rows(base, ctx).values())
        if not rows:
            raise UsageError("divergence has no text to read", mend="take more passages, or questions")
        ctx.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=ctx.folder) as file, ctx.progress.bar("base", len(rows), "texts") as bar:
            ctx.tokens += sum(len(row.tokens) for row in rows)
            yield KeptDistributions(base, rows, file, bar.advance)

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        kept: KeptDistributions = ctx.beside[self.name]
        rows = self._rows(policy, ctx)
        with ctx.progress.bar(self.name, len(rows), "texts") as bar:
            found = kept.divergence(policy, bar.advance)
        ctx.tokens += sum(len(row.tokens) for row in rows.values())
        sheet = ctx.sheet(self.name)
        for group in (TEXT, QUESTIONS):
            means = [
                (owner, sum(own) / len(own), float(len(own)))
                for (part, owner), own in zip(rows, found, strict=True)
                if part == group
            ]
            if means:
                sheet.add(KL, evidence_by_cluster("mean", means), group=group)
        return sheet.result()

    def _rows(self, policy: "Policy", ctx: TaskContext) -> Mapping[tuple[str, str], "Row"]:
        """Tokens to read by group and id: the first of each passage, the last of each question's context."""
        from bench.engine.divergence import Row
        from bench.engine.tokens import encode, first_token

        most, first = self.config.max_tokens, first_token(policy.tokenizer)
        found: dict[tuple[str, str], Row] = {}
        for name, text in self._passages.texts(ctx).items():
            tokens = policy.tokenizer(text, add_special_tokens=False)["input_ids"][: most - 1]
            found[TEXT, name] = Row([first, *tokens], begins=True)
        wanted = ctx.take(self.config.questions) or 0
        for task in ctx.tasks.values() if wanted else ():
            for name, context in task.contexts(ctx.assets, wanted):
                found[QUESTIONS, name] = Row(encode(policy.tokenizer, context)[-most:] or [first])
        return found

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:  # noqa: D102
        return self._passages.evaluation_texts(assets)
