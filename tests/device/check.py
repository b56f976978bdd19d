"""Speed, memory and equality on one accelerator, beside what people use; needs no network and no file.

    python -m tests.device.check --out DIR [--rounds 3] [--toy]

Makes a model of Mistral-7B's shape with random weights on the card, times generation, likelihoods and training beside
their peers, and compares float32 figures of a tiny model with the processor's. Writes DIR/check.json and DIR/check.md
(the name of the card stands in both) after each row, so that what was measured is kept. A row whose peer is not
installed, or that fails, says so. Nothing is asserted; it ends with 1 where a row failed. Without a card, or with
--toy, sizes are such that it only shows that the check works.
"""

import argparse
import importlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "engine"))

from duel import Duel, Row, fight, markdown

from tests.device import memory, rows, shape

_SIDE = {True: 256, False: 8192}  # of the product, by whether sizes are toys
_COPIED = {True: 1 << 20, False: 1 << 32}  # bytes


def main() -> int:
    """Measure, and write after each row; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--toy", action="store_true", help="toy sizes, on a card too")
    asked = parser.parse_args()
    has_card = torch.cuda.is_available()
    is_toy = asked.toy or not has_card
    device, dtype = ("cuda", torch.bfloat16) if has_card else ("cpu", torch.float32)
    floors = rows.Floors(product(device, dtype, _SIDE[is_toy]), copied(device, _COPIED[is_toy]))
    facts: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0) if has_card else platform.processor() or platform.machine(),
        "dtype": str(dtype).removeprefix("torch."),
        "sizes": "toy" if is_toy else "full",
        "torch": torch.__version__,
        "product_flops": floors.product,
        "copy_bytes": floors.copy,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    report = Report(asked.out, facts)
    report.add("float32 on the device and on the processor", lambda: equality(device))
    made = shape.made(shape.TOY if is_toy else shape.FULL, device, dtype)
    size = rows.TOY if is_toy else rows.FULL
    report.add("a step of sampling", lambda: memory.nucleus(made))
    report.add("memory of edits", lambda: memory.edits(made, size))
    report.add("size of batches", lambda: memory.estimate(made, size))
    for name, make in makers(made, size, floors):
        report.add(name, lambda make=make: [asdict(fight(row, asked.rounds)) for row in make()])
    return report.close()


def makers(base: Any, size: rows.Size, floors: rows.Floors) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Names of the rows, and what makes each."""
    yield "generation", lambda: [rows.generation(base, size, floors)]
    yield "likelihood", lambda: [rows.likelihood(base, size)]
    for number, name in enumerate(("contrastive step", "contrastive against TRL", "dpo against TRL")):
        if number and importlib.util.find_spec("trl") is None:
            yield name, lambda: "not measured: trl is not installed"
        else:
            yield name, lambda number=number: [rows.trained(base, size)[number]]


class Report:
    """What was measured, written after each row."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        """Begin with what the machine is."""
        self._folder, self._facts = folder, facts
        self._rows: dict[str, Any] = {}
        self._failed = False

    def add(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure a row; one that fails is said to."""
        started = time.perf_counter()
        try:
            self._rows[name] = measure()
        except Exception as error:
            self._failed = True
            self._rows[name] = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        self._write()

    def _write(self) -> None:
        found = {"facts": self._facts, "rows": self._rows}
        (self._folder / "check.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (self._folder / "check.md").write_text(self._markdown(), encoding="utf-8")

    def _markdown(self) -> str:
        facts = self._facts
        lines = [
            f"{facts['device']}, {facts['dtype']}, torch {facts['torch']}, {facts['sizes']} sizes: a large product at "
            f"{facts['product_flops'] / 1e12:.3g} TFLOP/s, a copy at {facts['copy_bytes'] / 1e12:.3g} TB/s.",
            "",
        ]
        duels = [Duel(**one) for row in self._rows.values() if isinstance(row, list) for one in row]
        if duels:
            lines += [markdown(duels), ""]
        lines += [f"- {name}: {row}" for name, row in self._rows.items() if isinstance(row, str)]
        return "\n".join(lines) + "\n"

    def close(self) -> int:
        """The exit code."""
        print(self._markdown())
        return int(self._failed)


def product(device: str, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of a product of two square matrices, the median of five."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: left @ right)


def copied(device: str, count: int) -> float:
    """Bytes/s read and written by a copy within the device's memory, the median of five."""
    source = torch.empty(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / _seconds(lambda: target.copy_(source))


def _seconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(6):
        rows.settle()
        started = time.perf_counter()
        work()
        rows.settle()
        found.append(time.perf_counter() - started)
    return median(found[1:])


def equality(device: str) -> str:
    """How far log-likelihoods of the same weights lie apart, and whether greedy texts are the same."""
    from bench.engine.generation import Prompt, generate
    from bench.engine.likelihood import loglikelihood
    from bench.policy import HFPolicy
    from bench.spec import Decoding

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        there = shape.made(shape.TOY, "cpu", torch.float32)
        draw = torch.Generator().manual_seed(3)
        texts = [rows.words(draw, 3 + number, 64) for number in range(8)]
        requests = [([5, 6, 7 + number], [8, 9, 10 + number]) for number in range(8)]
        greedy = Decoding(num_samples=1, max_new_tokens=12, top_p=1.0, top_k=1)
        found = []
        for place in ("cpu", device):
            policy = HFPolicy(there.model.to(place), there.tokenizer)
            likelihoods = [one.logprob for one in loglikelihood(policy, requests)]
            prompts = [Prompt(str(number), text) for number, text in enumerate(texts)]
            said = [one.text for batch in generate(policy, prompts, greedy, 0) for one in batch]
            found.append((likelihoods, said))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    apart = max(abs(one - two) for one, two in zip(found[0][0], found[1][0], strict=True))
    same = sum(one == two for one, two in zip(found[0][1], found[1][1], strict=True))
    return f"log-likelihoods within {apart:.1e}; {same} of {len(texts)} greedy texts are the same"


if __name__ == "__main__":
    sys.exit(main())
