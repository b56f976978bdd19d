# bench_pairs.py
from pydantic import Field

from bench.data.files import read_rows
from bench.errors import UsageError
from bench.hashing import content_id
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster

ACCURACY = MetricSpec("acc", higher_is_better=True, role="utility")


class PairsConfig(TaskConfig):
    data: str = Field(description="JSON lines with sentence_good and sentence_bad: an asset, a file, or hub:ID:FILE")
    pairs: int | None = Field(None, ge=1, description="how many to take, the first by content id; null for all")


class Pairs(Task[PairsConfig]):
    """Minimal pairs: is the grammatical sentence the likelier one?"""

    Config = PairsConfig
    info = TaskInfo(
        name="pairs",
        summary="share of minimal pairs of which the grammatical sentence is likelier",
        source="BLiMP, Warstadt et al., 2020, arXiv 1912.00582",
        metrics=(ACCURACY,),
    )

    def data(self, assets):
        return [assets.data(self.config.data)]

    def evaluation_texts(self, assets):
        return [text for pair in self._pairs(assets).values() for text in pair]

    def measure(self, policy, ctx):
        from bench.engine.likelihood import loglikelihood
        from bench.engine.tokens import first_token

        pairs = self._pairs(ctx.assets)
        ids = sorted(pairs)[: ctx.take(self.config.pairs)]
        begin = [first_token(policy.tokenizer)]
        texts = [text for name in ids for text in pairs[name]]
        requests = [(begin, policy.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        with ctx.progress.bar(self.name, len(requests), "texts") as bar:
            scored = loglikelihood(policy, requests, done=bar.advance)
        ctx.tokens += sum(likelihood.tokens for likelihood in scored)
        right = [
            (name, float(good.logprob > bad.logprob))
            for name, good, bad in zip(ids, scored[::2], scored[1::2], strict=True)
        ]
        sheet = ctx.sheet(self.name)
        sheet.add(ACCURACY, evidence_by_cluster("mean", right, bounded=True))
        return sheet.result()

    def _pairs(self, assets):
        """The pairs, each content once, by content id."""
        pairs = {}
        for where, row in read_rows(assets.data(self.config.data).path):
            pair = row.get("sentence_good"), row.get("sentence_bad")
            if not all(isinstance(text, str) and text.strip() for text in pair):
                raise UsageError(f"{where}: expected an object with 'sentence_good' and 'sentence_bad'")
            pairs[content_id("\n".join(pair))] = pair
        return pairs
