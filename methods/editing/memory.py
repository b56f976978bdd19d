"""A linear layer as a memory: the keys that it is given, their second moment, and the closed forms of an update.

With W [outputs, inputs] a layer gives the value W k for a key k. Updates are computed in float64.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bench.engine.batching import batches, pad
from bench.engine.tokens import context_length, encode
from bench.errors import MissingError
from bench.method import RunContext
from bench.policy import LoadedModel
from bench.progress import Progress
from methods.anatomy.feed_forward import module_of
from methods.anatomy.layers import after, before, by_rows
from methods.editing.facts import Reading, contexts_of, own_texts
from methods.editing.method import KeyOptions

_KEPT = "keys"
_TOKENS = "tokens"
_RIDGE = 1e-6  # of the mean key's square length a dimension: keys that a short text never has are no reason to fail


def rank_one(key: torch.Tensor, change: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """ROME's update: the one of least ||Delta k|| over all keys with Delta key = change (arXiv 2202.05262, Equation 2).

    Args:
        key: [inputs].
        change: What the key's value is to change by, v* - W k*, [outputs].
        moment: Mean of k k^T over keys, C, [inputs, inputs].

    Returns:
        change (C^-1 k)^T / (k^T C^-1 k), of rank one, [outputs, inputs].
    """
    towards = torch.linalg.solve(moment, key)
    return torch.outer(change, towards / (key @ towards))


def spread_update(keys: torch.Tensor, changes: torch.Tensor, moment: torch.Tensor, weight: float) -> torch.Tensor:
    """MEMIT's update: of least ||Delta K - R||^2 + weight * mean ||Delta k||^2 (arXiv 2210.07229, Equation 14).

    Args:
        keys: K, [inputs, facts].
        changes: R, what their values are to change by, [outputs, facts].
        moment: Mean of k k^T over the keys to preserve, C, [inputs, inputs].
        weight: How many such keys C stands for, lambda.

    Returns:
        R K^T (weight C + K K^T)^-1, [outputs, inputs].
    """
    towards: torch.Tensor = torch.linalg.solve(weight * moment + keys @ keys.T, keys)
    return changes @ towards.T


def projected_update(
    keys: torch.Tensor, changes: torch.Tensor, free: torch.Tensor, written: torch.Tensor, ridge: float
) -> torch.Tensor:
    """AlphaEdit's update: it leaves the values of all keys that `free` projects to 0 (arXiv 2410.02355, Equation 14).

    Args:
        keys: K, [inputs, facts].
        changes: R, [outputs, facts].
        free: P, the projection on what the preserved keys do not reach, [inputs, inputs].
        written: L, keys of facts written before, [inputs, earlier facts].
        ridge: Weight of ||Delta||^2.

    Returns:
        R K^T P ((L L^T + K K^T) P + ridge I)^-1, [outputs, inputs].
    """
    reached = free @ keys
    identity = torch.eye(len(free), dtype=keys.dtype)
    update: torch.Tensor = torch.linalg.solve(
        reached @ keys.T + free @ written @ written.T + ridge * identity, reached @ changes.T
    )
    return update.T


def null_projection(moment: torch.Tensor, threshold: float) -> torch.Tensor:
    """Projection on the directions in which the preserved keys have less than a share of their mean square length.

    Args:
        moment: Mean of k k^T over the preserved keys, [inputs, inputs].
        threshold: The share; an eigenvalue below it, times the mean eigenvalue, counts as none.

    Returns:
        Symmetric, [inputs, inputs].
    """
    values, vectors = torch.linalg.eigh(moment)
    free: torch.Tensor = vectors[:, values < threshold * values.mean()]
    return free @ free.T


def free_share(moment: torch.Tensor, threshold: float) -> float:
    """How much of the preserved keys' mean square length is in the directions of `null_projection`, from 0 to 1."""
    values = torch.linalg.eigvalsh(moment)
    return float(values[values < threshold * values.mean()].sum() / values.sum())


@torch.no_grad()
def keys_at(base: LoadedModel, name: str, rows: Sequence[Reading]) -> torch.Tensor:
    """What a matrix is given at each reading's place, float64 [rows, inputs]."""
    given: list[torch.Tensor] = []

    def note(state: torch.Tensor) -> None:
        given.append(at_places(state, rows))

    with before(module_of(base, name), note):
        read(base, [row.tokens for row in rows], logits_to_keep=1)
    return given[0].double().cpu()


@torch.no_grad()
def states_at(base: LoadedModel, module: nn.Module, rows: Sequence[Reading]) -> torch.Tensor:
    """What a module returns at each reading's place, float64 [rows, hidden]."""
    found: list[torch.Tensor] = []

    def note(state: torch.Tensor) -> None:
        found.append(at_places(state, rows))

    with after([(module, note)]):
        read(base, [row.tokens for row in rows], logits_to_keep=1)
    return found[0].double().cpu()


def at_places(state: torch.Tensor, rows: Sequence[Reading]) -> torch.Tensor:
    """States at each reading's place, [rows, hidden]."""
    return by_rows(state, len(rows))[torch.arange(len(rows), device=state.device), [row.place for row in rows]]


def read(
    base: LoadedModel, rows: Sequence[Sequence[int]], logits_to_keep: int | torch.Tensor = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of rows that are padded on the right, [rows, kept, vocabulary], and the mask.

    Kept are so many last positions (0: all), or those that a tensor lists.
    """
    ids, mask = pad(rows, 0, "right", base.model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return base.model(**inputs, use_cache=False, logits_to_keep=logits_to_keep).logits, mask


@dataclass(frozen=True)
class Kept:
    """What facts are written beside.

    Attributes:
        contexts: Sentences of the model's own after which a fact is read too.
        moments: For each matrix the mean of k k^T over the keys that are to keep their values, [inputs, inputs].
        tokens: How many keys these are.
    """

    contexts: list[str]
    moments: list[torch.Tensor]
    tokens: int


def kept_keys(base: LoadedModel, names: Sequence[str], options: KeyOptions, ctx: RunContext) -> Kept:
    """What facts are written beside: the same for all facts, so that groups of them share it.

    Raises:
        MissingError: as `second_moments`.
    """
    if _KEPT not in ctx.shared:
        contexts = contexts_of(base, options.contexts, options.context_tokens, ctx.seed)
        ctx.shared[_KEPT] = Kept(contexts, *_moments_of_own_texts(base, names, options, ctx))
    found: Kept = ctx.shared[_KEPT]
    return found


def _moments_of_own_texts(
    base: LoadedModel, names: Sequence[str], options: KeyOptions, ctx: RunContext
) -> tuple[list[torch.Tensor], int]:
    """`second_moments` of texts that the model itself writes, kept for other runs."""

    def compute() -> dict[str, torch.Tensor]:
        texts = own_texts(base, "texts", options.texts, options.text_tokens, "text_tokens", ctx.seed)
        moments, tokens = second_moments(base, names, texts, ctx.progress)
        return {**dict(zip(names, moments, strict=True)), _TOKENS: torch.tensor(tokens)}

    asked = {"moments": list(names), "texts": options.texts, "tokens": options.text_tokens, "seed": ctx.seed}
    found = ctx.base_results.tensors(asked, __name__, compute)
    return [found[name] for name in names], int(found[_TOKENS])


@torch.no_grad()
def second_moments(
    base: LoadedModel, names: Sequence[str], texts: Sequence[str], progress: Progress
) -> tuple[list[torch.Tensor], int]:
    """Mean of k k^T over all tokens of texts, for each matrix: uncentred covariances, and the number of tokens.

    Raises:
        MissingError: there are no tokens, or a key is not a number.
    """
    limit = context_length(base.model)
    rows = [row for text in texts if (row := encode(base.tokenizer, text)[:limit])]
    sums: list[torch.Tensor] = [torch.zeros(())] * len(names)
    given: dict[int, torch.Tensor] = {}

    def note(number: int, state: torch.Tensor) -> None:
        given[number] = state

    with progress.bar("keys", len(rows), "texts") as bar:
        for batch in batches(rows, len, lambda _: 1):
            with ExitStack() as stack:
                for number, name in enumerate(names):
                    stack.enter_context(before(module_of(base, name), partial(note, number)))
                _, mask = read(base, batch, logits_to_keep=1)
            for number in range(len(names)):
                keys = by_rows(given[number], len(batch))[mask.bool()].double()
                sums[number] = sums[number] + (keys.T @ keys).cpu()
            bar.advance(len(batch))
    tokens = sum(map(len, rows))
    if not tokens:
        what = f"the model wrote nothing in {len(texts)} texts from nothing, and edits keep the keys of what it writes"
        raise MissingError(what, mend="raise texts, or take another model")
    if not all(total.isfinite().all() for total in sums):
        raise MissingError("the model's keys are not numbers", mend="--set suite.model.dtype=float32")
    return [_with_ridge(total / tokens) for total in sums], tokens


def _with_ridge(moment: torch.Tensor) -> torch.Tensor:
    return moment + _RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)
