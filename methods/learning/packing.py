"""Texts that share a prompt in one row: the prompt is read once, and each text sees it and itself alone.

The mask is that of tree attention (Cai et al., 2024, arXiv 2401.10774, Section 2.1.2) with a tree of two levels. Logits
are made a few positions at a time and never kept: of each only the token's log-likelihood and its gradient with respect
to the final state are (the fused linear cross-entropy of Hsu et al., 2024, arXiv 2410.10989, Section 3.2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from bench.engine.architecture import attention_window
from bench.engine.profile import profile_of
from bench.engine.tokens import NO_LIMIT
from bench.errors import UsageError
from bench.policy import LoadedModel
from methods.anatomy.layers import before
from methods.anatomy.output import check_logits, final_logits, output_layer

_ROW = 512  # tokens up to which packs share a row: attention grows with its square, padding is saved


def pack(rows: Sequence[tuple[Sequence[int], Sequence[int]]], window: int = NO_LIMIT) -> dict[str, torch.Tensor]:
    """Tensors of (prompt, text) rows, as tokens.

    Args:
        rows: The rows.
        window: Tokens that a shared row may hold, where that is fewer than it would hold for the sake of speed.

    Returns:
        packed_ids, packed_positions [lines, length]; packed_mask, bool [lines, length, length]; of each text's tokens,
        [rows, longest], `sources` (the place, counted over all lines, of the token that predicts it), `targets`,
        `present`; the same of its prompt's tokens from the second on, `prompt_sources`, `prompt_targets` and
        `prompt_present`.
    """
    packs: dict[tuple[int, ...], list[int]] = {}
    for number, (prompt, _) in enumerate(rows):
        packs.setdefault(tuple(prompt), []).append(number)
    lines: list[_Line] = []
    room = min(_ROW, window)
    for prompt, numbers in packs.items():
        for texts in _within_row(room, len(prompt), {number: rows[number][1] for number in numbers}):
            size = len(prompt) + sum(len(text) - 1 for text in texts.values())
            if not lines or len(lines[-1].ids) + size > room:
                lines.append(_Line())
            lines[-1].add(prompt, texts)
    length = max(len(line.ids) for line in lines)
    own: dict[int, list[int]] = {}
    before_own: dict[int, list[int]] = {}
    for place, line in enumerate(lines):
        own.update({number: [place * length + at for at in found] for number, found in line.sources.items()})
        before_own.update({number: [place * length + at for at in found] for number, found in line.prompts.items()})
    return {
        "packed_ids": torch.tensor([line.ids + [0] * (length - len(line.ids)) for line in lines]),
        "packed_positions": torch.tensor([line.positions + [0] * (length - len(line.ids)) for line in lines]),
        "packed_mask": torch.stack([line.mask(length) for line in lines]),
        **_ragged("", [own[n] for n in range(len(rows))], [text for _, text in rows]),
        **_ragged("prompt_", [before_own[n] for n in range(len(rows))], [prompt[1:] for prompt, _ in rows]),
    }


def _within_row(room: int, prompt: int, texts: Mapping[int, Sequence[int]]) -> list[dict[int, Sequence[int]]]:
    """The texts of a prompt of so many tokens, parted where a row has no room; a longer text stands alone."""
    parts: list[dict[int, Sequence[int]]] = [{}]
    size = prompt
    for number, text in texts.items():
        if parts[-1] and size + len(text) - 1 > room:
            parts.append({})
            size = prompt
        parts[-1][number] = text
        size += len(text) - 1
    return parts


class _Line:
    """Packs one after the other: a prompt, then the tokens but the last of each of its texts."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.owners: list[tuple[int, int]] = []  # of each token its pack and its text, where 0 is the prompt
        self.sources: dict[int, list[int]] = {}
        self.prompts: dict[int, list[int]] = {}

    def add(self, prompt: Sequence[int], texts: Mapping[int, Sequence[int]]) -> None:
        """Append a prompt and its texts, by the number of their row."""
        start, pack_number = len(self.ids), len(self.sources)
        self._append(prompt, range(len(prompt)), (pack_number, 0))
        last = len(self.ids) - 1
        for place, (number, text) in enumerate(texts.items(), start=1):
            at = len(self.ids)
            self._append(text[:-1], range(len(prompt), len(prompt) + len(text) - 1), (pack_number, place))
            self.sources[number] = [last, *range(at, len(self.ids))][: len(text)]
            self.prompts[number] = list(range(start, last))

    def _append(self, ids: Sequence[int], positions: range, owner: tuple[int, int]) -> None:
        self.ids += ids
        self.positions += positions
        self.owners += [owner] * len(ids)

    def mask(self, length: int) -> torch.Tensor:
        """Which token sees which, bool [length, length]; padding sees itself."""
        packs, texts = torch.tensor(self.owners).T
        seen = (packs[:, None] == packs) & ((texts == 0) | (texts[:, None] == texts))
        mask = torch.eye(length, dtype=torch.bool)
        mask[: len(packs), : len(packs)] = seen.tril()
        return mask


def _ragged(name: str, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Rows of different lengths, padded on the right."""
    longest = max(map(len, targets))

    def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], dtype=torch.int64)

    present = padded([[1] * len(row) for row in targets])
    return {f"{name}sources": padded(sources), f"{name}targets": padded(targets), f"{name}present": present}


@torch.no_grad()
def packable(base: LoadedModel, prompt: Sequence[int], texts: Sequence[Sequence[int]], longest: int) -> bool:
    """Whether a model reads packed texts as it reads them alone, found out on some.

    It does not where its attention is not that of a mask alone (a sliding window that is narrower than a text with its
    prompt, a bias by distance), where the mask cannot be given to its kernel, or where its logits are not known from
    its final states.

    Args:
        base: The model.
        prompt: Tokens of a prompt.
        texts: Tokens of texts after it.
        longest: Tokens of the longest prompt with its text, of all that will be packed.
    """
    config = base.model.config
    window = attention_window(config)
    if config._attn_implementation not in ("sdpa", "eager") or window < longest:
        return False
    device = base.model.device
    batch = {name: one.to(device) for name, one in pack([(prompt, text) for text in texts], window).items()}
    try:
        check_logits(base)
        (found,) = packed_logprobs(base, base.model, batch, prompts=False)
    except (UsageError, RuntimeError, ValueError, TypeError):
        return False
    for text, row in zip(texts, found, strict=True):
        ids = torch.tensor([[*prompt, *text]], device=device)
        logits = base.model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        alone = logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0]
        if not torch.allclose(row[: len(text)].float(), alone, rtol=1e-2, atol=1e-2):
            return False
    return True


def packed_logprobs(
    base: LoadedModel, model: torch.nn.Module, batch: Mapping[str, Any], *, prompts: bool
) -> list[torch.Tensor]:
    """Log-probability of each of the texts' own tokens, 0 where none is present, [rows, longest].

    Args:
        base: The base model, whose output layer the model uses.
        model: The model being trained.
        batch: What `pack` made.
        prompts: Whether to return the same for the prompts' tokens as well.
    """
    given: list[torch.Tensor] = []

    def take(state: torch.Tensor) -> torch.Tensor:
        given.append(state)
        return state[:, :1]  # nobody asks for the logits

    dtype, seen = base.model.dtype, batch["packed_mask"][:, None]
    mask = torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
    with before(output_layer(base), take):
        model(
            input_ids=batch["packed_ids"],
            attention_mask=mask,
            position_ids=batch["packed_positions"],
            use_cache=False,
        )
    states = given.pop().flatten(0, 1)
    found = []
    for name in ("", "prompt_") if prompts else ("",):
        present = batch[f"{name}present"].bool()
        nll = token_nll(base, states[batch[f"{name}sources"][present]], batch[f"{name}targets"][present])
        found.append(nll.new_zeros(present.shape).masked_scatter(present, -nll))
    return found


def token_nll(base: LoadedModel, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each token given the final state that predicts it, float32 [tokens]."""

    def nll(some: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(final_logits(base, some), wanted, reduction="none")

    if any(parameter.requires_grad for parameter in output_layer(base).parameters()):
        return nll(states, targets)  # an adapter on the output layer learns through the logits
    found: torch.Tensor = _BlockwiseNLL.apply(states, targets, nll)  # type: ignore[no-untyped-call]
    return found


class _BlockwiseNLL(torch.autograd.Function):
    """A token's log-likelihood depends on its own state alone: its gradient is known as soon as its logits are."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        targets: torch.Tensor,
        nll: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Compute and drop the logits, a few positions at a time."""
        found, gradients = [], []
        rows = profile_of(states.device).training_rows
        for some, wanted in zip(states.split(rows), targets.split(rows), strict=True):
            if not ctx.needs_input_grad[0]:
                found.append(nll(some, wanted))
                continue
            with torch.enable_grad():
                leaf = some.detach().requires_grad_()
                values = nll(leaf, wanted)
                gradients += torch.autograd.grad(values.sum(), leaf)
            found.append(values.detach())
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Scale the gradients of the tokens."""
        (gradients,) = ctx.saved_tensors
        return upstream[0][:, None].to(gradients.dtype) * gradients, None, None
