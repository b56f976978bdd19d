"""Keys and values in buffers: what comes out is what a plain cache gives, and a new token copies nothing."""

import copy

import pytest
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from bench.engine.cache import BufferedLayer, buffered


def states(rows: int, positions: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = (torch.randn(rows, 2, positions, 4, generator=generator) for _ in range(2))
    return keys, values


def both(rows: int = 3, positions: int = 5) -> tuple[DynamicLayer, BufferedLayer]:
    """A plain layer and a buffered one that took over another of the same content."""
    plain, other = DynamicLayer(), DynamicLayer()
    for layer in (plain, other):
        layer.update(*states(rows, positions, 0))
    return plain, BufferedLayer(other)


STEPS = {
    "repeat": lambda layer: layer.batch_repeat_interleave(3),
    "select": lambda layer: layer.batch_select_indices(torch.tensor([1, 0, 0])),
    "first": lambda layer: layer.batch_select_indices(torch.arange(2)),
    "crop": lambda layer: layer.crop(-2),
    "one": lambda layer: layer.update(*states(len(layer.keys), 1, 1)),
    "many": lambda layer: layer.update(*states(len(layer.keys), 70, 2)),
}


@pytest.mark.parametrize(
    "names",
    [
        ["one"] * 40,
        ["repeat", "one", "one", "first", "one", "select", "one", "many", "one"],
        ["first", "one", "one", "first", "one"],
        ["one", "crop", "one", "one", "repeat", "crop", "many", "crop", "one"],
        ["select", "first", "one"],
    ],
)
def test_it_holds_what_a_plain_layer_holds(names):
    plain, ours = both()
    for name in names:
        for layer in (plain, ours):
            STEPS[name](layer)
        assert ours.get_seq_length() == plain.get_seq_length()
        assert torch.equal(ours.keys, plain.keys), name
        assert torch.equal(ours.values, plain.values), name


def test_a_token_is_written_in_place():
    """The buffer is made when the first token comes; the next ones, and rows that leave at the end, do not move it."""
    _, layer = both()
    layer.update(*states(3, 1, 1))
    place = layer.keys.data_ptr()
    for _ in range(20):
        layer.update(*states(3, 1, 2))
    layer.batch_select_indices(torch.arange(2))
    layer.update(*states(2, 1, 3))
    assert layer.keys.data_ptr() == place
    layer.batch_select_indices(torch.tensor([1, 0]))
    assert layer.keys.data_ptr() != place


def test_a_copy_is_one_of_its_own():
    """A prefix is read once and its cache copied for every batch."""
    _, layer = both()
    layer.update(*states(3, 1, 1))
    copied, before = copy.deepcopy(layer), layer.keys.clone()
    copied.update(*states(3, 1, 2))
    copied.keys.zero_()
    assert torch.equal(layer.keys, before)
    layer.update(*states(3, 1, 4))
    assert copied.get_seq_length() == layer.get_seq_length() == 7


def test_layers_of_other_kinds_stay_as_they_are():
    cache = DynamicCache()
    cache.layers = [DynamicLayer(), DynamicSlidingWindowLayer(sliding_window=4)]
    for number in range(2):
        cache.update(*states(1, 3, 0), number)
    kinds = [type(layer) for layer in buffered(cache).layers]
    assert kinds == [BufferedLayer, DynamicSlidingWindowLayer]
    assert buffered(None) is None
