"""Loading the base model: from safetensors alone, no code out of a model's folder is ever run."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from bench.assets.catalogue import Resolved
from bench.errors import MissingError
from bench.policy import LoadedModel
from bench.spec import ModelSpec


def load_model(spec: ModelSpec, resolved: Resolved) -> LoadedModel:
    """Load the model that a suite names, frozen and in evaluation mode, on the CUDA device where there is one.

    Raises:
        MissingError: the folder holds no causal language model in safetensors, or 4-bit weights are asked for without
            bitsandbytes and a CUDA device.
    """
    options: dict[str, Any] = {"dtype": getattr(torch, spec.dtype), "use_safetensors": True, "trust_remote_code": False}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if spec.quantization == "4bit":
        options["quantization_config"] = _four_bits(spec)
        options["device_map"] = device
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(str(resolved.path), **options)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(resolved.path), trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        cause = " ".join(str(error).split())[:200]
        raise MissingError(f"model '{spec.id}' cannot be loaded ({cause})", mend="name a causal LM") from error
    if tokenizer.eos_token_id is None:
        raise MissingError(f"the tokenizer of '{spec.id}' has no end token", mend="set eos_token in its configuration")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if spec.quantization == "none":
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    model.requires_grad_(False)
    model.eval()
    return LoadedModel(model, tokenizer, spec.id, resolved.sha256)


def _four_bits(spec: ModelSpec) -> Any:
    from importlib.util import find_spec

    if not torch.cuda.is_available() or find_spec("bitsandbytes") is None:
        raise MissingError(
            "quantization = 4bit needs a CUDA device and bitsandbytes, and this machine has "
            + ("no CUDA device" if not torch.cuda.is_available() else "no bitsandbytes"),
            mend="--set suite.model.quantization=none, or install contrastive-bench[4bit] on such a machine",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, spec.dtype),
    )
