"""Relevance: how much likelier the base model finds a continuation after its own prompt than after another one.

In nats a token: log p(x | its prompt) - log p(x | another prompt). The second stands for log p(x): it is the same
likelihood of the same kind of text, a fragment being continued, where a text that stands alone would be judged by how
texts begin. A continuation that does not follow from its prompt gains nothing on average, however likely it is.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.store.record import Evidence, Flag
from bench.store.samples import Sample
from bench.tasks.base import MetricSpec, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.texts import nll_rows

if TYPE_CHECKING:
    from bench.policy import Policy

RELEVANCE = MetricSpec(
    "relevance",
    higher_is_better=True,
    role="relevance",
    primary=True,
    flag=Flag(text="ignores the prompt", margin=0.5, of_base=True),
    within="model",
)
SIMILARITY = MetricSpec("prompt_similarity", higher_is_better=True, role="relevance")


def other_prompts(rows: Sequence[Sample]) -> dict[str, str]:
    """For each prompt's id another prompt: the next by content id, the first after the last. Empty for one alone.

    It follows from the prompts alone, so that it is the same for all systems.
    """
    prompts = sorted({row.prompt_id: row.prompt for row in rows}.items())
    if len(prompts) == 1:
        return {}
    following = [*prompts[1:], *prompts[:1]]
    return {key: other for (key, _), (_, other) in zip(prompts, following, strict=True)}


def gain(
    policy: "Policy",
    ctx: TaskContext,
    others: Mapping[str, str],
    rows: Sequence[Sample],
    tokens: Sequence[Sequence[int]],
    conditional: Sequence[tuple[str, float, float]],
) -> Evidence:
    """The gain of each continuation, weighted by its tokens.

    Args:
        policy: The base model.
        ctx: The task's context.
        others: Another prompt for each prompt's id.
        rows: The continuations, none of them blank.
        tokens: Those of each, as they are read after its own prompt: at least one.
        conditional: (prompt, mean NLL, tokens) of each after its own prompt.
    """
    from bench.engine.tokens import encode, first_token

    before = {
        key: encode(policy.tokenizer, prompt) or [first_token(policy.tokenizer)] for key, prompt in others.items()
    }
    requests = [(before[row.prompt_id], text) for row, text in zip(rows, tokens, strict=True)]
    elsewhere = nll_rows(policy, ctx, [row.prompt_id for row in rows], requests, "relevance")
    gains = [(key, other - own, count) for (key, own, count), (_, other, _) in zip(conditional, elsewhere, strict=True)]
    return evidence_by_cluster("mean", gains)
