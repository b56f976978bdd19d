"""What the engine takes as the work grows: seconds a unit and peak memory at 1, 4 and 16 times the prompts."""

import itertools
import time
from collections.abc import Callable, Sequence

from machine import peak_memory

from bench.engine.generation import Prompt, encode_prompt, generate
from bench.engine.likelihood import loglikelihood
from bench.policy import HFPolicy
from bench.spec import Decoding

_MIB = 2**20
_LIMIT = 1024  # tokens of a batch of likelihoods: small, so that the smallest work fills more than one
_DECODING = Decoding(num_samples=5, max_new_tokens=20, top_p=0.9)


def growth(policy: HFPolicy, prompts: Sequence[str], start: int) -> str:
    """A table in Markdown."""

    def sampled(count: int) -> None:
        for _ in generate(policy, [Prompt(str(n), text) for n, text in enumerate(prompts[:count])], _DECODING, 0):
            pass

    def scored(count: int) -> None:
        texts = [f"{number} {text}" for number, text in zip(range(count), itertools.cycle(prompts), strict=False)]
        requests = [(encode_prompt(policy, text), [5, 6, 7, 8]) for text in texts]
        loglikelihood(policy, requests, batch_tokens=_LIMIT)

    lines = ["| work | prompts | seconds | seconds a prompt | peak memory |", "|---|---|---|---|---|"]
    for name, work, first in (("generation", sampled, start), ("likelihood", scored, 8 * start)):
        lines += [_line(name, first * times, work) for times in (1, 4, 16)]
    return "\n".join(lines)


def _line(name: str, count: int, work: Callable[[int], None]) -> str:
    started = time.perf_counter()
    peak = peak_memory(lambda: work(count))
    seconds = time.perf_counter() - started
    memory = "?" if peak is None else f"{peak / _MIB:.0f} MiB"
    return f"| {name} | {count} | {seconds:.1f} | {seconds / count:.3f} | {memory} |"
