"""`truth`: does the model find true answers likelier than false ones, and which does it give by itself?

Likelihoods of given answers ("teacher forcing") and free answers are two things, and are reported apart: on edited
facts the first gives 96.8 % where the second gives 38.5 % (arXiv 2502.11177).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.data.answers import AnsweredQuestion, all_matched, load_questions, matched
from bench.data.counted import BEYOND, Counted
from bench.data.splits import halved, part, within
from bench.errors import MissingError, UsageError
from bench.spec import ANSWERS, QUESTION, Half, SetsSpec
from bench.store.record import TaskResult
from bench.store.samples import Answer
from bench.tasks.base import MetricSheet, MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.likelihoods import likelihoods
from bench.tasks.truth.figures import ranking, verdict

if TYPE_CHECKING:
    from bench.engine.likelihood import Likelihood
    from bench.policy import Policy

TRUTH = "truth"
UNMATCHED = "unmatched"
"""The group of figures over all answers of the same questions, whatever their form."""


def _spec(name: str, *, primary: bool = False, higher: bool = True) -> MetricSpec:
    return MetricSpec(name, higher_is_better=higher, role="attribute", primary=primary, attribute=TRUTH)


RANKING = tuple(map(_spec, ("true_probability", "pair_accuracy", "best_is_true")))
RANKING_NORM = tuple(_spec(f"{spec.name}_norm", primary=spec is RANKING[0]) for spec in RANKING)
"""By the sum of an answer's log-likelihoods, and by their mean over its tokens."""
FREE = (_spec("exact_match"), _spec("f1"), _spec("says_true"), _spec("says_false", higher=False))
ABSTAINS = MetricSpec("abstains", higher_is_better=None, role="attribute", attribute=TRUTH)
UNENDED = MetricSpec("unended_share", higher_is_better=False, role="fluency")


class TruthConfig(TaskConfig):
    """Options of `truth`."""

    data: str = Field("nq_open", description="questions with true and false answers: an asset, a file, or hub:ID:FILE")
    questions: int | None = Field(None, ge=1, description="questions to take, the first by content id; null for all")
    half: Half = Field(
        "eval",
        description="eval: the questions that nothing learns from; train: others, to choose settings on; all: both, "
        "where the sets are made of other data",
    )
    skip: int = Field(0, ge=0, description="questions to pass over first")
    template: str = Field(
        QUESTION,
        pattern=r"\{question\}",
        description="how a question is asked (as by `sets.template` where the sets are made of questions)",
    )
    max_new_tokens: int = Field(32, ge=1, le=100_000, description="the most tokens of a free answer")


class Truth(Task[TruthConfig]):
    """True and false answers: which are likelier, and which are given."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name=TRUTH,
        summary="true against false answers to questions: which are likelier, and which the model gives by itself",
        source="Lin et al., 2022, arXiv 2109.07958 (choices); Rajpurkar et al., 2016, arXiv 1606.05250 (free answers)",
        metrics=(*RANKING_NORM, *RANKING, *FREE, ABSTAINS, UNENDED),
    )
    Config = TruthConfig

    @classmethod
    def completed(cls, entry: dict[str, Any], sets: SetsSpec) -> dict[str, Any]:
        """The entry with the form of question that the suite's sets have, where these are made of questions.

        A model that learned answers to questions of one form is not asked in another.

        Raises:
            UsageError: it has another one.
        """
        if sets.source != ANSWERS:
            return entry
        theirs = sets.template or QUESTION
        if (own := entry.get("template", theirs)) != theirs:
            what = f"the task '{TRUTH}' asks in the form {own!r:.80}, and the sets of the suite in {theirs!r:.80}"
            raise UsageError(what, mend="say it under 'sets' alone (suite.sets.template)")
        return {**entry, "template": theirs}

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        return [assets.data(self.config.data)]

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """Questions, alone and asked: the evaluation half, whatever this suite takes of it, and those that it takes."""
        every = load_questions(assets.data(self.config.data).path)
        taken = self._take(every, lambda count: count) if self.config.half != "eval" else []
        return [text for one in (*part(every, "eval"), *taken) for text in (one.text, one.asked(self.config.template))]

    def _take(
        self, every: Counted[AnsweredQuestion], most: Callable[[int | None], int | None]
    ) -> Counted[AnsweredQuestion]:
        """The questions taken, with all of their answers: the first by content id that have some alike in form."""
        half = halved(every, self.config.half)
        alike = all_matched(half)
        ids = {one.id for one in alike[self.config.skip :][: most(self.config.questions)]}
        chosen = [one for one in half if one.id in ids]
        if not chosen:
            what = f"{self.config.data} has no question with a true and a false answer of one length and letter case"
            raise MissingError(what + within(self.config.half), mend="name data with more of them")
        return alike.keep(chosen, BEYOND)

    def questions(self, ctx: TaskContext) -> Counted[AnsweredQuestion]:
        """The questions that are asked, with all of their answers."""
        return self._take(load_questions(ctx.assets.data(self.config.data).path), ctx.take)

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        questions = self.questions(ctx)
        sheet = ctx.sheet(self.name)
        sheet.taken.append(ctx.took(self.config.data, questions))
        _rank(sheet, questions, self._likelihoods(policy, questions, ctx))
        _judge(sheet, self._answers(policy, questions, ctx))
        return sheet.result()

    def _likelihoods(
        self, policy: "Policy", questions: Sequence[AnsweredQuestion], ctx: TaskContext
    ) -> dict[tuple[str, str], "Likelihood"]:
        """The likelihood of each answer after its question, by the question's id and the answer."""
        from bench.engine.tokens import encode_after

        asked = [(one, answer) for one in questions for answer in one.answers]
        template = self.config.template
        requests = [encode_after(policy.tokenizer, one.asked(template), f" {answer}") for one, answer in asked]
        scored = likelihoods(self.name, policy, requests, ctx, "answers")
        ctx.tokens += sum(len(context) + len(answer) for context, answer in requests)
        return {(one.id, answer): found for (one, answer), found in zip(asked, scored, strict=True)}

    def _answers(self, policy: "Policy", questions: Sequence[AnsweredQuestion], ctx: TaskContext) -> list[Answer]:
        """A free answer to each question: those in `samples/truth.jsonl`, and what an interrupted run has not done."""
        from bench.engine.generation import Prompt, answer

        by_id = {one.id: one for one in questions}
        with ctx.append(self.name, Answer) as held:
            done = {row.doc_hash for row in held.rows}
            todo = [Prompt(one.id, one.asked(self.config.template)) for one in questions if one.id not in done]
            with ctx.progress.bar(f"{self.name}, free answers", len(questions), "questions") as bar:
                bar.advance(len(questions) - len(todo))
                for batch in answer(policy, todo, self.config.max_new_tokens, until="\n"):
                    held.append(_judged(by_id[one.prompt_id], one.text, ended=one.ended) for one in batch)
                    ctx.count_sampled(batch)
                    bar.advance(len(batch))
            return [row for row in held.rows if row.doc_hash in by_id]


def _judged(question: AnsweredQuestion, text: str, *, ended: bool) -> Answer:
    return Answer(
        doc_hash=question.id,
        filter="none",
        target=" | ".join(question.true),
        responses=[text],
        metrics={**verdict(text, question.true, question.false), UNENDED.name: float(not ended)},
    )


def _rank(
    sheet: MetricSheet,
    questions: Sequence[AnsweredQuestion],
    likelihoods: Mapping[tuple[str, str], "Likelihood"],
) -> None:
    """Add what the likelihoods say: over answers that are alike in form, and over all of the same questions."""
    for group in (None, UNMATCHED):
        for specs, per_token in ((RANKING_NORM, True), (RANKING, False)):
            rows: list[tuple[str, tuple[float, ...]]] = []
            for question in questions:
                own = question if group else matched(question) or question
                true, false = (
                    [_score(likelihoods[question.id, answer], per_token=per_token) for answer in some]
                    for some in (own.true, own.false)
                )
                if max(*true, *false) > -math.inf:
                    rows.append((question.id, ranking(true, false)))
            for place, spec in enumerate(specs):
                evidence = evidence_by_cluster("mean", [(name, values[place]) for name, values in rows], bounded=True)
                sheet.add(spec, evidence, group=group, n_failed=len(questions) - len(rows))


def _score(likelihood: "Likelihood", *, per_token: bool) -> float:
    return likelihood.logprob / likelihood.tokens if per_token else likelihood.logprob


def _judge(sheet: MetricSheet, rows: Sequence[Answer]) -> None:
    """Add what the free answers say."""
    for spec in (*FREE, ABSTAINS, UNENDED):
        values = [(row.doc_hash, float(row.metrics[spec.name])) for row in rows]
        sheet.add(spec, evidence_by_cluster("mean", values, bounded=True))
