"""The first cases of each kind of `tox -e fuzz`: nothing ends as nothing should."""

import sys

import pytest
from fuzz.driver import Call, carried_out, fuzz
from fuzz.kinds import KINDS

from bench.errors import UsageError

pytestmark = pytest.mark.network
CASES = {"suites": 100, "sets": 200, "prompts": 200, "records": 20, "layouts": 60, "baselines": 20, "replies": 15}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_read_wrong_ends_in_one_line(name, tmp_path, cache_dir, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    told = []
    tally = fuzz(KINDS[name], range(CASES[name]), 0, tmp_path / "work", tmp_path / "kept", told.append)
    assert (tally.failed, told) == (0, [])
    assert tally.ends.total() == CASES[name]
    assert tally.ends["accepted"], "what is changed a little is still read"
    assert tally.ends["refused"]


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("action", "end"),
    [
        (lambda: print("fine"), "accepted"),
        (lambda: _raise(UsageError("no such thing")), "refused"),
        (lambda: _raise(KeyError("x")), "unexpected"),
        (lambda: print("bench: error: x", file=sys.stderr), "unexpected"),
        (lambda: print("\x1b[2J"), "unexpected"),
    ],
)
def test_ends_are_told_apart(action, end, cache_dir):
    assert carried_out(Call("x", action, is_text=True))[0] == end


def test_what_hangs_is_ended(monkeypatch, cache_dir):
    monkeypatch.setattr("fuzz.driver.PATIENCE", 0.1)

    def hang() -> None:
        while True:
            pass

    assert carried_out(Call("x", hang))[0] == "hang"


def test_what_grows_is_told(monkeypatch, cache_dir):
    monkeypatch.setattr("fuzz.driver.GROWTH", 100 << 20)
    assert carried_out(Call("x", lambda: [bytes(b"x" * (800 << 20)), None][1]))[0] == "growth"
