"""Agreement of two scorers, and a scorer against people's labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from bench.data.labelled import LabelledText, hate_speech_responses, toxigen
from bench.errors import UsageError
from bench.scorers.check import check
from bench.stats.agreement import agreement
from bench.stats.classification import auc, share


def test_kappa_and_rank_correlation_are_those_of_sklearn_and_scipy():
    draw = np.random.default_rng(0)
    a = draw.uniform(size=200).round(1)
    b = (a + draw.normal(0, 0.3, 200)).clip(0, 1).round(1)
    found = agreement(a.tolist(), b.tolist(), (0.5, 0.4))
    assert found.kappa == pytest.approx(cohen_kappa_score(a >= 0.5, b >= 0.4))
    assert found.correlation == pytest.approx(reference.spearmanr(a, b).statistic)
    assert found.n == 200


def test_what_says_nothing_has_no_agreement():
    same = agreement([0.1, 0.1], [0.2, 0.3], (0.5, 0.5))
    assert (same.kappa, same.correlation) == (None, None)
    assert agreement([], [], (0.5, 0.5)).kappa is None


def test_the_area_is_sklearns_and_its_interval_covers():
    draw = np.random.default_rng(1)
    truth = reference.norm.cdf(1 / np.sqrt(2))  # of two normals a standard deviation apart
    held = 0
    for _ in range(300):
        over, under = draw.normal(1, 1, 40), draw.normal(0, 1, 40)
        found = auc(over.tolist(), under.tolist())
        assert found.value == pytest.approx(roc_auc_score([1] * 40 + [0] * 40, [*over, *under]))
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_ties_count_by_half_and_a_perfect_score_has_no_interval():
    assert auc([0.5, 0.5], [0.5, 0.5]).value == 0.5
    assert (auc([1.0, 0.9], [0.1, 0.2]).value, auc([1.0, 0.9], [0.1, 0.2]).low) == (1.0, None)
    assert auc([], [0.1]).value is None


def test_a_share_has_wilsons_interval():
    found = share(3, 20)
    wilson = reference.binomtest(3, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))
    assert share(0, 0).value is None


class Words:
    """Calls a text toxic by its first word."""

    def score(self, texts):
        return [None if text == "?" else {"toxicity": 0.9 if text.startswith("bad") else 0.1} for text in texts]


def test_a_check_counts_right_wrong_and_missing_by_group():
    texts = [
        LabelledText("bad one", True, "women"),
        LabelledText("subtle", True, "women"),
        LabelledText("bad pun", False, "asian"),
        LabelledText("fine", False, "asian"),
        LabelledText("?", True, "asian"),
    ]
    every, asian, women = check(Words(), texts, "toxicity", 0.5)
    assert (every.group, asian.group, women.group) == (None, "asian", "women")
    assert (every.n, every.toxic, every.failed) == (5, 3, 1)
    assert (every.precision.value, every.recall.value, every.false_positives.value) == (0.5, 0.5, 0.5)
    assert every.auc.value == 0.5
    assert (women.recall.value, women.false_positives.value) == (0.5, None)
    assert asian.failed == 1


def test_labelled_files_are_read_and_a_file_without_labels_is_refused(tmp_path: Path):
    path = tmp_path / "toxigen.json"
    path.write_text(json.dumps([{"text": "a", "is_toxic": True, "target_group": "mental_dis"}]))
    assert toxigen(path) == [LabelledText("a", True, "mental_disability")]
    table = tmp_path / "scored.csv"
    header = "harm_category,assistant_response,human_score_1,human_score_2,human_score_3"
    table.write_text(f'# dataset_version=1.0\n{header}\nhate,"two\nlines",1,0.5,0\nhate,b,0,0.25,1\n')
    assert hate_speech_responses(table) == [LabelledText("two\nlines", True), LabelledText("b", False)]
    (tmp_path / "other").write_text('[{"text": "a"}]')
    with pytest.raises(UsageError, match="holds no labelled sentences"):
        toxigen(tmp_path / "other")
    table.write_text("# dataset_version=1.0\nassistant_response,human_score_1\na,1\n")
    with pytest.raises(UsageError, match="holds no scored answers"):
        hate_speech_responses(table)


@pytest.mark.network
def test_the_embedded_labels_are_as_many_as_they_should_be():
    """In the cache that all tests share: fetched on a machine that has them not yet."""
    from bench.assets.catalogue import AssetCatalogue

    sentences = toxigen(AssetCatalogue().fetch("toxigen_200").path)
    answers = hate_speech_responses(AssetCatalogue().fetch("hate_speech_responses").path)
    assert (len(sentences), sum(one.toxic for one in sentences)) == (200, 100)
    assert len({one.group for one in sentences}) == 13
    assert (len(answers), sum(one.toxic for one in answers)) == (199, 104)
