"""Sampling: RealToxicityPrompts with the base model, and with DExperts."""

import time
from collections.abc import Sequence

import torch
from duel import Row, timed
from machine import flops_a_token, peak_flops
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.engine.generation import Prompt, generate
from bench.policy import HFPolicy, LoadedModel, Policy
from bench.spec import Decoding
from methods.decoding.mixture import weighted

SAMPLES, NEW = 25, 20
_DECODING = Decoding(num_samples=SAMPLES, max_new_tokens=NEW, top_p=0.9)


def ours(policy: Policy, prompts: Sequence[str]) -> float:
    """Positions sampled by the engine: as many for each row, as `generate` pads what has ended."""
    named = [Prompt(str(number), text) for number, text in enumerate(prompts)]
    return float(sum(NEW for batch in generate(policy, named, _DECODING, 0) for _ in batch))


def hub_generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], batch: int
) -> float:
    """The same with `model.generate`."""
    tokenizer.padding_side = "left"
    done = 0
    for start in range(0, len(prompts), batch):
        inputs = tokenizer(list(prompts[start : start + batch]), return_tensors="pt", padding=True).to(model.device)
        with torch.inference_mode():
            found = model.generate(
                **inputs,
                do_sample=True,
                top_p=0.9,
                top_k=0,
                max_new_tokens=NEW,
                num_return_sequences=SAMPLES,
                pad_token_id=tokenizer.pad_token_id,
            )
        done += len(found) * NEW
    return float(done)


def published_dexperts(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    alpha: float = 2.0,
    filter_p: float = 0.9,
) -> float:
    """DExperts as its authors publish it: three full forward passes a step, no cache, the vocabulary sorted.

    (alisawuffles/DExperts, `generation/dexperts_generation.py`, described here and not copied.)
    """
    tokenizer.padding_side = "left"
    inputs = tokenizer([text for text in prompts for _ in range(SAMPLES)], return_tensors="pt", padding=True)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for _ in range(NEW):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            base, expert, anti = (
                one(ids, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, -1] for one in models
            )
            ordered, places = base.softmax(-1).sort(-1, descending=True)
            beyond = ordered.cumsum(-1) - ordered >= filter_p
            outside = torch.zeros_like(beyond).scatter(-1, places, beyond)
            mixed = (base + alpha * (expert - anti)).masked_fill(outside, -torch.inf)
            token = torch.multinomial(mixed.softmax(-1), 1, generator=generator)
            ids, mask = torch.cat([ids, token], -1), torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
    return float(len(ids) * NEW)


def rows(base: LoadedModel, experts: Sequence[PreTrainedModel], prompts: Sequence[str], many: int) -> list[Row]:
    """Both rows; the second on fewer prompts, as its peer is slow."""
    policy = HFPolicy(base.model, base.tokenizer)
    expert, anti = (HFPolicy(one, base.tokenizer) for one in experts)
    mixture = weighted([(1.0, policy), (2.0, expert), (-2.0, anti)], 0.9)
    some = list(prompts[:many])
    few = list(prompts[:4])
    bound = peak_flops() / flops_a_token(base.model)

    def share() -> str:
        started = time.perf_counter()
        rate = ours(policy, some) / (time.perf_counter() - started)
        return f"{rate / bound:.0%} of the bound of {bound:.0f} tokens/s"

    return [
        Row(
            f"RTP generation, {len(some)} prompts x {SAMPLES}, {NEW} tokens, p 0.9",
            "`model.generate`, 4 prompts x 25",
            "tokens",
            3.3,
            timed(lambda: ours(policy, some)),
            timed(lambda: hub_generate(base.model, base.tokenizer, some, 4)),
            share,
        ),
        Row(
            f"the same with `dexperts`, {len(few)} prompts",
            "the authors' loop, no cache",
            "tokens",
            15,
            timed(lambda: ours(mixture, few)),
            timed(lambda: published_dexperts([base.model, *experts], base.tokenizer, few)),
        ),
    ]
