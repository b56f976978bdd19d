"""The output matrix of a layer's feed-forward block, found by structure, and changes of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from bench.errors import UsageError
from bench.policy import LoadedModel
from methods.anatomy.experts import matrices
from methods.anatomy.layers import decoder_layers

_OUTPUTS = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "w2", "wo", "lin2")
"""Names of the output matrix of a feed-forward block, in the models of `transformers`."""


def output_matrix(base: LoadedModel, layer: int, method: str) -> str:
    """Name, in the model, of the output matrix of a layer's feed-forward block, which a method edits.

    Raises:
        UsageError: the layer has no such matrix, or several (a mixture of experts).
    """
    called = f"layer {layer} of '{base.id}' ({type(base.model).__name__})"
    found = the_output(decoder_layers(base)[layer], called, method)
    return next(name for name, parameter in base.model.named_parameters() if parameter is found)


def the_output(layer: nn.Module, called: str, method: str) -> torch.Tensor:
    """The output matrix of a layer that is called so; those of its routed experts count.

    Raises:
        UsageError: there is none, or several.
    """
    found = [
        parameter
        for key, parameter in layer.named_parameters()
        if key.removesuffix(".weight").rpartition(".")[2] in _OUTPUTS and "attn" not in key and "attention" not in key
    ]
    count = sum(map(matrices, found))
    if count != 1:
        raise UsageError(
            f"{called} has {count} output matrices of a feed-forward block, and {method} edits the one",
            mend="use a model with one a layer",
        )
    return found[0]


def module_of(base: LoadedModel, name: str) -> nn.Module:
    """The linear layer whose matrix is called so."""
    return base.model.get_submodule(name.removesuffix(".weight"))


def shaped(base: LoadedModel, name: str, update: torch.Tensor) -> torch.Tensor:
    """A change [outputs, inputs] in the matrix's own shape: GPT-2's layers keep theirs transposed."""
    return update.T if isinstance(module_of(base, name), Conv1D) else update


def refuse_quantised(base: LoadedModel, method: str) -> None:
    """Refuse a model whose matrices cannot be changed.

    Raises:
        UsageError: they are quantised.
    """
    if getattr(base.model, "is_quantized", False):
        raise UsageError(
            f"{method} changes a weight matrix, and those of '{base.id}' are quantised",
            mend="--set suite.model.quantization=none",
        )


def edited(weight: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """A weight with a float32 change, in its own precision."""
    return (weight.float() + delta).to(weight.dtype)


@contextmanager
def changed(base: LoadedModel, deltas: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Change matrices by name, until the block ends: the model's own come back bit for bit."""
    parameters = {name: base.model.get_parameter(name) for name in deltas}
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = edited(own[name], deltas[name].to(own[name].device))
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
