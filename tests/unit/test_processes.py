"""What the environment says of processes that train together."""

import pytest

from bench.engine.processes import go_on_alone, is_main, processes


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert (processes(), is_main()) == (1, True)


@pytest.mark.parametrize(("rank", "main"), [("0", True), ("1", False), ("3", False)])
def test_the_launcher_says_how_many_there_are_and_which_this_is(monkeypatch, rank, main):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", rank)
    assert (processes(), is_main()) == (4, main)


def test_the_first_process_goes_on_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    go_on_alone()
    assert (processes(), is_main()) == (1, True)
