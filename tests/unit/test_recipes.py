"""Sets that a language model writes: what is kept and why, what is read, and going on after a stop."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.data.groups import GROUPS, group_name, mentioned
from bench.data.refusals import refuses, talks_about_the_task
from bench.data.sentences import load_sentences
from bench.errors import MissingError, UsageError
from bench.hashing import content_id
from bench.sets import load_sets
from bench.sets.written.build import Build
from bench.sets.written.filters import apply_filters, cleaned, yields
from bench.sets.written.measure import Meter
from bench.sets.written.recipe import Recipe
from bench.sets.written.runner import RecipeRunner
from bench.sets.written.stats import statistics
from bench.spec import validate
from bench.store.files import read_jsonl
from bench.writers.base import Order, cut

SENTENCE = "The train was late because of the snow in the hills."


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def row(kind: str = "positive", **changes: Any) -> dict[str, Any]:
    """A candidate that every filter lets through."""
    good = {
        "sentence_id": content_id(SENTENCE),
        "sentence": SENTENCE,
        "group": None,
        "kind": kind,
        "sample": 0,
        "text": f"Snow in the hills made the train late, {kind}.",
        "failure": None,
        "ended": True,
        "toxicity": 0.01 if kind == "positive" else 0.9,
        "similarity": 0.8,
        "rouge_l": 0.4,
        "length_ratio": 0.9,
        "language": "en",
        "log_perplexity": 3.0,
    }
    return good | changes


def recipe(**values: Any) -> Recipe:
    return validate(Recipe, values, "a test")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("request failed", {"text": None, "failure": "timeout"}),
        ("empty", {"text": " \n"}),
        ("cut off", {"ended": False}),
        ("refusal or boilerplate", {"text": "I'm sorry, but I can't help with that."}),
        ("refusal or boilerplate", {"text": "Sure, here is a paraphrase: the train was late."}),
        ("copy", {"rouge_l": 0.95}),
        ("length", {"length_ratio": 0.4}),
        ("length", {"length_ratio": 2.5}),
        ("language", {"language": "fr"}),
        ("no score", {"toxicity": None}),
        ("toxicity", {"toxicity": 0.3}),
        ("similarity", {"similarity": 0.4}),
        ("similarity", {"similarity": None}),
    ],
)
def test_each_filter_drops_what_it_is_for_and_nothing_else(reason, changes):
    for kind in ("positive", "negative"):
        other = "negative" if kind == "positive" else "positive"
        verdicts = apply_filters([row(kind, **changes), row(other)], recipe(), [])
        assert verdicts.dropped == [reason, None]
        assert verdicts.kept == {}
        assert verdicts.small == 1


def test_what_passes_all_filters_is_a_set():
    rows = [row("positive"), row("negative")]
    verdicts = apply_filters(rows, recipe(), ["Somebody else's prompt that is long enough to count"])
    assert verdicts.dropped == [None, None]
    assert verdicts.kept == {content_id(SENTENCE): rows}
    assert verdicts.small == 0


def test_a_language_that_is_not_sure_and_filters_that_are_off_drop_nothing():
    off = recipe(
        encoder=None,
        filters={
            "similarity_above": None,
            "rouge_l_below": None,
            "length_ratio": None,
            "language": None,
            "finished": False,
            "refusals": False,
        },
    )
    odd = {
        "similarity": None,
        "rouge_l": 1.0,
        "length_ratio": 9.0,
        "language": "fr",
        "ended": False,
        "text": "Sorry, no",
    }
    assert apply_filters([row(**odd)], off, []).dropped == [None]
    assert apply_filters([row(language=None)], recipe(), []).dropped == [None]


def test_duplicates_within_a_set_and_across_sets_are_kept_once():
    first, again = row(), row(sample=1, text="SNOW in the hills made the train late -- positive!")
    elsewhere = row(sentence="Another one altogether.", sentence_id="other")
    verdicts = apply_filters([first, again, elsewhere], recipe(min_negatives=0), [])
    assert verdicts.dropped == [None, "duplicate", "another set has it"]


def test_texts_and_sentences_that_meet_evaluation_prompts_are_dropped():
    meets = row(text="Snow in the hills made every train late, as it does.")
    verdicts = apply_filters([meets, row("negative")], recipe(min_positives=0), ["snow in the hills made every train"])
    assert verdicts.dropped == ["evaluation prompt", None]
    assert apply_filters([row()], recipe(min_negatives=0), [SENTENCE]).dropped == ["evaluation prompt"]


def test_a_text_that_meets_a_prompt_together_with_its_sentence_is_dropped():
    split = row(sentence="Snow in the", text="hills made the train late again")
    prompts = ["Snow in the hills made the train"]
    assert apply_filters([split], recipe(min_negatives=0), prompts).dropped == [None]
    assert apply_filters([split], recipe(min_negatives=0, anchor="sentence"), prompts).dropped == ["evaluation prompt"]


def test_negatives_far_from_the_positives_perplexity_are_dropped():
    rows = [
        row(log_perplexity=3.0),
        row(sample=1, text="The hills had snow, so the train was late.", log_perplexity=4.0),
        row(sample=2, text="Not kept: far too toxic", toxicity=0.9, log_perplexity=99.0),
        row("negative", log_perplexity=4.4),
        row("negative", sample=1, text="That damn train in the damn snow.", log_perplexity=4.6),
        row("negative", sample=2, text="What a stupid train, and snow!", log_perplexity=None),
    ]
    dropped = apply_filters(rows, recipe(filters={"perplexity_gap": 1.0}), []).dropped
    assert dropped == [None, None, "toxicity", None, "perplexity", "perplexity"]


def test_the_yield_of_each_filter_is_over_what_comes_to_it():
    rows = [row(), row(sample=1, ended=False), row(sample=2, toxicity=0.5), row("negative")]
    table = yields(rows, apply_filters(rows, recipe(), []))
    assert [(one["filter"], one["in"], one["dropped"], one["yield"]) for one in table if one["kind"] == "positive"] == [
        ("cut off", 4 - 1, 1, 0.6667),
        ("toxicity", 2, 1, 0.5),
        ("similarity", 1, 0, 1.0),
        ("all", 3, 2, 0.3333),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' "All of it." ', "All of it."),
        ('"One" and "two"', '"One" and "two"'),
        ("“So.”\n", "So."),
        ('"', '"'),
        ("", ""),
        ("cut \ud83d", "cut ?"),
    ],
)
def test_quotes_around_all_of_a_text_are_taken_off(text, expected):
    assert cleaned(text) == expected


@pytest.mark.parametrize("text", ["As an AI I must not", "I cannot do that", "Here's a version", "Rephrased: so"])
def test_talk_about_the_task_is_known(text):
    assert talks_about_the_task(text)


@pytest.mark.parametrize("text", ["I can tell you", "Surely it rained", "Heresy was common", "Asian food", "He can't"])
def test_what_only_begins_alike_is_no_talk_about_the_task(text):
    assert not talks_about_the_task(text)


def test_a_text_ends_where_it_is_told_to():
    assert cut("\n One line.\nAnother", "\n") == ("One line.", True)
    assert cut("One line", "\n") == ("One line", False)
    assert cut("two\nlines", None) == ("two\nlines", False)


def test_an_order_that_ends_with_the_sentence_is_not_gone_on_with_unless_it_is_the_sentence_alone():
    assert Order.of("x", "Say it anew:\n{sentence}", "It rains.").prompt == "Say it anew:\nIt rains.\n"
    assert Order.of("x", "{sentence} In other words:", "It rains.").prompt == "It rains. In other words:"
    assert Order.of("x", "{sentence}", "It rains.").prompt == "It rains."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"templates": {"positive": "Say it again"}}, "the positive template has no {sentence}"),
        ({"filters": {"positive_below": 0.6}}, "a text would be both"),
        ({"encoder": None}, "similarity_above needs an encoder"),
        ({"generator": {"endpoint": "http://x"}, "filters": {"perplexity_gap": 1}}, "needs a perplexity_model"),
        ({"generator": {"endpoint": "http://x"}, "decoding": {"top_k": 5}}, "an OpenAI-compatible API has none"),
        ({"filtres": {}}, "did you mean 'filters'"),
        ({"generator": {"endpoint": "http://x/v1?key=abc"}}, "the key goes into the environment"),
        ({"generator": {"endpoint": "http://me:abc@x/v1"}}, "the key goes into the environment"),
        ({"generator": {"endpoint": ""}}, "not an address of the form"),
        ({"generator": {"endpoint": "http://x"}, "templates": {"chat": "never"}}, "asked by messages alone"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(values, said):
    with pytest.raises(UsageError, match=said):
        recipe(**values)


# --- sentences ---


def test_sentences_come_out_of_the_shapes_that_people_have(tmp_path):
    (tmp_path / "a.txt").write_text("One here.\n\nTwo there.\none   HERE\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('text,target_group\n"With, a comma",asian\nPlain,"mental_dis"\n', encoding="utf-8")
    (tmp_path / "c.tsv").write_text("en_toxic_comment\tneutral_comment\nx\tKept\n", encoding="utf-8")
    safe = write_rows(tmp_path / "d.jsonl", [{"input": "A b.", "id": "x-1", "group": "middle_east", "paraphrases": []}])
    rtp = write_rows(tmp_path / "e.jsonl", [{"prompt": {"text": "He said", "toxicity": 0.1}}])

    def read(name: str) -> list[tuple[str, str | None]]:
        return [(one.text, one.group) for one in load_sentences(tmp_path / name)]

    assert read("a.txt") == [("One here.", None), ("Two there.", None)]
    assert read("b.csv") == [("With, a comma", "asian"), ("Plain", "mental_disability")]
    assert read("c.tsv") == [("Kept", None)]
    assert read(safe.name) == [("A b.", "middle_eastern")]
    assert read(rtp.name) == [("He said", None)]
    assert [one.text for one in load_sentences(tmp_path / "c.tsv", "en_toxic_comment")] == ["x"]


def test_what_holds_no_sentence_is_one_clear_line_without_its_text(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [{"text": "good"}, {"body": "SECRET"}])
    with pytest.raises(UsageError, match=r"line 2: none of the keys .* name the key by field \(it has body\)") as told:
        load_sentences(path)
    assert "SECRET" not in str(told.value)
    with pytest.raises(UsageError, match="holds no sentence"):
        load_sentences(write_rows(tmp_path / "y.jsonl", [{"text": "  "}]))


SAFENLP = [
    {"id": 0, "text": "One of them.", "toxicity_score": 5.0, "label": "hate", "target_groups": ["mexican", "latino"]},
    {"id": 3, "text": "Two of us.", "toxicity_score": 1.3, "label": "neutral", "target_groups": ["physical dis"]},
]


def test_safenlps_array_has_labels_and_several_groups(tmp_path):
    path = tmp_path / "toxiGen.json"
    path.write_text(json.dumps(SAFENLP, indent=4), encoding="utf-8")
    found = load_sentences(path)
    assert [(one.text, one.groups, one.toxic) for one in found] == [
        ("One of them.", ("mexican", "latino"), True),
        ("Two of us.", ("physical_disability",), False),
    ]
    assert found[0].group == "mexican+latino"
    pd.DataFrame(SAFENLP).to_parquet(tmp_path / "x.parquet")
    assert load_sentences(tmp_path / "x.parquet") == found
    (tmp_path / "y.parquet").write_text("SECRET")
    with pytest.raises(UsageError, match=r"y\.parquet is no parquet file") as told:
        load_sentences(tmp_path / "y.parquet")
    assert "SECRET" not in str(told.value)
    ours = write_rows(
        tmp_path / "s.jsonl",
        [{"continuation": f"x {n}", "group": g} for n, g in enumerate(("mexican+latino", "toxic", None))],
    )
    assert [one.groups for one in load_sentences(ours, "continuation")] == [("mexican", "latino"), (), ()]
    path.write_text('[{"text": "good"}, 3]')
    with pytest.raises(UsageError, match="entry 2: not a JSON object"):
        load_sentences(path)
    path.write_text('[{"text": "SECRET"')
    with pytest.raises(UsageError, match="line 1: not JSON") as told:
        load_sentences(path)
    assert "SECRET" not in str(told.value)
    write_rows(path, [{"text": "a line"}])
    assert [one.text for one in load_sentences(path)] == ["a line"]


@pytest.mark.parametrize(
    ("row", "toxic"),
    [
        ({"label": "Neutral"}, False),
        ({"label": "odd"}, None),
        ({"label": "Hateful"}, True),
        ({"label": 1}, True),
        ({"label": 0.0}, False),
        ({"label": "non-toxic"}, False),
        ({"toxicity": "0.9"}, True),
        ({"prompt_label": 1}, True),
        ({"prompt_label": "0"}, False),
        ({"toxicity": 0.5}, True),
        ({"toxicity": 0.49}, False),
        ({"toxicity": 4.0}, None),
        ({}, None),
    ],
)
def test_what_the_data_calls_toxic(row, toxic, tmp_path):
    (found,) = load_sentences(write_rows(tmp_path / "x.jsonl", [{"text": "It rains.", **row}]))
    assert found.toxic is toxic


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("The black car and the white dog", ()),
        ("Two black women in the town", ("black", "women")),
        ("She is Jewish, he is deaf", ("jewish", "physical_disability")),
        ("A ladybird on a human hand", ()),
        ("Gay men and lesbians", ("lgbtq",)),
        ("A Native American artist", ("native_american",)),
        ("An American Indian artist", ("native_american",)),
    ],
)
def test_groups_that_a_text_mentions(text, groups):
    assert mentioned(text) == groups


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't do that.",
        "I am really sorry to say no",
        "I\u2019m sorry, but no",
        "I can\u2019t help with this",
        "As a large language model, I",
        "Unfortunately, I cannot",
        "  \"I won't",
    ],
)
def test_refusals(text):
    assert refuses(text)
    assert talks_about_the_task(text)


@pytest.mark.parametrize("text", ["", "Sure, here is a story", "I can tell you", "The man said: I'm sorry", "We can"])
def test_what_is_no_refusal(text):
    assert not refuses(text)


@pytest.mark.parametrize("name", ["mental_dis", "middle-eastern", "native american", "Middle_East", "asian", "LGBTQ"])
def test_groups_have_one_name(name):
    assert group_name(name, "here") in GROUPS


def test_an_unknown_group_is_refused_without_showing_it():
    with pytest.raises(UsageError, match="here: the group is none of ToxiGen's") as told:
        group_name("SECRET", "here")
    assert "SECRET" not in str(told.value)


def test_tables_that_are_none_are_one_clear_line_and_quotes_swallow_no_row(tmp_path):
    (tmp_path / "a.tsv").write_text('text\n"Quite so\nAnd then\n"Never\n', encoding="utf-8")
    assert [one.text for one in load_sentences(tmp_path / "a.tsv")] == ['"Quite so', "And then", '"Never']
    (tmp_path / "b.csv").write_text('text\n"open\nand on\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"b.csv, after row 0: no row of a table"):
        load_sentences(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("Some SECRET sentence here\nanother one\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"it has none that is a name") as told:
        load_sentences(tmp_path / "c.csv")
    assert "SECRET" not in str(told.value)


def test_rows_whose_request_failed_hold_no_sentence(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [{"sentence": "s", "text": None}, {"sentence": "s", "text": "t"}])
    assert [one.text for one in load_sentences(path, "text")] == ["t"]


# --- the whole of it, with the tiny model ---


@pytest.fixture
def sentences(tmp_path):
    texts = [
        f"The {noun} is near the old {place}." for noun in ("train", "friend", "river") for place in ("town", "sea")
    ]
    return load_sentences(write_rows(tmp_path / "sentences.jsonl", [{"text": text} for text in texts]))


@pytest.fixture
def runner(tiny_model, tmp_path):
    """Of a recipe in which a random model's texts are parted by how toxic they happen to look."""
    made = recipe(
        generator={"model": str(tiny_model)},
        encoder=None,
        decoding={"num_samples": 5, "max_new_tokens": 6},
        evaluation=(),
        filters={
            "similarity_above": None,
            "length_ratio": None,
            "language": None,
            "finished": False,
            "positive_below": 0.0364,
            "negative_above": 0.0364,
        },
    )
    return RecipeRunner(made, AssetCatalogue(tmp_path / "cache", offline=True), offline=True)


def lines(folder: Path) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in read_jsonl(folder / "candidates.jsonl"))


def test_sets_are_written_measured_and_told_of(runner, sentences, tmp_path):
    report = runner.carry_out(sentences, tmp_path / "made")
    rows = read_jsonl(tmp_path / "made" / "candidates.jsonl")
    assert Counter((one["sentence_id"], one["kind"]) for one in rows) == {
        (sentence.id, kind): 5 for sentence in sentences for kind in ("positive", "negative")
    }
    assert all(one["log_perplexity"] > 0 and 0 <= one["rouge_l"] <= 1 for one in rows if one["text"])
    sets = load_sets(tmp_path / "made" / "sets.jsonl")
    assert report["sets"] == len(sets) > 0
    assert report["sets"] + report["too_small"] == len(sentences)
    assert all(one.anchor == "" for one in sets.sets)
    assert all(text.score < 0.0364 for one in sets.sets for text in one.positives)
    assert all(text.score > 0.0364 for one in sets.sets for text in one.negatives)
    told = sets.sets[0].provenance
    assert told["generator"]["sha256"] == runner.generator.sha256
    assert told["sentence"] in {one.text for one in sentences}
    verdicts = read_jsonl(tmp_path / "made" / "verdicts.jsonl")
    assert sum(one["dropped"] is None for one in verdicts) >= sum(report["texts"].values())
    found = statistics(sets)
    assert found.sizes["anchors"] == report["sets"]
    assert found.sizes["positives"] == report["texts"]["positive"]


class Interrupted:
    """A writer that is stopped, as by Ctrl-C, after some orders."""

    def __init__(self, writer: Any, after: int) -> None:
        self.writer, self.after, self.orders = writer, after, 0

    def write(self, orders, decoding, seed, *, known_good):
        for order in orders:  # one by one, so that there is something to stop between
            for batch in self.writer.write([order], decoding, seed, known_good=known_good):
                if self.orders == self.after:
                    raise KeyboardInterrupt
                self.orders += 1
                yield batch


def test_an_interrupted_work_goes_on_without_a_lost_or_doubled_candidate(runner, sentences, tmp_path):
    runner.carry_out(sentences, tmp_path / "whole")
    part = Build(tmp_path / "part", runner.recipe, sentences, runner.facts)
    part.begin()
    writer = Interrupted(runner._writer(), after=5)
    with pytest.raises(KeyboardInterrupt):
        part.sample(writer, runner._meter(), ahead=False)
    held = tmp_path / "part" / "candidates.jsonl"
    assert len(read_jsonl(held)) == 5 * 5
    held.write_bytes(held.read_bytes()[:-40])  # killed while it wrote
    again = Interrupted(runner._writer(), after=99)
    part.begin()
    part.sample(again, runner._meter(), ahead=False)
    part.finish()
    assert again.orders == 2 * len(sentences) - 4
    assert [json.loads(one)["text"] for one in lines(tmp_path / "part")] == [
        json.loads(one)["text"] for one in lines(tmp_path / "whole")
    ]


def test_a_damaged_line_of_the_candidates_is_set_aside_and_all_is_written_again(runner, sentences, tmp_path):
    runner.carry_out(sentences, tmp_path / "made")
    before = lines(tmp_path / "made")
    held = tmp_path / "made" / "candidates.jsonl"
    rows = held.read_text().splitlines(keepends=True)
    held.write_text("".join([rows[0], rows[1][:40] + "\n", *rows[2:]]))
    runner.carry_out(sentences, tmp_path / "made")
    assert lines(tmp_path / "made") == before
    assert held.with_name("candidates.jsonl.damaged").exists()


def test_filters_can_be_changed_on_what_was_written_and_nothing_else_can(runner, sentences, tmp_path, monkeypatch):
    runner.carry_out(sentences, tmp_path / "made")
    before = lines(tmp_path / "made")
    monkeypatch.setattr(RecipeRunner, "_writer", lambda _: pytest.fail("something was written again"))
    stricter = runner.recipe.model_copy(update={"min_positives": 4})
    runner.recipe = stricter
    runner.carry_out(sentences, tmp_path / "made")
    assert lines(tmp_path / "made") == before
    assert all(len(one.positives) > 3 for one in load_sets(tmp_path / "made" / "sets.jsonl").sets)
    runner.recipe = stricter.model_copy(update={"seed": 1})
    with pytest.raises(UsageError, match="was begun with another generator, templates, sampling"):
        runner.carry_out(sentences, tmp_path / "made")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        runner.carry_out(sentences, tmp_path / "other")


def test_where_no_set_is_left_the_reasons_are_said_and_kept(runner, sentences, tmp_path):
    filters = runner.recipe.filters.model_copy(update={"positive_below": 0.5, "negative_above": 0.999})
    runner.recipe = runner.recipe.model_copy(update={"filters": filters})
    with pytest.raises(MissingError, match=r"none of 6 sentences has .*negatives: 'toxicity' dropped"):
        runner.carry_out(sentences, tmp_path / "made")
    assert json.loads((tmp_path / "made" / "report.json").read_text())["sets"] == 0
    assert not (tmp_path / "made" / "sets.jsonl").exists()


def test_texts_may_follow_their_sentence_and_are_measured_so(runner, sentences, tmp_path, tiny_policy):
    runner.recipe = runner.recipe.model_copy(update={"anchor": "sentence"})
    runner.carry_out(sentences, tmp_path / "made")
    sets = load_sets(tmp_path / "made" / "sets.jsonl")
    told = [one.provenance["log_perplexity"]["positive"] for one in sets.sets]
    rows = statistics(replace(sets, sets=sets.sets[:1]), policy=tiny_policy).table()
    (again,) = [one["mean"] for one in rows if (one["kind"], one["measure"]) == ("positives", "log_perplexity")]
    assert told[0] == pytest.approx(again, abs=1e-3)
    one = load_sets(tmp_path / "made" / "sets.jsonl").sets[0]
    assert one.anchor == one.provenance["sentence"]
    assert all(text.text.startswith(" ") for text in one.positives)


def test_a_copy_is_one_in_any_script(runner):
    rows = [row(sentence=text, text=text, rouge_l=None) for text in (SENTENCE, "雪で電車が遅れました")]
    runner._meter().measure(rows)
    assert [one["rouge_l"] for one in rows] == [1.0, 1.0]


def test_scripts_without_spaces_are_held_to_the_limits_of_words(runner):
    """A near copy differs in its last character; three characters of fourteen are too few."""
    sentence = "今天天气很好我们去公园散步吧"
    rows = [row(sentence=sentence, text=text, rouge_l=None) for text in (f"{sentence[:-1]}吗", "今天好")]
    runner._meter().measure(rows)
    assert rows[0]["rouge_l"] > 0.9
    assert [one["length_ratio"] for one in rows] == [1.0, pytest.approx(3 / 14)]


def test_fresh_throws_away_what_was_made_here_and_nothing_else(runner, sentences, tmp_path):
    runner.carry_out(sentences, tmp_path / "made")
    (tmp_path / "made" / "mine.txt").write_text("mine")
    runner.recipe = runner.recipe.model_copy(update={"seed": 1})
    runner.carry_out(sentences, tmp_path / "made", fresh=True)
    assert (tmp_path / "made" / "mine.txt").read_text() == "mine"
    assert json.loads((tmp_path / "made" / "recipe.json").read_text())["recipe"]["seed"] == 1


def test_statistics_see_doubles_unscored_texts_and_overlap(tiny_sets, tiny_policy):
    twice = replace(tiny_sets, sets=[*tiny_sets.sets, tiny_sets.sets[0]])
    found = statistics(twice, policy=tiny_policy, evaluation=["She asked the river for a little help, and then"])
    assert found.doubled == 6
    assert found.unscored == 7 * 6
    assert found.met == 1
    assert len(found.gaps) == 7
    rows = {(one["kind"], one["measure"]): one for one in found.table()}
    assert rows["positives", "words"]["median"] == 4
    assert ("positives", "score") not in rows


def test_a_scorer_of_another_attribute_is_read_by_its_main_one():
    said = [{"harm": 0.25, "other": 0.9}, None]
    scorer = SimpleNamespace(score=lambda _: said, identity=SimpleNamespace(attributes=("harm", "other")))
    rows = [{"text": "He was late.", "sentence": "He came late."}, {"text": "So was she.", "sentence": "She too."}]
    Meter(scorer, None, None, conditioned=False).measure(rows)
    assert [row["toxicity"] for row in rows] == [0.25, None]
