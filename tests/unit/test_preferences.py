"""Preference data as sets: each form, what is left out, and rows that are none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.sets import load_sets
from bench.sets.preferences import grouped

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
        ({"prompt": "a", "chosen": [{"role": "user"}], "rejected": "y"}, "line 2: 'chosen' is a conversation"),
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


def test_a_label_is_true_or_false(tmp_path):
    with pytest.raises(UsageError, match="'label' is neither true nor false"):
        load_sets(write(tmp_path, [{"prompt": "a", "completion": "x", "label": 1}]))
