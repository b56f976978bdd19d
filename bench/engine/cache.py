"""Keys and values in buffers that are written in place: a new token does not copy what was read before."""

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_SLACK = 32  # positions left free when a buffer is made: so many tokens follow without a copy


class BufferedLayer(DynamicLayer):
    """One layer's keys and values, [rows, heads, positions, size], where they are used the first part of a buffer.

    What replaces them (other rows, fewer positions) is taken as it is, and gets a buffer when the next token comes.
    """

    keys: torch.Tensor  # never None, as in a layer that holds nothing yet
    values: torch.Tensor

    def __init__(self, layer: DynamicLayer) -> None:
        """Take over what a layer holds."""
        super().__init__()  # type: ignore[no-untyped-call]
        vars(self).update(vars(layer))
        self._buffers: tuple[torch.Tensor, ...] = ()

    def update(  # noqa: D102
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del args, kwargs
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if not self._fits(after):
            self._buffers = tuple(_room(held, after + _SLACK) for held in (self.keys, self.values))
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., before:after, :] = states
        self.keys, self.values = (buffer[..., :after, :] for buffer in self._buffers)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row, at once into buffers."""
        if not self.get_seq_length():
            return
        self._buffers = tuple(_room(held, held.shape[-2] + _SLACK, repeats) for held in (self.keys, self.values))
        self.keys, self.values = (buffer[..., : self.keys.shape[-2], :] for buffer in self._buffers)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows; the first ones of them all, in order, without a copy."""
        if not self.get_seq_length():
            return
        count = len(indices)
        if count <= len(self.keys) and torch.equal(indices, torch.arange(count, device=indices.device)):
            self.keys, self.values = self.keys[:count], self.values[:count]
            self._buffers = tuple(buffer[:count] for buffer in self._buffers)
        else:
            super().batch_select_indices(indices)

    def _fits(self, positions: int) -> bool:
        """Whether the keys are still the buffer's own rows and so many positions have room in it."""
        if not self._buffers:
            return False
        keys, buffer = self.keys, self._buffers[0]
        own = keys.data_ptr() == buffer.data_ptr() and keys.shape[:-2] == buffer.shape[:-2]
        return own and positions <= buffer.shape[-2]


def _room(held: torch.Tensor, positions: int, repeats: int = 1) -> torch.Tensor:
    """A copy with room for so many positions, each row so many times."""
    rows, *between, length, size = held.shape
    buffer = held.new_empty(rows, repeats, *between, positions, size)
    buffer[..., :length, :] = held[:, None]
    return buffer.flatten(0, 1)


def buffered(cache: Any) -> Any:
    """The same cache, its plain layers in buffers; layers of other kinds (sliding windows, states) stay as they are."""
    if isinstance(cache, Cache):
        cache.layers = [BufferedLayer(one) if type(one) is DynamicLayer else one for one in cache.layers]
    return cache
