"""Tasks: figures against numbers worked out by hand, and lm-eval's own answers."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.assets import stamp
from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import Asset, Wheel, catalog
from bench.attribute import TOXICITY
from bench.data.prompts import load_prompts
from bench.engine.batching import BATCH_BUDGET
from bench.errors import MissingError, UsageError
from bench.hashing import content_id
from bench.policy import HFPolicy, LoadedModel
from bench.progress import SILENT
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, Scores
from bench.scorers.checked import CheckedScorer
from bench.spec import Decoding, Spec
from bench.stats import value
from bench.store.parts import Parts
from bench.store.record import Metric, TaskResult
from bench.store.samples import Answer, Sample, SampleFile, read_samples
from bench.tasks.context import TaskContext
from bench.tasks.diversity import Diversity, DiversityConfig, distinct, repeats
from bench.tasks.fluency import Fluency, FluencyConfig
from bench.tasks.heldout import HeldOutConfig, HeldOutPerplexity
from bench.tasks.helping import help_with
from bench.tasks.lm_eval.data import CONTEXTS, load_rows, task_config
from bench.tasks.lm_eval.index import kind_of
from bench.tasks.lm_eval.options import GOLD_BITS, PROBABILITIES
from bench.tasks.lm_eval.task import LMEval, LMEvalConfig
from bench.tasks.rtp import RealToxicityPrompts, RTPConfig, attribute_metrics


class ByLength(Scorer):
    """Scores a text by its length; a text with a `q` cannot be scored."""

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        return ScorerIdentity("length", "length", "0", ("toxicity",), "none")

    def __init__(self) -> None:
        super().__init__(Spec(), ScorerContext())
        self.asked = 0

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        self.asked += len(texts)
        return [None if "q" in text else {"toxicity": (len(text) % 11) / 10} for text in texts]


Context = Callable[..., TaskContext]


@pytest.fixture
def context(tiny_base: LoadedModel, tmp_path: Path) -> Context:
    """Makes what a task is given; keywords replace parts of it."""

    def make(**changes: Any) -> TaskContext:
        parts: dict[str, Any] = {
            "folder": tmp_path / "samples",
            "assets": AssetCatalogue(tmp_path / "cache", offline=True, catalog={}),
            "scorer": CheckedScorer(ByLength(), None),
            "attribute": TOXICITY,
            "decoding": Decoding(num_samples=3, max_new_tokens=8),
            "seed": 0,
            "base": tiny_base,
            "progress": SILENT,
        }
        return TaskContext(**{**parts, **changes})

    return make


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def by_key(result: TaskResult) -> dict[str, Metric]:
    return {metric.key: metric for metric in result.metrics}


def row(prompt: str, toxicity: float | None, group: str | None = None, text: str = " a b") -> Sample:
    scores = None if toxicity is None else {"toxicity": toxicity}
    return Sample(prompt, 0, "x", text, scores, group, len(text.split()))


def keep(ctx: TaskContext, samples: Sequence[Sample]) -> None:
    with SampleFile(ctx.folder / "rtp.jsonl", Sample) as stream:
        stream.append(samples)


# --- rtp ---


def test_toxicity_by_hand():
    """Prompt a: maximum 0.9, b: 0.4; two of five samples reach 0.5, which itself counts."""
    rows = [row("a", 0.9), row("a", 0.5), row("a", 0.1), row("b", 0.4), row("b", 0.49)]
    found = by_key(attribute_metrics(rows, TOXICITY))
    assert {key: metric.value for key, metric in found.items()} == {
        "rtp/expected_maximum_toxicity": pytest.approx((0.9 + 0.49) / 2),
        "rtp/toxicity_probability": 0.5,
        "rtp/toxic_fraction": pytest.approx(2 / 5),
    }
    assert [found[key].n for key in sorted(found)] == [2, 5, 2]
    assert all(metric.higher_is_better is False and not metric.n_failed for metric in found.values())
    assert attribute_metrics(rows, replace(TOXICITY, threshold=0.95)).metrics[2].value == 0


def test_a_missing_score_is_never_clean():
    """Prompt a has lost a sample: its maximum is not known; the fraction rests on the four that are."""
    rows = [row("a", 0.9), row("a", None), row("b", 0.2), row("b", 0.7), row("c", 0.1)]
    found = by_key(attribute_metrics(rows, TOXICITY))
    expected, probability, fraction = (
        found[f"rtp/{name}"] for name in ("expected_maximum_toxicity", "toxicity_probability", "toxic_fraction")
    )
    assert (expected.value, expected.n, expected.n_failed) == (pytest.approx((0.7 + 0.1) / 2), 2, 1)
    assert (probability.value, probability.n, probability.n_failed) == (0.5, 2, 1)
    assert (fraction.value, fraction.n, fraction.n_failed) == (0.5, 4, 1)


def test_without_any_score_there_is_no_figure():
    for metric in attribute_metrics([row("a", None), row("b", None)], TOXICITY).metrics:
        assert (metric.value, metric.ci_low, metric.n) == (None, None, 0)
        assert metric.n_failed == 2


def test_groups_are_shown_where_there_are_several():
    rows = [row("a", 0.9, "toxic"), row("b", 0.2, "nontoxic"), row("c", 0.6, "nontoxic"), row("d", 0.0)]
    found = by_key(attribute_metrics(rows, TOXICITY))
    assert len(found) == 9
    assert found["rtp/toxic/toxic_fraction"].value == 1
    assert found["rtp/nontoxic/toxic_fraction"].value == 0.5
    assert found["rtp/toxic_fraction"].value == 0.5
    assert len(attribute_metrics(rows[:1], TOXICITY).metrics) == 3


def test_empty_continuations_are_counted():
    found = attribute_metrics([row("a", 0.1, text=" \n"), row("a", 0.2)], TOXICITY)
    assert [metric.n_empty for metric in found.metrics] == [1, 1, 1]


def test_every_figure_follows_from_its_evidence():
    result = attribute_metrics([row("a", 0.9, "toxic"), row("b", 0.2, "nontoxic"), row("b", 0.6, "nontoxic")], TOXICITY)
    for metric in result.metrics:
        assert value(result.evidence[metric.key]) == pytest.approx(metric.value)
        assert len(result.evidence[metric.key].value) == metric.n


def prompts_file(folder: Path) -> str:
    ends = ("was late", "is here", "said")
    rows = [
        {"text": f"The {noun} {end}", "toxicity": toxicity}
        for noun in ("river", "stone", "train", "weather", "friend", "town", "sea", "desk")
        for end, toxicity in zip(ends, (0.9, 0.2, None), strict=True)
    ]
    return str(write(folder / "prompts.jsonl", rows))


def test_rtp_samples_and_scores(context, tiny_policy, tmp_path):
    config = RTPConfig(task="rtp", data=prompts_file(tmp_path), toxic=2, nontoxic=1)
    task, ctx = RealToxicityPrompts(config), context()
    prompts = task.prompts(ctx)
    assert [prompt.group for prompt in prompts][:3] == ["toxic", "toxic", "nontoxic"]
    assert all(int(prompt.id, 16) % 2 == 0 for prompt in prompts)
    result = task.measure(tiny_policy, ctx)
    rows = ctx.samples("rtp")
    assert len(rows) == 3 * len(prompts)
    assert {(one.prompt_id, one.sample) for one in rows} == {(p.id, j) for p in prompts for j in range(3)}
    for one in rows:
        text = one.continuation
        assert one.scores == (None if "q" in text else {"toxicity": (len(text) % 11) / 10})
    (taken,) = result.taken
    assert taken["taken"] == len(prompts)
    assert result.model_copy(update={"taken": []}) == attribute_metrics(rows, TOXICITY)
    assert ctx.tokens == sum(one.tokens for one in rows)


def test_all_prompts_of_a_file_are_taken_where_it_is_asked_for(context, tmp_path):
    data = prompts_file(tmp_path)
    every = {prompt.id for prompt in load_prompts(Path(data)) if prompt.group}
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=data, half="all"))
    assert {prompt.id for prompt in task.prompts(context())} == every
    assert {content_id(text) for text in task.evaluation_texts(context().assets)} >= every
    half = RealToxicityPrompts(RTPConfig(task="rtp", data=data))
    assert len(half.prompts(context())) < len(every)


def test_rtp_takes_the_same_prompts_whatever_the_limit(context, tmp_path):
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=prompts_file(tmp_path), nontoxic=0))
    every, first = task.prompts(context()), task.prompts(context(max_items=1))
    assert {prompt.group for prompt in every} == {
        "toxic"
    }  # where some are labelled, those without a label are left out
    assert [prompt.group for prompt in first] == ["toxic"]
    assert first[0] == every[0]
    assert {prompt.text for prompt in every} < set(task.evaluation_texts(context().assets))


@pytest.mark.parametrize("more", [0, 2])
def test_rtp_goes_on_with_what_is_there(context, tiny_policy, tmp_path, more):
    """Whole prompts are not sampled or scored again, half a prompt is; the figures are the same."""
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=prompts_file(tmp_path)))
    whole = context()
    expected = task.measure(tiny_policy, whole)
    lines = [f"{line}\n" for line in (tmp_path / "samples" / "rtp.jsonl").read_text().split("\n")[:-1]]
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "rtp.jsonl").write_text("".join(lines[: 9 + more]) + lines[9 + more][:20])  # a line cut off
    scorer = ByLength()
    again = context(folder=folder, scorer=CheckedScorer(scorer, None))
    assert task.measure(tiny_policy, again) == expected
    assert (folder / "rtp.jsonl").read_text() == "".join(lines)
    assert again.tokens == whole.tokens - sum(json.loads(line)["tokens"] for line in lines[:9])
    assert 0 < scorer.asked <= len(lines) - 9 + 4 * 5  # what could not be scored was tried again


class Interrupted(HFPolicy):
    """The model, until it has read so many batches of prompts."""

    readings = 2

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any = None, **options: Any) -> Any:
        if cache is None:
            if not self.readings:
                raise KeyboardInterrupt
            self.readings -= 1
        return super().forward(ids, mask, cache, **options)


def test_rtp_in_parts_leaves_the_bytes_of_one_process(context, tiny_base, tiny_policy, tmp_path, monkeypatch):
    """The owner is killed, a helper does what was left, and the next owner puts it together without the model."""
    monkeypatch.setattr(BATCH_BUDGET, "tokens", 60)
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=prompts_file(tmp_path)))
    whole = context()
    expected = task.measure(tiny_policy, whole)
    folder = tmp_path / "shared"
    owner, stops = context(folder=folder, shares=True), Interrupted(tiny_base.model, tiny_base.tokenizer)
    with pytest.raises(KeyboardInterrupt):
        task.measure(stops, owner)
    count = len(json.loads((folder / "rtp.parts" / "plan.json").read_text())["plan"])
    assert count > 3
    assert len(list((folder / "rtp.parts").glob("*/*.jsonl"))) == 2
    assert list((folder / "rtp.parts").glob("*/.*")) == [], "what it held is free"
    helper = context(folder=folder)
    for parts in Parts.all_in(folder):
        help_with(parts, tiny_policy, helper)
    assert len(list((folder / "rtp.parts").glob("*/*.jsonl"))) == count
    (folder / "rtp.parts" / "0000" / "03.jsonl").write_text("{")  # damaged: it is done again
    stops.readings = 1
    again = context(folder=folder)
    assert task.measure(stops, again) == expected
    assert (folder / "rtp.jsonl").read_bytes() == (tmp_path / "samples" / "rtp.jsonl").read_bytes()
    assert not (folder / "rtp.parts").exists()
    assert (again.helped, whole.helped) == (True, False)
    assert 0 < again.tokens < whole.tokens


def test_rtp_without_prompts_is_one_error(context, tiny_policy, tmp_path):
    path = write(tmp_path / "p.jsonl", [{"text": "The river is here", "toxicity": 0.1}])
    with pytest.raises(MissingError, match=r"has no prompt of the groups .* kept for evaluation"):
        RealToxicityPrompts(RTPConfig(task="rtp", data=str(path), nontoxic=0)).measure(tiny_policy, context())


# --- diversity ---


def test_distinct_by_hand():
    """Of prompt a's seven words five are different; bigrams do not cross samples."""
    rows = [row("a", 0, text="the cat saw the cat"), row("a", 0, text="the dog"), row("b", 0, text="  ")]
    assert distinct(rows, 1) == [("a", 4 / 7), ("b", 0)]
    assert distinct(rows, 2) == [("a", 4 / 7), ("b", 0)]  # the cat, cat saw, saw the, the dog
    assert distinct(rows, 3) == [("a", 3 / 7), ("b", 0)]


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("a b c d a b c d", True),
        ("A b c D, x a B c d,", True),
        ("a b c d a b c e", False),
        ("a a a a", False),
        ("a a a a a", True),
        ("", False),
    ],
)
def test_repeats(text, again):
    assert repeats(text) is again


def test_diversity_by_hand(context, tiny_policy):
    rows = [row("a", 0, text=" x y"), row("a", 0, text=""), row("b", 0, text=" x y z w x y z w")]
    ctx = context()
    keep(ctx, rows)
    found = by_key(Diversity(DiversityConfig(task="diversity")).measure(tiny_policy, ctx))
    assert found["diversity/distinct_1"].value == pytest.approx((1 + 4 / 8) / 2)
    assert found["diversity/distinct_2"].value == pytest.approx((1 / 2 + 4 / 8) / 2)
    assert found["diversity/length"].value == pytest.approx((2 + 0 + 8) / 3)
    assert found["diversity/empty_share"].value == pytest.approx(1 / 3)
    assert found["diversity/repeated_share"].value == pytest.approx(1 / 3)
    assert found["diversity/length"].higher_is_better is None
    assert found["diversity/distinct_1"].n_empty == 1


# --- fluency ---


def nll(base: LoadedModel, prompt: str, text: str) -> tuple[float, int]:
    """Sum over the text's tokens of -log p, and their number, read alone."""
    ids = base.tokenizer(prompt + text)["input_ids"]
    start = len(base.tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        logprobs = base.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))), len(ids) - start


def test_fluency_is_pooled_over_tokens_beside_the_median(context, tiny_policy, tiny_base):
    texts = [
        ("She asked", " whether the train was late."),
        ("She asked", " no"),
        ("What is", " it? 1 2"),
    ]
    rows = [replace(row(prompt, 0, text=text), prompt=prompt) for prompt, text in texts]
    rows.append(replace(row("What is", 0, text=" \n"), prompt="What is"))
    ctx = context()
    keep(ctx, rows)
    found = by_key(Fluency(FluencyConfig(task="fluency")).measure(tiny_policy, ctx))
    scored = [nll(tiny_base, prompt, text) for prompt, text in texts]
    pooled = math.exp(sum(total for total, _ in scored) / sum(count for _, count in scored))
    median = sorted(math.exp(total / count) for total, count in scored)[1]
    assert found["fluency/perplexity_pooled"].value == pytest.approx(pooled, rel=1e-4)
    assert found["fluency/perplexity_median"].value == pytest.approx(median, rel=1e-4)
    assert found["fluency/unscored_share"].value == 0.25
    assert found["fluency/perplexity_pooled"].n_empty == 1
    assert found["fluency/perplexity_pooled"].n == 3


def test_fluency_of_nothing_is_no_figure(context, tiny_policy):
    ctx = context()
    keep(ctx, [row("a", 0, text=""), row("b", 0, text=" ")])
    found = by_key(Fluency(FluencyConfig(task="fluency")).measure(tiny_policy, ctx))
    assert found["fluency/perplexity_pooled"].value is None
    assert found["fluency/perplexity_median"].value is None
    assert found["fluency/unscored_share"].value == 1


def test_held_out_perplexity_by_hand(context, tiny_policy, tiny_base, tmp_path):
    texts = ["The river rises in the hills, runs south past two small towns.", "She asked.", "  ", "She  asked"]
    path = write(tmp_path / "texts.jsonl", [{"body": text} for text in texts])
    config = HeldOutConfig(task="heldout", data=str(path), field="body", max_tokens=6)
    found = by_key(HeldOutPerplexity(config).measure(tiny_policy, context()))["heldout/perplexity"]
    tokenizer = tiny_base.tokenizer
    total, count = 0.0, 0
    for text in texts[:2]:  # a blank text and one of the same content are left out
        cut = tokenizer.decode(tokenizer(text)["input_ids"][:6])
        one, some = nll(tiny_base, tokenizer.bos_token, cut)
        total, count = total + one, count + some
    assert found.value == pytest.approx(math.exp(total / count), rel=1e-4)
    assert found.n == 2
    with pytest.raises(UsageError, match="line 1: no text under the key 'text'"):
        HeldOutPerplexity(HeldOutConfig(task="heldout", data=str(path), field="text")).measure(tiny_policy, context())


# --- embedded files ---


def question(options: str, answer: str, **more: str) -> dict[str, str]:
    return {"question": "Which?", "options": options, "answer": answer, **more}


@pytest.mark.parametrize(
    ("raw", "choices", "gold"),
    [
        (question("A. tin can\nB. stone", "B. stone"), ["tin can", "stone"], 1),
        (question("A. tin can\nB. stone?", "B. stone"), ["tin can", "stone?"], 1),  # the stray "?"
        (question("A. Stone\nB. stone", "B. stone"), ["Stone", "stone"], 1),  # exactly, before alike
        (question("A. no\nB. no", "A. no"), ["no", "no"], 0),  # alike: by its letter
        (question("A. a first\nand more\nB. b", "A. a first and more"), ["a first and more", "b"], 0),
        (question("A. A. Milne\nB. B. Brecht", "B. B. Brecht"), ["A. Milne", "B. Brecht"], 1),
        (question("B. stone\nC. tin", "A. can", question="Which?\nA. can"), ["can", "stone", "tin"], 0),
    ],
)
def test_rows_of_options(tmp_path, raw, choices, gold):
    (found,) = load_rows(write(tmp_path / "rows.jsonl", [raw]))
    assert (found["choices"], found["gold"], found["question"]) == (choices, gold, "Which?")


def test_rows_of_yes_and_no(tmp_path):
    rows = [{"question": " is it", "passage": "It is. ", "answer": answer} for answer in ("True", "False")]
    found = load_rows(write(tmp_path / "rows.jsonl", rows), boolean=True)
    assert [(one["gold"], one["choices"], one["passage"]) for one in found] == [
        (1, ["no", "yes"], "It is."),
        (0, ["no", "yes"], "It is."),
    ]


@pytest.mark.parametrize(
    ("raw", "matches"),
    [(question("A. tin\nB. can", "B. stone"), 0), (question("A. tin\nB. tin\nC. can", "C. tin"), 2)],
)
def test_an_answer_that_is_none_or_several_options_is_an_error(tmp_path, raw, matches):
    path = write(tmp_path / "rows.jsonl", [question("A. a\nB. b", "A. a"), raw])
    with pytest.raises(MissingError, match=rf"line 2: the answer matches {matches} of {raw['options'].count('. ')}"):
        load_rows(path)


# --- lm-eval ---


ROWS = {
    "piqa": [
        question(f"A. a stone and {i} more\nB. a feather{' and a lamp' * (i % 3)}", answer)
        for i in range(12)
        for answer in [f"A. a stone and {i} more" if i % 2 else f"B. a feather{' and a lamp' * (i % 3)}"]
    ],
    "boolq": [
        {"question": f"is {i} a number", "passage": "Numbers are written with digits.", "answer": str(i % 3 == 0)}
        for i in range(8)
    ],
    "logiqa": [
        question("A. yes\nB. no\nC. maybe\nD. none of these", "C. maybe", passage=f"It rained {i} times.")
        for i in range(6)
    ],
}


@pytest.fixture
def embedded(tmp_path: Path) -> AssetCatalogue:
    """A cache that holds rows of our own under the names of the embedded files."""
    cache, assets = tmp_path / "embedded", []
    for name, rows in ROWS.items():
        content = write(tmp_path / f"{name}.jsonl", rows).read_bytes()
        wheel = Wheel("rows", "1", "rows.whl", 1, "0" * 64, "MIT")
        asset = Asset(name, "data", wheel, f"{name}.jsonl", len(content), sha256(content).hexdigest(), "rows")
        folder = cache / "data" / asset.stem
        folder.mkdir(parents=True)
        (folder / asset.file).write_bytes(content)
        stamp.seal(folder)
        assets.append(asset)
    return AssetCatalogue(cache, offline=True, catalog=catalog(*assets))


@pytest.mark.parametrize(
    "case",
    [("embedded_piqa", None, 0), ("embedded_piqa", 5, 2), ("embedded_boolq", 6, 0), ("embedded_logiqa", None, 0)],
)
def test_metrics_are_those_of_lm_eval(context, tiny_policy, tiny_model, embedded, case):
    """The same task, documents and shots by lm-eval's own evaluator and model class."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    name, limit, shots = case
    (task,) = LMEval.from_config(
        LMEvalConfig(task="lm_eval", tasks=(name,), limit=limit, num_fewshot={name: shots} if shots else {})
    )
    ctx = context(assets=embedded)
    result = task.measure(tiny_policy, ctx)
    expected = simple_evaluate(
        model=HFLM(pretrained=str(tiny_model), dtype="float32", device="cpu", batch_size=2),
        tasks=[task_config(name, embedded.data(CONTEXTS[name][0]).path)],
        task_manager=TaskManager(include_defaults=False),
        limit=limit,
        num_fewshot=shots,
        bootstrap_iters=0,
    )
    found = by_key(result)
    assert {metric.name for metric in result.metrics} == {"acc", "acc_norm", *PROBABILITIES, GOLD_BITS}
    for metric in ("acc", "acc_norm"):
        assert found[f"{name}/{metric}"].value == pytest.approx(expected["results"][name][f"{metric},none"])
        theirs = [one[metric] for one in expected["samples"][name]]
        assert sorted(result.evidence[f"{name}/{metric}"].value) == sorted(map(float, theirs))
        assert found[f"{name}/{metric}"].n == len(theirs) == min(limit or 99, len(ROWS[CONTEXTS[name][0]]))
        assert found[f"{name}/{metric}"].higher_is_better is True
    assert task.data(embedded)[0].sha256 == sha256(write(ctx.folder / "x", ROWS[name[9:]]).read_bytes()).hexdigest()


def test_what_was_answered_is_in_the_samples(context, tiny_policy, embedded):
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_boolq",)))
    ctx = context(assets=embedded, max_items=3)
    for _ in range(2):  # measured again, nothing is doubled
        task.measure(tiny_policy, ctx)
    answers = list(read_samples(ctx.folder / "embedded_boolq.jsonl"))
    assert len(answers) == 3
    assert {type(answer) for answer in answers} == {Answer}
    assert [answer.target for answer in answers] == ["1", "0", "0"]
    assert all(len(answer.responses) == 2 for answer in answers)
    assert ctx.tokens > 0


def test_each_name_is_a_task_of_its_own():
    config = LMEvalConfig(task="lm_eval", tasks=("sciq", "piqa"), num_fewshot={"piqa": 3})
    tasks = LMEval.from_config(config)
    assert [task.name for task in tasks] == ["sciq", "piqa"]
    assert [task.config.num_fewshot for task in tasks] == [{}, {"piqa": 3}]
    with pytest.raises(UsageError, match="num_fewshot names 'boolq'"):
        LMEval.from_config(config.model_copy(update={"num_fewshot": {"boolq": 1}}))


def test_an_unknown_lm_eval_task_is_refused_with_a_suggestion(context):
    with pytest.raises(UsageError, match="has no single task 'embedded_pica'; did you mean 'embedded_piqa'"):
        kind_of("embedded_pica", None)
    with pytest.raises(UsageError, match="has no single task 'mmlu'"):  # a group has no samples of its own
        kind_of("mmlu", None)
    with pytest.raises(UsageError, match=r"the nearest of [\d,]+ are ") as caught:  # and not all of 10,000
        kind_of("xyzxyzxyz", None)
    assert len(str(caught.value)) < 300
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("hellaswagg",)))
    with pytest.raises(UsageError, match="has no single task 'hellaswagg'; did you mean 'hellaswag'"):
        task.data(context().assets)


def test_a_task_without_its_file_is_missing(context, tiny_policy, tmp_path):
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_piqa",)))
    with pytest.raises(MissingError, match="is not here and --offline forbids"):
        task.measure(tiny_policy, context(assets=AssetCatalogue(tmp_path, offline=True)))


def test_policies_are_asked_and_not_the_base(context, tiny_policy, tiny_base, embedded):
    """A policy whose logits are not its model's has figures of its own: nothing goes past it."""

    class Backwards(HFPolicy):
        def forward(self, *arguments: Any, **options: Any) -> Any:
            logits, cache = super().forward(*arguments, **options)
            return -logits, cache

    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_piqa",)))
    forth = task.measure(tiny_policy, context(assets=embedded))
    policy = Backwards(tiny_base.model, tiny_base.tokenizer)
    back = task.measure(policy, context(assets=embedded, folder=embedded.cache / "back"))
    assert [one.value for one in forth.evidence.values()] != [one.value for one in back.evidence.values()]
