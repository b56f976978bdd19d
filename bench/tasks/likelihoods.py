"""Log-likelihoods that tasks ask for: those of one call are read in batches, which several processes may share."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.hashing import hash_json
from bench.store.appended import json_line
from bench.store.files import read_jsonl, write_text
from bench.tasks.context import TaskContext
from bench.tasks.together import Work, has_parts, published, together

if TYPE_CHECKING:
    from bench.engine.likelihood import Batch, Likelihood
    from bench.policy import Policy

Found = dict[int, "Likelihood"]
"""Likelihoods by the places of their requests."""


class Reading(Work[Found]):
    """Each part is a batch: the number of what its contexts begin with, and its rows (`bench.engine.likelihood`)."""

    kind: ClassVar[str] = "likelihoods"
    unit: ClassVar[str] = "texts"

    def do(self, parts: Iterable[Any]) -> Iterator[Found]:  # noqa: D102
        from bench.engine.likelihood import read

        return read(self.policy, map(self._batch, parts))

    def write(self, path: Path, result: Found) -> None:
        """Write a line for each; a logarithm is a text, since it may be -inf."""
        write_text(
            path,
            "".join(
                json_line({"number": number, "logprob": repr(one.logprob), "tokens": one.tokens, "greedy": one.greedy})
                for number, one in result.items()
            ),
        )

    def read(self, path: Path, part: Any) -> Found | None:  # noqa: D102
        from bench.engine.likelihood import Likelihood

        found = {
            int(row["number"]): Likelihood(float(row["logprob"]), int(row["tokens"]), bool(row["greedy"]))
            for row in read_jsonl(path)
        }
        return found if found.keys() == set(self._batch(part).numbers) else None

    def size(self, result: Found) -> int:  # noqa: D102
        return len(result)

    def _batch(self, part: Any) -> "Batch":
        from bench.engine.likelihood import Batch

        head, rows = part
        return Batch.of(self.facts["heads"][head], rows)


def likelihoods(
    name: str,
    policy: "Policy",
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    ctx: TaskContext,
    unit: str = Reading.unit,
) -> list["Likelihood"]:
    """Log-likelihoods of continuations, in order.

    Args:
        name: Of the bar, and of the parts, where other processes may help; a task asks under a name once at a time.
        policy: What reads.
        requests: (context, continuation) as tokens (`bench.engine.likelihood.loglikelihood`).
        ctx: The task's context.
        unit: What the requests are.
    """
    from bench.engine.likelihood import plan, read

    results: Found = {}
    with ctx.progress.bar(name, len(requests), unit) as bar:
        batches = plan(policy, requests)
        if (ctx.shares and len(batches) > 1) or has_parts(name, ctx):
            every = _read_together(name, policy, requests, batches, ctx)
        else:
            every = read(policy, batches)
        for found in every:
            results.update(found)
            bar.advance(len(found))
    return [results[number] for number in range(len(requests))]


def _read_together(
    name: str,
    policy: "Policy",
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    batches: Sequence["Batch"],
    ctx: TaskContext,
) -> Iterator[Found]:
    """What the batches ask, one after the other, whoever has read them."""
    heads = {head: number for number, head in enumerate(dict.fromkeys(batch.head for batch in batches))}
    facts = {"kind": Reading.kind, "requests": hash_json([[list(one), list(two)] for one, two in requests])}
    planned = {"heads": list(heads)}, [(heads[batch.head], batch.rows()) for batch in batches]
    parts = published(name, ctx, facts, lambda: planned)
    return together(parts, Reading(policy, parts.facts, ctx), ctx)
