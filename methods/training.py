"""Training shared by every method that learns an adapter: the same batches, LoRA shape and budget, a loss each.

A training item is one anchor with the positives and negatives drawn for it. Which items a run trains on, and in what
order, is decided beforehand from the seed alone, so that one process and several see the same global batches.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field, model_validator
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from bench.errors import MissingError, UsageError
from bench.method import RunContext
from bench.policy import LoadedModel
from bench.progress import Bar
from bench.sets import ContrastiveSet, ContrastiveSets
from bench.spec import Spec
from bench.store.files import write_json

LOG_FILE = "training.json"


class TrainingConfig(Spec):
    """Options of every trained method."""

    positives: int = Field(4, ge=0, description="positives drawn for an anchor, |P| (fewer where it has fewer)")
    negatives: int = Field(4, ge=0, description="negatives drawn for an anchor, |N|")
    steps: int = Field(40, ge=1, description="optimiser steps")
    epochs: float | None = Field(None, gt=0, description="passes over the sets; takes the place of steps")
    anchors_per_step: int = Field(2, ge=1, description="anchors in a global batch, over all processes")
    accumulation: int = Field(1, ge=1, description="micro-batches that a process adds up for one step")
    lr: float = Field(5e-4, gt=0, description="peak learning rate (AdamW)")
    scheduler: Literal["constant", "linear", "cosine"] = Field("linear", description="learning rate after warm-up")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient norm that is clipped to")
    lora_r: int = Field(16, ge=1, description="rank of the adapter")
    lora_alpha: float = Field(32.0, gt=0, description="LoRA alpha: the adapter is scaled by alpha / rank")
    lora_targets: tuple[str, ...] = Field(("all-linear",), description="modules that get an adapter")

    @model_validator(mode="after")
    def _some_texts(self) -> "TrainingConfig":
        if not self.positives + self.negatives:
            raise ValueError("positives and negatives cannot both be 0")
        return self


@dataclass(frozen=True)
class Item:
    """One anchor with the texts drawn for it."""

    anchor: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """What a loss sees of a micro-batch: its texts' likelihoods under the model being trained, with gradients.

    Attributes:
        logprob: Log-likelihood of each text given its anchor, [rows].
        tokens: Number of its own tokens (no prompt, no padding), [rows].
        group: Number of the anchor that each row belongs to, int64 [rows].
        positive: Whether each row is a positive, bool [rows].
    """

    logprob: torch.Tensor
    tokens: torch.Tensor
    group: torch.Tensor
    positive: torch.Tensor

    @property
    def phi(self) -> torch.Tensor:
        """Log-perplexity: the mean negative log-likelihood of a text's tokens, [rows]."""
        return -self.logprob / self.tokens


Loss = Callable[[Scores], torch.Tensor]


def draw_items(sets: ContrastiveSets, config: TrainingConfig, seed: int) -> list[Item]:
    """The items of a whole run, in order: pass after pass over the shuffled anchors, texts drawn anew each time.

    Raises:
        MissingError: no set has both the positives and the negatives that the configuration asks for.
    """
    usable = [
        one for one in sets.sets if (one.positives or not config.positives) and (one.negatives or not config.negatives)
    ]
    if not usable:
        kinds = [kind for kind in ("positives", "negatives") if getattr(config, kind)]
        raise MissingError(f"none of the {len(sets)} contrastive sets ({sets.source}) has {' and '.join(kinds)}")
    random = np.random.default_rng(seed)
    count = total_steps(len(usable), config) * config.anchors_per_step
    order: list[int] = []
    while len(order) < count:
        order.extend(random.permutation(len(usable)).tolist())
    return [_draw(usable[number], config, random) for number in order[:count]]


def total_steps(anchors: int, config: TrainingConfig) -> int:
    """Optimiser steps: as given, or those that `epochs` passes over so many anchors take."""
    if config.epochs is None:
        return config.steps
    return max(1, math.ceil(config.epochs * anchors / config.anchors_per_step))


def _draw(one: ContrastiveSet, config: TrainingConfig, random: np.random.Generator) -> Item:
    def some(texts: Sequence[Any], count: int) -> tuple[str, ...]:
        chosen = random.permutation(len(texts))[:count]
        return tuple(texts[number].text for number in chosen)

    return Item(one.anchor, some(one.positives, config.positives), some(one.negatives, config.negatives))


class Collator:
    """Items to tensors: anchors padded on the left, texts on the right, so that texts begin at one column."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take the tokenizer."""
        self.tokenizer = tokenizer

    def __call__(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        """Tensors of a micro-batch.

        Returns:
            input_ids and attention_mask [rows, width]; `start`, the column at which the texts begin (0-d); `group` and
            `positive` [rows].
        """
        rows = [
            (*self._encode(item.anchor, text), number, positive)
            for number, item in enumerate(items)
            for positive, texts in ((True, item.positives), (False, item.negatives))
            for text in texts
        ]
        before = max(len(prompt) for prompt, _, _, _ in rows)
        after = max(len(text) for _, text, _, _ in rows)
        tokens = torch.zeros(len(rows), before + after, dtype=torch.int64)
        mask = torch.zeros_like(tokens)
        for place, (prompt, text, _, _) in enumerate(rows):
            span = slice(before - len(prompt), before + len(text))
            tokens[place, span] = torch.tensor(prompt + text)
            mask[place, span] = 1
        return {
            "input_ids": tokens,
            "attention_mask": mask,
            "start": torch.tensor(before),
            "group": torch.tensor([number for _, _, number, _ in rows]),
            "positive": torch.tensor([positive for _, _, _, positive in rows]),
        }

    def _encode(self, anchor: str, text: str) -> tuple[list[int], list[int]]:
        """Tokens of the anchor and of the text after it: the whole's, where the tokenizer keeps the seam."""
        prompt = list(self.tokenizer(anchor)["input_ids"]) or [
            self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
        ]
        whole = list(self.tokenizer(anchor + text)["input_ids"])
        if whole[: len(prompt)] == prompt and len(whole) > len(prompt):
            return prompt, whole[len(prompt) :]
        return prompt, list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def score_batch(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Scores:
    """Log-likelihoods of a micro-batch's texts; logits are made at the texts' own positions alone."""
    ids, mask, start = batch["input_ids"], batch["attention_mask"], int(batch["start"])
    targets, present = ids[:, start:], mask[:, start:]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=targets.shape[1] + 1
    ).logits[:, -targets.shape[1] - 1 : -1]
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    logprob = -(nll.view(targets.shape) * present).sum(-1)
    return Scores(logprob, present.sum(-1), batch["group"], batch["positive"])


class _SetTrainer(Trainer):
    """Trainer over items with a loss on their likelihoods."""

    def __init__(self, loss: Loss, seen: list[dict[str, float]], **options: Any) -> None:
        super().__init__(**options)
        self.set_loss, self.seen = loss, seen
        self.model_accepts_loss_kwargs = False  # the loss is a mean over anchors: micro-batches are averaged
        self.tokens = 0

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss on one micro-batch; what it saw is kept for the log."""
        del return_outputs, num_items_in_batch
        scores = score_batch(model, inputs)
        loss = self.set_loss(scores)
        self.tokens += int(inputs["attention_mask"].sum())
        self.seen.append({"loss": float(loss.detach()), **_mean_phi(scores)})
        return loss


def _mean_phi(scores: Scores) -> dict[str, float]:
    phi, positive = scores.phi.detach(), scores.positive
    kinds = {"phi_positives": phi[positive], "phi_negatives": phi[~positive]}
    return {name: float(values.mean()) for name, values in kinds.items() if len(values)}


class _Report(TrainerCallback):
    """Moves the bar and refuses to go on from a loss that is not a number."""

    def __init__(self, bar: Bar, seen: list[dict[str, float]]) -> None:
        self.bar, self.seen = bar, seen
        self.log: list[dict[str, float]] = []

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        """Fold the micro-batches of a step into one line of the log."""
        del arguments, options
        seen = list(self.seen)
        self.seen.clear()
        self.log.append({name: float(np.mean([one[name] for one in seen if name in one])) for name in seen[0]})
        if not math.isfinite(self.log[-1]["loss"]):
            raise MissingError(f"the loss is not a number at step {len(self.log)}", mend="lower the learning rate (lr)")
        self.bar.advance()


def train_adapter(
    base: LoadedModel,
    sets: ContrastiveSets | None,
    config: TrainingConfig,
    loss: Loss,
    ctx: RunContext,
    name: str = "train",
) -> dict[str, Any]:
    """Train a LoRA adapter on contrastive sets and leave it in `ctx.folder`; the base model is as it was.

    Args:
        base: The base model.
        sets: The contrastive sets.
        config: The budget and the adapter's shape.
        loss: From a micro-batch's likelihoods to the loss, a mean over its anchors.
        ctx: Folder, seed, progress.
        name: What the bar says.

    Returns:
        steps, tokens trained on (prompts included), trainable parameters, number of anchors.
    """
    if sets is None:
        raise MissingError("training needs contrastive sets and got none")
    items = draw_items(sets, config, ctx.seed)
    steps = len(items) // config.anchors_per_step
    arguments = _arguments(config, steps, ctx)
    set_seed(ctx.seed)
    model = get_peft_model(base.model, _lora(config))
    try:
        with ctx.progress.bar(name, steps, "steps") as bar:
            seen: list[dict[str, float]] = []
            report = _Report(bar, seen)
            trainer = _SetTrainer(
                loss=loss,
                seen=seen,
                model=model,
                args=arguments,
                train_dataset=items,
                data_collator=Collator(base.tokenizer),
                callbacks=[report],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        if trainer.is_world_process_zero():
            _save(model, base.id, ctx.folder)
            write_json(ctx.folder / LOG_FILE, report.log)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    finally:
        model.unload()
        base.model.requires_grad_(False)
        base.model.eval()
    processes = arguments.world_size
    return {
        "steps": steps,
        "anchors": len(sets),
        "trained_tokens": trainer.tokens * processes,
        "trainable_parameters": trainable,
        "processes": processes,
    }


def _lora(config: TrainingConfig) -> LoraConfig:
    targets: Any = list(config.lora_targets)
    if targets == ["all-linear"]:
        targets = "all-linear"
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # any number works: it is a factor over the rank
        target_modules=targets,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def _arguments(config: TrainingConfig, steps: int, ctx: RunContext) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share, rest = divmod(config.anchors_per_step, processes * config.accumulation)
    if rest:
        raise UsageError(
            f"anchors_per_step = {config.anchors_per_step} cannot be shared by {processes} processes with "
            f"accumulation = {config.accumulation}",
            mend="make it a multiple of their product",
        )
    return TrainingArguments(
        output_dir=str(ctx.folder),
        max_steps=steps,
        per_device_train_batch_size=share,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.lr,
        lr_scheduler_type=config.scheduler,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        train_sampling_strategy="sequential",
        seed=ctx.seed,
        data_seed=ctx.seed,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _save(model: PeftModel, base_id: str, folder: Path) -> None:
    """Write the adapter; sets of names are sorted, so that the same seed gives the same bytes."""
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_id
    config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    write_json(path, dict(sorted(config.items())))


@contextmanager
def adapted(model: PreTrainedModel, folder: Path, scale: float) -> Iterator[None]:
    """Give a model the weights that an adapter, scaled, makes of them; on exit it holds its own tensors again.

    The merged weights are new tensors, so that the base's come back bit for bit and the edited model is as fast as the
    base.
    """
    own = [(parameter, parameter.data) for parameter in model.parameters()]
    wrapped = PeftModel.from_pretrained(model, str(folder))
    try:
        _scale(wrapped, scale)
        wrapped.merge_and_unload(safe_merge=True)
        yield
    finally:
        for parameter, data in own:
            parameter.data = data
        model.requires_grad_(False)
        model.eval()


def _scale(model: torch.nn.Module, scale: float) -> None:
    for module in model.modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            for adapter in scaling:
                scaling[adapter] *= scale
