"""Tiny random models of the common causal families: float32, one seed, the vocabulary of the tiny model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

WIDTH, LAYERS, HEADS, WINDOW = 32, 2, 4, 8
_COMMON: Mapping[str, Any] = {
    "vocab_size": 400,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: Mapping[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "gpt2": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "gptj": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "gpt_neo": {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
    "bloom": {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "mpt": {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    "opt": {"intermediate_size": "ffn_dim"},
}
"""What some families call what `_COMMON` names."""


@dataclass(frozen=True)
class Family:
    """One row of the table of models.

    Attributes:
        title: What people call it.
        kind: Its `model_type`.
        options: What its configuration has besides the common ones.
    """

    title: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False

    def make(self) -> PreTrainedModel:
        """A model of it, in evaluation mode."""
        renamed = _RENAMED.get(self.kind, {})
        config = AutoConfig.for_model(
            self.kind, **{renamed.get(name, name): value for name, value in _COMMON.items()} | dict(self.options)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return model.requires_grad_(False).eval()


FAMILIES = (
    Family("Llama", "llama"),
    Family("Mistral", "mistral", {"sliding_window": None}),
    Family("Mistral, wide window", "mistral", {"sliding_window": 128}),
    Family("Mistral, narrow window", "mistral", {"sliding_window": WINDOW}),
    Family("Qwen2", "qwen2"),
    Family("Qwen3", "qwen3", {"head_dim": 8}),
    Family(
        "Qwen3-Next",
        "qwen3_next",
        {
            "head_dim": 8,
            **_EXPERTS,
            "num_experts": 4,
            "shared_expert_intermediate_size": 24,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
        },
        refused=True,
    ),
    Family("Gemma 2", "gemma2", {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    Family(
        "Gemma 3",
        "gemma3_text",
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    Family("Phi", "phi"),
    Family("Phi-3", "phi3", {"sliding_window": WINDOW}),
    Family("OPT", "opt", {"word_embed_proj_dim": WIDTH, "init_std": 0.3}),
    Family("GPT-2", "gpt2"),
    Family("GPT-NeoX (Pythia)", "gpt_neox"),
    Family("GPT-J", "gptj", {"rotary_dim": 4}),
    Family("GPT-Neo", "gpt_neo", {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW}),
    Family("Falcon, rotary", "falcon", {"alibi": False}),
    Family("Falcon, ALiBi", "falcon", {"alibi": True}),
    Family("BLOOM", "bloom"),
    Family("MPT", "mpt", {"max_seq_len": 256}),
    Family("Cohere", "cohere"),
    Family("Granite", "granite", {"logits_scaling": 2.0}),
    Family("OLMo 2", "olmo2"),
    Family("StableLM", "stablelm"),
    Family("Mixtral", "mixtral", {"num_experts_per_tok": 2, "num_local_experts": 4}),
    Family("Qwen2-MoE", "qwen2_moe", {**_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 24}),
    Family(
        "gpt-oss",
        "gpt_oss",
        {"head_dim": 8, "num_experts_per_tok": 2, "num_local_experts": 4, "sliding_window": WINDOW},
    ),
    Family("Mamba", "mamba", {"state_size": 8}, refused=True),
    Family(
        "Mamba-2",
        "mamba2",
        {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8},
        refused=True,
    ),
    Family(
        "Jamba",
        "jamba",
        {
            "num_experts": 2,
            "num_experts_per_tok": 2,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
        refused=True,
    ),
)
