"""TRL's GRPO trainer on the sets' anchors, rewarded by the scorer."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl.trainer.grpo_config import GRPOConfig as Arguments
from trl.trainer.grpo_trainer import GRPOTrainer

from bench.engine.generation import encode_prompt, text_after
from bench.engine.processes import processes
from bench.engine.tokens import context_length, encode, first_token, refuse_beyond
from bench.errors import MissingError, UsageError
from bench.method import TRAINING_LOG, RunContext
from bench.policy import HFPolicy, LoadedModel
from bench.progress import Bar
from bench.sets import ContrastiveSets
from bench.store.files import write_json
from methods.learning.adapter import note_left_out, restored, save_adapter
from methods.learning.batches import draw_order
from methods.learning.trainer import per_process, refuse_broken, training_options, with_adapter

if TYPE_CHECKING:
    from methods.grpo import GRPOConfig

_KEPT = {
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward_std",
    "entropy": "entropy",
    "kl": "kl",
    "completions/mean_length": "tokens",
}
"""What of TRL's own log goes into ours, by the name that it has there."""


class _Trainer(GRPOTrainer):
    """TRL's trainer, which reports to nobody and reads prompts as the engine does."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Without what the tokenizer puts after a text: a prompt is not continued after its end."""
        tokenizer: Any = self.processing_class
        return [encode(tokenizer, prompt) for prompt in prompts], None, {}


class _Reward:
    """1 - toxicity of a continuation; none where it is blank or has no score, so that neither passes for clean."""

    __name__ = "cleanness"

    def __init__(self, base: LoadedModel, unwanted: Callable[[Sequence[str]], list[float | None]]) -> None:
        self.policy, self.unwanted = HFPolicy(base.model, base.tokenizer), unwanted
        self.steps, self.missing = 0, 0

    def __call__(self, prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        """Reward the continuations of one step.

        Raises:
            MissingError: none of them can be rewarded.
        """
        texts = [
            text_after(self.policy, encode_prompt(self.policy, prompt), ids)
            for prompt, ids in zip(prompts, completion_ids, strict=True)
        ]
        scores = iter(self.unwanted([text for text in texts if text.strip()]))
        found = [next(scores) if text.strip() else None for text in texts]
        self.steps += 1
        self.missing += found.count(None)
        if found.count(None) == len(found):
            raise MissingError(
                f"none of the continuations of step {self.steps} has a reward: they are blank or have no score",
                mend="lower the learning rate (lr), or check the scorer",
            )
        return [None if one is None else 1 - one for one in found]


class _Report(TrainerCallback):
    """Moves the bar, keeps the log, and refuses to go on from numbers that are not finite."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.log: list[dict[str, float]] = []

    def on_log(self, *arguments: Any, **options: Any) -> None:
        """Keep one step's figures."""
        del arguments
        logs = options["logs"]
        if "loss" not in logs:  # the summary at the end
            return
        self.log.append({name: logs[key] for key, name in _KEPT.items() if logs.get(key) is not None})
        if not all(math.isfinite(value) for value in self.log[-1].values()):
            raise MissingError(f"the loss is not a number at step {len(self.log)}", mend="lower the learning rate (lr)")
        self.bar.advance()


def train_on_reward(
    base: LoadedModel, sets: ContrastiveSets | None, config: "GRPOConfig", ctx: RunContext
) -> dict[str, Any]:
    """Train a LoRA adapter on continuations of the sets' anchors and leave it in `ctx.folder`; the base is as it was.

    Returns:
        steps, tokens trained on (prompts included), trainable parameters, number of anchors, number of continuations
        without a reward.

    Raises:
        MissingError: there are no sets or no scorer, nothing can be rewarded, or the numbers are not finite.
        UsageError: the continuations cannot be shared, a target is no module, or there are several processes.
    """
    if sets is None or ctx.unwanted is None:
        raise MissingError("the method learns from contrastive sets' anchors and from a scorer, and lacks one of them")
    if processes() > 1:
        raise UsageError("what is sampled differs with the number of processes", mend="use one process")
    prompts = _prompts(base, sets, config, ctx.seed)
    longest = max(len(encode(base.tokenizer, prompt)) for prompt in set(prompts))
    refuse_beyond(
        context_length(base.model),
        longest + config.max_new_tokens,
        "an anchor with its continuation",
        "lower the method's max_new_tokens, or shorten the anchors",
    )
    steps = len(prompts) // config.anchors_per_step
    share = per_process(config.anchors_per_step * config.generations, config, "anchors_per_step * generations")
    arguments = Arguments(**_options(config, steps, share, ctx))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # as in the shared trainer
    reward = _Reward(base, ctx.unwanted)
    set_seed(ctx.seed)
    with restored(base.model), _quiet(), ctx.progress.bar("train grpo", steps, "steps") as bar:
        model, report = with_adapter(base, config), _Report(bar)
        left_out = note_left_out(model, base.id, ctx.progress)
        trainer = _Trainer(
            model=model,
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=base.tokenizer,
            callbacks=[report],
        )
        trainer.remove_callback(PrinterCallback)
        _train(trainer)
        refuse_broken(model)
        save_adapter(model, base.id, ctx.folder)
        write_json(ctx.folder / TRAINING_LOG, report.log)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "steps": steps,
        "anchors": len(sets),
        "trained_tokens": int(trainer.state.num_input_tokens_seen),
        "trainable_parameters": trainable,
        **left_out,
        "processes": 1,
        "unrewarded": reward.missing,
    }


def _prompts(base: LoadedModel, sets: ContrastiveSets, config: "GRPOConfig", seed: int) -> list[str]:
    """The anchors of the whole run, in the order in which the other methods go through them."""
    order = draw_order(len(sets), config, np.random.default_rng(seed))
    start = str(base.tokenizer.decode([first_token(base.tokenizer)]))  # what an empty prompt is read as
    return [sets.sets[number].anchor or start for number in order]


def _options(config: "GRPOConfig", steps: int, share: int, ctx: RunContext) -> dict[str, Any]:
    """The shared trainer's options and GRPO's; those that TRL sets otherwise are put back."""
    return training_options(config, steps, share, ctx) | {
        "num_generations": config.generations,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "beta": config.beta,
        "loss_type": "dapo",  # TRL's default today
        "scale_rewards": config.scale_rewards,
        "shuffle_dataset": False,
        "gradient_checkpointing": config.gradient_checkpointing,
        "bf16": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
    }


def _train(trainer: GRPOTrainer) -> None:
    try:
        trainer.train()
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise MissingError("the model's logits are not numbers", mend="lower the learning rate (lr)") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TRL's warnings off the terminal: they quote continuations."""
    logger = logging.getLogger("trl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
