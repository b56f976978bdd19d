"""What a model needs of a GPU's memory, known from its files before it is loaded; and the batches beside it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from bench.engine.processes import gpu_sharers
from bench.engine.profile import CUDA
from bench.errors import MissingError
from bench.spec import ModelSpec

_GIB = 1 << 30
_SHARE = 0.85  # of a card's memory that weights and batches may fill: the allocator leaves gaps
_RESERVE = 2 * _GIB  # for CUDA itself and for a scorer
_GROWTH = 2  # buffers of keys and values have room to spare, and are copied where they grow
_SHORTEST = 16  # tokens of a row: logits are made of each row, however short
_SAMPLED = 52  # bytes of each token of the vocabulary while a row is sampled: logits, sorted, probabilities, masses
_STEP = 1024  # batches are a multiple of so many tokens, so that cards of a kind agree
_MOST = 65_536  # tokens of a batch: more bring no speed
_FOUR_BITS = 0.53  # bytes of a weight in 4 bits, with its share of the scales


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes of a device: this process's share of all, and those that are free."""

    total: int
    free: int


def device_memory() -> DeviceMemory | None:
    """Of the CUDA device that models go to; None where there is none."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # kept by torch for what comes next
    return DeviceMemory(total // gpu_sharers(), free + own)


@dataclass(frozen=True)
class Footprint:
    """What a model takes, in bytes.

    Attributes:
        weights: Of its weights, once.
        state: Of a token's keys and values.
        reading: Of what else a layer holds of a token while it is read.
        stream: Of a token's state between layers.
        kept: Of what a layer keeps of a token for the way back, in training.
        number: Of one number of its arithmetic.
        layers: Number of its layers.
        vocabulary: Number of its tokens.
    """

    weights: int
    state: int
    reading: int
    stream: int
    kept: int
    number: int
    layers: int
    vocabulary: int

    def batch(self, tokens: int) -> int:
        """A batch of so many tokens, padding included, whatever is done with it."""
        rows, columns = -(-tokens // _SHORTEST), self.vocabulary * (self.number + 4)
        likelihood = min(tokens, CUDA.positions) * columns
        sampling = rows * columns + min(rows, CUDA.sample_rows) * self.vocabulary * _SAMPLED
        return tokens * (self.state * _GROWTH + self.reading) + max(likelihood, sampling)

    def training(self, tokens: int, *, checkpointing: bool) -> int:
        """A training step on so many tokens, the adapter left out."""
        kept = self.layers * self.stream + self.kept if checkpointing else self.layers * self.kept
        return tokens * kept + min(tokens, CUDA.training_rows) * self.vocabulary * 12

    def room_for(self, total: int) -> int:
        """The largest batch, in tokens, beside the weights on a card of so many bytes; it depends on nothing else.

        Whatever is free when a run begins or is resumed, and however many processes share it, its batches are the same
        on cards of one kind. Where others fill the card, batches are halved as memory gives out.
        """
        left = total // _GIB * _GIB * _SHARE - _RESERVE - self.weights
        return next((tokens for tokens in range(_MOST, 0, -_STEP) if self.batch(tokens) <= left), _STEP)


def footprint(folder: Path, config: PreTrainedConfig, spec: ModelSpec) -> Footprint | None:
    """What the model in a folder takes, by its configuration and the shapes in its files; None where they do not say.

    Args:
        folder: The model's.
        config: Its configuration.
        spec: In which numbers it is loaded.
    """
    if getattr(config, "quantization_config", None):
        return None
    try:
        return footprint_of(dict(_shapes(folder)), config, spec)
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError):
        return None


def footprint_of(sizes: Mapping[str, int], config: PreTrainedConfig, spec: ModelSpec) -> Footprint:
    """What a model takes whose tensors, by name, hold so many numbers; the rest as in `footprint`."""
    text: Any = config.get_text_config(decoder=True)
    hidden, layers, vocabulary = text.hidden_size, text.num_hidden_layers, int(text.vocab_size)
    number, tied = getattr(torch, spec.dtype).itemsize, text.tie_word_embeddings
    numbers = sum(size for name, size in sizes.items() if not (tied and name.endswith("lm_head.weight")))
    weights = numbers * number
    if spec.quantization == "4bit":  # the vocabulary's matrices stay as they are
        whole = vocabulary * hidden * (1 if tied else 2)
        weights = whole * number + int(max(0, numbers - whole) * _FOUR_BITS)
    inner = _inner(text, hidden)
    return Footprint(
        weights=weights,
        state=layers * number * _width(text, hidden),
        reading=number * (10 * hidden + 3 * inner) + 8 * hidden,
        stream=number * hidden,
        kept=number * (12 * hidden + 4 * inner),
        number=number,
        layers=layers,
        vocabulary=vocabulary,
    )


def _shapes(folder: Path) -> Iterator[tuple[str, int]]:
    """The name and the number of numbers of each tensor in a model's files; nothing else of them is read."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    names = {SAFE_WEIGHTS_NAME}
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(names):
        with safe_open(folder / name, "pt") as file:
            for tensor in file.keys():  # noqa: SIM118 - it is no dict
                yield tensor, torch.Size(file.get_slice(tensor).get_shape()).numel()


def _width(text: Any, hidden: int) -> int:
    """Numbers in the keys and values of a token in one layer."""
    if latent := getattr(text, "kv_lora_rank", None):  # what keys and values are made of is kept in their place
        return int(latent + text.qk_rope_head_dim)
    if getattr(text, "multi_query", False) and not getattr(text, "new_decoder_architecture", False):
        heads = 1
    else:
        told = (getattr(text, name, None) for name in ("num_key_value_heads", "num_kv_heads", "num_attention_heads"))
        heads = next(count for count in told if count)
    size = getattr(text, "head_dim", None) or hidden // text.num_attention_heads
    return int(heads * 2 * size)


def _inner(text: Any, hidden: int) -> int:
    """The width of a layer's feed-forward block, of all experts that a token goes through."""
    told = (getattr(text, name, None) for name in ("intermediate_size", "ffn_dim", "n_inner"))
    routed = (getattr(text, "moe_intermediate_size", None) or 0) * (getattr(text, "num_experts_per_tok", None) or 0)
    return int(max(next((width for width in told if isinstance(width, int)), 4 * hidden), routed))


def refuse_too_large(name: str, needed: Footprint, memory: DeviceMemory, others: dict[str, Footprint]) -> None:
    """Refuse a model whose weights alone, without anything that is done with them, are more than what is free.

    Nothing that fits is refused: what is counted is in memory whatever the run does, and all else may shrink.

    Args:
        name: What it is called ("model 'x'").
        needed: What it takes.
        memory: Of the device.
        others: What it takes when it is loaded otherwise, by the setting.

    Raises:
        MissingError: they are.
    """
    if needed.weights <= memory.free:
        return
    fitting = (f"--set {setting} ({gb(one.weights)})" for setting, one in others.items() if one.weights <= memory.free)
    what = f"{name} does not fit: its weights take {gb(needed.weights)}"
    raise MissingError(
        f"{what}, and {gb(memory.free)} of the card's {gb(memory.total)} are free",
        mend=" or ".join((*fitting, "take a smaller model, a larger card, or --device cpu")),
    )


def gb(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB"
