"""Data files in every form that people have: the same texts are read, what is left out is said."""

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.counted import REPEATED, Counted
from bench.data.files import form_of, read_rows, read_text
from bench.data.prompts import load_prompts
from bench.data.sentences import Words, assert_groups, assert_labels, evaluation_sentences, load_sentences
from bench.errors import UsageError
from bench.hashing import content_id
from bench.sets import load_sets
from bench.store.record import TaskResult
from bench.tasks.coverage import Coverage, _read
from bench.tasks.heldout import HeldOutPerplexity
from bench.tasks.identity import Identity
from bench.tasks.outputs.continuation import Continuation
from bench.tasks.outputs.over_refusal import OverRefusal
from bench.tasks.rtp import RealToxicityPrompts


@pytest.fixture
def assets(context):
    return context.assets


ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\t\"'`,;|\\\ufeff\u00a0\u200b[]{}:#\x00\x1a"
TEXTS = st.lists(st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"], exclude_characters="\n")))


def write(path: Path, texts: list[str], *, bom: bool = False, crlf: bool = False, quoting: int = csv.QUOTE_ALL) -> Path:
    """Texts in the form that a file's ending says, as other programs write it."""
    rows = [{"text": text, "n": n} for n, text in enumerate(texts)]
    end = "\r\n" if crlf else "\n"
    if path.suffix == ".parquet":
        pd.DataFrame(rows, columns=["text", "n"]).to_parquet(path)
        return path
    if path.suffix == ".json":
        content = json.dumps(rows, indent=1, ensure_ascii=bom).replace("\n", end)
    elif path.suffix == ".jsonl":
        content = "".join(json.dumps(row, ensure_ascii=bom) + end for row in rows)
    elif path.suffix == ".txt":
        content = "".join(text + end for text in texts)
    else:
        stream = io.StringIO(newline="")
        form = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator=end, quoting=quoting)
        form.writerow(["text", "n"])
        form.writerows([row["text"], row["n"]] for row in rows)
        content = stream.getvalue()
    path.write_bytes(content.encode("utf-8-sig" if bom else "utf-8"))
    return path


def texts_of(path: Path) -> list[str]:
    return [row["text"] for _, row in read_rows(path)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(texts=TEXTS, bom=st.booleans(), crlf=st.booleans(), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_the_same_texts_are_read_from_every_form(tmp_path, texts, bom, crlf, quoting):
    for form in (".jsonl", ".json", ".csv", ".tsv", ".parquet"):
        path = write(tmp_path / f"x{form}", texts, bom=bom, crlf=crlf, quoting=quoting)
        assert texts_of(path) == texts, form
    lines = [text for text in texts if text.strip() and not text.endswith("\r") and text[:1] != "\ufeff"]
    assert texts_of(write(tmp_path / "x.txt", lines, bom=bom, crlf=crlf)) == lines


FORMS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet")
SOME = [
    'said "yes" again .',
    "a, b",
    "plain\u2028on",
    "form\x0cfeed",
    "next\x85line",
    "x" * 200_000,
    "\u0915\u093f",
    "C++",
    "C#",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["x", "x.y"])
def test_every_reader_reads_every_form(form, name, tmp_path, assets):
    path = write(tmp_path / f"{name}{form}", SOME)
    assert [one.text for one in load_sentences(path)] == SOME
    assert [one.text for one in load_prompts(path)] == sorted(SOME, key=content_id)
    task = HeldOutPerplexity(HeldOutPerplexity.Config(task="heldout", data=str(path), field="text"))
    assert task.evaluation_texts(assets) == SOME
    coverage = Coverage(Coverage.Config(task="coverage", neutral=str(path), toxic=str(path)))
    halves = [one for one in SOME if int(content_id(one), 16) % 2 == 0]
    assert sorted(coverage.evaluation_texts(assets)) == sorted(2 * halves)
    assert _read(path) == ("".join(f"{one}\n" for one in SOME) if form == ".txt" else "\n\n".join(SOME))


@pytest.mark.parametrize("form", [".jsonl", ".json", ".parquet"])
def test_sets_are_read_from_the_forms_that_hold_lists(form, tmp_path):
    rows = [{"anchor": f"a {n}", "positives": [{"text": " b", "score": 0.1}], "negatives": []} for n in range(3)]
    path = tmp_path / f"sets{form}"
    if form == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text(json.dumps(rows) if form == ".json" else "".join(json.dumps(row) + "\n" for row in rows))
    assert [one.anchor for one in load_sets(path).sets] == ["a 0", "a 1", "a 2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"text\nThe sky, it is SECRET\n", "row 1: it has 2 cells, and the header 1; put quotes"),
        ("a.csv", b'text\nfine\n"SECRET" said he\n', "after row 1: no row of a table .*double its quotes"),
        ("a.csv", b"text,text\nSECRET,b\n", "two columns have one name"),
        ("a.tsv", b"text\nthe SECRET\tsky\n", "row 1: it has 2 cells"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": "SECRET \\ud83d"}\n', "line 2: .*half a character"),
        ("a.json", b'[{"text": "SECRET \\udc00"}]', "half a character"),
        ("a.txt", b"fine\nSECRET \xed\xa0\x80\n", "not UTF-8 text .*line 2"),
        ("a.csv", b"text\nSECRET \xff\n", "not UTF-8 text .*line 2"),
        ("a.jsonl", '{"text": "SECRET"}\n'.encode("utf-16"), "not UTF-8"),
        ("a.txt", "SECRET\nfine\n".encode("utf-16-le"), "every second byte is 0, as in UTF-16.; save it as UTF-8"),
        ("a.csv", b"text,Toxicity\nSECRET,0.9\n", "row 1: a field that is 'toxicity' but for case or spaces"),
        ("a.csv", b"text,Label\nSECRET,toxic\n", "row 1: a field that is 'label' but for case or spaces"),
        ("a.csv", b"text,GROUP\nSECRET,women\n", "row 1: a field that is 'group' but for case or spaces"),
        ("a.parquet", b"PAR1SECRETPAR1", "is no parquet file"),
        ("a.jsonl.gz", b'{"text": "SECRET"}\n', "is not packed by gzip, or is cut off; copy or fetch it again"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "SECRET"}\n', mtime=0)[:-9], "is not packed by gzip, or is cut off"),
        ("a.jsonl.gz", gzip.compress(b"\xff", mtime=0), "not UTF-8"),
        ("a.parquet.gz", gzip.compress(b"PAR1SECRETPAR1", mtime=0), "is no parquet file"),
        ("a.jsonl.zst", b"SECRET", r"is packed in a form that is not read \(\.zst\); unpack it, or pack it by gzip"),
        ("a.parquet.zst", b"SECRET", r"is packed in a form that is not read \(\.zst\)"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_text(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said) as told:
        load_sentences(tmp_path / name)
    assert "SECRET" not in str(told.value)
    assert "\n" not in str(told.value)


def test_prompts_are_not_read_without_the_toxicity_that_they_have(tmp_path):
    path = tmp_path / "a.csv"
    for header, said in (("prompt,Toxicity", "'toxicity'"), ("Prompt,Toxicity", "'toxicity'"), ("text,Lang", "'lang'")):
        path.write_text(f"{header}\nfine,0.9\n")
        with pytest.raises(UsageError, match=f"row 1: a field that is {said} but for case or spaces"):
            load_prompts(path)
    for header in ("Prompt, toxicity", "prompt ,toxicity "):
        path.write_text(f"{header}\nfine,0.9\n")
        assert [one.toxicity for one in load_prompts(path)] == [0.9]


def test_blank_prompts_are_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,toxicity\nhello there,0.1\n,0.9\n"  ",0.2\n')
    found = load_prompts(path)
    assert [one.text for one in found] == ["hello there"]
    assert found.left_out == {"without a text": 2}
    path.write_text('text,toxicity\n" ",0.1\n')
    with pytest.raises(UsageError, match="holds no prompt"):
        load_prompts(path)


def test_a_sentence_with_two_labels_is_told_of(tmp_path):
    path = tmp_path / "a.jsonl"
    labels = [{"label": "neutral"}, {"label": "toxic"}, {}, {"label": "neutral"}]
    path.write_text("".join(json.dumps({"text": "the same", **one}) + "\n" for one in labels))
    found = load_sentences(path)
    assert [one.toxic for one in found] == [False]
    assert found.left_out == {"that say what an earlier one does and have another label": 1, REPEATED: 2}
    path.write_text("".join(json.dumps({"text": "the same", **one}) + "\n" for one in reversed(labels[1:3])))
    assert [one.toxic for one in load_sentences(path)] == [True]


@pytest.mark.parametrize("form", [".csv", ".txt", ".jsonl"])
def test_a_link_has_the_form_that_its_own_name_says(form, tmp_path, assets):
    """The hub's cache links to files that are named by their hashes."""
    (tmp_path / "blobs").mkdir()
    write(tmp_path / f"file{form}", ["one", "two"]).rename(tmp_path / "blobs" / "0a1b")
    (tmp_path / f"linked{form}").symlink_to(tmp_path / "blobs" / "0a1b")
    found = assets.data(str(tmp_path / f"linked{form}"))
    assert texts_of(found.path) == ["one", "two"]


@pytest.mark.parametrize("form", [".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ""])
def test_a_file_packed_by_gzip_is_the_same_file(form, tmp_path):
    path = write(tmp_path / f"a{form or '.jsonl'}", SOME)
    packed = tmp_path / f"a{form}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [row for _, row in read_rows(packed)] == [row for _, row in read_rows(path)]
    assert next(read_rows(packed))[0].startswith(f"{packed}, ")
    if form != ".parquet":
        assert read_text(packed) == read_text(path)
    assert form_of(packed) == form_of(tmp_path / f"a{form}")


def test_packed_files_are_what_they_are_to_each_task(context, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    for name in ("a.jsonl", "a.txt"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert _read(tmp_path / "a.jsonl.gz") == _read(tmp_path / "a.jsonl") == "one\n\ntwo"
    assert _read(tmp_path / "a.txt.gz") == "one\ntwo\n"
    config = {"task": "heldout", "data": str(tmp_path / "a.txt.gz")}
    assert HeldOutPerplexity(HeldOutPerplexity.Config(**config)).evaluation_texts(context.assets) == ["one", "two"]


def test_numbers_of_a_parquet_file_keep_all_their_digits(tmp_path):
    pd.DataFrame({"text": ["a"], "toxicity": [0.49999999999999994]}).to_parquet(tmp_path / "x.parquet")
    (prompt,) = load_prompts(tmp_path / "x.parquet")
    assert prompt.group == "nontoxic"


def test_running_text_has_no_mark_and_one_kind_of_line_end(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert read_text(tmp_path / "a.txt") == "a\nb\n"


# --- labels and groups ---


def rows_file(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluation_texts(count: int, words: str = "text") -> list[str]:
    texts = (f"{words} {n}" for n in range(10_000))
    return [text for text in texts if int(content_id(text), 16) % 2 == 0][:count]


@pytest.mark.parametrize(
    "label", ["nothate", "not_hateful", "non-toxic", "Not Toxic", "notoffensive", "nonabusive", 0.0]
)
def test_negated_labels_are_neutral(label, tmp_path):
    hate, neutral = evaluation_texts(2)
    path = rows_file(tmp_path / "x.jsonl", {"text": hate, "label": "hate"}, {"text": neutral, "label": label})
    assert [one.text for one in evaluation_sentences(path, toxic=True)] == [hate]
    assert [one.text for one in evaluation_sentences(path, toxic=False)] == [neutral]


@pytest.mark.parametrize(
    "row",
    [
        {"label": "SECRET"},
        {"label": 2},
        {"prompt_label": -1},
        {"label": "mean", "toxicity": 0.9},
        {"toxicity": 12},
        {"toxicity": -0.1},
    ],
)
@pytest.mark.parametrize("toxic", [True, False])
def test_labels_that_are_not_understood_are_refused_by_what_reads_them(row, toxic, tmp_path):
    path = rows_file(tmp_path / "x.jsonl", {"text": "a", "label": "hate"}, {"text": "b", **row})
    with pytest.raises(
        UsageError, match=r"line 2: ('(prompt_)?label' says neither.*labels:|the toxicity .*divide)"
    ) as told:
        evaluation_sentences(path, toxic=toxic)
    assert "SECRET" not in str(told.value)
    assert {one.text for one in load_sentences(path)} == {"a", "b"}, "what reads no labels goes on"


def test_labels_are_mapped_by_an_option(tmp_path, assets):
    texts = evaluation_texts(3)
    rows = [{"text": text, "label": label} for text, label in zip(texts, ("rude", "kind", 7), strict=True)]
    path = str(rows_file(tmp_path / "x.jsonl", *rows))
    labels = {"Rude": "toxic", "kind": "neutral", 7: None}
    coverage = Coverage(Coverage.Config(task="coverage", neutral=path, toxic=path, labels=labels))
    assert coverage.evaluation_texts(assets) == [texts[1], texts[0]]
    for kind in (Identity, Continuation, OverRefusal):
        assert kind.Config(task="x", labels=labels).words.labels["7"] is None
        with pytest.raises(ValueError, match="valid string"):  # YAML's `yes`: which word it was is lost
            kind.Config(task="x", labels={True: "toxic"})
    with pytest.raises(UsageError, match="line 1"):
        Coverage(Coverage.Config(task="coverage", neutral=path, toxic=path)).evaluation_texts(assets)


def test_what_has_no_label_beside_others_is_not_toxic_by_default(tmp_path):
    labelled, none, null, nan = evaluation_texts(4)
    rows = [
        {"text": labelled, "label": "hate"},
        {"text": none},
        {"text": null, "label": None},
        {"text": nan, "label": float("nan")},
    ]
    found = evaluation_sentences(rows_file(tmp_path / "x.jsonl", *rows), toxic=True)
    assert [one.text for one in found] == [labelled]
    assert found.left_out == {"without a label": 3}
    plain = evaluation_sentences(rows_file(tmp_path / "y.jsonl", *({"text": row["text"]} for row in rows)), toxic=True)
    assert len(plain) == 4, "a file without labels is of the kind that it is named for"


@pytest.mark.parametrize("group", ["all_groups", "immigrant", ["women", "immigrant"], "women+immigrant"])
def test_unknown_groups_are_refused_only_by_what_uses_groups(group, tmp_path, assets):
    texts = evaluation_texts(12)
    rows = [
        {"text": text, "label": "hate" if n % 2 else "neutral", "target_groups": group} for n, text in enumerate(texts)
    ]
    path = str(rows_file(tmp_path / "x.jsonl", *rows))
    assert len(Coverage(Coverage.Config(task="coverage", neutral=path, toxic=path)).evaluation_texts(assets)) == 12
    assert len(Continuation(Continuation.Config(task="continuation", data=path)).evaluation_texts(assets)) == 6
    with pytest.raises(
        UsageError, match=r"line \d+: 'target_groups' names a group .*\(6 such.*groups:.*asian, black"
    ) as told:
        OverRefusal(OverRefusal.Config(task="over_refusal", data=path)).evaluation_texts(assets)
    assert "immigrant" not in str(told.value)
    with pytest.raises(UsageError, match="12 such"):
        assert_groups(load_sentences(Path(path)))
    ignored = {"all_groups": None, "immigrant": None}
    words = OverRefusal.Config(task="over_refusal", data=path, groups=ignored).words
    assert_groups(load_sentences(Path(path), words=words))
    mapped = load_sentences(Path(path), words=Words(groups={"all groups": "asian", "Immigrant": "asian"}))
    assert all("asian" in one.groups for one in mapped)
    assert_labels(mapped)


@pytest.mark.parametrize(("group", "about"), [("immigrant", ()), ("", ("women",)), ("toxic", ("women",))])
def test_a_named_group_that_is_none_of_the_thirteen_is_not_made_up_for_by_mentions(group, about, tmp_path):
    path = rows_file(tmp_path / "x.jsonl", {"text": "Immigrants met the women.", "group": group})
    (one,) = load_sentences(path, words=Words(groups={"immigrant": None}))
    assert (one.groups, one.odd_group, one.about) == ((), None, about)


def test_a_group_that_is_mapped_to_none_of_the_thirteen_is_refused():
    with pytest.raises(ValueError, match="did you mean 'women'"):
        Identity.Config(task="identity", groups={"wimmin": "womens"})


# --- rows that vanish ---


@pytest.mark.parametrize("name", ["toxicity", "prompt_toxicity"])
@pytest.mark.parametrize("toxicity", [True, False, "0,83", "12%", "low", [0.1]])
def test_a_toxicity_that_is_no_number_is_not_taken_for_none(name, toxicity, tmp_path):
    path = rows_file(tmp_path / "x.jsonl", {"text": "a", "toxicity": 0.5}, {"text": "b", name: toxicity})
    with pytest.raises(UsageError, match=r"line 2: the toxicity is not a number; write it as a number from 0 to 1"):
        evaluation_sentences(path, toxic=True)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt_toxicity": 0.1, "text": "{}"}, None),
        ({"comment": {"text": "{}"}, "toxicity": 0.1}, "comment.text"),
        ({"comment": {"text": "{}", "toxicity": 0.1}}, "comment.text"),
        ({"prompt": {"text": "{}", "toxicity": 0.1}}, None),
    ],
)
def test_a_toxicity_is_found_wherever_it_may_stand(row, field, tmp_path):
    texts = [json.loads(json.dumps(row).replace("{}", f"text {number}")) for number in range(20)]
    path = rows_file(tmp_path / "x.jsonl", *texts)
    assert list(evaluation_sentences(path, field, toxic=True)) == []
    assert len(evaluation_sentences(path, field, toxic=False)) > 2


@pytest.mark.parametrize("toxicity", [12, 70, 1.01, -0.5, "70", 1e300])
def test_toxicities_that_are_no_shares_are_refused(toxicity, tmp_path):
    path = rows_file(tmp_path / "x.jsonl", {"text": "a", "toxicity": 0.5}, {"text": "b", "toxicity": toxicity})
    with pytest.raises(UsageError, match=r"line 2: the toxicity is not between 0 and 1; divide percents by 100"):
        load_prompts(path)


def test_what_is_left_out_is_counted_by_its_reason(tmp_path, assets):
    stored, without = evaluation_texts(5)[:2], evaluation_texts(5)[2:]
    training = [text for text in (f"text {n}" for n in range(20)) if int(content_id(text), 16) % 2][:4]
    rows = [{"text": text, "toxicity": 0.9} for text in stored + training] + [{"text": text} for text in without]
    path = str(rows_file(tmp_path / "x.jsonl", *rows, {"text": f"{stored[0].upper()}!", "toxicity": 0.1}))
    task = RealToxicityPrompts(RealToxicityPrompts.Config(task="rtp", data=path, toxic=1))
    every = load_prompts(Path(path))
    taken = task._take(every, lambda count: count)
    assert isinstance(taken, Counted)
    assert sum(taken.left_out.values()) + len(taken) == 10
    assert sorted(taken.left_out.values()) == [1, 1, 3, 4]
    line = taken.line("mine")
    assert line.startswith("mine: 1 of 10 rows are taken; left out: 1 that say what an earlier one does")
    assert "4 of the training half, 3 without a stored toxicity beside others, 1 beyond the number asked for" in line
    assert taken.facts("mine") == {"data": "mine", "rows": 10, "taken": 1, "left_out": taken.left_out}


def test_what_is_taken_is_told_once_and_stands_in_the_record(context):
    told: list[str] = []

    class Progress:
        note = staticmethod(told.append)

    progress: Any = Progress()
    every = Counted(range(5), {"without a label": 2})
    facts = [replace(context, progress=progress).took("mine", Counted([0, 1]), every) for _ in range(3)]
    left_out = {"without a label": 2, "beyond the number asked for": 3}
    assert facts == 3 * [{"data": "mine", "rows": 7, "taken": 2, "left_out": left_out}]
    assert told == ["mine: 2 of 7 rows are taken; left out: 2 without a label, 3 beyond the number asked for"], (
        "each method and seed would say it again"
    )
    sheet = context.sheet("rtp")
    sheet.taken.append(facts[0])
    assert TaskResult.model_validate(sheet.result().model_dump()).taken == facts[:1]
