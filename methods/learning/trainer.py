"""The shared trainer, on `transformers.Trainer`, so that `accelerate launch` works."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from bench.engine.architecture import attention_window
from bench.engine.processes import processes
from bench.engine.tokens import encode_after
from bench.errors import MissingError, UsageError
from bench.method import TRAINING_LOG, Leave, RunContext
from bench.policy import LoadedModel
from bench.progress import Bar
from bench.sets import ContrastiveSets
from bench.store.files import write_json
from methods.learning.adapter import note_left_out, restored, save_adapter, tied_edit, unwrap
from methods.learning.batches import (
    Asks,
    Collator,
    Item,
    Likelihoods,
    Loss,
    draw_items,
    refuse_long,
    required_sets,
    score_batch,
)
from methods.learning.options import LoraOptions, TrainingConfig
from methods.learning.packing import packable
from methods.learning.reference import pairs_of, reference_of

_CHECKPOINTING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}


class _SetTrainer(Trainer):
    """Trainer over items with a loss on their likelihoods."""

    def __init__(self, base: LoadedModel, loss: Loss, report: "_Report", *, prompts: bool, **options: Any) -> None:
        super().__init__(**options, callbacks=[report])
        self.remove_callback(PrinterCallback)
        self.base, self.set_loss, self.seen, self.prompts = base, loss, report.seen, prompts
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
        likelihoods = score_batch(model, inputs, prompts=self.prompts, base=self.base)
        loss = self.set_loss(likelihoods)
        self.tokens += int(inputs["tokens"])
        self.seen.append({"loss": float(loss.detach()), **_mean_phi(likelihoods)})
        return loss


def _mean_phi(likelihoods: Likelihoods) -> dict[str, float]:
    phi, positive = likelihoods.phi.detach(), likelihoods.positive
    kinds = {"phi_positives": phi[positive], "phi_negatives": phi[~positive]}
    return {name: float(values.mean()) for name, values in kinds.items() if len(values)}


class _Report(TrainerCallback):
    """Moves the bar and refuses to go on from a loss that is not a number."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.seen: list[dict[str, float]] = []  # of each micro-batch since the last step
        self.log: list[dict[str, float]] = []

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        """Fold the micro-batches of a step into one line of the log."""
        del arguments, options
        seen = list(self.seen)
        self.seen.clear()
        self.log.append({name: float(np.mean([one[name] for one in seen if name in one])) for name in seen[0]})
        if not _everywhere(math.isfinite(self.log[-1]["loss"])):
            raise MissingError(f"the loss is not a number at step {len(self.log)}", mend="lower the learning rate (lr)")
        self.bar.advance()


class _Along(TrainerCallback):
    """Leaves the adapter as it is after some steps, and ends the training after another."""

    def __init__(self, points: Mapping[int, Callable[[Leave], None]], until: int | None, leave: Leave) -> None:
        self.points, self.until, self.leave = points, until, leave

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        """Do what is to be done after this step."""
        del options
        _, state, control, *_ = arguments
        if state.global_step in self.points:
            self.points[state.global_step](self.leave)
        control.should_training_stop = control.should_training_stop or state.global_step == self.until


def _everywhere(good: bool) -> bool:
    """Whether all processes say so: each must stop where one does, or the others would wait for it."""
    return _sum(int(not good)) == 0


def _sum(value: int) -> int:
    """The sum over all processes."""
    if not torch.distributed.is_initialized():
        return value
    total = torch.tensor(value, device="cuda" if torch.cuda.is_available() else "cpu")
    torch.distributed.all_reduce(total)
    return int(total)


def train_adapter(
    base: LoadedModel,
    sets: ContrastiveSets | None,
    config: TrainingConfig,
    loss: Loss,
    ctx: RunContext,
    name: str = "train",
    *,
    asks: Asks = Asks(),  # noqa: B008 - it does not change
    until: int | None = None,
) -> dict[str, Any]:
    """Train a LoRA adapter on contrastive sets and leave it in `ctx.folder`; the base model is as it was.

    After each of `ctx.points` it is left as it is then: wherever the training ends, each step is that of the whole one.

    Args:
        base: The base model.
        sets: The contrastive sets.
        config: The budget and the adapter's shape.
        loss: From a micro-batch's likelihoods to the loss, a mean over its anchors.
        ctx: Folder, seed, progress.
        name: What the bar says.
        asks: What the loss asks for besides the texts' likelihoods.
        until: The step after which to end, in place of the last.

    Returns:
        steps, tokens trained on (prompts included), trainable parameters, number of anchors, experts left out if any.

    Raises:
        MissingError: the sets lack what is learned from, or the loss or the adapter is not finite.
        UsageError: the anchors cannot be shared, a target is no module, or mismatched texts are asked for and a
            micro-batch has no two anchors, or there are several processes; or `until` is not before the last step.
    """
    sets = required_sets(sets, "training")
    items = draw_items(sets, config, ctx.seed)
    steps = len(items) // config.anchors_per_step
    _refuse_beyond(until, steps)
    share = per_process(config.anchors_per_step, config)
    _refuse_unmismatched(items, share, asks)
    collator = _collator(base, items, share, asks, ctx)
    set_seed(ctx.seed)
    with restored(base.model):
        model = with_adapter(base, config)
        left_out = note_left_out(model, base.id, ctx.progress)
        with ctx.progress.bar(name, until or steps, "steps") as bar:
            report = _Report(bar)
            trainer = _SetTrainer(
                base,
                loss=loss,
                report=report,
                prompts=asks.prompts,
                model=model,
                args=_arguments(config, steps, share, ctx),
                train_dataset=items,
                data_collator=collator,
            )
            leave = partial(_save, trainer, model, base.id, report.log, {"anchors": len(sets), **left_out})
            trainer.add_callback(_Along(ctx.points, until, leave))
            trainer.train()
        return leave(ctx.folder)


def _refuse_beyond(until: int | None, steps: int) -> None:
    if until is not None and until >= steps:
        raise UsageError(f"until = {until} is not before the last of {steps} steps", mend="lower it, or leave it out")


def _collator(base: LoadedModel, items: list[Item], share: int, asks: Asks, ctx: RunContext) -> Collator:
    """What makes tensors of the items; what is too long is refused before the base model is asked for likelihoods."""
    pairs = pairs_of(items, share, asks)
    longest = refuse_long(base, pairs, asks.prefixes)
    return Collator(
        base.tokenizer,
        reference_of(base, pairs, asks, ctx),
        mismatched=asks.mismatched,
        prefixes=asks.prefixes,
        whole=asks.whole,
        packed=_packable(base, items[0], longest),
        window=attention_window(base.model.config),
    )


def _arguments(config: TrainingConfig, steps: int, share: int, ctx: RunContext) -> TrainingArguments:
    arguments = TrainingArguments(**training_options(config, steps, share, ctx))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one device a process: more would multiply the global batch
    return arguments


def _save(
    trainer: "_SetTrainer",
    model: PeftModel,
    base: str,
    log: list[dict[str, float]],
    facts: dict[str, int],
    folder: Path,
) -> dict[str, Any]:
    """Leave the adapter and the log in a folder, by the first process, and return the training's figures so far."""
    refuse_broken(model)
    if trainer.is_world_process_zero():
        save_adapter(model, base, folder)
        write_json(folder / TRAINING_LOG, log)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    figures = {"trained_tokens": _sum(trainer.tokens), "trainable_parameters": trainable}
    return {"steps": len(log), **facts, **figures, "processes": processes()}


def _packable(base: LoadedModel, item: Item, longest: int) -> bool:
    """Whether texts may share rows; the same in every process, as all see the same item."""
    texts = [encode_after(base.tokenizer, item.anchor, text) for text in (*item.positives, *item.negatives)]
    return packable(base, texts[0][0], [text for _, text in texts], longest)


def _refuse_unmismatched(items: Iterable[Item], share: int, asks: Asks) -> None:
    if not asks.mismatched:
        return
    if share == 1:
        raise UsageError(
            "the method puts texts after another anchor of the same micro-batch, and each has one anchor",
            mend="raise anchors_per_step, or lower accumulation",
        )
    if processes() > 1:
        raise UsageError("a micro-batch's other anchors differ with the number of processes", mend="use one process")
    if len({item.anchor for item in items}) == 1:
        raise MissingError("the method puts texts after another anchor, and the contrastive sets have only one")


def refuse_broken(model: torch.nn.Module) -> None:
    """Refuse to keep an adapter of numbers that are not finite.

    Raises:
        MissingError: it holds one.
    """
    if not all(bool(one.isfinite().all()) for one in model.parameters() if one.requires_grad):
        raise MissingError("the trained adapter holds numbers that are not finite", mend="lower the learning rate (lr)")


def with_adapter(base: LoadedModel, config: LoraOptions) -> PeftModel:
    """The base model with a new adapter in it.

    Raises:
        UsageError: a target is no module of the model, or is tied to another: an edit of one would change both.
    """
    names = [name for name, _ in base.model.named_modules()]
    for target in set(config.lora_targets) - {"all-linear"}:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise UsageError(
                f"'{base.id}' has no module '{target}' (lora_targets)", mend="use lora_targets=[all-linear]"
            )
    try:
        model = get_peft_model(base.model, _lora(config))
    except ValueError as error:
        unwrap(base.model)
        raise UsageError(
            f"lora_targets {', '.join(config.lora_targets)} do not fit '{base.id}' ({str(error)[:120]})",
            mend="use lora_targets=[all-linear]",
        ) from error
    if tied := tied_edit(base.model):
        unwrap(base.model)
        raise UsageError(
            f"lora_targets names '{tied}', and '{base.id}' ties its output layer to its input embeddings",
            mend="take it out of lora_targets",
        )
    return model


def _lora(config: LoraOptions) -> LoraConfig:
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


def per_process(rows: int, config: LoraOptions, name: str = "anchors_per_step") -> int:
    """How many of a global batch's rows a process works on at once.

    Raises:
        UsageError: they cannot be shared evenly; `name` says what the rows are.
    """
    share, rest = divmod(rows, processes() * config.accumulation)
    if rest:
        raise UsageError(
            f"{name} = {rows} cannot be shared by {processes()} processes with accumulation = {config.accumulation}",
            mend="make it a multiple of their product",
        )
    return share


def training_options(config: LoraOptions, steps: int, share: int, ctx: RunContext) -> dict[str, Any]:
    """Keywords of `TrainingArguments`, or of a class derived from it: nothing is reported, saved or shuffled."""
    return {
        "output_dir": str(ctx.folder),
        "max_steps": steps,
        "per_device_train_batch_size": share,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": config.lr,
        # what transformers calls "constant" leaves the warm-up out
        "lr_scheduler_type": "constant_with_warmup" if config.scheduler == "constant" else config.scheduler,
        "warmup_steps": round(config.warmup * steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "train_sampling_strategy": "sequential",
        "seed": ctx.seed,
        "data_seed": ctx.seed,
        "use_cpu": not torch.cuda.is_available(),
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **(_CHECKPOINTING if config.gradient_checkpointing else {}),
    }
