"""Continuations of prompts with their scores, sampled once: what an interrupted run left is kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.scorers.base import Scores
from bench.spec import Decoding
from bench.store.samples import Sample
from bench.tasks.base import TaskContext

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.store.samples import SampleFile


@dataclass(frozen=True)
class ContinuationRequest:
    """A prompt to continue: its id names its random streams, text and group stand in the samples.

    `tokens` are what is continued, where that is not the text itself (a request about it).
    """

    id: str
    text: str
    group: str | None = None
    tokens: tuple[int, ...] | None = None


def sample_and_score(
    name: str, policy: "Policy", prompts: Sequence[ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> list[Sample]:
    """All continuations of the prompts with their scores: those in `samples/<name>.jsonl`.

    Args:
        name: Of the samples, and of the bar.
        policy: What continues.
        prompts: What is continued, each text once.
        decoding: How.
        ctx: The task's context; its tokens are counted up.

    Returns:
        The samples, prompt by prompt.
    """
    with ctx.append(name, Sample) as samples:
        _sample(name, policy, prompts, decoding, samples, ctx)
        found = samples.rows
    wanted = {prompt.id for prompt in prompts}
    return [sample for sample in found if sample.prompt_id in wanted]


def _sample(
    name: str,
    policy: "Policy",
    prompts: Sequence[ContinuationRequest],
    decoding: Decoding,
    samples: "SampleFile[Sample]",
    ctx: TaskContext,
) -> None:
    """Sample and score what an earlier, interrupted run of this experiment has not done."""
    from bench.engine.ahead import one_ahead
    from bench.engine.generation import Prompt, generate

    count = decoding.num_samples
    have = Counter(sample.prompt_id for sample in samples.rows)
    samples.keep(lambda sample: have[sample.prompt_id] == count)  # a prompt that was cut off is sampled anew
    by_id = {prompt.id: prompt for prompt in prompts}
    todo = [Prompt(prompt.id, prompt.text, prompt.tokens) for prompt in prompts if have[prompt.id] != count]
    with ctx.progress.bar(name, len(prompts), "prompts") as bar:
        bar.advance(len(prompts) - len(todo))
        batches = generate(policy, todo, decoding, ctx.seed)
        for batch, scores in one_ahead(batches, lambda some: _scored([one.text for one in some], ctx)):
            samples.append(
                Sample(
                    prompt_id=continuation.prompt_id,
                    sample=continuation.sample,
                    group=by_id[continuation.prompt_id].group,
                    prompt=by_id[continuation.prompt_id].text,
                    continuation=continuation.text,
                    tokens=continuation.tokens,
                    ended=continuation.ended,
                    scores=own,
                    further=further,
                )
                for continuation, (own, further) in zip(batch, scores, strict=True)
            )
            new_tokens = sum(continuation.tokens for continuation in batch)
            ctx.tokens += new_tokens
            ctx.sampled += new_tokens
            bar.advance(len(batch) / count)


def _scored(texts: Sequence[str], ctx: TaskContext) -> list[tuple[Scores | None, dict[str, Scores | None]]]:
    """Each text's scores by the headline scorer, and by each further one."""
    further = {key: one.scorer.score(texts) for key, one in ctx.further.items()}
    return [
        (own, {key: scores[place] for key, scores in further.items()})
        for place, own in enumerate(ctx.scorer.score(texts))
    ]
