"""Hidden states of the sets' texts under the base model, each text read after its anchor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from bench.engine.batching import batches, pad
from bench.engine.tokens import encode_after
from bench.errors import MissingError
from bench.policy import LoadedModel
from bench.progress import Progress
from methods.anatomy.layers import after, by_rows, decoder_layers
from methods.learning.batches import Item, match, refuse_long

PromptAndText = tuple[str, str]
"""An anchor and a text after it."""
Position = Literal["mean", "last", "whole"]
"""Which tokens a text's state is taken from: the mean of its own, its last, or the mean of the anchor's and its own."""
Note = Callable[[int, torch.Tensor], None]
"""Takes the number of a layer and the states there, [rows, width, size]."""
Watch = Callable[[Note], AbstractContextManager[None]]
"""Until the block ends, notes the states of each layer whenever the model reads."""


@dataclass(frozen=True)
class TextBatch:
    """Some anchors with a text each, as tensors.

    Attributes:
        places: The pairs' numbers.
        input_ids: Tokens, padded on the right, int64 [rows, width].
        attention_mask: 1 for tokens, 0 for padding, [rows, width].
        own: 1 for the tokens of the text itself, [rows, width].
    """

    places: list[int]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    own: torch.Tensor


@dataclass(frozen=True)
class TextStates:
    """Hidden states of texts, of each layer.

    Attributes:
        state: Float64 [texts, layers, size].
        length: Euclidean length of a token's state, averaged over tokens as the states are, [texts, layers].
        tokens: Number of tokens read, anchors included.
    """

    state: torch.Tensor
    length: torch.Tensor
    tokens: int


def pairs_of(items: Sequence[Item]) -> list[PromptAndText]:
    """Each (anchor, text) of the items, once."""
    return list(dict.fromkeys(row[:2] for row in match(items)))


def text_batches(base: LoadedModel, pairs: Sequence[PromptAndText]) -> Iterator[TextBatch]:
    """Batches of anchors and texts of similar length."""
    refuse_long(base, pairs)
    rows = [(place, *encode_after(base.tokenizer, *pair)) for place, pair in enumerate(pairs)]
    for batch in batches(rows, lambda row: len(row[1]) + len(row[2]), lambda _: 1):
        ids, mask = pad([anchor + text for _, anchor, text in batch], 0, "right", base.model.device)
        own = mask.clone()
        for row, (_, anchor, _) in enumerate(batch):
            own[row, : len(anchor)] = 0
        yield TextBatch([place for place, _, _ in batch], ids, mask, own)


def read(base: LoadedModel, batch: TextBatch, logits_to_keep: int) -> None:
    """Let the base model read a batch; what is wanted of it is for hooks to take."""
    base.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=(batch.attention_mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=logits_to_keep,
    )


def layer_states(
    base: LoadedModel, pairs: Sequence[PromptAndText], position: Position, progress: Progress
) -> TextStates:
    """The residual stream after every layer at the texts' own tokens, averaged over them or at the last one.

    Raises:
        MissingError: a state is not a number.
    """
    layers = decoder_layers(base)

    def watch(note: Note) -> AbstractContextManager[None]:
        return after((layer, partial(note, number)) for number, layer in enumerate(layers))

    return text_states(base, pairs, position, progress, len(layers), watch)


def unit_states(base: LoadedModel, pairs: Sequence[PromptAndText], progress: Progress) -> TextStates:
    """The residual stream after every layer, each token's at length 1, averaged over anchor and text.

    Raises:
        MissingError: a state is not a number.
    """
    layers = decoder_layers(base)

    def watch(note: Note) -> AbstractContextManager[None]:
        def noted(number: int, state: torch.Tensor) -> None:
            note(number, unit(state))

        return after((layer, partial(noted, number)) for number, layer in enumerate(layers))

    return text_states(base, pairs, "whole", progress, len(layers), watch)


@torch.no_grad()
def text_states(
    base: LoadedModel,
    pairs: Sequence[PromptAndText],
    position: Position,
    progress: Progress,
    count: int,
    watch: Watch,
) -> TextStates:
    """States that the model has somewhere in each of `count` layers while it reads texts.

    Raises:
        MissingError: a state is not a number.
    """
    states: list[torch.Tensor] = [torch.empty(0)] * count
    lengths = list(states)

    def note(number: int, state: torch.Tensor) -> None:
        own = by_rows(state, len(weight)).float()
        states[number] = torch.einsum("rw,rwh->rh", weight, own)
        lengths[number] = (weight * own.norm(dim=-1)).sum(-1)

    places: list[int] = []
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    tokens = 0
    with progress.bar("hidden states", len(pairs), "texts") as bar, watch(note):
        for batch in text_batches(base, pairs):
            weight = _weight(batch, position)
            read(base, batch, logits_to_keep=1)
            places += batch.places
            found.append((torch.stack(states, 1).double().cpu(), torch.stack(lengths, 1).double().cpu()))
            tokens += int(batch.attention_mask.sum())
            bar.advance(len(batch.places))
    order = torch.tensor(places).argsort()
    state, length = (torch.cat(parts)[order] for parts in zip(*found, strict=True))
    if not state.isfinite().all():
        raise MissingError("the model's hidden states are not numbers", mend="--set suite.model.dtype=float32")
    return TextStates(state, length, tokens)


def unit(state: torch.Tensor) -> torch.Tensor:
    """States of length 1, float32."""
    return torch.nn.functional.normalize(state.float(), dim=-1)


def differences(items: Sequence[Item], states: torch.Tensor) -> torch.Tensor:
    """What sets an item's positives apart from its negatives: mean state of the ones less that of the others.

    Both kinds stem from one anchor and weigh the same, however many texts there are of each, so that what the anchor
    brings into the states cancels.

    Args:
        items: Anchors with positives and negatives.
        states: States of `pairs_of(items)`, [texts, ...].

    Returns:
        [items, ...].
    """
    place = {pair: number for number, pair in enumerate(pairs_of(items))}

    def mean(anchor: str, texts: Sequence[str]) -> torch.Tensor:
        return states[[place[anchor, text] for text in texts]].mean(0)

    return torch.stack([mean(one.anchor, one.positives) - mean(one.anchor, one.negatives) for one in items])


def _weight(batch: TextBatch, position: Position) -> torch.Tensor:
    """Weight of each token in its text's state, float32 [rows, width]; a row's sum to 1."""
    own = batch.attention_mask if position == "whole" else batch.own
    if position != "last":
        return own / own.sum(-1, keepdim=True)
    places = torch.arange(own.shape[1], device=own.device)
    return torch.nn.functional.one_hot((own * places).argmax(-1), own.shape[1]).float()
