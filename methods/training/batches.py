"""From contrastive sets to the likelihoods that a loss sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from bench.engine.generation import encode_after
from bench.errors import MissingError
from bench.sets import ContrastiveSet, ContrastiveSets
from methods.training.config import TrainingConfig, total_steps


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
            (*encode_after(self.tokenizer, item.anchor, text), number, positive)
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
