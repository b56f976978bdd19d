"""Preference data as sets: each form, what is left out, and rows that are none."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.run.anchors import as_read
from bench.run.environment import Environment
from bench.sets import load_sets, sets_text
from bench.sets.preferences import grouped
from bench.suites import load_suite

SHORT = st.text("abc", min_size=1, max_size=2)


def write(tmp_path, rows, name="p.jsonl"):
    path = tmp_path / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def texts(side):
    return [one.text for one in side]


def test_pairs_of_one_prompt_are_one_set(tmp_path):
    rows = [
        {"prompt": "She asked", "chosen": " him.", "rejected": " an idiot.", "rating": 3},
        {"prompt": "He said", "chosen": " no.", "rejected": " damn."},
        {"prompt": "She asked", "chosen": " me.", "rejected": " an idiot."},
    ]
    loaded = load_sets(write(tmp_path, rows))
    assert [one.anchor for one in loaded.sets] == ["She asked", "He said"]
    assert (texts(loaded.sets[0].positives), texts(loaded.sets[0].negatives)) == ([" him.", " me."], [" an idiot."])
    assert loaded.taken is None


def test_judged_texts_are_sorted_by_their_label(tmp_path):
    rows = [
        {"prompt": "a", "completion": "x", "label": True},
        {"prompt": "a", "completion": "y", "label": False},
        {"prompt": "a", "completion": "z", "label": True},
    ]
    (one,) = load_sets(write(tmp_path, rows)).sets
    assert (texts(one.positives), texts(one.negatives)) == (["x", "z"], ["y"])


def test_what_rows_contradict_each_other_in_is_left_out_and_counted(tmp_path):
    rows = [{"prompt": "a", "chosen": "x", "rejected": "y"}, {"prompt": "a", "chosen": "y", "rejected": "z"}]
    loaded = load_sets(write(tmp_path, rows), "mine")
    (one,) = loaded.sets
    assert (texts(one.positives), texts(one.negatives)) == (["x"], ["z"])
    why = {"that say of a text what another row denies": 1}
    assert loaded.taken == {"data": "texts of mine", "rows": 3, "taken": 2, "left_out": why}


@given(st.lists(st.tuples(SHORT, SHORT, st.booleans())))
def test_each_text_is_on_the_side_that_all_rows_say(rows):
    found, taken = grouped(
        ((str(n), dict(zip(("prompt", "completion", "label"), row, strict=True))) for n, row in enumerate(rows)), "f"
    )
    sides = {
        (one["anchor"], text["text"], side == "positives")
        for one in found
        for side in ("positives", "negatives")
        for text in one[side]
    }
    said = {}
    for prompt, text, label in rows:
        said.setdefault((prompt, text), set()).add(label)
    assert sides == {(*key, *labels) for key, labels in said.items() if len(labels) == 1}
    assert (0 if taken is None else taken["rows"] - taken["taken"]) == sum(len(labels) > 1 for labels in said.values())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "chosen": "x"}, "line 2: no 'rejected'; every row has prompt, chosen and rejected"),
        (
            {"prompt": "a", "chosen": [{"role": "user"}], "rejected": "y"},
            "line 2: 'chosen' has a message without a role",
        ),
        ({"prompt": 3, "chosen": "x", "rejected": "y"}, "line 2: 'prompt' is no text"),
        ({"prompt": "a", "chosen": "", "rejected": "y"}, "prompt 2"),
        ({"anchor": "a", "positives": [], "negatives": []}, "line 2: no 'prompt'"),
    ],
)
def test_a_row_of_another_form_is_a_line(tmp_path, row, said):
    good = {"prompt": "good", "chosen": "x", "rejected": "y"}
    with pytest.raises(UsageError) as caught:
        load_sets(write(tmp_path, [good, row]))
    assert said in str(caught.value)


@pytest.mark.parametrize("yes", [True, 1, 1.0, "true", "True", "TRUE", "1", " true "])
@pytest.mark.parametrize("no", [False, 0, 0.0, "false", "False", "0"])
def test_a_label_is_true_or_false_as_a_value_a_number_or_a_text(tmp_path, yes, no):
    rows = [{"prompt": "a", "completion": "x", "label": yes}, {"prompt": "a", "completion": "y", "label": no}]
    (one,) = load_sets(write(tmp_path, rows)).sets
    assert (texts(one.positives), texts(one.negatives)) == (["x"], ["y"])


@pytest.mark.parametrize("label", [2, -1, 0.5, "yes", "", None, [True], "10"])
def test_another_label_is_refused(tmp_path, label):
    with pytest.raises(UsageError, match="line 1: 'label' is neither true nor false; write true or false, or 1 or 0"):
        load_sets(write(tmp_path, [{"prompt": "a", "completion": "x", "label": label}]))


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize(("yes", "no"), [("true", "false"), ("True", "False"), ("1", "0")])
def test_a_table_has_labels(tmp_path, suffix, separator, yes, no):
    rows = [("prompt", "completion", "label"), ("a", "x", yes), ("a", "y", no)]
    path = tmp_path / f"p{suffix}"
    path.write_text("".join(f"{separator.join(row)}\n" for row in rows))
    (one,) = load_sets(path).sets
    assert (texts(one.positives), texts(one.negatives)) == (["x"], ["y"])


# --- conversations ---


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


TURNS = [
    {"prompt": [user("Hi?")], "chosen": [assistant("x")], "rejected": [assistant("y")]},
    {"prompt": "Hi?", "chosen": [user("Hi?"), assistant("x")], "rejected": [user("Hi?"), assistant("y")]},
    {"chosen": [user("Hi?"), assistant("x")], "rejected": [user("Hi?"), assistant("y")]},
]


@pytest.mark.parametrize("row", TURNS)
@pytest.mark.parametrize("form", [".jsonl", ".parquet"])
def test_a_conversation_of_one_turn_is_a_set(tmp_path, row, form):
    path = tmp_path / f"p{form}"
    if form == ".parquet":
        pd.DataFrame([row]).to_parquet(path)
    else:
        path.write_text(json.dumps(row))
    (one,) = load_sets(path).sets
    assert (one.anchor, texts(one.positives), texts(one.negatives)) == ("Hi?", ["x"], ["y"])
    assert one.provenance == {"conversation": True}
    (tmp_path / "again.jsonl").write_text(sets_text([one]))
    assert load_sets(tmp_path / "again.jsonl").sets == [one]


def test_a_judged_conversation_is_a_set(tmp_path):
    rows = [{"prompt": [user("a")], "completion": [assistant(text)], "label": text == "x"} for text in "xy"]
    (one,) = load_sets(write(tmp_path, rows)).sets
    assert (one.anchor, texts(one.positives), texts(one.negatives)) == ("a", ["x"], ["y"])


SEVERAL = [user("a"), assistant("b"), user("c")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": SEVERAL, "chosen": [assistant("x")], "rejected": [assistant("y")]}, "has several turns, or does"),
        ({"chosen": [*SEVERAL, assistant("x")], "rejected": [*SEVERAL, assistant("y")]}, "has several turns, or does"),
        (
            {"chosen": [user("a"), assistant("x")], "rejected": [user("b"), assistant("y")]},
            "'rejected' does not begin with its prompt; write one message of the user, and one answer",
        ),
        ({"chosen": [user("a")], "rejected": [user("b")]}, "the last message of 'chosen' is not the assistant's"),
        ({"chosen": [assistant("a")], "rejected": [assistant("b")]}, "'chosen' has no message of the user"),
        ({"chosen": [], "rejected": [assistant("b")]}, "'chosen' has no message"),
        (
            {
                "prompt": [{"role": "system", "content": "s"}, user("a")],
                "chosen": [assistant("x")],
                "rejected": [assistant("y")],
            },
            "has a system message; take it out: a suite has one for all, 'system'",
        ),
        ({"chosen": "Human: a", "rejected": "Human: b"}, "no 'prompt', and a text does not say where it ends"),
        ({"chosen": [{"role": "user", "content": ["a"]}], "rejected": []}, "'chosen' has a message without a role and"),
    ],
)
def test_another_conversation_is_a_line(tmp_path, row, said):
    with pytest.raises(UsageError) as caught:
        load_sets(write(tmp_path, [row]))
    assert "line 1: " in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conversations_are_turns_of_a_chat_and_never_running_text(tmp_path):
    suite = load_suite("smoke")
    env = Environment(suite, AssetCatalogue(tmp_path, offline=True), offline=True)
    with pytest.raises(UsageError, match=r"are conversations, .* plain text; --set suite\.chat_template=true"):
        as_read(load_sets(write(tmp_path, TURNS[:1])), env)
    plain = load_sets(write(tmp_path, [{"prompt": "a", "chosen": "x", "rejected": "y"}]))
    assert as_read(plain, env) is plain
