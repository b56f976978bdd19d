"""Relevance and variety across prompts, by hand."""

import math

import pytest
import torch

from bench.store.samples import Sample
from bench.tasks.base import MetricSheet
from bench.tasks.diversity import DiversityConfig, distinct, repeats
from bench.tasks.fluency import Fluency, FluencyConfig
from bench.tasks.relevance import other_prompts
from bench.tasks.variety import add_variety, copied, overall_distinct, recurring, self_bleu


def row(prompt, text, sample=0, words="The man said"):
    return Sample(prompt, sample, words, text, {"toxicity": 0.1}, tokens=3)


# --- variety ---


def test_a_text_recurs_where_another_prompt_has_it():
    rows = [
        row("a", " It was late."),
        row("a", " it  was\nLATE.", 1),  # the same, but of the same prompt: not by itself
        row("b", "Nothing else", 0),
        row("b", "Nothing else", 1),
        row("c", "it was late."),
        row("c", "  ", 1),
        row("b", "", 2),
    ]
    assert recurring(rows) == [1, 1, 0, 0, 1, 0, 0]


def test_words_without_spaces_between_them_are_counted_as_words():
    """The same words, once apart and once in a script that has no spaces."""
    script = dict(zip("abcdef", "\u5929\u5730\u4eba\u65e5\u6708\u661f", strict=True))
    apart = [("p", "a b c a b c", "a b"), ("p", "d d d d d", "d e"), ("q", "a b c d e f", "e f"), ("r", "b", "b")]
    joined = [(key, *("".join(script[one] for one in text.split()) for text in texts)) for key, *texts in apart]
    kinds = [
        [row(key, text, place, words) for place, (key, text, words) in enumerate(some)] for some in (apart, joined)
    ]
    for of in (
        lambda rows: [distinct(rows, n) for n in (1, 2, 3)],
        lambda rows: [repeats(one.continuation) for one in rows],
        lambda rows: overall_distinct(rows, 2),
        lambda rows: [copied(one) for one in rows],
        lambda rows: self_bleu([Sample(one.prompt_id, 0, one.prompt, one.continuation, None) for one in rows]),
    ):
        assert of(kinds[0]) == of(kinds[1])
    assert repeats(kinds[1][1].continuation)


def test_distinct_over_all_counts_across_prompts():
    rows = [row("a", "the cat sat"), row("b", "the cat ran"), row("c", "")]
    assert overall_distinct(rows, 2) == 3 / 6  # the cat, cat sat, cat ran
    assert overall_distinct(rows, 1) == 4 / 6
    assert overall_distinct([row("a", " ")], 2) == 0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("the MAN said", 1),
        ("the man came", 1 / 2),
        ("man the said", 0),
        ("said", 1),
        ("nothing", 0),
        ("", 0),
    ],
)
def test_copied_pairs_of_words(text, share):
    assert copied(row("a", text)) == share


def test_self_bleu_by_hand():
    """Of `a b c d` against `a b c e` and `x y z w`: 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, no four (0.1 of 1)."""
    rows = [row("a", "a b c d"), row("b", "a b c e"), row("c", "x y z w"), row("a", "a b c e", 1), row("d", " ")]
    found = self_bleu(rows)
    assert found.cluster_ids == ["a", "b", "c"]  # the first of each prompt, and no blank one
    shared = math.exp((math.log(3 / 4) + math.log(2 / 3) + math.log(1 / 2) + math.log(0.1)) / 4)
    alone = math.exp((math.log(0.1 / 4) + math.log(0.1 / 3) + math.log(0.1 / 2) + math.log(0.1)) / 4)
    assert found.value == pytest.approx([shared, shared, alone])


def test_self_bleu_clips_counts_and_punishes_short_texts():
    """`a a a` has one `a` in common with `a b c d`; against it, it is short by a word: exp(1 - 4 / 3)."""
    found = self_bleu([row("a", "a a a"), row("b", "a b c d")])
    words = (math.log(1 / 3) + math.log(0.1 / 2) + math.log(0.1 / 1)) / 3
    assert found.value[0] == pytest.approx(math.exp(1 - 4 / 3 + words))
    assert self_bleu([row("a", "one text")]).value == []
    assert self_bleu([row("a", "one text here now"), row("b", "one text here now")]).value == pytest.approx([1, 1])


def test_the_shares():
    german = "Der Zug kommt heute etwas später an als sonst, weil es die ganze Nacht geschneit hat."
    prompt = "She asked whether the train was late, and the man at the desk said that it was not"
    texts = ["I'm sorry, but I cannot help with that.", german, "... !!", "", "and then she went home for the evening."]
    sheet = MetricSheet("diversity")
    add_variety(sheet, [row(f"p{n}", text, words=prompt) for n, text in enumerate(texts)])
    found = {metric.name: metric for metric in sheet.metrics}
    for name in ("refusal_share", "other_language_share", "wordless_share"):
        assert found[name].value == pytest.approx(1 / 5), name
        assert found[name].flag is not None
    assert found["recurring_share"].value == 0
    assert found["recurring_share"].n_empty == 1
    assert found["overall_distinct_2"].flag is None


# --- relevance ---


def test_the_other_prompt_is_the_next_by_id():
    rows = [row("b", "x", words="B"), row("a", "x", words="A"), row("c", "x", words="C"), row("a", "y", words="A")]
    assert other_prompts(rows) == {"a": "B", "b": "C", "c": "A"}
    assert other_prompts(rows[:1]) == {}


def logprob(base, prompt, text):
    """Sum over the text's tokens of log p, and their number, read alone."""
    before, ids = base.tokenizer(prompt)["input_ids"], base.tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logprobs = base.model(torch.tensor([[*before, *ids]])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(before) + n - 1, token]) for n, token in enumerate(ids)), len(ids)


@pytest.fixture
def measured(context, tiny_policy, monkeypatch):
    """Metrics by name of `fluency` over some samples."""

    def measure(rows):
        monkeypatch.setattr(type(context), "samples", lambda _, name: rows if name == "rtp" else [])
        result = Fluency(FluencyConfig(task="fluency")).measure(tiny_policy, context)
        return {metric.name: metric for metric in result.metrics}

    return measure


def test_relevance_by_hand(measured, tiny_base):
    """(sum over texts of log p after its own prompt - log p after the next one's) / all tokens."""
    prompts = {"a": "She asked", "b": "What is"}
    rows = [row("a", " whether the train was late.", words="She asked"), row("b", " it? 1 2", words="What is")]
    rows.append(row("b", " \n", 1, words="What is"))
    gains, tokens = 0.0, 0
    for own, other, text in (("a", "b", rows[0].continuation), ("b", "a", rows[1].continuation)):
        after, count = logprob(tiny_base, prompts[own], text)
        gains, tokens = gains + after - logprob(tiny_base, prompts[other], text)[0], tokens + count
    found = measured(rows)["relevance"]
    assert found.value == pytest.approx(gains / tokens, rel=1e-3)
    assert (found.n, found.n_empty, found.role, found.primary) == (2, 1, "relevance", True)


def test_texts_that_do_not_follow_from_their_prompts_gain_nothing(measured):
    """One text after each of two prompts: what one gains the other loses, exactly."""
    rows = [row("a", " was late.", words="She asked"), row("b", " was late.", words="What is")]
    assert measured(rows)["relevance"].value == pytest.approx(0, abs=1e-6)


def test_one_prompt_has_no_relevance(measured):
    assert "relevance" not in measured([row("a", " was late.", words="She asked")])


def test_the_samples_of_another_task_are_read(context, tiny_policy):
    assert Fluency(FluencyConfig(task="fluency", of="continuation")).needs == ("continuation",)
    assert DiversityConfig(task="diversity").of == "rtp"
