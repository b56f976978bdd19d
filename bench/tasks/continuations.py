"""Continuations of prompts with their scores, sampled once: what an interrupted run left is kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.spec import Decoding
from bench.store.samples import Sample
from bench.tasks.context import TaskContext
from bench.tasks.sampled import sample_together
from bench.tasks.scored import ContinuationRequest, scored
from bench.tasks.together import has_parts

if TYPE_CHECKING:
    from bench.engine.generation import Continuation
    from bench.engine.texts import TextPolicy
    from bench.policy import Policy


def sample_and_score(
    name: str,
    policy: "Policy",
    prompts: Sequence[ContinuationRequest],
    decoding: Decoding,
    ctx: TaskContext,
) -> list[Sample]:
    """All continuations of the prompts with their scores: those in `samples/<name>.jsonl`.

    Other processes may help, where the run shares.

    Args:
        name: Of the samples, and of the bar.
        policy: What continues.
        prompts: What is continued, each text once.
        decoding: How.
        ctx: The task's context; its tokens are counted up.

    Returns:
        The samples, prompt by prompt.
    """
    from bench.engine.texts import TextPolicy

    count = decoding.num_samples
    with ctx.append(name, Sample) as samples, ctx.progress.bar(name, len(prompts), "prompts") as bar:
        have = Counter(sample.prompt_id for sample in samples.rows)
        samples.keep(lambda sample: have[sample.prompt_id] == count)  # a prompt that was cut off is sampled anew
        todo = {prompt.id: prompt for prompt in prompts if have[prompt.id] != count}
        bar.advance(len(prompts) - len(todo))
        if isinstance(policy, TextPolicy):
            batches = _ask(policy, todo, decoding, ctx)
        elif todo and (ctx.shares or has_parts(name, ctx)):
            batches = sample_together(name, policy, todo, decoding, ctx)
        else:
            batches = _sample(policy, todo, decoding, ctx)
        for batch in batches:
            new = [sample for sample in batch if sample.prompt_id in todo]
            samples.append(new)
            bar.advance(len(new) / count)
        found = samples.rows
    wanted = {prompt.id for prompt in prompts}
    own = [sample for sample in found if sample.prompt_id in wanted]
    if declined := sum(sample.declined for sample in own):
        what = f"{name}: the endpoint's own filter declined {declined} of {len(own)} answers: they have no score"
        ctx.progress.note(f"{what}, and the run is not publishable")
    return own


def _sample(
    policy: "Policy", todo: Mapping[str, ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> Iterator[list[Sample]]:
    """Sample and score what an earlier, interrupted run of this experiment has not done."""
    from bench.engine.generation import Prompt, generate

    batches = generate(policy, [Prompt(one.id, one.text, one.tokens) for one in todo.values()], decoding, ctx.seed)
    yield from _counted(batches, todo, ctx)


def _ask(
    policy: "TextPolicy", todo: Mapping[str, ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> Iterator[list[Sample]]:
    """The same by a system that gives texts alone."""
    from bench.engine.generation import Prompt

    prompts = [Prompt(one.id, one.text if one.written is None else one.written) for one in todo.values()]
    yield from _counted(policy.continuations(prompts, decoding, ctx.seed), todo, ctx)


def _counted(
    batches: "Iterable[Sequence[Continuation]]", todo: Mapping[str, ContinuationRequest], ctx: TaskContext
) -> Iterator[list[Sample]]:
    for samples in scored(batches, todo, ctx):
        ctx.count_sampled(samples)
        yield samples
