"""Preference of a language model between the edited and the base model's outputs (Klein & Nabi, 2025, Figure 3)."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.judging.verdicts import TEMPLATE, AnswerPair, Verdict, check_template, open_judge, position_bias, verdicts
from bench.spec import GeneratorSpec
from bench.store.record import TaskResult
from bench.tasks.base import MetricSheet, MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.continuations import sample_and_score

if TYPE_CHECKING:
    from bench.policy import Policy

_NAME, BASE = "judge", "judge_base"
PREFERENCE = MetricSpec("preference", higher_is_better=True, role="utility", within="model")
EQUAL, TIES, AGREEMENT, FIRST = (
    MetricSpec(name, higher_is_better=None, role="utility", within="model")
    for name in ("equal_share", "tie_share", "order_agreement", "first_position_share")
)


class JudgeConfig(TaskConfig):
    """Options of `judge`."""

    of: Literal["continuation", "paraphrase"] = Field("continuation", description="the task whose outputs are judged")
    judge: GeneratorSpec = Field(GeneratorSpec(), description="who judges: a model here, or behind an endpoint")
    template: str = Field(TEMPLATE, description="what it is asked, with {text}, {a} and {b}")
    prompts: int | None = Field(None, ge=1, description="on how many prompts, the first by id; null for all")

    @field_validator("template")
    @classmethod
    def _shows_all(cls, value: str) -> str:
        check_template(value)
        return value


class JudgeTask(Task[JudgeConfig]):
    """Asks a judge, in both orders, which is better: the edited model's output or the base model's."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name=_NAME,
        summary="a language model's preference for the edited model's outputs over the base model's, in both orders",
        source="Klein & Nabi, 2025, arXiv 2401.08491, Figure 3; position bias: Zheng et al., 2023, arXiv 2306.05685",
        metrics=(PREFERENCE, EQUAL, TIES, AGREEMENT, FIRST),
        measures="samples",
    )
    Config = JudgeConfig

    @property
    def needs(self) -> tuple[str, ...]:
        """The task whose outputs are judged."""
        return (self.config.of,)

    def data(self, assets: AssetCatalogue) -> list[Resolved]:
        """The judge's weights, where it is loaded here."""
        found = assets.generator(self.config.judge)
        return [found] if found else []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """The base model answers the same, with the same random numbers; equal outputs are equally good unasked."""
        pairs, lost = self._pairs(policy, ctx)
        with ctx.append_rows(_NAME) as held, ctx.progress.bar(_NAME, 2 * len(pairs), "verdicts") as bar:
            found = verdicts(
                lambda: open_judge(self.config.judge, ctx.assets, ctx.progress),
                pairs,
                self.config.template,
                ctx.seed,
                held,
                bar,
            )
        return preference_metrics(found, lost).result()

    def _pairs(self, policy: "Policy", ctx: TaskContext) -> tuple[list[AnswerPair], int]:
        """The pairs, and how many inputs are missing, so that there is no output to judge."""
        task: Any = ctx.tasks[self.config.of]
        chosen, lost = task.inputs(ctx)
        requests = [task.request(policy, sentence) for sentence in chosen[: self.config.prompts]]
        texts = {request.id: request.text for request in requests}
        base = sample_and_score(BASE, policy, requests, task.config.decoding, ctx)
        answers = {(row.prompt_id, row.sample): row.continuation for row in base}
        pairs = [
            AnswerPair(
                f"{row.prompt_id}/{row.sample}",
                texts[row.prompt_id],
                row.continuation,
                answers[row.prompt_id, row.sample],
            )
            for row in ctx.samples(self.config.of)
            if row.prompt_id in texts
        ]
        return pairs, lost


def preference_metrics(found: list[Verdict], lost: int = 0) -> MetricSheet:
    """How far the first answers are preferred, and how far the judge can be relied on.

    A pair of which either order has no verdict is counted as failed, and in no mean; so are the `lost` inputs.
    """
    sheet = MetricSheet(_NAME)
    known = [one for one in found if one.preference is not None]
    failed = lost + len(found) - len(known)

    def prompt(pair: str) -> str:
        return pair.rpartition("/")[0]

    preferred = [(prompt(one.pair), float(one.preference or 0.0)) for one in known]
    sheet.add(PREFERENCE, evidence_by_cluster("mean", preferred, bounded=True), n_failed=failed)
    asked = [one for one in known if one.asked]
    for spec, rows in (
        (EQUAL, [(prompt(one.pair), float(not one.asked)) for one in known]),
        (TIES, [(prompt(one.pair), float(one.labels == ("C", "C"))) for one in asked]),
        (AGREEMENT, [(prompt(one.pair), float(one.agrees)) for one in asked]),
        (FIRST, [(prompt(pair), won) for pair, won in position_bias(known)]),
    ):
        evidence = evidence_by_cluster("mean", rows, bounded=True)
        if evidence.value:  # a judge who is asked nothing, or finds all alike, shows neither agreement nor bias
            sheet.add(spec, evidence)
    return sheet
