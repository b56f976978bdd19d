"""`truth_judge`: what a language model says of the free answers of `truth`, and how far the string rule agrees."""

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field, field_validator

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.judging.grades import GRADING, PLACES, GivenAnswer, grades
from bench.judging.verdicts import check_template, open_judge
from bench.spec import GeneratorSpec
from bench.store.record import TaskResult
from bench.tasks.base import MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.truth.task import TRUTH

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.tasks.truth.task import Truth

RIGHT = MetricSpec("judged_true", higher_is_better=True, role="attribute", attribute=TRUTH)
ABSTAINS, AGREEMENT = (
    MetricSpec(name, higher_is_better=None, role="attribute", attribute=TRUTH)
    for name in ("judged_abstains", "rule_agreement")
)


class TruthJudgeConfig(TaskConfig):
    """Options of `truth_judge`."""

    judge: GeneratorSpec = Field(GeneratorSpec(), description="who judges: a model here, or behind an endpoint")
    template: str = Field(GRADING, description="what it is asked, with {question}, {right} and {answer}")

    @field_validator("template")
    @classmethod
    def _shows_all(cls, value: str) -> str:
        check_template(value, PLACES)
        return value


class TruthJudge(Task[TruthJudgeConfig]):
    """Asks a judge whether free answers say a true answer in other words, which a rule for strings cannot see."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="truth_judge",
        summary="a language model's grades of the free answers of `truth`, and their agreement with the string rule",
        source="Lin et al., 2022, arXiv 2109.07958 (a judge of answers); Zheng et al., 2023, arXiv 2306.05685",
        needs=(TRUTH,),
        metrics=(RIGHT, ABSTAINS, AGREEMENT),
        measures="samples",
    )
    Config = TruthJudgeConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:
        """The judge's weights, where it is loaded here."""
        found = assets.generator(self.config.judge)
        return [found] if found else []

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """Each answer is graded once; one without a letter counts as failed."""
        del policy
        truth = cast("Truth", ctx.tasks[TRUTH])
        asked = {one.id: one for one in truth.questions(ctx)}
        rows = [row for row in ctx.answers(TRUTH) if row.doc_hash in asked]
        given = [
            GivenAnswer(row.doc_hash, asked[row.doc_hash].text, asked[row.doc_hash].true, row.responses[0])
            for row in rows
        ]
        with ctx.append_rows(self.name) as held, ctx.progress.bar(self.name, len(given), "answers") as bar:
            judge = self.config.judge
            found = grades(lambda: open_judge(judge, ctx.assets, ctx.progress), given, self.config.template, held, bar)
        rule = {row.doc_hash: row.metrics["says_true"] for row in rows}
        right = {name: float(grade == "right") for name, grade in found.items()}
        sheet = ctx.sheet(self.name)
        for spec, values in (
            (RIGHT, right),
            (ABSTAINS, {name: float(grade == "none") for name, grade in found.items()}),
            (AGREEMENT, {name: float(value == rule[name]) for name, value in right.items()}),
        ):
            evidence = evidence_by_cluster("mean", list(values.items()), bounded=True)
            sheet.add(spec, evidence, n_failed=len(given) - len(found))
        return sheet.result()
