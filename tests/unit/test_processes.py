"""What the environment says of processes that train together."""

import pytest

from bench.engine.processes import go_on_alone, is_main, processes
from bench.errors import UsageError


@pytest.mark.parametrize("stray", [{}, {"RANK": "1"}, {"RANK": "3", "WORLD_SIZE": "1"}])
def test_without_a_launcher_there_is_one_process(monkeypatch, stray):
    """Whatever rank a script has left in the environment: else nothing would be done, and nothing said."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    assert (processes(), is_main()) == (1, True)


@pytest.mark.parametrize(("rank", "main"), [("0", True), ("1", False), ("3", False)])
def test_the_launcher_says_how_many_there_are_and_which_this_is(monkeypatch, rank, main):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", rank)
    assert (processes(), is_main()) == (4, main)


@pytest.mark.parametrize(("rank", "main"), [("0", True), ("3", False)])
def test_the_first_process_goes_on_alone(monkeypatch, rank, main):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", rank)
    go_on_alone()
    assert (processes(), is_main()) == (1, main)


def test_what_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(UsageError, match="WORLD_SIZE is 'many' in the environment, and no number; unset WORLD_SIZE"):
        is_main()
