"""Loading the base model: from safetensors alone, no code out of a model's folder is ever run."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bench.assets.resolved import Resolved
from bench.engine.architecture import config_of, refuse_unreadable
from bench.engine.loading import drop_unread, loading, quiet, refuse_larger_tokenizer, refuse_unfit
from bench.errors import MissingError
from bench.policy import LoadedModel
from bench.spec import ModelSpec


def load_model(spec: ModelSpec, resolved: Resolved) -> LoadedModel:
    """Load the model that a suite names, frozen and in evaluation mode, on the CUDA device where there is one.

    Raises:
        MissingError: the folder holds no causal language model in safetensors, or one that does not fit its weights or
            its tokenizer, or 4-bit weights are asked for without bitsandbytes and a CUDA device.
        UsageError: it is of a kind that is not supported.
    """
    options: dict[str, Any] = {"dtype": getattr(torch, spec.dtype), "use_safetensors": True, "trust_remote_code": False}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if spec.quantization == "4bit":
        options["quantization_config"] = _four_bits(spec)
        options["device_map"] = device
    name = f"model '{spec.id}'"
    refuse_unreadable(name, config_of(resolved.path))
    with loading(f"{name} cannot be loaded", "name a causal LM"), quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(str(resolved.path), output_loading_info=True, **options)
    tokenizer = load_tokenizer(spec, resolved)
    model: PreTrainedModel = loaded[0]
    refuse_unfit(name, model, loaded[1])
    refuse_larger_tokenizer(name, model, tokenizer)
    if tokenizer.eos_token_id is None:
        raise MissingError(f"the tokenizer of '{spec.id}' has no end token", mend="set eos_token in its configuration")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if spec.quantization == "none":
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    model.requires_grad_(False)
    model.eval()
    return LoadedModel(model, tokenizer, spec.id, resolved.sha256)


def load_tokenizer(spec: ModelSpec, resolved: Resolved) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the model that a suite names.

    Raises:
        MissingError: there is none that can be loaded.
    """
    name = f"the tokenizer of model '{spec.id}'"
    with loading(f"{name} cannot be loaded", "copy the model again, its tokenizer with it"), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(resolved.path), trust_remote_code=False)
        drop_unread(tokenizer, config_of(resolved.path))
    return tokenizer


def _four_bits(spec: ModelSpec) -> Any:
    from importlib.util import find_spec

    if not torch.cuda.is_available() or find_spec("bitsandbytes") is None:
        raise MissingError(
            "quantization = 4bit needs a CUDA device and bitsandbytes, and this machine has "
            + ("no CUDA device" if not torch.cuda.is_available() else "no bitsandbytes"),
            mend="--set suite.model.quantization=none, or pip install 'contrastive-bench[4bit]' on such a machine",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, spec.dtype),
    )
