"""Continuations with their scores, as samples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.scorers.base import Scores
from bench.store.samples import Sample
from bench.tasks.context import TaskContext

if TYPE_CHECKING:
    from bench.engine.generation import Continuation


@dataclass(frozen=True)
class ContinuationRequest:
    """A prompt to continue: its id names its random streams, text and group stand in the samples.

    `tokens` are what is continued, where that is not the text itself (a request about it); `written` is the same as a
    text, for a system that reads no tokens.
    """

    id: str
    text: str
    group: str | None = None
    tokens: tuple[int, ...] | None = None
    written: str | None = None


def scored(
    batches: "Iterable[Sequence[Continuation]]", requests: Mapping[str, ContinuationRequest], ctx: TaskContext
) -> Iterator[list[Sample]]:
    """The samples of each batch, which is scored while the next one is made; `requests` are given by id.

    What was declined has no score: it is counted as failed wherever scores are.
    """
    from bench.engine.ahead import one_ahead

    for batch, scores in one_ahead(batches, lambda some: _scores([one.text for one in some], ctx)):
        yield [
            Sample(
                prompt_id=continuation.prompt_id,
                sample=continuation.sample,
                group=requests[continuation.prompt_id].group,
                prompt=requests[continuation.prompt_id].text,
                continuation=continuation.text,
                tokens=continuation.tokens,
                ended=continuation.ended,
                scores=None if continuation.declined else own,
                further=dict.fromkeys(further) if continuation.declined else further,
                declined=continuation.declined,
            )
            for continuation, (own, further) in zip(batch, scores, strict=True)
        ]


def _scores(texts: Sequence[str], ctx: TaskContext) -> list[tuple[Scores | None, dict[str, Scores | None]]]:
    """Each text's scores by the headline scorer, and by each further one."""
    further = {key: one.scorer.score(texts) for key, one in ctx.further.items()}
    return [
        (own, {key: scores[place] for key, scores in further.items()})
        for place, own in enumerate(ctx.scorer.score(texts))
    ]
