"""What the engine's rules for a GPU rest on: what edits take of its memory, the estimate beside the peak, sampling."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import sampling
import torch

from bench.engine.batching import BATCH_BUDGET
from bench.engine.memory import Footprint, device_memory, footprint_of, gb
from bench.engine.profile import PROFILES
from bench.engine.sampling import sample
from bench.policy import HFPolicy, LoadedModel
from bench.spec import Decoding, ModelSpec
from methods.decoding.experts import expert
from methods.decoding.mixture import weighted
from methods.learning.adapter import adapted, save_adapter, unwrap
from methods.learning.options import LoraOptions
from methods.learning.trainer import with_adapter
from tests.device import rows

_ROWS = 225  # of a step of sampling: nine prompts of 25


def edits(base: LoadedModel, size: rows.Size) -> str:
    """Peak memory of a merged adapter, and of two experts beside the base model; the seconds of putting one on."""
    texts = _texts(base, size)
    weights = sum(one.numel() * one.element_size() for one in base.model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_adapter(with_adapter(base, LoraOptions()), base.id, Path(folder))
        finally:
            unwrap(base.model)
        seconds: list[float] = []

        def merged() -> None:
            begun = _now()
            with adapted(base.model, Path(folder), 1.0):
                seconds.append(_now() - begun)
                sampling.ours(HFPolicy(base.model, base.tokenizer), texts)
                begun = _now()
            seconds.append(_now() - begun)

        def experts() -> None:
            with ExitStack() as stack:
                one, other = (stack.enter_context(expert(base, Path(folder))) for _ in range(2))
                plain = HFPolicy(base.model, base.tokenizer)
                sampling.ours(weighted([(1.0, plain), (2.0, one), (-2.0, other)]), texts)

        merged()
        experts()
        found = [rows.peak(merged), rows.peak(experts)]
    moved = f"put on in {seconds[0]:.2f} s, taken off in {seconds[1]:.2f} s"
    return f"weights {gb(weights)}; an adapter: {found[0]}, {moved}; base and two experts: {found[1]}"


def estimate(base: LoadedModel, size: rows.Size) -> str:
    """What batches of the size that the card has room for take, beside what they were said to take, and their speed."""
    said = _footprint(base)
    memory = device_memory()
    tokens = said.room_for(memory.total) if memory else BATCH_BUDGET.tokens
    texts = _texts(base, size)
    before, found = BATCH_BUDGET.tokens, []
    try:
        for BATCH_BUDGET.tokens in (before, tokens):
            begun = _now()
            done = sampling.ours(HFPolicy(base.model, base.tokenizer), texts)
            rate = done / (_now() - begun)
            found.append(f"batches of {BATCH_BUDGET.tokens:,} tokens: {rate:.0f} tokens/s")
        measured = rows.peak(lambda: sampling.ours(HFPolicy(base.model, base.tokenizer), texts))
    finally:
        BATCH_BUDGET.tokens = before
    return f"{'; '.join(found)}; said to take {gb(said.weights + said.batch(tokens))} at most, {measured}"


def nucleus(base: LoadedModel) -> str:
    """Milliseconds of a step of sampling by either rule, and whether the tokens are the same."""
    device = base.model.device
    generator = torch.Generator(device).manual_seed(4)
    logits = 2 * torch.randn(_ROWS, base.model.config.vocab_size, device=device, generator=generator)
    numbers = torch.rand(_ROWS, device=device, dtype=torch.float64, generator=generator)
    own, found, drawn = PROFILES[device.type], [], []
    try:
        for name, profile in PROFILES.items():
            PROFILES[device.type] = profile
            drawn.append(sample(logits, numbers, Decoding(top_p=0.9)).tolist())
            begun = _now()
            for _ in range(5):
                sample(logits, numbers, Decoding(top_p=0.9))
            found.append(f"{200 * (_now() - begun):.2f} ms as on a {name}")
    finally:
        PROFILES[device.type] = own
    same = sum(one == other for one, other in zip(*drawn, strict=True))
    return f"{' and '.join(found)}; {same} of {_ROWS} tokens are the same"


def _texts(base: LoadedModel, size: rows.Size) -> list[str]:
    draw = torch.Generator().manual_seed(0)
    return [rows.words(draw, size.words, base.model.config.vocab_size) for _ in range(size.prompts)]


def _footprint(base: LoadedModel) -> Footprint:
    sizes = {name: one.numel() for name, one in base.model.named_parameters()}
    spec = ModelSpec(id=base.id, dtype=str(base.model.dtype).removeprefix("torch."))
    return footprint_of(sizes, base.model.config, spec)


def _now() -> float:
    rows.settle()
    return time.perf_counter()
