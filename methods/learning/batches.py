"""From contrastive sets to the likelihoods that a loss sees."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from bench.engine.tokens import NO_LIMIT, context_length, encode_after, refuse_beyond
from bench.errors import MissingError
from bench.policy import LoadedModel
from bench.sets import ContrastiveSet, ContrastiveSets
from methods.anatomy.beginnings import after_prefix
from methods.learning.options import Budget, Steps, total_steps
from methods.learning.packing import pack, packed_logprobs

TextRow = tuple[str, str, int, bool]
"""An anchor, a text after it, the number of the item that the text is of, and whether it is a positive."""


@dataclass(frozen=True)
class Item:
    """One anchor with the texts drawn for it."""

    anchor: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass(frozen=True)
class Asks:
    """What a loss asks for besides the texts' likelihoods.

    Attributes:
        reference: Their log-likelihoods under the base model, computed once.
        prompts: The anchors' log-likelihoods.
        mismatched: How far the model has moved on texts after another's anchor (see `mismatch`); the reference as well.
        prefixes: Tokens to read before the anchors, one prefix after the other: the rows are all texts after the first,
            then all texts after the second, and so on.
        whole: Whether a text is its anchor and itself, as it stands after a prefix (which there has to be).
    """

    reference: bool = False
    prompts: bool = False
    mismatched: bool = False
    prefixes: tuple[tuple[int, ...], ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Likelihoods:
    """What a loss sees of a micro-batch: its texts' likelihoods under the model being trained, with gradients.

    Attributes:
        logprob: Log-likelihood of each text given its anchor, [rows].
        tokens: Number of its own tokens (no prompt, no padding), [rows].
        group: Number of the anchor that each row belongs to, int64 [rows].
        positive: Whether each row is a positive, bool [rows].
        token_logprob: Log-probability of each of its tokens, 0 where `present` is 0, [rows, width].
        present: 1 where a row has a token of its own, [rows, width].
        reference: Log-likelihood of each text under the base model, [rows]; None unless the loss asks for it.
        prompt_logprob: Log-likelihood of each anchor (from its second token on), [rows]; None unless asked for.
        prompt_tokens: Number of the anchor's tokens in it, [rows].
        mismatched: Log-likelihood of each text after another's anchor less that under the base model, without gradient,
            [mismatched rows]; None unless asked for.
    """

    logprob: torch.Tensor
    tokens: torch.Tensor
    group: torch.Tensor
    positive: torch.Tensor
    token_logprob: torch.Tensor | None = None
    present: torch.Tensor | None = None
    reference: torch.Tensor | None = None
    prompt_logprob: torch.Tensor | None = None
    prompt_tokens: torch.Tensor | None = None
    mismatched: torch.Tensor | None = None

    @property
    def phi(self) -> torch.Tensor:
        """Log-perplexity: the mean negative log-likelihood of a text's tokens, [rows]."""
        return -self.logprob / self.tokens


Loss = Callable[[Likelihoods], torch.Tensor]


def required_sets(sets: ContrastiveSets | None, who: str) -> ContrastiveSets:
    """The sets, where there are any; `who` needs them.

    Raises:
        MissingError: there are none.
    """
    if sets is None:
        raise MissingError(f"{who} needs contrastive sets and got none")
    return sets


def draw_items(sets: ContrastiveSets, config: Budget, seed: int) -> list[Item]:
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
    return [_draw(usable[number], config, random) for number in draw_order(len(usable), config, random)]


def draw_order(anchors: int, config: Steps, random: np.random.Generator) -> list[int]:
    """The anchors of a whole run by number, in order: pass after pass, each shuffled."""
    count = total_steps(anchors, config) * config.anchors_per_step
    order: list[int] = []
    while len(order) < count:
        order.extend(random.permutation(anchors).tolist())
    return order[:count]


def _draw(one: ContrastiveSet, config: Budget, random: np.random.Generator) -> Item:
    def some(texts: Sequence[Any], count: int) -> tuple[str, ...]:
        chosen = random.permutation(len(texts))[:count]
        return tuple(texts[number].text for number in chosen)

    return Item(one.anchor, some(one.positives, config.positives), some(one.negatives, config.negatives))


class Collator:
    """Items to tensors: anchors padded on the left, texts on the right, so that texts begin at one column.

    Packed, the texts of an anchor share a row instead (see `methods.learning.packing`).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        reference: Mapping[tuple[str, str], float] | None = None,
        *,
        mismatched: bool = False,
        prefixes: Sequence[Sequence[int]] = (),
        whole: bool = False,
        packed: bool = False,
        window: int = NO_LIMIT,
    ) -> None:
        """Take the tokenizer and what the loss asks for.

        Args:
            tokenizer: The base model's.
            reference: Log-likelihood of every (anchor, text) under the base model, or None.
            mismatched: Whether to add the mismatched rows.
            prefixes: Tokens to read before the anchors, one prefix after the other.
            whole: Whether the anchors belong to the texts; needs prefixes.
            packed: Whether the texts of an anchor share a row.
            window: Tokens that such a row may hold: the model's window of attention.
        """
        self.tokenizer, self.reference, self.mismatched = tokenizer, reference, mismatched
        self.prefixes, self.whole, self.packed, self.window = prefixes, whole, packed, window

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        """Tensors of a micro-batch.

        Returns:
            `group` and `positive` [rows]; `tokens`, the number of tokens in the rows, prompts included (0-d); where
            asked for, `reference` [rows], and `mismatched`, a batch of this kind; and what `pack` makes, or input_ids
            and attention_mask [rows, width] and `start`, the column at which the texts begin (0-d).
        """
        batch: dict[str, Any] = self._tensors(match(items))
        if self.mismatched:
            rows = mismatch(items)
            batch["mismatched"] = self._tensors(rows) if rows else {}
        return batch

    def _tensors(self, named: Sequence[TextRow]) -> dict[str, torch.Tensor]:
        rows = [
            (*encode_after(self.tokenizer, anchor, text), number, positive) for anchor, text, number, positive in named
        ]
        if self.prefixes:
            rows = [
                (*self._after(prefix, prompt, text), number, positive)
                for prefix in self.prefixes
                for prompt, text, number, positive in rows
            ]
        texts = [row[:2] for row in rows]
        batch = {
            **(pack(texts, self.window) if self.packed else pad_texts(texts)),
            "tokens": torch.tensor(sum(len(prompt) + len(text) for prompt, text in texts)),
            "group": torch.tensor([number for _, _, number, _ in rows]),
            "positive": torch.tensor([positive for _, _, _, positive in rows]),
        }
        if self.reference is not None:
            reference = torch.tensor([self.reference[anchor, text] for anchor, text, _, _ in named])
            batch["reference"] = reference.repeat(len(rows) // len(named))
        return batch

    def _after(self, prefix: Sequence[int], prompt: list[int], text: list[int]) -> tuple[list[int], list[int]]:
        """What is read before a text that a prefix stands before, and the text."""
        before = after_prefix(self.tokenizer, prefix, prompt)
        return (before[: len(prefix)], [*before[len(prefix) :], *text]) if self.whole else (before, text)


def refuse_long(base: LoadedModel, pairs: Iterable[tuple[str, str]], prefixes: Sequence[Sequence[int]] = ()) -> int:
    """Refuse anchors with texts that are longer, after the longest prefix, than what the base model reads.

    Returns:
        Tokens of the longest.

    Raises:
        UsageError: one is.
    """
    rows = [encode_after(base.tokenizer, *pair) for pair in dict.fromkeys(pairs)]
    longest = max(map(len, prefixes), default=0) + max((len(anchor) + len(text) for anchor, text in rows), default=0)
    refuse_beyond(context_length(base.model), longest, "an anchor with its text", "shorten the texts of the sets")
    return longest


def pad_texts(rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """One row a text: its prompt padded on the left, the text on the right."""
    before, after = (max(len(row[part]) for row in rows) for part in (0, 1))
    tokens = torch.zeros(len(rows), before + after, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for place, (prompt, text) in enumerate(rows):
        span = slice(before - len(prompt), before + len(text))
        tokens[place, span] = torch.tensor(prompt + text)
        mask[place, span] = 1
    return {"input_ids": tokens, "attention_mask": mask, "start": torch.tensor(before)}


def match(items: Sequence[Item]) -> list[TextRow]:
    """Each text of a micro-batch after its own anchor: item by item, positives first."""
    return [
        (item.anchor, text, number, positive)
        for number, item in enumerate(items)
        for positive, texts in ((True, item.positives), (False, item.negatives))
        for text in texts
    ]


def mismatch(items: Sequence[Item]) -> list[TextRow]:
    """Each text of a micro-batch after an anchor that is not its own.

    The rule: all texts of an item go after the anchor of the next item of the micro-batch that has another anchor,
    where after the last comes the first. Where all items have one and the same anchor, there are none.
    """
    rows = []
    for anchor, text, number, positive in match(items):
        others = [item.anchor for item in (*items[number + 1 :], *items[:number]) if item.anchor != anchor]
        rows.extend([(others[0], text, number, positive)] if others else [])
    return rows


def score_batch(
    model: torch.nn.Module, batch: Mapping[str, Any], *, prompts: bool = False, base: LoadedModel | None = None
) -> Likelihoods:
    """Log-likelihoods of a micro-batch's texts.

    Args:
        model: The model being trained.
        batch: What the collator made; its mismatched rows are scored without a gradient.
        prompts: Whether the loss asks for the anchors' log-likelihoods too.
        base: The base model that `model` is an edit of; needed for a packed batch.
    """
    if "packed_ids" in batch:
        if base is None:
            raise TypeError("a packed batch needs the base model")
        (own, *rest), present = packed_logprobs(base, model, batch, prompts=prompts), batch["present"]
        before, before_present = (rest[0], batch["prompt_present"]) if prompts else (None, None)
    else:
        own, present, before, before_present = _padded_logprobs(model, batch, prompts=prompts)
    return Likelihoods(
        own.sum(-1),
        present.sum(-1),
        batch["group"],
        batch["positive"],
        token_logprob=own,
        present=present,
        reference=batch.get("reference"),
        prompt_logprob=None if before is None else before.sum(-1),
        prompt_tokens=None if before_present is None else before_present.sum(-1),
        mismatched=_moved(model, batch["mismatched"], base) if "mismatched" in batch else None,
    )


def _padded_logprobs(
    model: torch.nn.Module, batch: Mapping[str, Any], *, prompts: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Log-probability of the texts' tokens and where they are, then the same of the prompts' where asked for.

    Without the prompts, logits are made at the texts' own positions alone.
    """
    ids, mask, start = batch["input_ids"], batch["attention_mask"], int(batch["start"])
    first = 1 if prompts else start
    targets, present = ids[:, first:], mask[:, first:] * (mask[:, first - 1 : -1] if prompts else 1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=targets.shape[1] + 1
    ).logits[:, -targets.shape[1] - 1 : -1]
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    logprob, cut = -nll.view(targets.shape) * present, start - first
    own, real = logprob[:, cut:], present[:, cut:]
    return (own, real, logprob[:, :cut], present[:, :cut]) if prompts else (own, real, None, None)


@torch.no_grad()
def _moved(model: torch.nn.Module, batch: Mapping[str, Any], base: LoadedModel | None) -> torch.Tensor:
    """Log-likelihood of a batch's texts less that under the base model, [rows]."""
    if not batch:
        return torch.zeros(0)
    moved: torch.Tensor = score_batch(model, batch, base=base).logprob - batch["reference"]
    return moved


def paired(likelihoods: Likelihoods) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the chosen and the rejected text of each pair, two int64 [pairs].

    The rule: within an anchor, the j-th positive drawn goes with the j-th negative drawn; where one kind is fewer, it
    is gone through again, so that every text drawn is in a pair.
    """
    chosen, rejected = [], []
    for number in likelihoods.group.unique():
        own = likelihoods.group == number
        good, bad = (own & likelihoods.positive).nonzero()[:, 0], (own & ~likelihoods.positive).nonzero()[:, 0]
        count = max(len(good), len(bad)) if len(good) and len(bad) else 0
        places = torch.arange(count, device=good.device)
        chosen.append(good[places % max(len(good), 1)])
        rejected.append(bad[places % max(len(bad), 1)])
    return torch.cat(chosen), torch.cat(rejected)
