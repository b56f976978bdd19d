"""A second model over the same tensors."""

import copy

from torch import nn
from transformers import PreTrainedModel


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """A model of its own modules and parameters over another's tensors."""
    twins = {}
    for parameter in model.parameters():
        # A quantised parameter carries more than its tensor; it is shared whole, as nothing is merged into it.
        quantised = type(parameter) is not nn.Parameter
        twins[id(parameter)] = parameter if quantised else nn.Parameter(parameter.data, requires_grad=False)
    return copy.deepcopy(model, twins)
