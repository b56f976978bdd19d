"""What a model's configuration says of how it reads: whether it can be read here, and how far padding is seen."""

import inspect
from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    DynamicCache,
    PreTrainedConfig,
)
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from bench.engine.loading import loading
from bench.engine.tokens import NO_LIMIT
from bench.errors import MissingError, UsageError
from bench.spec import ModelSpec

_COLUMNS = ("mpt",)  # model types whose bias by distance counts columns, padding included, from the nearest one on
_UNPLACED = (
    "bloom",
    "mpt",
)  # model types that take no positions and need none: their bias by distance follows the mask
_STATE = LinearAttentionCacheLayerMixin


def config_of(folder: Path) -> PreTrainedConfig:
    """The configuration of a model's folder.

    Raises:
        MissingError: it cannot be read.
    """
    with loading(f"the configuration of {folder} cannot be loaded", "name a causal LM"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    return config


def refuse_unreadable(name: str, config: PreTrainedConfig) -> None:
    """Refuse a model that is no causal LM, or that cannot read rows of several lengths in one batch.

    Padding would spoil what a model keeps in a state, and shift the positions of one that counts columns itself (the
    decoder halves of encoder-decoder types).

    Args:
        name: What it is called ("model 'x'").
        config: Its configuration.

    Raises:
        MissingError: it is no causal LM, or one of which the configuration says that it reads in both directions.
        UsageError: a layer of it is a state space, a linear attention or another recurrence; or it takes no positions,
            or no cache.
    """
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if kind is None:
        raise MissingError(f"{name} is of the type {config.model_type}, no causal LM", mend="name a causal LM")
    if getattr(kind, "_is_stateful", False) or any(isinstance(layer, _STATE) for layer in _cache(config).layers):
        raise UsageError(
            f"{name} is of the type {config.model_type}, which keeps a state (a state space or linear attention) where "
            "others keep keys and values, and that is not supported",
            mend="name a model whose layers are all attention, such as Llama, Qwen3, Gemma 3 or Mistral",
        )
    taken = inspect.signature(kind.forward).parameters
    needed = {"past_key_values": "cache"} | ({} if config.model_type in _UNPLACED else {"position_ids": "positions"})
    if lacking := [f"{what} ({argument})" for argument, what in needed.items() if argument not in taken]:
        raise UsageError(
            f"{name} is of the type {config.model_type}, which takes no {lacking[0]}, and that is not supported",
            mend="name a causal LM such as Llama, Qwen3, Gemma 3 or Mistral",
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", True):
        what = f"{name} is of the type {config.model_type}, and reads in both directions (is_decoder is false)"
        raise MissingError(what, mend="name a causal LM")


def refuse_quantised(name: str, config: PreTrainedConfig, spec: ModelSpec, method: str) -> None:
    """Refuse a model whose weights are quantised, or will be when it is loaded, to a method that changes them.

    Raises:
        UsageError: they are.
    """
    what = f"method '{method}' changes weights, and those of {name} are quantised"
    if spec.quantization != "none":
        raise UsageError(what, mend="--set suite.model.quantization=none")
    if getattr(config, "quantization_config", None):
        raise UsageError(what, mend="name the model that was quantised, with its full weights")


def attention_window(config: PreTrainedConfig) -> int:
    """Columns up to which a row may have padding between its tokens (see `bench.policy.Policy.window`)."""
    text: Any = config.get_text_config(decoder=True)
    if text.model_type in _COLUMNS:
        return 0
    windows = [layer.sliding_window for layer in _cache(config).layers if getattr(layer, "is_sliding", False)]
    if "local" in getattr(text, "attention_layers", ()):  # GPT-Neo, whose cache keeps all
        windows.append(text.window_size)
    return min(windows, default=NO_LIMIT)


def _cache(config: PreTrainedConfig) -> Any:
    """The cache that transformers makes for a model: it says what each layer keeps."""
    return DynamicCache(config=config)
