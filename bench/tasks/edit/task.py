"""`edit`: are single facts edited, by the likelihood of objects and by what the model says, and what else changes?

Likelihoods of given objects ("teacher forcing") and free answers are two things: the first shows success in 96.8 % of
cases where the second shows 38.5 % (arXiv 2502.11177). Every metric's name says which of them it rests on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.data.counted import BEYOND, Counted
from bench.data.edits import EditCase, Question, in_half, load_cases, with_snippets
from bench.data.splits import part
from bench.data.squad import begins, contains, normalised
from bench.errors import MissingError, UsageError
from bench.sets.edited import known_cases
from bench.spec import EDITS, Decoding, Half, SetsSpec
from bench.store.record import TaskResult
from bench.store.samples import Answer
from bench.tasks.base import MetricSheet, MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.edit.figures import Likeness, harmonic_mean, magnitude, ngram_entropy, success

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.progress import Bar

EDIT = "edit"
EFFICACY, PARAPHRASE, NEIGHBOURHOOD, PORTABILITY = KINDS = ("efficacy", "paraphrase", "neighbourhood", "portability")
"""What a prompt asks: the fact that is edited, the same in other words, other subjects' facts, what follows from it."""
SCORED = KINDS[:3]
"""What the harmonic mean is of."""
TOP_K = 5
_AT_ONCE = 8  # cases whose texts are written together


def _spec(name: str, *, primary: bool = False) -> MetricSpec:
    return MetricSpec(name, higher_is_better=True, role="attribute", primary=primary, attribute=EDIT, within="model")


LIKELIHOOD = {kind: _spec(f"{kind}_likelihood") for kind in KINDS}
MAGNITUDE = {kind: _spec(f"{kind}_likelihood_magnitude") for kind in KINDS}
BEGINS = {kind: _spec(f"{kind}_generation_begins", primary=kind == EFFICACY) for kind in KINDS}
CONTAINS = {kind: _spec(f"{kind}_generation_contains") for kind in KINDS}
SCORE = {"likelihood": _spec("score_likelihood"), "begins": _spec("score_generation_begins")}
LOCALITY = _spec("locality_generation")
CONSISTENCY = _spec("consistency")
ENTROPY = MetricSpec("ngram_entropy", higher_is_better=True, role="fluency", within="model")


class EditConfig(TaskConfig):
    """Options of `edit`; a suite says the first three under `sets`, for these are the facts that are edited."""

    data: str = Field("countryinfo", description="facts to edit (`sets.prompts`): an asset, a file, or hub:ID:FILE")
    facts: int = Field(10, ge=1, description="facts to edit (`sets.num_prompts`), `sets.at_once` at once")
    half: Half = Field(
        "eval", description="the half that they are of (`sets.half`); train: to choose settings on; all: of both"
    )
    neighbours: int = Field(5, ge=1, description="neighbours of each fact, the first that the data have")
    paraphrases: int = Field(2, ge=1, description="paraphrases of each fact, the first that the data have")
    answer_tokens: int = Field(12, ge=1, le=100_000, description="the most tokens of a free answer")
    text_tokens: int = Field(64, ge=1, le=100_000, description="tokens of the text that `ngram_entropy` is of")
    snippets: str | None = Field(
        None,
        description="texts about subjects by what is true of them, for `consistency`, as CounterFact's "
        "attribute_snippets.json: an asset, a file, or hub:ID:FILE",
    )


@dataclass(frozen=True)
class _Asked:
    """A prompt of a case.

    Attributes:
        kind: One of `KINDS`.
        group: The kind of portability, or None.
        text: The prompt.
        wanted: The object that a perfect edit gives.
        also: Others that would be as right, in a free answer.
        other: The one that it is compared with by likelihood, or None where the data name none.
    """

    kind: str
    group: str | None
    text: str
    wanted: str
    other: str | None
    also: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str | None]:
        """What metrics it counts for."""
        return self.kind, self.group

    @property
    def right(self) -> tuple[str, ...]:
        """All objects that a free answer may say."""
        return self.wanted, *self.also


@dataclass(frozen=True)
class _Beside:
    """What is measured, and against what.

    Attributes:
        cases: The facts.
        said: How the base model goes on from each prompt about a neighbour.
        likeness: To the texts about subjects that have the new object; None where the data have none.
    """

    cases: Counted[EditCase]
    said: Mapping[str, str]
    likeness: Likeness | None


_Likelihoods = tuple[str, _Asked, float, float]
"""A case and a prompt of it, with the negative log-likelihoods a token of the wanted object and of the other."""


class Edit(Task[EditConfig]):
    """Facts that were edited, their paraphrases, their neighbours and what follows from them."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name=EDIT,
        summary="edited facts: efficacy, paraphrases, neighbours and portability, by likelihood and by free answers",
        source="Meng et al., 2022, arXiv 2202.05262 (CounterFact); free answers: Yang et al., 2025, arXiv 2502.11177",
        metrics=(
            *LIKELIHOOD.values(),
            *MAGNITUDE.values(),
            *BEGINS.values(),
            *CONTAINS.values(),
            *SCORE.values(),
            LOCALITY,
            CONSISTENCY,
            ENTROPY,
        ),
        measures="both",
        in_groups=True,
    )
    Config = EditConfig

    @classmethod
    def completed(cls, entry: dict[str, Any], sets: SetsSpec) -> dict[str, Any]:
        """The entry with the facts that the suite's sets edit; no others can be measured."""
        if sets.source != EDITS:
            what = f"the task '{EDIT}' measures the facts that are edited, and 'sets.source' is '{sets.source}'"
            facts = "--set suite.sets.source=edits --set suite.sets.prompts=countryinfo"
            raise UsageError(what, mend=f"{facts} (or a file of facts), or take the task out")
        own = {"data": sets.prompts, "facts": sets.num_prompts, "half": sets.half or "eval"}
        for key, value in own.items():
            if entry.get(key, value) != value:
                what = f"the task '{EDIT}' has {key} = {entry[key]} and the suite's sets say {value}"
                raise UsageError(what, mend="say it under 'sets' alone")
        return {**entry, **own}

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        return [assets.data(name) for name in (self.config.data, self.config.snippets) if name]

    def check(self, assets: AssetCatalogue) -> None:
        """Read the cases: a row that is none, and data without neighbours, are told before any work."""
        self._load(assets)

    def _load(self, assets: AssetCatalogue) -> Counted[EditCase]:
        cases = load_cases(assets.data(self.config.data).path)
        return with_snippets(cases, assets.data(self.config.snippets).path) if self.config.snippets else cases

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """All that the cases are measured on but the edited prompts: an edited fact is measured on itself too."""
        every = self._load(assets)
        edited_elsewhere = [case.text for case in part(every, "eval")] if self.config.half == "train" else []
        return edited_elsewhere + [text for case in in_half(every, self.config.half) for text in case.held_out]

    @contextmanager
    def beside(self, base: "Policy", ctx: TaskContext) -> Iterator[_Beside]:
        """The facts that the base model knows, and what it says of their neighbours."""
        every = self._load(ctx.assets)
        known = known_cases(base, every, self.config.half, self.config.facts)
        cases = known.keep(known[: ctx.take(self.config.facts)], BEYOND)
        prompts = {one.text for case in cases for one in self._asked(case) if one.kind == NEIGHBOURHOOD}
        about = [text for case in every for text in case.about if normalised(text)]
        yield _Beside(cases, self._answers_of_base(base, sorted(prompts), ctx), Likeness(about) if about else None)

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        beside: _Beside = ctx.beside[self.name]
        sheet = ctx.sheet(self.name)
        sheet.taken.append(ctx.took(self.config.data, beside.cases))
        _add_likelihoods(sheet, self._likelihoods(policy, beside.cases, ctx))
        _add_texts(sheet, self._texts(policy, beside, ctx))
        return sheet.result()

    def _asked(self, case: EditCase) -> list[_Asked]:
        """The prompts of a case, the edited one first."""
        edited = (case.new, case.true)
        found = [_Asked(EFFICACY, None, case.text, *edited)]
        found += [_Asked(PARAPHRASE, None, text, *edited) for text in case.paraphrases[: self.config.paraphrases]]
        some = case.neighbours[: self.config.neighbours]
        found += [_asked(NEIGHBOURHOOD, None, one, case.true, case.new) for one in some]
        for group, questions in case.portability.items():
            found += [_asked(PORTABILITY, group, one, case.new, case.true) for one in questions]
        return found

    def _likelihoods(self, policy: "Policy", cases: Sequence[EditCase], ctx: TaskContext) -> list[_Likelihoods]:
        """By case and prompt, the negative log-likelihoods a token of the wanted object and of the other."""
        total = 2 * sum(one.other is not None for case in cases for one in self._asked(case))
        found: list[_Likelihoods] = []
        with ctx.progress.bar(self.name, total, "objects") as bar:
            for holder, some in _held(policy, cases, ctx):
                with holder as model:
                    found += self._likelihoods_by(model, some, ctx, bar)
        return found

    def _likelihoods_by(
        self, policy: "Policy", cases: Sequence[EditCase], ctx: TaskContext, bar: "Bar"
    ) -> list[_Likelihoods]:
        from bench.engine.likelihood import loglikelihood
        from bench.engine.tokens import encode_after

        asked = [(case.id, one) for case in cases for one in self._asked(case) if one.other]
        pairs = [(one.text, f" {answer}") for _, one in asked for answer in (one.wanted, one.other)]
        requests = [encode_after(policy.tokenizer, *pair) for pair in pairs]
        scored = loglikelihood(policy, requests, done=bar.advance)
        ctx.tokens += sum(len(context) + len(answer) for context, answer in requests)
        losses = [-one.logprob / one.tokens for one in scored]
        return [(name, one, losses[2 * n], losses[2 * n + 1]) for n, (name, one) in enumerate(asked)]

    def _texts(self, policy: "Policy", beside: _Beside, ctx: TaskContext) -> list[Answer]:
        """What the model says: those in `samples/edit.jsonl`, and what an interrupted run has not done."""
        wanted = {case.id for case in beside.cases}
        with ctx.append(self.name, Answer) as held:
            done = {row.doc_hash for row in held.rows}
            todo = [case for case in beside.cases if case.id not in done]
            with ctx.progress.bar(f"{self.name}, free answers", len(beside.cases), "facts") as bar:
                bar.advance(len(wanted & done))
                for holder, cases in _held(policy, todo, ctx):
                    with holder as model:
                        for start in range(0, len(cases), _AT_ONCE):
                            some = cases[start : start + _AT_ONCE]
                            held.append(self._told(model, some, beside, ctx))
                            bar.advance(len(some))
            return [row for row in held.rows if row.doc_hash in wanted]

    def _told(self, policy: "Policy", cases: Sequence[EditCase], beside: _Beside, ctx: TaskContext) -> Iterator[Answer]:
        """A row of each case: the answers to its prompts, in their order, then a text about its subject."""
        asked = {case.id: self._asked(case) for case in cases}
        answers = self._answers(policy, sorted({one.text for some in asked.values() for one in some}), ctx)
        texts = self._about(policy, cases, ctx)
        for case in cases:
            own = [(one, answers[one.text]) for one in asked[case.id]]
            metrics = {_name(spec, place): value for spec, place, value in _judged(own, beside.said)}
            metrics[ENTROPY.name] = ngram_entropy(texts[case.id])
            if beside.likeness and case.about:
                metrics[CONSISTENCY.name] = beside.likeness(texts[case.id], case.about)
            yield Answer(
                doc_hash=case.id,
                filter="none",
                target=case.new,
                responses=[*(answer for _, answer in own), texts[case.id]],
                metrics=metrics,
            )

    def _answers(self, policy: "Policy", prompts: Sequence[str], ctx: TaskContext) -> dict[str, str]:
        """A free answer to each prompt."""
        from bench.engine.generation import Prompt, answer

        found: dict[str, str] = {}
        asked = [Prompt(text, text) for text in prompts]
        for batch in answer(policy, asked, self.config.answer_tokens, until="\n"):
            ctx.count_sampled(batch)
            found.update({one.prompt_id: one.text for one in batch})
        return found

    def _answers_of_base(self, base: "Policy", prompts: Sequence[str], ctx: TaskContext) -> dict[str, str]:
        """A free answer of the base model to each prompt, which other runs need not ask for again."""
        asked = {"answers": prompts, "tokens": self.config.answer_tokens}
        return ctx.base_results.values(asked, __name__, lambda: self._answers(base, prompts, ctx))

    def _about(self, policy: "Policy", cases: Sequence[EditCase], ctx: TaskContext) -> dict[str, str]:
        """A text about each case's subject, sampled as the authors do."""
        from bench.engine.generation import Prompt, generate

        prompts = [Prompt(case.id, case.fluency[0] if case.fluency else case.text) for case in cases]
        decoding = Decoding(num_samples=1, max_new_tokens=self.config.text_tokens, top_p=1.0, top_k=TOP_K)
        found: dict[str, str] = {}
        for batch in generate(policy, prompts, decoding, ctx.seed):
            ctx.count_sampled(batch)
            found.update({one.prompt_id: one.text for one in batch})
        return found


def _asked(kind: str, group: str | None, question: Question, mine: str, other: str) -> _Asked:
    """A question whose answer is compared with the other of a fact's two objects, where it is `mine`.

    An answer of its own is compared with none: what it might be mistaken for, nobody says.
    """
    beside = other if normalised(question.answer) == normalised(mine) else None
    return _Asked(kind, group, question.text, question.answer, beside, question.also)


def _held(
    policy: "Policy", cases: Sequence[EditCase], ctx: TaskContext
) -> "list[tuple[AbstractContextManager[Policy], Sequence[EditCase]]]":
    """Facts, each with what yields the model that holds it: all with one, or each group with its own.

    Raises:
        MissingError: no group's model holds one of these.
    """
    if not ctx.holders:
        return [(nullcontext(policy), cases)]
    held = {prompt for prompts, _ in ctx.holders for prompt in prompts}
    if lost := sum(case.text not in held for case in cases):
        what = f"{lost} of {len(cases)} facts are none of those that were edited: the base model knew others then"
        raise MissingError(what, mend="run the same with --fresh")
    parted = [(model, [case for case in cases if case.text in prompts]) for prompts, model in ctx.holders]
    return [(model(), some) for model, some in parted if some]


Place = tuple[str, str | None]


def _name(spec: MetricSpec, place: Place) -> str:
    return f"{spec.name}/{place[1]}" if place[1] else spec.name


def _judged(
    answers: Sequence[tuple[_Asked, str]], said: Mapping[str, str]
) -> Iterator[tuple[MetricSpec, Place, float]]:
    """What the answers of one case say, averaged over its prompts of a kind."""
    for place in dict.fromkeys(one.place for one, _ in answers):
        own = [(one, answer) for one, answer in answers if one.place == place]
        yield BEGINS[place[0]], place, fmean(any(begins(answer, text) for text in one.right) for one, answer in own)
        yield CONTAINS[place[0]], place, fmean(contains(answer, one.right) for one, answer in own)
        if place[0] == NEIGHBOURHOOD:
            yield LOCALITY, place, fmean(answer == said[one.text] for one, answer in own)


def _add_likelihoods(sheet: MetricSheet, rows: Sequence[_Likelihoods]) -> None:
    """Add what likelihoods say: first averaged within a case, then over cases."""
    for place in dict.fromkeys(one.place for _, one, _, _ in rows):
        for spec, figure, bounded in ((LIKELIHOOD[place[0]], success, True), (MAGNITUDE[place[0]], magnitude, False)):
            by_case: dict[str, list[float]] = {}
            for case, one, wanted, other in rows:
                if one.place == place:
                    by_case.setdefault(case, []).append(figure(wanted, other))
            values = [(case, fmean(some)) for case, some in by_case.items()]
            sheet.add(spec, evidence_by_cluster("mean", values, bounded=bounded), group=place[1])
    _add_score(sheet, SCORE["likelihood"], LIKELIHOOD)


def _add_texts(sheet: MetricSheet, rows: Sequence[Answer]) -> None:
    """Add what free answers and texts say."""
    specs = {spec.name: spec for spec in (*BEGINS.values(), *CONTAINS.values(), LOCALITY, CONSISTENCY, ENTROPY)}
    for key in dict.fromkeys(key for row in rows for key in row.metrics):
        name, _, group = key.partition("/")
        values = [(row.doc_hash, float(row.metrics[key])) for row in rows if key in row.metrics]
        evidence = evidence_by_cluster("mean", values, bounded=name != ENTROPY.name)
        sheet.add(specs[name], evidence, group=group or None)
    _add_score(sheet, SCORE["begins"], BEGINS)


def _add_score(sheet: MetricSheet, spec: MetricSpec, parts: Mapping[str, MetricSpec]) -> None:
    """Add the harmonic mean of efficacy, paraphrase and neighbourhood: no mean over cases, so without interval."""
    names = [parts[kind].name for kind in SCORED]
    values = [metric.value for name in names for metric in sheet.metrics if metric.name == name]
    known = [value for value in values if value is not None]
    if len(known) == len(SCORED):
        n = next(metric.n for metric in sheet.metrics if metric.name == names[0])
        sheet.add_alone(spec, harmonic_mean(known), n)
