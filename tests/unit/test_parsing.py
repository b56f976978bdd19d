"""YAML and JSON from people and from the net: plain values of a bounded size, or one line."""

import json
import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.files import read_rows
from bench.errors import UsageError
from bench.parsing import parse_json, parse_value, parse_yaml, read_yaml, written
from bench.run.plan import Request, make_experiments, parse_seeds, parse_setting
from bench.spec import SuiteSpec, validate
from bench.store.files import read_json

BOMB = "a: &a {k: v}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{', '.join(f'*{chr(97 + n)}' for _ in range(9))}]}}\n" for n in range(9)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
BAD_YAML = {
    "a float that is none": "a: !!float abc",
    "an int that is none": "a: !!int abc",
    "a bool that is none": "a: !!bool abc",
    "a timestamp": "a: !!timestamp 2001-99-99",
    "a real timestamp": "a: !!timestamp 2001-09-09",
    "4,301 digits": "a: " + "9" * 4301,
    "10^400": "a: 1" + "0" * 400,
    "many hex digits": "a: 0x" + "f" * 5000,
    "merge keys": BOMB,
    "aliases": LAUGHS,
    "a merge of nothing": "<<: 3",
    "a merge key that is a list": "? [a]\n: 3",
    "a mapping as a key": "? {a: b}\n: 3",
    "deep lists": "a: " + "[" * 5000,
    "deep closed lists": "a: " + "[" * 200 + "]" * 200,
    "deep mappings": "a: " + "{a: " * 5000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(600)),
    "dashes": "- " * 3000 + "a",
    "itself": "a: &a [*a]",
    "itself as a mapping": "&a\nb: *a",
    "half a character": 'a: "\\ud800"',
    "bytes": "a: !!binary aGk=",
    "bytes that are none": "a: !!binary $$$",
    "a set": "a: !!set {b}",
    "an ordered mapping": "a: !!omap [b: c]",
    "an omap that is none": "a: !!omap 3",
    "pairs": "a: !!pairs [b: c]",
    "an object": "a: !!python/object/apply:os.getcwd []",
    "no end": "a: [",
    "a control character": "a: \x00",
    "too long": "a: " + "x" * 100_000,
}


@pytest.fixture
def bounded():
    """Within 1 s and 200 MB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_is_no_plain_value_is_one_line(text, tmp_path, bounded):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"a\.yaml cannot be read as YAML") as told:
        read_yaml(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_so_it_is_in_a_setting(text, bounded):
    with pytest.raises(UsageError, match="cannot be read") as told:
        parse_setting(f"key={text}")
    assert len(str(told.value)) < 600


def test_what_somebody_made_up_is_told_in_short():
    with pytest.raises(UsageError, match=r"and \d+ more$") as told:
        validate(SuiteSpec, {"x" * 5000: 1, "model": {f"{n}" * 999: n for n in range(300)}}, "a suite")
    assert len(str(told.value)) < 4000


@pytest.mark.parametrize("name", ["a.yaml", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.parquet"])
def test_a_pipe_or_a_device_is_no_file(name, tmp_path, bounded):
    read = read_yaml if name == "a.yaml" else lambda path: list(read_rows(path))
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir, lambda path: path.symlink_to(path)):
        path = tmp_path / name
        make(path)
        with pytest.raises(UsageError, match=name):
            read(path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_date_is_a_text():
    """A revision may look like one; nothing that is configured is a date."""
    assert parse_yaml("a: 2001-99-99\nb: 2024-01-02") == {"a": "2001-99-99", "b": "2024-01-02"}
    assert parse_setting("suite.model.revision=2024-01-02") == ("suite.model.revision", "2024-01-02")


def test_aliases_and_merge_keys_of_an_ordinary_size_are_read():
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]"
    assert parse_yaml(text) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_json_values_are_read_as_they_are(value):
    assert parse_json(json.dumps(value)) == json.loads(json.dumps(value))


@given(st.text("ab01-:[]{},&*!<|>'\"\\ \n\t?%@#.~ux\ud800\u2028", max_size=60))
def test_any_text_is_a_value_or_a_value_error(text):
    for parse in (parse_yaml, parse_json):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


BAD_JSON = {
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "as deep as Python's own parser goes": "[" * 300 + "]" * 300,
    "4,301 digits": '{"a": ' + "9" * 4301 + "}",
    "10^400": '{"a": 1' + "0" * 400 + "}",
    "1e400": '{"a": 1e400}',
    "infinity": '{"a": Infinity}',
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_is_no_plain_value(text, tmp_path, bounded):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"nested|digits|too large|is no JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + text)
    with pytest.raises(UsageError, match=r"a\.jsonl, line 2: not JSON that can be used"):
        list(read_rows(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    "setting",
    [
        "suite.decoding.num_samples=1000000000",
        "suite.decoding.max_new_tokens=1000000000",
        "suite.sets.num_prompts=1000000000",
        "suite.sets.decoding.num_samples=1000000000",
        "steps=1000000000",
        "anchors_per_step=1000000000",
        "epochs=1000000000",
        "positives=1000000000",
        "lora_r=1000000000",
        "accumulation=1000000000",
    ],
)
def test_sizes_beyond_any_use_are_refused_before_any_work(setting, bounded):
    with pytest.raises(UsageError, match="less than or equal to"):
        make_experiments(Request(methods=("contrastive",), suite="mini", settings=[setting]))


@pytest.mark.parametrize("text", ["0-999999999", "0-9999,10000", ",".join(["0-5000"] * 3)])
def test_more_seeds_than_anyone_runs_are_refused(text, bounded):
    with pytest.raises(UsageError, match="more than 10,000"):
        parse_seeds(text)
    assert len(parse_seeds("0-9999")) == 10_000


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert parse_value(written(value)) == value


@pytest.mark.parametrize("text", ["Be kind. #1: never", "a: b", "yes", "", "null", "007", "1e-4", "- a", "x\ny", "😀"])
def test_a_text_is_written_as_one(text):
    assert parse_setting(f"a={written(text)}") == ("a", text)
