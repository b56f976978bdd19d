"""Hidden states of the sets' texts under the base model, each text read after its anchor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from bench.engine.batching import batches, pad
from bench.engine.tokens import encode_after
from bench.errors import MissingError
from bench.policy import LoadedModel
from bench.progress import Progress
from methods.anatomy.layers import after, decoder_layers
from methods.learning.batches import Item, match, refuse_long

PromptAndText = tuple[str, str]
"""An anchor and a text after it."""
Position = Literal["mean", "last"]
"""Which of a text's own tokens its state is taken from: the mean of all, or the last."""


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
    """Hidden states of texts after each layer.

    Attributes:
        state: Float64 [texts, layers, hidden].
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


@torch.no_grad()
def layer_states(
    base: LoadedModel, pairs: Sequence[PromptAndText], position: Position, progress: Progress
) -> TextStates:
    """The residual stream after every layer at the texts' own tokens, averaged over them or at the last one.

    Raises:
        MissingError: a state is not a number.
    """
    layers = decoder_layers(base)
    states: list[torch.Tensor] = [torch.empty(0)] * len(layers)
    lengths = list(states)

    def note(number: int, state: torch.Tensor) -> None:
        states[number] = torch.einsum("rw,rwh->rh", weight, state.float())
        lengths[number] = (weight * state.float().norm(dim=-1)).sum(-1)

    places: list[int] = []
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    tokens = 0
    with (
        progress.bar("hidden states", len(pairs), "texts") as bar,
        after((layer, partial(note, number)) for number, layer in enumerate(layers)),
    ):
        for batch in text_batches(base, pairs):
            weight = _weight(batch.own, position)
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


def _weight(own: torch.Tensor, position: Position) -> torch.Tensor:
    """Weight of each token in its text's state, float32 [rows, width]; a row's sum to 1."""
    if position == "mean":
        return own / own.sum(-1, keepdim=True)
    places = torch.arange(own.shape[1], device=own.device)
    return torch.nn.functional.one_hot((own * places).argmax(-1), own.shape[1]).float()
