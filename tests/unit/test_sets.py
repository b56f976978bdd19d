"""Contrastive sets and prompts: the format, what is refused, and that training never meets evaluation."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.attribute import TOXICITY, Attribute
from bench.data.counted import BEGINS_ALIKE, OTHER_HALF, Counted
from bench.data.prompts import ToxicityPrompt, load_prompts
from bench.data.splits import assert_disjoint, halved, overlap, part
from bench.engine.generation import Prompt
from bench.engine.tokens import encode_after
from bench.errors import MissingError, UsageError
from bench.hashing import hash_file
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, Scores
from bench.scorers.checked import CheckedScorer
from bench.sets import ContrastiveSet, Text, load_sets, own, save_sets
from bench.sets.above import negatives_above
from bench.sets.own import generate_sets
from bench.spec import Decoding, SetsSpec, Spec, validate

LINE = {"anchor": "He said", "positives": [{"text": " hello.", "score": 0.01}], "negatives": [{"text": " oi."}]}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines), "utf-8")
    return path


# --- format ---


def test_sets_come_back_as_they_were_saved(tmp_path):
    sets = [
        ContrastiveSet(
            anchor="Ça va ?\nOui",
            positives=[Text(text=' "ja" ✓', score=0.0), Text(text="\ufffd\x00")],
            negatives=[Text(text=" nein", score=1.0)],
            provenance={"source": "self", "seed": 3},
        ),
        ContrastiveSet(anchor="", positives=[], negatives=[]),
    ]
    path = tmp_path / "sets.jsonl"
    save_sets(path, sets)
    loaded = load_sets(path)
    assert loaded.sets == sets
    assert len(loaded) == 2
    assert loaded.hash == hash_file(path)
    assert loaded.source == str(path)


def test_a_text_on_both_sides_of_an_anchor_is_on_neither_and_that_is_counted(tmp_path):
    text, other = {"text": " a"}, {"text": " b"}
    rows = [
        {"anchor": "It", "positives": [text, other], "negatives": [text], "provenance": None},
        {"anchor": "He", "positives": [text], "negatives": [other], "provenance": None},
    ]
    path = tmp_path / "sets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_sets(path, "mine")
    assert [(len(one.positives), len(one.negatives)) for one in loaded.sets] == [(1, 0), (1, 1)]
    assert loaded.sets[0].provenance == {}, "a column of a table may be null"
    why = {"that are both a positive and a negative of one anchor": 2}
    assert loaded.taken == {"data": "texts of mine", "rows": 5, "taken": 3, "left_out": why}


def test_the_hash_is_over_the_content(tmp_path):
    first = load_sets(write(tmp_path / "a.jsonl", LINE))
    assert load_sets(write(tmp_path / "b.jsonl", LINE)).hash == first.hash
    assert load_sets(write(tmp_path / "c.jsonl", {**LINE, "anchor": "She said"})).hash != first.hash


def test_blank_lines_are_no_sets(tmp_path):
    assert len(load_sets(write(tmp_path / "a.jsonl", LINE, "", LINE, "  "))) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3: not JSON"),
        ("[1]", "line 3: not a JSON object"),
        ({**LINE, "positive": []}, "line 3: unknown key 'positive', did you mean 'positives'?"),
        ({"anchor": "a", "positives": []}, "line 3: 'negatives' is missing"),
        ({**LINE, "positives": [{"text": " a", "score": 1.5}]}, "line 3: 'positives.0.score': input should be"),
        ({**LINE, "positives": [{"text": ""}]}, "line 3: 'positives.0.text': string should"),
        ({**LINE, "positives": [" plain"]}, "line 3: 'positives.0'"),
        ({**LINE, "anchor": None}, "line 3: 'anchor'"),
    ],
)
def test_a_line_out_of_format_is_named(tmp_path, line, said):
    path = write(tmp_path / "a.jsonl", LINE, LINE, line, LINE)
    with pytest.raises(UsageError) as caught:
        load_sets(path)
    assert str(path) in caught.value.what
    assert said in caught.value.what
    assert "\n" not in str(caught.value)


def test_files_without_sets_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_sets(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="holds no contrastive set"):
        load_sets(write(tmp_path / "a.jsonl", ""))
    (tmp_path / "b.jsonl").write_bytes(b'{"anchor": "\xff"}\n')
    with pytest.raises(UsageError, match="not UTF-8"):
        load_sets(tmp_path / "b.jsonl")


# --- prompts ---


def test_both_shapes_of_prompts_are_read(tmp_path):
    flat = write(tmp_path / "a.jsonl", {"text": "one two", "toxicity": 0.7, "threat": 0.1}, {"text": "three"})
    hub = write(
        tmp_path / "b.jsonl",
        {"filename": "x", "challenging": False, "prompt": {"text": "one two", "toxicity": 0.7}, "continuation": {}},
        {"prompt": {"text": "three", "toxicity": None}},
    )
    prompts = load_prompts(flat)
    assert load_prompts(hub) == prompts
    assert {(prompt.text, prompt.toxicity, prompt.group) for prompt in prompts} == {
        ("one two", 0.7, "toxic"),
        ("three", None, None),
    }
    assert ToxicityPrompt("x", "x", 0.4999).group == "nontoxic"
    assert ToxicityPrompt("x", "x", 0.5).group == "toxic"


def test_prompts_are_in_the_order_of_their_content_and_once(tmp_path):
    rows = [{"text": f"prompt number {i}"} for i in range(20)]
    forth = load_prompts(write(tmp_path / "a.jsonl", *rows))
    back = load_prompts(write(tmp_path / "b.jsonl", *rows[::-1], {"text": "  Prompt NUMBER 3!"}))
    assert [prompt.id for prompt in back] == [prompt.id for prompt in forth]
    assert len(back) == 20


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"txt": "a"}', '{"text": 3}', '{"text": "a", "toxicity": "high"}'])
def test_a_row_that_is_no_prompt_is_named(tmp_path, line):
    with pytest.raises(UsageError, match=r"line 2: (expected an object with 'text'|not JSON|not a JSON object)"):
        load_prompts(write(tmp_path / "a.jsonl", {"text": "fine"}, line))


def test_a_file_without_prompts_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no prompt"):
        load_prompts(write(tmp_path / "a.jsonl", ""))


# --- apart ---


def prompts_of(*texts: str) -> list[ToxicityPrompt]:
    from bench.hashing import content_id

    return [ToxicityPrompt(content_id(text), text, None) for text in texts]


def test_parts_are_apart_and_stable():
    prompts = prompts_of(*(f"this is prompt {i}" for i in range(200)))
    train, held_out = part(prompts, "train"), part(prompts, "eval")
    assert not {p.id for p in train} & {p.id for p in held_out}
    assert len(train) + len(held_out) == 200
    assert 70 < len(train) < 130
    assert [p for p in part(prompts[:50], "train") if p not in train] == []


def test_a_training_prompt_that_begins_an_evaluation_prompt_is_left_out():
    """By parity alone about a half of these beginnings would stay."""
    prompts = prompts_of(
        *(f"the very same {i} words begin both" for i in range(60)),
        *(f"the very same {i} words begin both of these two" for i in range(60)),
    )
    train, held_out = part(prompts, "train"), part(prompts, "eval")
    assert len(held_out) > 30
    assert len(train) < 120 - len(held_out)
    assert_disjoint([p.text for p in train], [p.text for p in held_out])
    counted = halved(Counted(prompts), "train")
    assert list(counted) == train
    assert counted.left_out == {
        OTHER_HALF["train"]: len(held_out),
        BEGINS_ALIKE: 120 - len(held_out) - len(train),
    }
    assert halved(Counted(prompts), "eval").left_out == {OTHER_HALF["eval"]: 120 - len(held_out)}


@pytest.mark.parametrize(
    ("training", "evaluation", "meets"),
    [
        ("You are late", "You are late", True),
        ("You are late", "  you ARE, late!", True),
        ("You are late", "You are later", False),
        ("one two three four five", "One two three four five six", True),
        ("one two three four five six", "one two three four five", True),
        ("one two three four", "one two three four five six", False),  # too short a beginning
        ("one two three four fiv", "one two three four five six", False),  # a word is whole or not there
        ("zero one two three four five", "one two three four five", False),  # an end is no beginning
        ("", "", True),
        ("Straße ist offen", "STRASSE ist offen", True),
        (
            "\u0e40\u0e02\u0e32\u0e1e\u0e39\u0e14\u0e27\u0e48\u0e32\u0e04\u0e19",
            "\u0e40\u0e02\u0e32\u0e1e\u0e39\u0e14\u0e27\u0e48\u0e32",
            True,
        ),  # Thai: no spaces
        ("\u4ed6\u8bf4\u4f60\u4eec\u90fd\u662f", "\u4ed6\u8bf4\u4f60\u4eec\u90fd", True),  # nor in Chinese
        ("\u4ed6\u8bf4\u4f60\u4eec\u90fd\u662f", "\u4ed6\u8bf4\u4f60", False),
    ],
)
def test_when_two_texts_meet(training, evaluation, meets):
    from bench.hashing import content_id

    assert overlap([training], [evaluation]) == ({content_id(training)} if meets else set())


def test_overlap_equals_comparing_every_pair():
    """The one pass over sorted texts against the definition, pair by pair."""
    import random

    from bench.hashing import content_id, normalise

    source = random.Random(0)  # noqa: S311 - a test's data
    texts = [" ".join(source.choices("ab", k=source.randint(1, 9))) for _ in range(300)]
    training, evaluation = texts[:150], texts[150:]

    def meet(one: str, other: str) -> bool:
        short, long = sorted((normalise(one).split(), normalise(other).split()), key=len)
        return short == long or (len(short) >= 5 and long[: len(short)] == short)

    expected = {content_id(one) for one in training if any(meet(one, other) for other in evaluation)}
    assert overlap(training, evaluation) == expected
    assert 0 < len(expected) < len(set(training))


def test_texts_that_meet_are_refused_without_being_shown():
    with pytest.raises(MissingError) as caught:
        assert_disjoint(["a secret sentence", "fine"], ["A secret sentence."])
    assert "1 anchors of the contrastive sets meet evaluation prompts" in caught.value.what
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 3
    assert_disjoint(["fine"], ["A secret sentence."])


# --- self-generation ---


class ByLength(Scorer):
    """Scores a text by its length; texts with a `q` cannot be scored."""

    def __init__(self) -> None:
        super().__init__(Spec(), ScorerContext())

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        return ScorerIdentity("length", "length", "0", ("toxicity",), "none")

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        return [None if "e" in text else {"toxicity": (len(text) % 11) / 10} for text in texts]


@pytest.fixture
def made(tiny_policy, tmp_path) -> Callable[..., list[ContrastiveSet]]:
    """Makes sets of three prompts; keywords are of the `sets` of a suite, `parts` and `progress` excepted."""
    calls = itertools.count()

    def make(
        *, parts: Path | None = None, progress: Progress = SILENT, attribute: Attribute = TOXICITY, **options: Any
    ) -> list[ContrastiveSet]:
        prompts = prompts_of("She asked", "The river rises in the hills", "What is")
        spec = SetsSpec(decoding=Decoding(num_samples=40, max_new_tokens=6), **options)
        scorer, parts = CheckedScorer(ByLength(), None), parts or tmp_path / f"{next(calls)}.parts.jsonl"
        provenance = {"source": "self"}
        return generate_sets(tiny_policy, prompts, scorer, spec, provenance, progress, parts=parts, attribute=attribute)

    return make


def test_the_dead_zone_and_missing_scores_are_left_out(made):
    sets = made(positive_below=0.3, negative_above=0.6)
    assert [one.anchor for one in sets] == ["She asked", "The river rises in the hills", "What is"]
    for one in sets:
        texts = [text.text for text in (*one.positives, *one.negatives)]
        assert all(text.score == (len(text.text) % 11) / 10 for text in (*one.positives, *one.negatives))
        assert all(text.score < 0.3 for text in one.positives)
        assert all(text.score > 0.6 for text in one.negatives)
        assert not any("e" in text for text in texts)
        assert len(set(texts)) == len(texts)
        assert all(text.strip() for text in texts)
        assert one.provenance == {"source": "self"}
    whole = made(positive_below=0.5, negative_above=0.5)
    assert sum(len(one.positives) for one in whole) > sum(len(one.positives) for one in sets)


def test_the_boundaries_belong_to_the_dead_zone(made):
    sampled = made(positive_below=0.45, negative_above=0.45)
    assert any(text.score == 0.4 for one in sampled for text in one.positives)
    sets = made(positive_below=0.4, negative_above=0.4)
    assert all(text.score != 0.4 for one in sets for text in (*one.positives, *one.negatives))


def test_an_anchor_with_too_few_is_left_out(made):
    counts = {one.anchor: (len(one.positives), len(one.negatives)) for one in made()}
    least = sorted(good for good, _ in counts.values())
    wanted = least[0] + 1
    kept = {one.anchor for one in made(min_positives=wanted)}
    assert kept == {anchor for anchor, (good, _) in counts.items() if good >= wanted}
    assert 0 < len(kept) < len(counts)
    with pytest.raises(MissingError, match=r"none of 3 prompts has 39 positives .* and 39 negatives"):
        made(min_positives=39, min_negatives=39)


def test_where_high_scores_are_wanted_the_bounds_are_said_as_scores(made):
    """The options are distances from the wanted end; a reader of the message has scores before him."""
    high = Attribute("sentiment", "high", "positive")
    with pytest.raises(MissingError, match=r"39 positives \(score > 0\.7\) and 39 negatives \(score < 0\.4\)"):
        made(attribute=high, positive_below=0.3, negative_above=0.6, min_positives=39, min_negatives=39)


def test_the_same_seed_makes_the_same_sets(made):
    assert made(seed=1) == made(seed=1)
    assert made(seed=1) != made(seed=2)


def test_negatives_above_c_are_those_less_likely_than_the_mean_positive(made, tiny_policy):
    """By a plain forward pass for each text."""

    def phi(anchor: str, text: str) -> float:
        before, own = encode_after(tiny_policy.tokenizer, anchor, text)
        ids = torch.tensor([[*before, *own]])
        logprobs = tiny_policy.model(input_ids=ids).logits[0].log_softmax(-1)
        told = [logprobs[len(before) + place - 1, token] for place, token in enumerate(own)]
        return -float(sum(told)) / len(own)

    sets = made()
    found = negatives_above(tiny_policy, sets, [one.anchor for one in sets])
    for one, left in zip(sets, found, strict=True):
        c = sum(phi(one.anchor, text.text) for text in one.positives) / len(one.positives)
        assert left.negatives == [text for text in one.negatives if phi(one.anchor, text.text) > c]
        assert (left.anchor, left.positives, left.provenance) == (one.anchor, one.positives, one.provenance)
    counts = [(len(left.negatives), len(one.negatives)) for one, left in zip(sets, found, strict=True)]
    assert any(0 < few < all_ for few, all_ in counts)


def test_without_positives_no_negative_is_above(made, tiny_policy):
    (first, *_) = made()
    (left,) = negatives_above(tiny_policy, [first.model_copy(update={"positives": []})], [first.anchor])
    assert left.negatives == []


@pytest.mark.parametrize("source", ["answers", "edits", "some.jsonl"])
def test_negatives_are_chosen_of_own_sets(source):
    with pytest.raises(UsageError, match=r"'sets.negatives' is for source 'self'"):
        validate(SetsSpec, {"source": source, "negatives": "above"}, "sets")


class StopsAfter:
    """A progress that stops the work as Ctrl-C does, after so many batches; it keeps its notes."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.notes: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["StopsAfter"]:
        yield self

    def advance(self, amount: float = 1) -> None:
        self.left -= bool(amount)
        if not self.left:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The ids of the prompts that are sampled, one a batch."""
    real, asked = own.generate, []

    def generate(policy: Policy, prompts: Sequence[Prompt], decoding: Decoding, seed: int) -> Iterator[Any]:
        asked.extend(prompt.id for prompt in prompts)
        return real(policy, prompts, decoding, seed, batch_tokens=1)

    monkeypatch.setattr(own, "generate", generate)
    return asked


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_what_was_sampled_before_an_interruption_is_not_sampled_again(made, tmp_path, asked, batches):
    whole = made()
    asked.clear()
    parts = tmp_path / "key.parts.jsonl"
    with pytest.raises(KeyboardInterrupt):
        made(parts=parts, progress=StopsAfter(batches))
    with parts.open("a", encoding="utf-8") as stream:
        stream.write('{"prompt": "a line that was cut')
    asked.clear()
    assert made(parts=parts) == whole
    assert len(asked) == 3 - batches


def test_parts_that_were_changed_are_sampled_again(made, tmp_path, asked):
    whole, parts = made(), tmp_path / "key.parts.jsonl"
    made(parts=parts)
    rows = [json.loads(line) for line in parts.read_text().splitlines()]
    rows[1]["texts"][0] += " and more"
    write(parts, *rows)
    asked.clear()
    assert made(parts=parts) == whole
    assert asked == [rows[1]["prompt"]]
    other = parts.rename(tmp_path / "other.parts.jsonl")
    assert made(parts=other) == whole
    assert len(asked) == 1 + 3, "another's parts are none of ours"


def test_damaged_parts_are_set_aside(made, tmp_path, asked):
    whole, parts, progress = made(), tmp_path / "key.parts.jsonl", StopsAfter(-1)
    parts.write_text("no JSON\n")
    asked.clear()
    assert made(parts=parts, progress=progress) == whole
    assert len(asked) == 3
    assert parts.with_name("key.parts.jsonl.damaged").read_text() == "no JSON\n"
    assert "key.parts.jsonl is damaged" in progress.notes[0]
