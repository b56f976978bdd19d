"""Log-perplexities of whole texts: what tasks ask that look at how likely a text is."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.tasks.context import TaskContext
from bench.tasks.likelihoods import likelihoods

if TYPE_CHECKING:
    from bench.policy import Policy


def unprompted(policy: "Policy", texts: Iterable[str], most: int | None = None) -> list[tuple[list[int], list[int]]]:
    """Requests for `nll_rows`: at most so many tokens of each text, after the token that stands before a text."""
    from bench.engine.tokens import first_token

    first = [first_token(policy.tokenizer)]
    return [(first, policy.tokenizer(text, add_special_tokens=False)["input_ids"][:most]) for text in texts]


def nll_rows(
    policy: "Policy",
    ctx: TaskContext,
    owners: Sequence[str],
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    label: str,
) -> list[tuple[str, float, float]]:
    """(owner, mean NLL, tokens) of each request."""
    scored = likelihoods(label, policy, requests, ctx)
    ctx.tokens += sum(one.tokens for one in scored)
    return [
        (owner, -one.logprob / one.tokens, float(one.tokens))
        for owner, one in zip(owners, scored, strict=True)
        if one.tokens
    ]
