"""Edits of hidden states as plain weights, where that is what they are: a model that anything can load."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from bench.engine.twin import twin
from bench.errors import UsageError

_LAST = {
    "bloom": "mlp.dense_4h_to_h",
    "gpt2": "mlp.c_proj",
    "gpt_neo": "mlp.c_proj",
    "gpt_neox": "mlp.dense_4h_to_h",
    "gptj": "mlp.fc_out",
    "llama": "mlp.down_proj",
    "opt": "fc2",
    "phi": "mlp.fc2",
    "starcoder2": "mlp.c_proj",
}
"""By model type, the linear layer whose output is the last that a decoder layer adds to the residual stream."""
_WITHOUT_BIAS = {"llama": ("mlp_bias", ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"))}
"""Of them those that have no bias there: the setting that gives them one, and the layers that then have one."""


def no_bias(config: PreTrainedConfig) -> str | None:
    """Why what is added after a layer of a model cannot be the layer's bias, or None where it can."""
    kind = config.model_type
    if kind in _LAST and getattr(config, "do_layer_norm_before", True) and getattr(config, "use_bias", True):
        return None
    return f"what it adds after a layer is no bias that a model of the type {kind} has"


def with_vector(model: PreTrainedModel, layer: nn.Module, vector: torch.Tensor) -> PreTrainedModel:
    """The model with a vector added to the residual stream after a layer, as a bias.

    Args:
        model: The model; it is not touched.
        layer: One of its decoder layers.
        vector: What is added, [hidden].

    Raises:
        UsageError: the model has no such bias.
    """
    if reason := no_bias(model.config):
        raise UsageError(f"the edit cannot be written as weights: {reason}", mend="use another model")
    place = next(name for name, one in model.named_modules() if one is layer)
    made = _without_hooks(twin(model))
    kind = made.config.model_type
    if kind in _WITHOUT_BIAS:
        setting, names = _WITHOUT_BIAS[kind]
        if not getattr(made.config, setting):
            _give_biases(made, names)
            setattr(made.config, setting, True)
    last: Any = made.get_submodule(f"{place}.{_LAST[kind]}")
    last.bias = nn.Parameter(last.bias + vector.to(last.bias), requires_grad=False)
    return made


def _give_biases(model: PreTrainedModel, names: tuple[str, ...]) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(names):
            zeros = module.weight.new_zeros(module.out_features)
            module.bias = nn.Parameter(zeros, requires_grad=False)


def with_output(model: PreTrainedModel, change: Callable[[torch.Tensor], torch.Tensor]) -> PreTrainedModel:
    """The model with another weight of its output layer, which is then no longer tied to the input embeddings.

    Args:
        model: The model; it is not touched.
        change: From the weight, float32 [vocabulary, hidden], to the one that takes its place.
    """
    made = _without_hooks(twin(model))
    layer = made.get_output_embeddings()
    own = layer.weight.data
    changed = nn.Parameter(change(own.float()).to(own.dtype), requires_grad=False)
    layer.weight = changed
    for config in (made.config, made.config.get_text_config()):
        config.tie_word_embeddings = False
    return made


def _without_hooks(model: PreTrainedModel) -> PreTrainedModel:
    """A copied model without the hooks that were copied with it."""
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return model
