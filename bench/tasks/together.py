"""Sampling that several processes share: the owner of an experiment publishes its batches, and others do some of them.

A batch is sampled by itself, and its continuations are scored together, whoever does it; the owner puts the batches
together in their order. So the samples are byte for byte those of a single process on the same kind of device.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError
from bench.spec import Decoding
from bench.store.lock import pauses
from bench.store.parts import SUFFIX, Parts
from bench.store.samples import Sample, read_samples, write_samples
from bench.tasks.base import TaskContext
from bench.tasks.scored import ContinuationRequest, scored

if TYPE_CHECKING:
    from bench.engine.generation import Continuation
    from bench.policy import Policy
    from bench.store.lease import Lease

PAUSES = 0.1, 0.5  # seconds between two looks at what helpers do: the first, and the longest


def has_parts(name: str, ctx: TaskContext) -> bool:
    """Whether some of the samples may be there in parts: an interrupted run has shared them."""
    return Parts.found(_folder(name, ctx)) is not None


def sample_together(
    name: str, policy: "Policy", todo: Mapping[str, ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> Iterator[list[Sample]]:
    """The samples of all requests, batch by batch in the order of the plan, whoever has sampled them.

    What an interrupted run has put together comes again with the parts that it left.

    Args:
        name: Of the samples.
        policy: The edited model.
        todo: What is to be continued, by id.
        decoding: How.
        ctx: The task's context; the tokens that this process samples are counted up.
    """
    parts = _published(name, policy, todo, decoding, ctx)
    joined = 0

    def whole() -> Iterator[list[Sample]]:
        """The batches that come next in the plan and are there."""
        nonlocal joined
        while joined < len(parts.plan) and (samples := _read(parts, joined)) is not None:
            joined += 1
            yield samples

    waits = pauses(*PAUSES)
    yield from whole()
    did = 0
    while joined < len(parts.plan):
        for own in _work_off(parts, policy, ctx, first=True):
            did += 1
            ctx.count_sampled(own)
            yield from whole()
        yield from whole()
        if joined < len(parts.plan):  # a helper does it, or has just died
            time.sleep(next(waits))
    ctx.helped = did < len(parts.plan)
    parts.drop()


def help_sampling(policy: "Policy", ctx: TaskContext) -> None:
    """Do batches that the owner of the experiment has published, until nobody lacks one.

    Args:
        policy: The edited model.
        ctx: A context as the owner's.
    """
    for parts in Parts.all_in(ctx.folder):
        label = f"help with {parts.folder.name.removesuffix(SUFFIX)}"
        with ctx.progress.bar(label, unit="prompts") as bar:
            for own in _work_off(parts, policy, ctx, first=False):
                bar.advance(len({sample.prompt_id for sample in own}))


def _folder(name: str, ctx: TaskContext) -> Path:
    return ctx.folder / f"{name}{SUFFIX}"


def _published(
    name: str, policy: "Policy", todo: Mapping[str, ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> Parts:
    """The plan: that of an interrupted run where there is one, since batches follow from what memory there was."""
    from bench.engine.generation import Prompt, plan

    facts = {"decoding": decoding.model_dump(mode="json"), "seed": ctx.seed}
    folder = _folder(name, ctx)
    found = Parts.found(folder)
    if found and found.facts == facts and todo.keys() <= {one["id"] for part in found.plan for one in part}:
        return found
    batches = plan(policy, [Prompt(one.id, one.text, one.tokens) for one in todo.values()], decoding)
    return Parts.publish(folder, facts, [[asdict(todo[one.id]) for one in batch] for batch in batches])


def _work_off(parts: Parts, policy: "Policy", ctx: TaskContext, *, first: bool) -> Iterator[list[Sample]]:
    """Sample, score and write one part after another, while there is one that nobody has."""
    from bench.engine.generation import Prompt, generate

    decoding, seed = Decoding(**parts.facts["decoding"]), int(parts.facts["seed"])
    requests: dict[str, ContinuationRequest] = {}
    waiting: deque[tuple[int, Lease]] = deque()
    with ExitStack() as every:

        def sampled() -> "Iterator[Sequence[Continuation]]":
            while taken := parts.take(first=first):
                number, held = taken
                every.callback(held.release)
                waiting.append(taken)
                batch = [_request(one) for one in parts.plan[number]]
                requests.update((one.id, one) for one in batch)
                prompts = [Prompt(one.id, one.text, one.tokens) for one in batch]
                yield [one for some in generate(policy, prompts, decoding, seed) for one in some]

        for samples in scored(sampled(), requests, ctx):
            number, held = waiting.popleft()
            write_samples(parts.path(number), samples)
            held.release()
            yield samples


def _request(told: Mapping[str, Any]) -> ContinuationRequest:
    tokens = told["tokens"]
    return ContinuationRequest(told["id"], told["text"], told["group"], None if tokens is None else tuple(tokens))


def _read(parts: Parts, number: int) -> list[Sample] | None:
    """The samples of a part that is there; a damaged one is dropped, and done again."""
    path = parts.path(number)
    if not path.exists():
        return None
    wanted = len(parts.plan[number]) * int(parts.facts["decoding"]["num_samples"])
    with suppress(MissingError):
        found = [sample for sample in read_samples(path) if isinstance(sample, Sample)]
        if len(found) == wanted:
            return found
    path.unlink()
    return None
