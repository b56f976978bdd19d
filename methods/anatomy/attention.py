"""The output projection of a layer's attention, found by structure, and the heads that it reads."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from bench.errors import UsageError
from methods.anatomy.layers import layers_of

_OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense", "wo")
"""Names of the output projection of attention, in the models of `transformers`."""


def attention_output(layer: nn.Module, called: str, method: str) -> nn.Module:
    """The output projection of the attention of a layer that is called so.

    Raises:
        UsageError: there is none, or several.
    """
    found: list[nn.Module] = [
        module
        for key, module in layer.named_modules()
        if key.rpartition(".")[2] in _OUTPUTS and ("attn" in key or "attention" in key)
    ]
    if len(found) != 1:
        raise UsageError(
            f"{called} has {len(found)} output projections of attention, and {method} needs the one",
            mend="use a model with one a layer",
        )
    return found[0]


def attention_outputs(model: PreTrainedModel, name: str, method: str) -> list[nn.Module]:
    """The same of each layer of a model that is called so; its weights are not looked at."""
    layers = layers_of(model, name)
    return [attention_output(layer, f"layer {number} of {name}", method) for number, layer in enumerate(layers)]


def heads_of(model: PreTrainedModel, outputs: Sequence[nn.Module], name: str) -> int:
    """How many heads each output projection reads, one after the other, all of one size.

    Raises:
        UsageError: what they read is not made of so many heads as the configuration names.
    """
    heads = int(getattr(model.config.get_text_config(), "num_attention_heads", 0) or 0)
    widths = {inputs_of(module) for module in outputs}
    if not heads or len(widths) != 1 or widths.pop() % heads:
        raise UsageError(
            f"the attention heads of {name} ({type(model).__name__}) cannot be told", mend="use another model"
        )
    return heads


def inputs_of(module: nn.Module) -> int:
    """Numbers that a linear layer reads: GPT-2's keep their matrix transposed."""
    width = getattr(module, "in_features", None)
    return int(width if width is not None else module.get_parameter("weight").shape[0])
