"""Edits of hidden states as plain weights, where that is what they are: a model that anything can load."""

from collections.abc import Callable, Mapping, Sequence
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
_ATTENTION_WITHOUT_BIAS = {
    "llama": ("attention_bias", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"))
}
"""The same of the output projection of attention, of models that need not have a bias there."""


def no_bias(config: PreTrainedConfig) -> str | None:
    """Why what is added after a layer of a model cannot be the layer's bias, or None where it can."""
    kind, needed = config.model_type, ("do_layer_norm_before", "use_bias", "enable_bias")
    if kind in _LAST and all(getattr(config, setting, True) for setting in needed):
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
    _give_biases(made, _WITHOUT_BIAS)
    _add_to_bias(made.get_submodule(f"{place}.{_LAST[kind]}"), vector)
    return made


def no_attention_bias(config: PreTrainedConfig, outputs: Sequence[nn.Module]) -> str | None:
    """Why what is added before these output projections of attention cannot be their bias, or None where it can."""
    kind = config.model_type
    if kind in _ATTENTION_WITHOUT_BIAS or all(getattr(one, "bias", None) is not None for one in outputs):
        return None
    return f"what it adds in attention is no bias that this model of the type {kind} has"


@torch.no_grad()
def with_attention_shifts(model: PreTrainedModel, shifts: Mapping[nn.Module, torch.Tensor]) -> PreTrainedModel:
    """The model with vectors added before output projections of attention, as the biases that they come to.

    Args:
        model: The model; it is not touched.
        shifts: Of some of its output projections what is added before them, [heads * size].

    Raises:
        UsageError: the model has no such biases.
    """
    if reason := no_attention_bias(model.config, list(shifts)):
        raise UsageError(f"the edit cannot be written as weights: {reason}", mend="use another model")
    names = {one: name for name, one in model.named_modules()}
    made = _without_hooks(twin(model))
    _give_biases(made, _ATTENTION_WITHOUT_BIAS)
    for module, shift in shifts.items():
        written = shift.to(model.dtype)[None]
        change = (module.forward(written) - module.forward(torch.zeros_like(written)))[0]  # no hook sees these
        _add_to_bias(made.get_submodule(names[module]), change)
    return made


def _add_to_bias(module: Any, vector: torch.Tensor) -> None:
    module.bias = nn.Parameter(module.bias + vector.to(module.bias), requires_grad=False)


def _give_biases(model: PreTrainedModel, without: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Give layers a bias of zeros, where a model of this type has none."""
    setting, names = without.get(model.config.model_type, ("", ()))
    if not names or getattr(model.config, setting):
        return
    setattr(model.config, setting, True)
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
    return made


def _without_hooks(model: PreTrainedModel) -> PreTrainedModel:
    """A copied model without the hooks that were copied with it."""
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return model
