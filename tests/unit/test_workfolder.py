"""A folder that belongs to one piece of work: who may go on in it, and who is sent elsewhere."""

import json

import pytest

from bench.errors import MissingError, UsageError
from bench.store.workfolder import claim

WORK = {"key": "a", "note": "first"}


def test_the_same_work_goes_on_and_another_is_refused(tmp_path):
    folder = tmp_path / "made"
    claim(folder, "work.json", WORK, differs="another key")
    claim(folder, "work.json", WORK, differs="another key")
    with pytest.raises(UsageError, match="was begun with another key"):
        claim(folder, "work.json", WORK | {"note": "second"}, differs="another key")
    claim(folder, "work.json", WORK | {"note": "second"}, identity="key", differs="another key")
    assert json.loads((folder / "work.json").read_text())["note"] == "second", "only the key must stay"
    with pytest.raises(UsageError, match="was begun with another key"):
        claim(folder, "work.json", WORK | {"key": "b"}, identity="key", differs="another key")
    claim(folder, "work.json", WORK | {"key": "b"}, identity="key", differs="another key", has_begun=False)
    assert json.loads((folder / "work.json").read_text())["key"] == "b"


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds something else \(no work.json\)"):
        claim(tmp_path, "work.json", WORK, differs="another key")
    assert not (tmp_path / "work.json").exists()
    claim(tmp_path, "work.json", WORK, differs="another key", fresh=True)
    with pytest.raises(UsageError, match="is a file"):
        claim(tmp_path / "mine.txt", "work.json", WORK, differs="another key")


@pytest.mark.parametrize("text", ["{", "", "[1]", "NaN"])
def test_a_damaged_file_is_one_line_and_not_written_over(tmp_path, text):
    (tmp_path / "work.json").write_text(text)
    with pytest.raises((MissingError, UsageError), match=r"is damaged|was begun with another key"):
        claim(tmp_path, "work.json", WORK, identity="key", differs="another key")
    assert (tmp_path / "work.json").read_text() == text
