"""What options say beyond right and wrong, and what answers without a model have: numbers worked out by hand."""

import math

import pytest

from bench.store.record import Metric
from bench.tasks.base import MetricSheet
from bench.tasks.lm_eval.options import (
    GOLD,
    GOLD_BITS,
    GOLD_NORM,
    Question,
    add_gold,
    answered_without_model,
    guessed_probability,
    questions_of,
)
from bench.tasks.lm_eval.task import LMEval, LMEvalConfig
from tests.unit.test_tasks import context, embedded  # noqa: F401

LN2 = math.log(2)


def ask(name: str, logprobs: tuple[float, ...], gold: int, lengths: tuple[int, ...]) -> Question:
    return Question(name, logprobs, frozenset({gold}), lengths, tuple(length + 1 for length in lengths))


# Probabilities 1/4 and 3/4; two options of 2 and 6 characters.
EASY = ask("easy", (math.log(1), math.log(3)), 1, (2, 6))
HARD = ask("hard", (-2 * LN2, -3 * LN2), 1, (3, 3))
BOTH = [EASY, HARD]


def test_the_probability_of_the_gold_option_is_that_of_a_softmax_of_sums():
    assert EASY.gold_probability(by_length=False) == pytest.approx(3 / 4)
    assert HARD.gold_probability(by_length=False) == pytest.approx(1 / 3)


def test_normalised_it_is_that_of_log_likelihoods_a_character():
    # -2 and -3 bits over 2 and 6 characters of 4 on average: -4 and -2 bits.
    question = ask("q", (-2 * LN2, -3 * LN2), 1, (2, 6))
    assert question.gold_probability(by_length=True) == pytest.approx(2**-2 / (2**-2 + 2**-4))
    # Where all options are as long, the two are one.
    assert HARD.gold_probability(by_length=True) == pytest.approx(1 / 3)


def test_very_unlikely_options_have_probabilities_too():
    assert ask("q", (-4000.0, -4000.0 - LN2), 0, (1, 1)).gold_probability(by_length=False) == pytest.approx(2 / 3)


def test_gold_bits_are_those_of_the_option_as_it_was_scored():
    bits, size = HARD.gold_bits
    assert (bits, size) == (pytest.approx(3 / 4), 4)  # three bits over three bytes and the space before them


def test_of_several_right_options_the_probability_is_their_sum_and_the_bits_the_best_one_s():
    question = Question("q", (-1 * LN2, -2 * LN2, -2 * LN2), frozenset({1, 2}), (1, 1, 1), (1, 2, 4))
    assert question.gold_probability(by_length=False) == pytest.approx(1 / 2)
    assert question.gold_bits == (pytest.approx(1), 2)


def test_answers_without_a_model_by_hand():
    questions = [
        ask("a", (0, 0), 0, (5, 5)),  # both are the longest: half
        ask("b", (0, 0), 1, (2, 9)),
        ask("c", (0, 0), 1, (9, 2)),
        ask("d", (0, 0, 0, 0), 1, (1, 2, 3, 4)),
    ]
    assert answered_without_model(questions) == {
        "chance": pytest.approx((3 * 0.5 + 0.25) / 4),
        "longest": pytest.approx((0.5 + 1) / 4),
        "majority": 0.75,
    }
    assert "prior" not in guessed_probability(questions, by_length=False)  # not as many options each


def test_a_model_that_always_says_the_same_has_the_probability_of_its_prior():
    yes = (math.log(0.2), math.log(0.8))
    questions = [ask(str(n), yes, int(n < 6), (2, 3)) for n in range(10)]
    own = sum(question.gold_probability(by_length=False) for question in questions) / 10
    found = guessed_probability(questions, by_length=False)
    assert found["prior"] == pytest.approx(own) == pytest.approx(0.6 * 0.8 + 0.4 * 0.2)
    assert found["majority"] == 0.6


def test_the_metrics_have_their_evidence_and_their_baselines():
    sheet = MetricSheet("quiz")
    add_gold(sheet, BOTH, GOLD, 0)
    found = {metric.name: metric for metric in sheet.metrics}
    assert found[GOLD].value == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert [found[name].primary for name in (GOLD, GOLD_NORM, GOLD_BITS)] == [True, False, False]
    assert [found[name].higher_is_better for name in (GOLD, GOLD_NORM, GOLD_BITS)] == [True, True, False]
    assert found[GOLD].baselines["chance"] == 0.5
    # Bits are pooled over bytes: -log2(3) bits over 7 bytes, 3 bits over 4.
    assert found[GOLD_BITS].value == pytest.approx((3 - math.log2(3)) / 11)
    assert found[GOLD_BITS].baselines == {}


@pytest.mark.parametrize("metric", ["acc", "acc_norm", GOLD, GOLD_NORM])
def test_a_suite_says_which_metric_is_the_primary_one(metric, context, tiny_policy, embedded):  # noqa: F811
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_boolq",), metric=metric))
    result = task.measure(tiny_policy, context(assets=embedded))
    assert [one.name for one in result.metrics if one.primary] == [metric]
    of_options = {one.name for one in result.metrics if one.baselines}
    assert of_options == {"acc", "acc_norm", GOLD, GOLD_NORM}
    for one in result.metrics:
        if one.baselines:
            assert one.baselines["majority"] == pytest.approx(5 / 8)  # no to five of the eight questions
            assert one.baselines["longest"] == pytest.approx(3 / 8)  # `yes` is longer


def test_what_lm_eval_logged_gives_back_its_accuracy(context, tiny_policy, embedded):  # noqa: F811
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_piqa",)))
    ctx = context(assets=embedded)
    loaded = task._loaded(embedded)
    results, _ = task._evaluate(tiny_policy, ctx, loaded)
    questions, unclear = questions_of(loaded["tasks"]["embedded_piqa"], results["samples"]["embedded_piqa"])
    assert unclear == 0
    assert len(questions) == 12
    right = [one.logprobs.index(max(one.logprobs)) in one.gold for one in questions]
    assert sum(right) / 12 == pytest.approx(results["results"]["embedded_piqa"]["acc,none"])


def test_a_record_without_baselines_is_read():
    told = {"task": "piqa", "name": "acc", "value": 0.6, "n": 10, "higher_is_better": True}
    assert Metric(**told, role="utility", difference="absolute").baselines == {}
    assert Metric.model_validate(told).baselines == {}  # of version 1
