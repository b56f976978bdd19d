"""Tasks of lm-eval (EleutherAI's language model evaluation harness), answered by a policy."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.attribute import Attribute
from bench.errors import MissingError, UsageError
from bench.store.record import Evidence, TaskResult
from bench.store.samples import Answer
from bench.tasks.base import Asks, MetricSheet, MetricSpec, Task, TaskConfig, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.lm_eval.data import CONTEXTS, task_config
from bench.tasks.lm_eval.file import TaskFile, task_file
from bench.tasks.lm_eval.index import WRITES, kind_of, manager_of, output_type, own_files, quiet
from bench.tasks.lm_eval.options import PROBABILITIES, Question, add_gold, answered_without_model, questions_of

if TYPE_CHECKING:
    from bench.policy import Policy

_CLOSE = 1e-6
_SHARES = ("acc", "acc_norm", "acc_mutual_info", "exact_match", "f1", "em", "mc1", "mc2")  # in [0, 1] by definition
_RATIOS = ("perplexity", "word_perplexity", "byte_perplexity")
_ACCURACIES = ("acc", "exact_match")
"""What says how well a task is done: the metric asked for, else the first of these that it has, is its primary one."""
_ASKS: Mapping[str, Asks] = {WRITES: "texts", "multiple_choice": "likelihoods", "loglikelihood": "likelihoods"}
"""What tasks ask of a model, by lm-eval's `output_type`."""
_OPTIONS_ALONE = ("acc", "acc_norm")  # accuracies that answers without a model have too
_FEWSHOT_SEED = 1234  # lm-eval's own default, so that its shots are the ones that everybody's figures have


class LMEvalConfig(TaskConfig):
    """Options of `lm_eval`."""

    tasks: tuple[str, ...] = Field(
        min_length=1, description="lm-eval's task names, embedded_* ones, or YAML files of one's own (`./my.yaml`)"
    )
    include_path: str | None = Field(
        None, description="a folder of lm-eval tasks of one's own (YAML), which go before lm-eval's of the same name"
    )
    limit: int | None = Field(None, ge=1, description="documents of each task, the first ones; null for all")
    num_fewshot: dict[str, int] = Field({}, description="shots by task; the task's own number where it is not named")
    metric: Literal["acc", "acc_norm", "gold_probability", "gold_probability_norm"] = Field(
        "acc", description="what speaks for utility, of tasks that have it; of others, acc or exact_match"
    )
    attribute: str | None = Field(
        None, description="the attribute that lm-eval's own metrics of these tasks measure (truth); null: utility"
    )


class LMEval(Task[LMEvalConfig]):
    """One task of lm-eval."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name="lm_eval",
        summary="commonsense, reading and other tasks by their lm-eval names, embedded ones included",
        source="EleutherAI lm-evaluation-harness",
        example={"tasks": ["embedded_piqa"]},
    )
    Config = LMEvalConfig

    @classmethod
    def from_config(cls, config: LMEvalConfig) -> list[Task[Any]]:
        """One task for each name."""
        tasks = [cls(config.model_copy(update={"tasks": (name,)})) for name in config.tasks]
        unknown = set(config.num_fewshot) - {name for task in tasks for name in task._names}
        if unknown:
            raise UsageError(f"num_fewshot names '{min(unknown)}', which is not among the tasks")
        return [
            cls(
                task.config.model_copy(
                    update={"num_fewshot": {k: v for k, v in config.num_fewshot.items() if k in task._names}}
                )
            )
            for task in tasks
        ]

    @property
    def name(self) -> str:
        """lm-eval's name."""
        return self._file.name if self._file else self.config.tasks[0]

    @cached_property
    def _file(self) -> TaskFile | None:
        """The YAML file that the entry names in place of a name."""
        return task_file(self.config.tasks[0])

    @property
    def _names(self) -> tuple[str, str]:
        """What the entry calls it, and its name."""
        return self.config.tasks[0], self.name

    @property
    def _is_embedded(self) -> bool:
        return self._file is None and self.name in CONTEXTS

    @property
    def asks(self) -> Asks:
        """Texts alone, where the task has the model write; the likelihoods of texts, where it chooses among some.

        Raises:
            UsageError: lm-eval has no such task.
        """
        if self._is_embedded:
            return "likelihoods"
        kind = output_type(self._file.config) if self._file else kind_of(self.name, self.config.include_path)
        return _ASKS.get(kind or "", "logits")

    def measures_controlled(self, attribute: Attribute) -> bool:
        """Whether its entry says that it measures what the suite controls."""
        return self.config.attribute == attribute.of_suite

    def data(self, assets: AssetCatalogue) -> list[Resolved]:
        """The file of an embedded task, one's own YAML file with what it names, or all files of one's own folder.

        Of what lm-eval fetches itself, each sample keeps its document's hash.
        """
        if self._file:
            return [assets.data(str(path)) for path in self._file.files]
        if self._is_embedded:
            return [assets.data(CONTEXTS[self.name][0])]
        own = own_files(self.config.include_path)
        kind_of(self.name, self.config.include_path)
        return [assets.data(str(path)) for path in own]

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:  # noqa: D102
        loaded = self._loaded(ctx.assets)
        results, lost = self._evaluate(policy, ctx, loaded)
        samples = results["samples"][self.name]
        declined = {sample["doc_hash"] for sample in samples if sample["doc_id"] in lost}
        answers = [_declined(one) if one.doc_hash in declined else one for one in map(_answer, samples)]
        with ctx.append(self.name, Answer) as stream:
            done = {(answer.doc_hash, answer.filter) for answer in stream.rows}
            stream.append(own for own in answers if (own.doc_hash, own.filter) not in done)
        # What options say is of utility, and what a place among them says is no baseline where 0 is always right.
        answered = [sample for sample in samples if sample["doc_hash"] not in declined]
        asked, unclear = ([], 0) if self.config.attribute else questions_of(loaded["tasks"][self.name], answered)
        if unclear:
            what = f"{self.name}: of {unclear} of {unclear + len(asked)} questions the right answer is none of their"
            ctx.progress.note(f"{what} options (wrong in acc), or an option has no finite likelihood")
        direction = results["higher_is_better"][self.name]
        sheet = ctx.sheet(self.name)
        sheet.lost = len(declined)
        figures = results["results"][self.name]
        return _figures(self.config, sheet, figures, direction, samples, asked, unclear=unclear, declined=declined)

    def contexts(self, assets: AssetCatalogue, most: int) -> list[tuple[str, str]]:
        """What stands before the answers to the first documents, shots included."""
        task = self._loaded(assets)["tasks"][self.name]
        with self._reading():
            task.build_all_requests(limit=most)
        found: dict[str, str] = {}
        for instance in task.instances:
            found.setdefault(f"{self.name} {instance.doc_id}", instance.args[0])
        return list(found.items())

    def _loaded(self, assets: AssetCatalogue) -> dict[str, Any]:
        """The task as lm-eval loads it, with its shots."""
        with self._reading():
            if self._file or self._is_embedded:
                from lm_eval.tasks import TaskManager

                manager = TaskManager(include_defaults=False)
                asked: Any = (
                    str(self._file.path)
                    if self._file
                    else task_config(self.name, assets.data(CONTEXTS[self.name][0]).path)
                )
            else:
                manager, asked = manager_of(self.name, self.config.include_path), self.name
            loaded: dict[str, Any] = manager.load([asked])
            for task in loaded["tasks"].values():
                told = [self.config.num_fewshot[name] for name in self._names if name in self.config.num_fewshot]
                shots = told[0] if told else task.get_config("num_fewshot") or 0
                task.set_config(key="num_fewshot", value=shots)
                task.set_fewshot_seed(seed=_FEWSHOT_SEED)
        return loaded

    def _evaluate(
        self, policy: "Policy", ctx: TaskContext, loaded: dict[str, Any]
    ) -> tuple[dict[str, Any], Collection[int]]:
        """What lm-eval's `evaluate` returns, and the documents (`doc_id`) to which an answer was declined.

        Its `simple_evaluate` would also seed all generators and ask git.
        """
        from bench.engine.texts import TextPolicy

        with self._reading():
            from lm_eval.evaluator import evaluate

            from bench.tasks.lm_eval.model import PolicyLM
            from bench.tasks.lm_eval.texts import TextLM

            lm = TextLM(policy, ctx, self.name) if isinstance(policy, TextPolicy) else PolicyLM(policy, ctx, self.name)
            results = evaluate(
                lm=lm,
                task_dict=loaded,
                limit=ctx.take(self.config.limit),
                bootstrap_iters=0,
                log_samples=True,
            )
        return dict(results or {}), lm.lost if isinstance(lm, TextLM) else ()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keep lm-eval quiet, and say what is missing where it cannot fetch the task's data."""
        try:
            with quiet():
                yield
        except (ConnectionError, FileNotFoundError) as error:
            raise MissingError(
                f"the data of lm-eval's task '{self.name}' is not available ({' '.join(str(error).split())[:200]})",
                mend="connect to the hub once, or use the embedded_* tasks",
            ) from error


def _answer(sample: dict[str, Any]) -> Answer:
    """What stays of a document: identity, what the model answered, what was right, the metrics of this one."""
    return Answer(
        doc_hash=sample["doc_hash"],
        filter=sample["filter"],
        target=str(sample["target"]),
        responses=_plain(sample["filtered_resps"]),
        metrics={name: _plain(sample[name]) for name in sample["metrics"]},
    )


def _declined(answer: Answer) -> Answer:
    """An answer of which nothing was given: what lm-eval makes of the blank in its place says nothing of the model."""
    return replace(answer, responses=None, metrics={})


def _plain(value: Any) -> Any:
    """JSON values only; what is no finite number is null."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return _plain(value.item()) if hasattr(value, "item") else str(value)


def _figures(
    config: LMEvalConfig,
    sheet: MetricSheet,
    results: dict[str, Any],
    direction: dict[str, bool],
    samples: list[dict[str, Any]],
    questions: list[Question],
    *,
    unclear: int,
    declined: Collection[str],
) -> TaskResult:
    """Metrics with evidence where a figure is the mean of its documents' values, and without where it is not.

    The documents that were `declined` are in no figure; one that is no mean has none, then. Of `unclear` questions
    nobody knows the right option, or how likely it is.
    """
    by_filter: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        by_filter[sample["filter"]].append(sample)
    found = [
        (*key.partition(",")[::2], float(result))
        for key, result in results.items()
        if "," in key and not key.partition(",")[0].endswith("_stderr") and isinstance(result, int | float)
    ]
    primary = _primary(config.metric, [figure[:2] for figure in found], has_options=bool(questions))
    without_model = answered_without_model(questions)
    for metric, filtered, result in found:
        name = metric if filtered == "none" else f"{metric}_{filtered.replace('-', '_')}"
        rows = [(row["doc_hash"], row.get(metric)) for row in by_filter[filtered]]
        spec = MetricSpec(
            name,
            higher_is_better=direction.get(metric),
            role="attribute" if config.attribute else "utility",
            attribute=config.attribute,
            difference="ratio" if metric in _RATIOS else "absolute",
            primary=(metric, filtered) == primary,
        )
        evidence = _mean_evidence(metric, rows, result)
        if evidence and declined:
            evidence = _mean_evidence(metric, [row for row in rows if row[0] not in declined], None)
        if evidence:
            sheet.add(spec, evidence, baselines=without_model if name in _OPTIONS_ALONE else {})
        else:
            sheet.add_alone(spec, result, 0 if declined else len(rows))
    if questions:
        add_gold(sheet, questions, primary[0], unclear)
    return sheet.result()


def _primary(asked: str, found: Sequence[tuple[str, str]], *, has_options: bool) -> tuple[str, str]:
    """The metric and the filter of what speaks for utility: what is asked for where the task has it."""
    if has_options and asked in PROBABILITIES:
        return asked, "none"
    plain_first = sorted(found, key=lambda figure: figure[1] != "none")
    return next((figure for name in (asked, *_ACCURACIES) for figure in plain_first if figure[0] == name), ("", "none"))


def _mean_evidence(metric: str, rows: Sequence[tuple[str, Any]], result: float | None) -> Evidence | None:
    """The evidence of documents' values; nothing where one is no finite number, or their mean is not `result`.

    None in place of `result` says that it is not known.
    """
    values = [(key, float(one)) for key, one in rows if isinstance(one, bool | int | float) or hasattr(one, "item")]
    if not values or len(values) != len(rows) or not all(math.isfinite(one) for _, one in values):
        return None
    if result is not None and abs(sum(v for _, v in values) / len(values) - result) > _CLOSE:
        return None
    return evidence_by_cluster("mean", values, bounded=metric in _SHARES)
