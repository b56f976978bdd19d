"""A system that gives texts alone as a language model of lm-eval: its answers are asked for once, and kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench.engine.generation import Continuation, Prompt
from bench.engine.texts import TextPolicy
from bench.errors import UsageError
from bench.hashing import hash_json
from bench.spec import Decoding
from bench.store.appended import Row
from bench.tasks.lm_eval.model import cut, decoding_of, options_of, repeats_of

if TYPE_CHECKING:
    from bench.tasks.context import TaskContext


@dataclass(frozen=True)
class _Asked:
    """A request: what is continued, how, and which of its answers is wanted."""

    context: str
    until: tuple[str, ...]
    decoding: Decoding
    number: int

    @property
    def kind(self) -> tuple[tuple[str, ...], str]:
        """What requests that are asked together have in common."""
        return self.until, self.decoding.model_dump_json()

    @property
    def id(self) -> str:
        """What it is kept under, and names its random stream."""
        return hash_json([self.context, *self.kind])


class TextLM(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Answers lm-eval's requests for texts, and for likelihoods where the system gives them.

    Attributes:
        lost: The documents of which an answer was declined, or a likelihood not told, by lm-eval's `doc_id`: they have
            no figures.
    """

    def __init__(self, policy: TextPolicy, ctx: "TaskContext", label: str) -> None:
        """Take the system, and the context for its seed, its folder and its progress."""
        super().__init__()
        self.policy, self.ctx, self.label = policy, ctx, label
        self.lost: set[int] = set()

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continuations up to a stop text: greedy, or sampled where the task asks for it.

        Raises:
            MissingError: some were not answered; what was answered is kept, and not asked for again.
            UsageError: the task samples in a way that the API does not know.
        """
        del disable_tqdm
        asked = [
            _asked(request, number, self.label)
            for request, number in zip(requests, repeats_of([one.args[0] for one in requests]), strict=True)
        ]
        with (
            self.ctx.append_rows(f"replies/{self.label}") as held,
            self.ctx.progress.bar(self.label, len(asked), "requests") as bar,
        ):
            known = _known(held.rows)
            todo = [one for one in asked if (one.id, one.number) not in known]
            bar.advance(len(asked) - len(todo))
            for batch in self._continuations(todo):
                held.append(map(_row, batch))
                self.ctx.count_sampled(batch)
                bar.advance(len(batch))
            known = _known(held.rows)
        texts = [self._text(request.doc_id, one, known) for request, one in zip(requests, asked, strict=True)]
        if self.lost:
            what = f"{self.label}: the endpoint's own filter declined answers to {len(self.lost)} documents"
            self.ctx.progress.note(f"{what}: they are in no figure, and the run is not publishable")
        return texts

    def _continuations(self, todo: Sequence[_Asked]) -> Iterator[list[Continuation]]:
        """What the system answers, all answers to a context together."""
        groups: dict[tuple[Any, ...], dict[str, _Asked]] = {}
        count = {one.id: one.number + 1 for one in sorted(todo, key=lambda one: one.number)}
        for one in todo:
            groups.setdefault((*one.kind, count[one.id]), {})[one.id] = one
        for group in groups.values():
            first = next(iter(group.values()))
            decoding = first.decoding.model_copy(update={"num_samples": count[first.id]})
            prompts = [Prompt(name, one.context) for name, one in group.items()]
            yield from self.policy.continuations(prompts, decoding, self.ctx.seed, first.until)

    def _text(self, document: int, asked: _Asked, known: Mapping[tuple[str, int], Row]) -> str:
        row = known[asked.id, asked.number]
        if row["declined"]:
            self.lost.add(document)
        return cut(row["text"], asked.until)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-likelihoods of continuations, and whether they are greedy. What the system does not say loses a document.

        Raises:
            MissingError: the system gives none, or some were not answered; what was answered is kept.
        """
        del disable_tqdm
        asked = {hash_json(["likelihood", *request.args]): request.args for request in requests}
        with (
            self.ctx.append_rows(f"replies/{self.label}") as held,
            self.ctx.progress.bar(self.label, len(asked), "requests") as bar,
        ):
            known = _heard(held.rows)
            todo = [(name, *texts) for name, texts in asked.items() if name not in known]
            bar.advance(len(asked) - len(todo))
            for batch in self.policy.likelihoods(todo) if todo else ():
                held.append({"id": one.id, "logprob": one.logprob, "greedy": one.greedy} for one in batch)
                bar.advance(len(batch))
            known = _heard(held.rows)
        found = []
        for request in requests:
            row = known[hash_json(["likelihood", *request.args])]
            if row["logprob"] is None:
                self.lost.add(request.doc_id)
            found.append((float(row["logprob"] or 0.0), row["greedy"]))
        if self.lost:
            what = f"{self.label}: the endpoint does not tell all likelihoods of {len(self.lost)} documents"
            self.ctx.progress.note(f"{what}: they are in no figure, and the run is not publishable")
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse.

        Raises:
            UsageError: always.
        """
        del requests, disable_tqdm
        raise UsageError(f"lm-eval's task '{self.label}' reads whole texts, of which an endpoint gives no likelihoods")


def _asked(request: Instance, number: int, label: str) -> _Asked:
    """A request; a repeat of one that is not sampled has the same answer, and is asked for once."""
    context, given = request.args
    options = options_of(given, eos=None)
    sampled = decoding_of(options)
    if sampled and sampled.top_k:
        what = f"lm-eval's task '{label}' samples by top_k ({sampled.top_k}), which an endpoint cannot be told"
        raise UsageError(what, mend="leave the task out")
    greedy = Decoding(max_new_tokens=options["max_gen_toks"], num_samples=1, top_k=1)
    return _Asked(context, tuple(options["until"]), sampled or greedy, number if sampled else 0)


def _row(one: Continuation) -> Row:
    return {
        "id": one.prompt_id,
        "sample": one.sample,
        "text": one.text,
        "tokens": one.tokens,
        "declined": one.declined,
    }


def _heard(rows: Sequence[Row]) -> dict[str, Row]:
    """Likelihoods by what they are of; a row that is none is asked for anew."""
    kinds = {"id": str, "logprob": float | int | None, "greedy": bool}
    whole = (row for row in rows if all(key in row and isinstance(row[key], kind) for key, kind in kinds.items()))
    return {row["id"]: row for row in whole}


def _known(rows: Sequence[Row]) -> dict[tuple[str, int], Row]:
    """Answers by what they answer; the last one counts, and a row that is none is asked for anew."""
    kinds = {"id": str, "sample": int, "text": str, "declined": bool}
    whole = (row for row in rows if all(isinstance(row.get(key), kind) for key, kind in kinds.items()))
    return {(row["id"], row["sample"]): row for row in whole}
