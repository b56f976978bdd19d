"""The output layer: what it is given, and the logits that the model makes of it."""

import torch
from torch import nn

from bench.engine.tokens import first_token
from bench.errors import UsageError
from bench.policy import LoadedModel
from methods.anatomy.layers import before


def output_layer(base: LoadedModel) -> nn.Module:
    """The module that turns final states into logits.

    Raises:
        UsageError: the model does not say which it is.
    """
    module = base.model.get_output_embeddings()
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"'{base.id}' ({type(base.model).__name__}) does not name its output layer", mend="use another model"
        )
    return module


def final_logits(base: LoadedModel, states: torch.Tensor) -> torch.Tensor:
    """Logits, float32 [..., vocabulary], of what the output layer is given, [..., hidden].

    Some models scale or cap what their output layer returns (Granite, Cohere, Gemma): that is part of it.
    """
    config = base.model.config.get_text_config()
    logits: torch.Tensor = output_layer(base)(states).float()
    logits = logits * (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def check_logits(base: LoadedModel) -> None:
    """Refuse a model whose logits are not those of `final_logits`.

    Raises:
        UsageError: they are not: the model does something to them that is not known here.
    """
    given: list[torch.Tensor] = []
    with before(output_layer(base), given.append):
        logits = base.model(torch.tensor([[first_token(base.tokenizer)]], device=base.model.device)).logits.float()
    if not torch.allclose(final_logits(base, given[0]), logits, rtol=1e-2, atol=1e-3):
        raise UsageError(
            f"'{base.id}' ({type(base.model).__name__}) changes its logits after the output layer in an unknown way",
            mend="use another model",
        )
