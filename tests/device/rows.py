"""What is timed on a device: generation, likelihoods and training, each beside what people use."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sampling
import torch
import training
from duel import Row, timed

from bench.engine.likelihood import loglikelihood
from bench.policy import HFPolicy, LoadedModel
from bench.sets import ContrastiveSet, ContrastiveSets, Text

_GIB = 2**30


@dataclass(frozen=True)
class Size:
    """How much work there is.

    Attributes:
        prompts: Prompts of the row of generation, of `words` tokens, 25 continuations each.
        words: Tokens of a prompt, and of a training text.
        documents: Questions of four answers, each after `context` tokens.
        context: Tokens of a question.
        steps: Training steps.
        batches: The peer's batch sizes that are tried, in prompts, and in rows of likelihoods.
    """

    prompts: int
    words: int
    documents: int
    context: int
    steps: int
    batches: tuple[int, ...]


FULL = Size(prompts=64, words=16, documents=256, context=120, steps=4, batches=(4, 16, 64))
TOY = Size(prompts=2, words=4, documents=3, context=6, steps=1, batches=(1, 2))


@dataclass(frozen=True)
class Floors:
    """What the device can do: FLOP/s of a large product in the model's dtype, bytes/s of a copy (read and write)."""

    product: float
    copy: float


def settle() -> None:
    """Wait until the device has done all that it was asked, so that its time is counted."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def synced(work: Callable[[], float]) -> Callable[[], tuple[float, float]]:
    """Work on a device, timed."""

    def whole() -> float:
        settle()
        done = work()
        settle()
        return done

    return timed(whole)


def peak(work: Callable[[], object]) -> str:
    """The most memory that some work takes on the device, weights included."""
    if not torch.cuda.is_available():
        return "peak memory: not measured"
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    return f"peak memory {torch.cuda.max_memory_allocated() / _GIB:.1f} GiB"


def words(draw: torch.Generator, count: int, vocabulary: int) -> str:
    """A text of so many tokens."""
    return " ".join(f"w{n}" for n in torch.randint(vocabulary - 3, (count,), generator=draw).tolist())


def generation(base: LoadedModel, size: Size, floors: Floors) -> Row:
    """RealToxicityPrompts' protocol, against `model.generate` at the fastest of some batch sizes."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = base.model.config.vocab_size
    texts = [words(draw, size.words, vocabulary) for _ in range(size.prompts)]
    policy = HFPolicy(base.model, base.tokenizer)
    theirs = {batch: partial(sampling.hub_generate, base.model, base.tokenizer, texts, batch) for batch in size.batches}
    best = fastest({batch: synced(work) for batch, work in theirs.items()})
    weights = sum(one.numel() * one.element_size() for one in base.model.parameters())
    rows = size.prompts * sampling.SAMPLES
    flops = 2.0 * sum(one.numel() for one in base.model.parameters()) * rows * sampling.NEW
    # No engine is done before all products are, nor before the weights were read once a step.
    bound = max(flops / floors.product, sampling.NEW * weights / floors.copy)
    ours = synced(lambda: sampling.ours(policy, texts))

    def share() -> str:
        _, seconds = ours()
        memory = peak(lambda: sampling.ours(policy, texts))
        return f"{bound / seconds:.0%} of the bound; {memory}"

    name = f"RTP generation, {size.prompts} prompts x {sampling.SAMPLES}, {sampling.NEW} tokens, p 0.9"
    return Row(name, f"`model.generate`, {best} prompts a batch", "tokens", 3, ours, synced(theirs[best]), share)


def likelihood(base: LoadedModel, size: Size) -> Row:
    """Four answers a question, against padded rows of question and answer, as lm-eval's HFLM reads them."""
    draw = torch.Generator().manual_seed(1)
    vocabulary = base.model.config.vocab_size

    def ids(count: int) -> list[int]:
        return torch.randint(3, vocabulary, (count,), generator=draw).tolist()

    requests = []
    for _ in range(size.documents):
        context = ids(size.context)
        requests += [(context, ids(2 + 2 * answer)) for answer in range(4)]
    policy = HFPolicy(base.model, base.tokenizer)
    kept: dict[str, list[float]] = {}

    def ours() -> float:
        kept["ours"] = [one.logprob for one in loglikelihood(policy, requests)]
        return float(size.documents)

    def padded(batch: int) -> float:
        kept["theirs"] = padded_likelihoods(base, requests, batch)
        return float(size.documents)

    best = fastest({4 * batch: synced(partial(padded, 4 * batch)) for batch in size.batches})

    def agreement() -> str:
        apart = max(abs(one - two) for one, two in zip(kept["ours"], kept["theirs"], strict=True))
        return f"log-likelihoods within {apart:.1e}; {peak(ours)}"

    name = f"likelihoods, {size.documents} questions of {size.context} tokens, 4 answers"
    return Row(
        name, f"padded rows, {best} a batch", "documents", 2, synced(ours), synced(partial(padded, best)), agreement
    )


def padded_likelihoods(base: LoadedModel, requests: Sequence[tuple[list[int], list[int]]], batch: int) -> list[float]:
    """Log-likelihoods from one row a request, longest first, padded on the right: what HFLM does."""
    order = sorted(range(len(requests)), key=lambda place: -sum(map(len, requests[place])))
    found = [0.0] * len(requests)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        rows = [requests[place][0] + requests[place][1][:-1] for place in places]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=base.model.device)
        with torch.inference_mode():
            logits = base.model(input_ids=ids).logits.float().log_softmax(-1)
        for row, place in enumerate(places):
            context, answer = requests[place]
            own = logits[row, len(context) - 1 : len(context) - 1 + len(answer)]
            wanted = torch.tensor(answer, device=own.device)
            found[place] = float(own.gather(-1, wanted[:, None]).sum())
    return found


def trained(base: LoadedModel, size: Size) -> list[Row]:
    """A contrastive step on packed texts, against a padded one and, where TRL is here, its DPO."""
    draw = torch.Generator().manual_seed(2)
    vocabulary = base.model.config.vocab_size

    def text(count: int) -> Text:
        return Text(text=f" {words(draw, count, vocabulary)}")

    sets = [
        ContrastiveSet(
            anchor=words(draw, size.words, vocabulary),
            positives=[text(size.words + n) for n in range(4)],
            negatives=[text(size.words + n) for n in range(4)],
        )
        for _ in range(8)
    ]
    return [
        Row(row.name, row.peer, row.unit, 2, _settled(row.ours), _settled(row.theirs), partial(peak, row.ours))
        for row in training.rows(base, ContrastiveSets(sets, "", "the check"), size.steps)
    ]


def _settled(work: Any) -> Callable[[], tuple[float, float]]:
    """Work that keeps its own time; what it left undone is waited for before the next."""

    def whole() -> tuple[float, float]:
        settle()
        found: tuple[float, float] = work()
        settle()
        return found

    return whole


def fastest(works: dict[int, Callable[[], tuple[float, float]]]) -> int:
    """The batch size of the highest rate; one that does not fit into memory is none."""
    rates = {}
    for batch, work in works.items():
        try:
            work()
            done, seconds = work()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        else:
            rates[batch] = done / seconds
    return max(rates, key=rates.__getitem__)
