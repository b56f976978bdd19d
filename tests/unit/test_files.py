"""Files that are either whole or not there."""

import errno
import os
import threading

import pytest

from bench.cli.output import write_output
from bench.errors import UsageError
from bench.store.files import NO_SPACE, folder, read_json, write_text, writing


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert found == ["through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["folder", "file/below.md"])
def test_where_no_file_can_be_written(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="no file can be written at"):
        write_output(tmp_path / name, "x")
    assert (tmp_path / "file").read_text() == "x"


def test_nan_is_no_json(tmp_path):
    (tmp_path / "a.json").write_text("[NaN]")
    with pytest.raises(ValueError, match="NaN is no JSON"):
        read_json(tmp_path / "a.json")


class Library(Exception):
    """What a library of another language raises of a full disk: it knows no errno."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        Library("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed: Disk quota exceeded"),
    ],
)
def test_a_full_disk_is_the_one_that_was_written_to(error, tmp_path):
    with pytest.raises(OSError, match=r"No space left|quota") as caught, folder(tmp_path / "made"):
        raise error
    assert caught.value.filename == str(tmp_path / "made")
    assert caught.value.errno in NO_SPACE
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_that_the_system_named_stays_named(tmp_path):
    with pytest.raises(OSError, match="/other") as caught, writing(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/other/place")
    assert caught.value.filename == "/other/place"


def test_what_is_no_full_disk_stays_what_it_was(tmp_path):
    with pytest.raises(Library, match="else"), writing(tmp_path):
        raise Library("something else")
