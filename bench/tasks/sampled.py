"""Sampling that several processes share, batch by batch; the continuations of a batch are scored together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.spec import Decoding
from bench.store.samples import Sample, read_samples, write_samples
from bench.tasks.context import TaskContext
from bench.tasks.scored import ContinuationRequest, scored
from bench.tasks.together import Work, published, together

if TYPE_CHECKING:
    from bench.engine.generation import Continuation
    from bench.policy import Policy


class Sampling(Work[list[Sample]]):
    """Each part is a batch of what is to be continued."""

    kind: ClassVar[str] = "sampling"
    unit: ClassVar[str] = "prompts"

    def do(self, parts: Iterable[Any]) -> Iterator[list[Sample]]:  # noqa: D102
        from bench.engine.generation import Prompt, generate

        decoding, seed = Decoding(**self.facts["decoding"]), int(self.facts["seed"])
        requests: dict[str, ContinuationRequest] = {}

        def sampled() -> "Iterator[Sequence[Continuation]]":
            for part in parts:
                batch = [_request(one) for one in part]
                requests.update((one.id, one) for one in batch)
                prompts = [Prompt(one.id, one.text, one.tokens) for one in batch]
                yield [one for some in generate(self.policy, prompts, decoding, seed) for one in some]

        return scored(sampled(), requests, self.ctx)

    def write(self, path: Path, result: list[Sample]) -> None:  # noqa: D102
        write_samples(path, result)

    def read(self, path: Path, part: Any) -> list[Sample] | None:  # noqa: D102
        found = [sample for sample in read_samples(path) if isinstance(sample, Sample)]
        return found if len(found) == len(part) * int(self.facts["decoding"]["num_samples"]) else None

    def size(self, result: list[Sample]) -> int:  # noqa: D102
        return len({sample.prompt_id for sample in result})


def sample_together(
    name: str, policy: "Policy", todo: Mapping[str, ContinuationRequest], decoding: Decoding, ctx: TaskContext
) -> Iterator[list[Sample]]:
    """The samples of all requests, batch by batch in the order of the plan, whoever has sampled them.

    What an interrupted run has put together comes again with the parts that it left.

    Args:
        name: Of the samples.
        policy: What continues.
        todo: What is to be continued, by id.
        decoding: How.
        ctx: The task's context; the tokens that this process samples are counted up.
    """
    from bench.engine.generation import Prompt, plan

    def batches() -> tuple[dict[str, Any], list[Any]]:
        prompts = [Prompt(one.id, one.text, one.tokens) for one in todo.values()]
        return {}, [[asdict(todo[one.id]) for one in batch] for batch in plan(policy, prompts, decoding)]

    def has_all(parts: Sequence[Any]) -> bool:
        return todo.keys() <= {one["id"] for part in parts for one in part}

    facts = {"kind": Sampling.kind, "decoding": decoding.model_dump(mode="json"), "seed": ctx.seed}
    parts = published(name, ctx, facts, batches, has_all)
    yield from together(parts, Sampling(policy, parts.facts, ctx), ctx, ctx.count_sampled)


def _request(told: Mapping[str, Any]) -> ContinuationRequest:
    tokens = told["tokens"]
    return ContinuationRequest(told["id"], told["text"], told["group"], None if tokens is None else tuple(tokens))
