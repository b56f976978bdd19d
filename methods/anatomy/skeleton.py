"""A model's modules without weights: what can be found out before anything is loaded."""

import copy
from typing import cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel


def skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """A causal LM's modules on the device `meta`."""
    config = copy.deepcopy(config)
    vars(config).pop("quantization_config", None)
    with torch.device("meta"):
        return cast("PreTrainedModel", AutoModelForCausalLM.from_config(config, trust_remote_code=False))
