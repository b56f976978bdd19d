"""Tiny random models of the common causal families: float32, one seed, the vocabulary of the tiny model."""

from collections.abc import Mapping, Sequence
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
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "gpt2": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "gptj": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "gpt_neo": {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
    "bloom": {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "mpt": {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    "opt": {"intermediate_size": "ffn_dim"},
}
"""What some families call what `_COMMON` names."""


_NORMALISED = {"bloom", "gemma2", "gemma3_text", "olmo2"}
"""Families that change what their matrices write before it is added."""


@dataclass(frozen=True)
class Family:
    """One row of the table of models, which the tests hold.

    Attributes:
        title: What people call it.
        kind: Its `model_type`.
        options: What its configuration has besides the common ones.
        keeps_state: Whether it is refused, as layers of it keep a state.
        packed: Whether texts of one anchor share a row in training.
        experts: Whether its feed-forward blocks are routed experts, which `dinm` refuses.
        unreached: Whether an adapter on all linear layers does not reach these experts.
    """

    title: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keeps_state: bool = False
    packed: bool = True
    experts: bool = False
    unreached: bool = False

    @property
    def tells_writers(self) -> bool:
        """Whether `ablation` can tell all that writes: one matrix a block, and what it writes is added as it is."""
        return not self.experts and self.kind not in _NORMALISED

    def make(self) -> PreTrainedModel:
        """A model of it, in evaluation mode."""
        renamed = _RENAMED.get(self.kind, {})
        common = {renamed.get(name, name): value for name, value in _COMMON.items()}
        config = AutoConfig.for_model(self.kind, **common | dict(self.options))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return model.requires_grad_(False).eval()


_GEMMA: Mapping[str, Any] = {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}
_EXPERTS: Mapping[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "num_experts": 4}
_SHARED_EXPERT: Mapping[str, Any] = {**_EXPERTS, "shared_expert_intermediate_size": 24}
_LOCAL_EXPERTS: Mapping[str, Any] = {"num_experts_per_tok": 2, "num_local_experts": 4}
_LATENT: Mapping[str, Any] = {
    **{"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    **{"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "n_shared_experts": 1},
    "num_key_value_heads": HEADS,
}
FAMILIES = (
    Family("BLOOM", "bloom", packed=False),
    Family("Cohere (Command R)", "cohere"),
    Family(
        "Cohere 2 (Command R7B)",
        "cohere2",
        {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
        packed=False,
    ),
    Family("DeepSeek-V3", "deepseek_v3", {**_EXPERTS, **_LATENT}, experts=True),
    Family("Falcon, ALiBi", "falcon", {"alibi": True}, packed=False),
    Family("Falcon, rotary", "falcon", {"alibi": False}),
    Family("Gemma", "gemma", {"head_dim": 8}),
    Family("Gemma 2", "gemma2", _GEMMA, packed=False),
    Family(
        "Gemma 3",
        "gemma3_text",
        {**_GEMMA, "layer_types": ["sliding_attention", "full_attention"]},
        packed=False,
    ),
    Family("GPT-2", "gpt2"),
    Family("GPT-J", "gptj", {"rotary_dim": 4}),
    Family("GPT-Neo", "gpt_neo", {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW}, packed=False),
    Family("GPT-NeoX (Pythia)", "gpt_neox"),
    Family(
        "gpt-oss",
        "gpt_oss",
        {
            **_LOCAL_EXPERTS,
            "head_dim": 8,
            "sliding_window": WINDOW,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        packed=False,
        experts=True,
        unreached=True,
    ),
    Family("Granite", "granite", {"logits_scaling": 2.0}),
    Family("Llama", "llama"),
    Family("Mistral", "mistral", {"sliding_window": None}),
    Family("Mistral, narrow window", "mistral", {"sliding_window": WINDOW}, packed=False),
    Family("Mistral, wide window", "mistral", {"sliding_window": 128}),
    Family("Mixtral", "mixtral", _LOCAL_EXPERTS, experts=True),
    Family("MPT", "mpt", {"max_seq_len": 256}, packed=False),
    Family("OLMo 2", "olmo2"),
    Family("OPT", "opt", {"word_embed_proj_dim": WIDTH, "init_std": 0.3}),
    Family("Phi", "phi"),
    Family("Phi-3", "phi3", {"sliding_window": WINDOW}, packed=False),
    Family("Qwen2", "qwen2"),
    Family("Qwen2-MoE", "qwen2_moe", _SHARED_EXPERT, experts=True, unreached=True),
    Family("Qwen3", "qwen3", {"head_dim": 8}),
    Family("Qwen3-MoE", "qwen3_moe", {**_EXPERTS, "head_dim": 8}, experts=True),
    Family("StableLM", "stablelm"),
    Family("StarCoder2", "starcoder2", {"sliding_window": WINDOW}, packed=False),
    Family(
        "Jamba",
        "jamba",
        {**_LOCAL_EXPERTS, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
        keeps_state=True,
    ),
    Family("Mamba", "mamba", {"state_size": 8}, keeps_state=True),
    Family(
        "Mamba-2",
        "mamba2",
        {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8},
        keeps_state=True,
    ),
    Family("LFM2", "lfm2", {"layer_types": ["conv", "full_attention"]}, keeps_state=True),
    Family("Qwen3.5", "qwen3_5_text", {"layer_types": ["linear_attention", "full_attention"]}, keeps_state=True),
    Family(
        "Qwen3-Next",
        "qwen3_next",
        {
            **_SHARED_EXPERT,
            "head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        keeps_state=True,
    ),
)


def table() -> str:
    """The families, and what holds for each, as Markdown."""
    lines = [
        "| family | `model_type` | generation and likelihood | trained with | the adapter reaches | `dinm` |",
        "|---|---|---|---|---|---|",
    ]
    for one in FAMILIES:
        cells = ["refused"] + ["-"] * 3
        if not one.keeps_state:
            cells = [
                "right",
                "shared rows" if one.packed else "a row a text",
                "all but routed experts" if one.unreached else "all",
                "refused" if one.experts else "right",
            ]
        lines.append(f"| {' | '.join([one.title, f'`{one.kind}`', *cells])} |")
    return "\n".join(lines) + "\n"


def some_tokens(count: int, seed: int) -> list[int]:
    """Random tokens, none of them special."""
    tokens: list[int] = torch.randint(3, 400, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return tokens


def logprobs_alone(model: torch.nn.Module, row: Sequence[int]) -> torch.Tensor:
    """Log-probabilities after every token of a row, [tokens, vocabulary], read at once without padding or cache."""
    logits: torch.Tensor = model(torch.tensor([list(row)]), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)


def likelihood_of(logprobs: torch.Tensor, context: Sequence[int], continuation: Sequence[int]) -> float:
    """Log-likelihood of a continuation, of the log-probabilities after every token of it and its context."""
    found = logprobs[len(context) - 1 : -1].gather(-1, torch.tensor(list(continuation))[:, None])
    return float(found.sum())


_HEAD = some_tokens(12, 0)
REQUESTS = [
    *[
        ([*_HEAD, *some_tokens(tail, tail)], some_tokens(more, 40 + more))
        for tail in (9, 1, 17, 9, 3)
        for more in (1, 6)
    ],
    *[(some_tokens(count, 60 + count), some_tokens(7, 70)) for count in (2, 21)],
]
"""Contexts with a common beginning and tails of several lengths, and others; some are wider than a narrow window."""
