# bench_order.py
from pydantic import Field

from bench.data.files import read_rows
from bench.errors import UsageError
from bench.hashing import content_id
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.likelihoods import likelihoods

ACCURACY = MetricSpec("acc", higher_is_better=True, role="utility")


class OrderConfig(TaskConfig):
    data: str = Field("boolq", description="JSON lines with a text in each: an asset, a file, or hub:ID:FILE")
    field: str = Field("passage", description="the key of the text")
    texts: int | None = Field(100, ge=1, description="how many to take, the first by content id; null for all")
    words: int = Field(20, ge=2, description="words of each text that are read")


class Order(Task[OrderConfig]):
    """Is a text likelier than its own words in reverse order?"""

    Config = OrderConfig
    info = TaskInfo(
        name="order",
        summary="share of texts that are likelier than their words in reverse order",
        source="minimal pairs as in BLiMP, Warstadt et al., 2020, arXiv 1912.00582, made by a rule",
        metrics=(ACCURACY,),
    )

    def data(self, assets):
        return [assets.data(self.config.data)]

    def evaluation_texts(self, assets):
        return list(self._texts(assets).values())

    def measure(self, policy, ctx):
        from bench.engine.tokens import first_token

        texts = self._texts(ctx.assets)
        ids = sorted(texts)[: ctx.take(self.config.texts)]
        begin, requests = [first_token(policy.tokenizer)], []
        for name in ids:
            words = texts[name].split()[: self.config.words]
            for order in (words, words[::-1]):
                requests.append((begin, policy.tokenizer(" ".join(order), add_special_tokens=False)["input_ids"]))
        scored = likelihoods(self.name, policy, requests, ctx)
        ctx.tokens += sum(likelihood.tokens for likelihood in scored)
        right = [
            (name, float(there.logprob > back.logprob))
            for name, there, back in zip(ids, scored[::2], scored[1::2], strict=True)
        ]
        sheet = ctx.sheet(self.name)
        sheet.add(ACCURACY, evidence_by_cluster("mean", right, bounded=True))
        return sheet.result()

    def _texts(self, assets):
        """The texts of two words or more, each content once, by content id."""
        texts = {}
        for where, row in read_rows(assets.data(self.config.data).path):
            text = row.get(self.config.field)
            if not isinstance(text, str):
                raise UsageError(f"{where}: no text under the key '{self.config.field}'")
            if len(text.split()) > 1:
                texts.setdefault(content_id(text), text)
        return texts
