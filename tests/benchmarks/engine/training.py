"""Training: a step on packed texts against a padded one, and against TRL's DPOTrainer on the same pairs."""

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from duel import Row, Work
from machine import peak_memory

from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode_after
from bench.policy import HFPolicy, LoadedModel
from bench.sets import ContrastiveSets
from methods.contrastive import ContrastiveConfig, objective
from methods.dpo import DPO, DPOConfig
from methods.learning.adapter import unwrap
from methods.learning.batches import Collator, Item, Likelihoods, Loss, draw_items, score_batch
from methods.learning.trainer import with_adapter

_MIB = 2**20
_TRL = "TRL's DPOTrainer, 8 pairs a step"


def padded_step(model: torch.nn.Module, batch: dict[str, Any], loss: Loss) -> torch.Tensor:
    """One row a text, logits of every position kept: what a training loop written down plainly does."""
    ids, mask, start = batch["input_ids"], batch["attention_mask"], int(batch["start"])
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0), use_cache=False
    ).logits
    found = logits.float().log_softmax(-1)[:, start - 1 : -1].gather(-1, ids[:, start:, None])[..., 0]
    own = found * mask[:, start:]
    return loss(Likelihoods(own.sum(-1), mask[:, start:].sum(-1), batch["group"], batch["positive"]))


def rows(base: LoadedModel, sets: ContrastiveSets, steps: int) -> list[Row]:
    """A contrastive step of 4 + 4 texts an anchor, and `contrastive` and `dpo` against TRL."""
    config = ContrastiveConfig(steps=steps)
    items = draw_items(sets, config, 0)
    share = config.anchors_per_step
    batches = [items[start : start + share] for start in range(0, len(items), share)]

    def contrastive(scores: Likelihoods) -> torch.Tensor:
        return objective(scores, config)

    def descend(step: Callable[[torch.nn.Module, Sequence[Item]], torch.Tensor]) -> tuple[float, float]:
        """Forward and backward on every batch: the number of texts and the seconds, without making the adapter."""
        model = with_adapter(base, config)
        try:
            started = time.perf_counter()
            for batch in batches:
                step(model, batch).backward()
            seconds = time.perf_counter() - started
        finally:
            unwrap(base.model)
        return float(sum(len(one.positives) + len(one.negatives) for one in items)), seconds

    def packed(model: torch.nn.Module, batch: Sequence[Item]) -> torch.Tensor:
        return contrastive(score_batch(model, Collator(base.tokenizer, packed=True)(batch), base=base))

    def padded(model: torch.nn.Module, batch: Sequence[Item]) -> torch.Tensor:
        return padded_step(model, Collator(base.tokenizer)(batch), contrastive)

    def memory() -> str:
        ours, theirs = peak_memory(lambda: descend(packed)), peak_memory(lambda: descend(padded))
        if ours is None or theirs is None:
            return "memory: not known here"
        return f"peak memory above the model's {ours / _MIB:.0f} MiB against {theirs / _MIB:.0f}: {ours / theirs:.2f}x"

    dpo = DPO(DPOConfig(steps=steps))

    def ours_dpo() -> tuple[float, float]:
        """The reference, once a text, counts."""
        started = time.perf_counter()
        pairs = list(dict.fromkeys((one.anchor, text) for one in items for text in (*one.positives, *one.negatives)))
        scored = loglikelihood(
            HFPolicy(base.model, base.tokenizer), [encode_after(base.tokenizer, *pair) for pair in pairs]
        )
        reference = {pair: one.logprob for pair, one in zip(pairs, scored, strict=True)}
        before = time.perf_counter() - started
        collate = Collator(base.tokenizer, reference, packed=True)
        done, seconds = descend(lambda model, batch: dpo.loss(score_batch(model, collate(batch), base=base)))
        return done, before + seconds

    return [
        Row(
            f"contrastive step, {config.positives} + {config.negatives} an anchor, {share} anchors",
            "plain padded step, full logits",
            "texts",
            1.6,
            lambda: descend(packed),
            lambda: descend(padded),
            memory,
        ),
        *(
            Row(
                f"`{name}`, the same texts",
                "TRL's DPOTrainer, 8 pairs a step",
                "texts",
                3,
                work,
                trl(base, items),
            )
            for name, work in (("contrastive", lambda: descend(packed)), ("dpo", ours_dpo))
        ),
    ]


def trl(base: LoadedModel, items: Sequence[Item]) -> Work:
    """Forward and backward of TRL's trainer on the pairs that the items make; its set-up is not timed."""
    pairs = [
        {"prompt": one.anchor, "chosen": chosen, "rejected": rejected}
        for one in items
        for chosen, rejected in zip(one.positives, one.negatives, strict=False)
    ]

    def work() -> tuple[float, float]:
        # Imported here: the other rows are measured where these are not installed.
        from datasets import Dataset
        from trl import DPOConfig as TheirConfig
        from trl import DPOTrainer

        model = with_adapter(base, ContrastiveConfig())
        try:
            with tempfile.TemporaryDirectory() as folder:
                options = TheirConfig(
                    folder,
                    per_device_train_batch_size=8,
                    use_cpu=not torch.cuda.is_available(),
                    report_to=[],
                    bf16=False,
                    disable_tqdm=True,
                )
                trainer = DPOTrainer(
                    model=model,
                    args=options,
                    train_dataset=Dataset.from_list(pairs),
                    processing_class=base.tokenizer,
                )
                started = time.perf_counter()
                for batch in trainer.get_train_dataloader():
                    trainer.compute_loss(trainer.model, batch).backward()
                seconds = time.perf_counter() - started
        finally:
            unwrap(base.model)
        return 2.0 * len(pairs), seconds

    return work
