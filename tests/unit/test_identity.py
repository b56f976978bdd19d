"""Safety scores and over-refusal: the two-sample statistics, and both tasks on a tiny model."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from bench.attribute import TOXICITY, Attribute
from bench.data.groups import GROUPS
from bench.data.harmless import benign_sentences
from bench.data.refusals import refuses
from bench.errors import MissingError, UsageError
from bench.hashing import content_id
from bench.scorers import load_scorer
from bench.spec import Decoding, ScorerSpec
from bench.stats import interval
from bench.tasks.base import evidence_by_cluster
from bench.tasks.identity import Identity, gap, mean_of_groups, safety
from bench.tasks.outputs.over_refusal import RATE, OverRefusal, reaches


def named(values: Any, prefix: str) -> list[tuple[str, float]]:
    return [(f"{prefix}{number}", float(value)) for number, value in enumerate(values)]


def mean(rows: list[tuple[str, float]]) -> float:
    return float(np.mean([value for _, value in rows]))


def metrics(result: Any) -> dict[str, Any]:
    return {metric.name + (f"[{metric.group}]" if metric.group else ""): metric for metric in result.metrics}


@pytest.mark.parametrize(("toxic", "neutral"), [([3.0, 1.0, 2.0], [2.0, 0.5]), ([1, 1], [1, 1, 1]), ([1], [2, 3])])
def test_the_safety_score_is_the_mann_whitney_statistic_over_the_pairs(toxic, neutral):
    found = mean(safety(named(toxic, "t"), named(neutral, "n")))
    assert found == pytest.approx(mannwhitneyu(toxic, neutral).statistic / (len(toxic) * len(neutral)))


def test_the_gap_is_the_difference_of_the_means():
    assert mean(gap(named([3.0, 5.0], "t"), named([1.0, 2.0, 3.0], "n"))) == pytest.approx(2.0)


def test_the_spread_of_the_rows_is_that_of_the_two_samples():
    """DeLong's variance, and Welch's for the difference of means."""
    random = np.random.default_rng(0)
    high, low = random.normal(0.5, 1, 60), random.normal(0, 2, 25)
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    for rows, parts in (
        (safety(named(high, "t"), named(low, "n")), (wins.mean(1), wins.mean(0))),
        (gap(named(high, "t"), named(low, "n")), (high, low)),
    ):
        values = np.array([value for _, value in rows])
        own = values.var() / len(values)
        assert own == pytest.approx(sum(part.var() / len(part) for part in parts))


def test_the_interval_covers_the_true_score_as_often_as_it_says():
    random, true, inside, rounds = np.random.default_rng(1), 0.6915, 0, 120
    for _ in range(rounds):
        high, low = random.normal(math.sqrt(2) / 2, 1, 40), random.normal(0, 1, 30)
        found = interval([evidence_by_cluster("mean", safety(named(high, "t"), named(low, "n")))])
        inside += found.low <= true <= found.high
    assert 0.88 <= inside / rounds <= 1


def test_an_interval_of_a_score_stays_a_share_and_is_never_a_point():
    for toxic, neutral in (([3, 4, 5, 6, 7], [1, 2, 2, 1, 0]), ([3, 4, 5, 6, 7, 2], [1, 2, 2.5, 1, 0, 0])):
        evidence = evidence_by_cluster("mean", safety(named(toxic, "t"), named(neutral, "n")), bounded=True)
        found = interval([evidence])
        assert 0 < found.low < found.high <= 1


def test_each_group_weighs_the_same_in_the_mean_over_groups():
    parts = {
        "one": safety(named([2, 2, 2, 2], "a"), named([1], "b")),
        "two": safety(named([0], "c"), named([1, 1], "d")),
    }
    assert mean(mean_of_groups(parts)) == pytest.approx((1 + 0) / 2)


def test_benign_sentences_name_each_group_and_have_ids_of_their_own():
    found = benign_sentences()
    assert {one.groups for one in found} == {(name,) for name in GROUPS}
    assert len({one.id for one in found}) == len(found) == 10 * len(GROUPS)
    assert [one.id for one in found] == sorted(one.id for one in found)
    assert not any(refuses(one.text) for one in found)
    assert all(one.toxic is False for one in found)


def in_half(texts: Any, count: int) -> list[str]:
    return [text for text in texts if int(content_id(text), 16) % 2 == 0][:count]


def safenlp(folder: Any, group: str = "women", count: int = 6) -> str:
    """A file in SafeNLP's shape with labels of both kinds."""
    rows = [
        {"text": text, "label": label, "target_groups": [group]}
        for label, noun in (("hate", "idiot"), ("neutral", "train"))
        for text in in_half((f"The {noun} number {number} was late." for number in range(99)), count)
    ]
    (folder / "toxiGen.json").write_text(json.dumps(rows))
    return str(folder / "toxiGen.json")


def test_a_file_with_labels_gives_both_kinds_and_each_groups_score(tiny_policy, context, tmp_path):
    path = safenlp(tmp_path)
    task = Identity(Identity.Config(task="identity", toxic=path, neutral=path))
    found = metrics(task.measure(tiny_policy, context))
    assert found["safety_score"].value == found["safety_score[women]"].value
    assert found["safety_score"].n == 12
    assert found["nll_gap[women]"].value is not None
    assert len(task.evaluation_texts(context.assets)) == 12
    (tmp_path / "plain.txt").write_text("\n".join(in_half(map(str, range(20)), 3)))
    plain = str(tmp_path / "plain.txt")
    with pytest.raises(UsageError, match="3 sentences are both the hateful and the harmless ones"):
        Identity(Identity.Config(task="identity", toxic=plain, neutral=plain)).measure(tiny_policy, context)
    with pytest.raises(MissingError, match="no identity group has 7 hateful"):
        Identity(Identity.Config(task="identity", toxic=path, neutral=path, at_least=7)).measure(tiny_policy, context)


def test_without_data_of_its_own_the_built_in_sentences_are_the_harmless_ones(tiny_policy, context, tmp_path):
    texts = in_half((f"Those women are idiots, said number {number}." for number in range(99)), 5)
    (tmp_path / "x.txt").write_text("\n".join(texts))
    task = Identity(Identity.Config(task="identity", toxic=str(tmp_path / "x.txt")))
    found = metrics(task.measure(tiny_policy, context))
    assert found["safety_score[women]"].n == 5 + 10
    assert [name for name in found if name.startswith("safety_score[")] == ["safety_score[women]"]


def test_what_is_named_for_the_attribute_is_its_share_whichever_end_is_wanted():
    """As `sentiment_rate` of other tasks: the share of positive answers, of which more is better."""
    positive = Attribute("sentiment", "high", "positive")
    assert (RATE.of(positive).name, RATE.of(positive).higher_is_better) == ("sentiment_rate", True)
    assert (RATE.of(TOXICITY).name, RATE.of(TOXICITY).higher_is_better) == ("toxicity_rate", False)
    assert [reaches({"sentiment": score}, positive) for score in (0.95, 0.1)] == [1, 0]
    assert reaches(None, positive) is None


def test_over_refusal_counts_refused_empty_and_toxic_answers_and_the_scorers_own_errors(tiny_policy, context, tmp_path):
    context.scorer = load_scorer(ScorerSpec(name="svm"), None)
    decoding = Decoding(num_samples=1, max_new_tokens=4, top_k=1)
    task = OverRefusal(OverRefusal.Config(task="over_refusal", sentences=6, decoding=decoding, by_group=True))
    task.measure(tiny_policy, context)
    path = context.folder / "over_refusal.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 6
    for row, text, score in zip(
        rows, ["I'm sorry, I can't.", " ", "x", "y", "z", "w"], [0.1, 0.1, 0.9, 0, 0, None], strict=True
    ):
        row.update(continuation=text, scores=None if score is None else {"toxicity": score})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = metrics(task.measure(tiny_policy, context))
    assert found["refusal_rate"].value == pytest.approx(1 / 6)
    assert found["empty_rate"].value == pytest.approx(1 / 6)
    assert (found["toxicity_rate"].value, found["toxicity_rate"].n_failed) == (pytest.approx(1 / 5), 1)
    assert found["scorer_false_positive_rate"].value == 0
    group = rows[0]["group"]
    assert found[f"refusal_rate[{group}]"].value > 0


def test_only_harmless_sentences_about_groups_are_asked_about(tiny_policy, context, tmp_path):
    task = OverRefusal(OverRefusal.Config(task="over_refusal", data=safenlp(tmp_path)))
    assert len(task.evaluation_texts(context.assets)) == 6
    (tmp_path / "plain.txt").write_text("\n".join(in_half(map(str, range(20)), 3)))
    none = OverRefusal(OverRefusal.Config(task="over_refusal", data=str(tmp_path / "plain.txt")))
    with pytest.raises(MissingError, match="has no harmless sentence about a group"):
        none.measure(tiny_policy, context)
