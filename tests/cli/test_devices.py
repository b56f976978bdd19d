"""`--device`: what CUDA shows is decided before torch looks, and what is not here is refused in one line."""

import os

import pytest

from bench.cli.devices import use_device
from bench.errors import UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture
def cards(monkeypatch):
    """A torch that finds what CUDA_VISIBLE_DEVICES shows; there is no card here."""
    import torch

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(VISIBLE, "4,5,6")


@pytest.mark.parametrize(
    ("asked", "shown"), [("auto", "4,5,6"), ("cuda", "4,5,6"), ("cuda:0", "4"), ("cuda:2", "6"), ("cpu", "")]
)
def test_a_device_is_what_cuda_shows(cards, asked, shown):
    assert use_device(asked) == asked
    assert os.environ[VISIBLE] == shown


def test_without_a_list_the_number_is_the_cards(cards, monkeypatch):
    monkeypatch.delenv(VISIBLE)
    use_device("cuda:3")
    assert os.environ[VISIBLE] == "3"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("cuda:3", "shows 3"), ("mps", "is not known"), ("gpu", "is not known"), ("cuda:x", "is not known")],
)
def test_what_is_not_here_is_refused(cards, asked, told):
    with pytest.raises(UsageError, match=told):
        use_device(asked)
    assert os.environ[VISIBLE] == "4,5,6"


def test_training_processes_have_cards_of_their_own(cards, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="a card of its own"):
        use_device("cuda:1")
    assert use_device("cpu") == "cpu"


@pytest.mark.parametrize("arguments", [["run", "--method", "none"], ["scorers", "check", "svm"], ["judge", "-o", "x"]])
def test_the_command_says_it_in_one_line(bench, arguments):
    done = bench(*arguments, "--device", "cuda")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: error: --device cuda is not here")
    assert done.stderr.count("\n") == 1
