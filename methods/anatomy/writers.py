"""All that writes into the residual stream, found by structure, and a direction taken out of what it writes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bench.engine.tokens import first_token
from bench.errors import UsageError
from bench.policy import LoadedModel
from methods.anatomy.attention import attention_outputs
from methods.anatomy.feed_forward import the_output
from methods.anatomy.layers import after, decoder_layers, decoder_of, layers_of

_LEFT = 0.02  # of a state's length that is not what was written: rounding, in half precision too


def writers(model: PreTrainedModel, name: str, method: str) -> list[nn.Module]:
    """The embeddings, and of each layer the output projections of attention and feed-forward block.

    Args:
        model: The model; its weights are not looked at.
        name: What it is called.
        method: Who asks.

    Raises:
        UsageError: what a layer adds cannot be told, or is no projection's: it is normalised once more.
    """
    layers, decoder = layers_of(model, name), decoder_of(model)
    found: list[nn.Module] = [part for part in decoder.children() if isinstance(part, nn.Embedding)]
    between = [key for key, _ in decoder.named_children() if "embed" in key and "norm" in key]
    if getattr(decoder, "project_in", None) is not None:
        between.append("project_in")
    if not getattr(model.config, "do_layer_norm_before", True):
        between.append("norms after the blocks")
    attention = attention_outputs(model, name, method)
    for number, (layer, projection) in enumerate(zip(layers, attention, strict=True)):
        called = f"layer {number} of {name}"
        between += [f"{key} in layer {number}" for key, _ in layer.named_children() if "post_feedforward" in key]
        matrix = the_output(layer, called, method)
        found += [projection, next(one for one in layer.modules() if getattr(one, "weight", None) is matrix)]
    if between:
        raise UsageError(
            f"{name} ({type(model).__name__}) changes what its matrices write ({between[0]}), so that {method} cannot "
            "take a direction out of them",
            mend="use a model that adds what they write as it is, such as Llama",
        )
    return found


def removed(weight: torch.Tensor, direction: torch.Tensor, strength: float) -> torch.Tensor:
    """What is written, less so much of what it has along a direction, in its own precision.

    Args:
        weight: Written vectors, [..., hidden].
        direction: Of length 1, float32 [hidden].
        strength: 1 leaves nothing along the direction, 0 all.
    """
    own, direction = weight.float(), direction.to(weight.device)
    return (own - strength * (own @ direction)[..., None] * direction).to(weight.dtype)


@contextmanager
def ablated(modules: Sequence[nn.Module], direction: torch.Tensor, strength: float) -> Iterator[None]:
    """Take a direction out of all that modules write, biases included, until the block ends.

    Each gets parameters of its own: an output layer that shares the embeddings' keeps them as they are.
    """
    own = [(one, key, parameter) for one in modules for key, parameter in one.named_parameters(recurse=False)]
    try:
        for module, key, parameter in own:
            rows = key == "weight" and not isinstance(module, nn.Embedding | Conv1D)  # an output a row
            written = parameter.data.T if rows else parameter.data
            changed = removed(written, direction, strength)
            setattr(module, key, nn.Parameter(changed.T.contiguous() if rows else changed, requires_grad=False))
        yield
    finally:
        for module, key, parameter in own:
            setattr(module, key, parameter)


@torch.no_grad()
def check_writers(base: LoadedModel, modules: Sequence[nn.Module], method: str) -> None:
    """Refuse a model in which something else writes as well.

    Where nothing does, the state after each layer is a sum of what the modules wrote, each times some number. Looked at
    is one token, which begins a text.

    Raises:
        UsageError: some of a state is not made of that.
    """
    ids = torch.tensor([[first_token(base.tokenizer)]], device=base.model.device)
    written: list[torch.Tensor] = []
    states: list[torch.Tensor] = []
    layers = decoder_layers(base)
    with after((one, written.append) for one in modules), after((layer, states.append) for layer in layers):
        base.model(input_ids=ids, use_cache=False)
    made, found = (torch.stack([one.flatten().double().cpu() for one in some], 1) for some in (written, states))
    rest = found - made @ torch.linalg.lstsq(made, found, driver="gelsd").solution
    if float((rest.norm(dim=0) / found.norm(dim=0).clamp(min=1e-12)).max()) > _LEFT:
        raise UsageError(
            f"'{base.id}' ({type(base.model).__name__}) writes into its residual stream in a way that {method} does "
            "not know",
            mend="use another model",
        )
