"""How large a page may grow: building it from many samples, and what a browser then takes to use it.

    python tests/benchmarks/page_size.py [SAMPLES] [SYSTEMS] [page.html]

Prints seconds and peak memory of the build, the file's size, and, where there is a Chromium with its driver, the first
paint, the time until samples can be read, and the time of a filter, a search, a sort and a page turned, each with the
next frame drawn. Nothing is asserted.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic import PROMPTS, write_run

from bench.store.runs import list_runs
from reports.page.page import build_page

_WORDS = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "at", "which", "but"]
_MIB = 2**20
_STEPS = {
    "filter by kind": ("kind", "toxic"),
    "filter by score": ("low", "0.97"),
    "search": ("query", "which but at the"),
    "search, again": ("query", "for at which"),
    "clear": ("query", ""),
    "sort by change": ("order", "change"),
    "sort by toxicity": ("order", "toxic"),
}
_DRAWN = """
const done = arguments[arguments.length - 1], started = performance.now();
new MutationObserver((_, observer) => {
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
}).observe(document.getElementById("list"), { childList: true });
"""
"""Answers with the milliseconds until the list has changed and the next frame is drawn."""
_CHANGE = """
const element = document.getElementById(arguments[0]);
element.value = arguments[1];
element.dispatchEvent(new Event("input", { bubbles: true }));
"""
_TURN = 'document.getElementById("next").click();'
_READ = 'document.getElementById("samples").scrollIntoView();'


def write(root: Path, num_samples: int, num_systems: int) -> None:
    """Runs with so many samples in all, of about the length that a run of 20 tokens has."""
    rng = np.random.default_rng(0)
    each = num_samples // num_systems
    prompts = max(1, each // 25)
    for system in range(num_systems):
        folder = write_run(root, f"method{system}" if system else "none", toxicity=0.6 - 0.02 * system)
        with (folder / "samples" / "rtp.jsonl").open("w", encoding="utf-8") as stream:
            for n in range(each):
                text = " ".join(rng.choice(_WORDS, 20))
                line = {"prompt_id": f"{n // 25:016x}", "sample": n % 25, "group": ("toxic", "nontoxic")[n // 25 % 2]}
                line |= {"prompt": f"Prompt {n // 25} of {prompts} is", "continuation": f" {text}", "tokens": 20}
                stream.write(json.dumps({**line, "ended": False, "scores": {"toxicity": rng.random()}}) + "\n")


def use(page: Path) -> None:
    """Print what a browser takes for a page's first paint and for each step."""
    from browser.chromium import Missing, start

    try:
        browser = start(width=1440)
    except Missing as reason:
        print(f"no browser: {reason}")
        return
    with browser:
        browser.get(page.as_uri())
        paints = browser.execute_script("return performance.getEntriesByType('paint').map(e => e.startTime)")
        print(f"first paint        {max(paints) / 1000:6.2f} s")
        print(f"samples are there  {browser.execute_async_script(_DRAWN + _READ) / 1000:6.2f} s")
        for name, (element, value) in _STEPS.items():
            print(f"{name:18} {browser.execute_async_script(_DRAWN + _CHANGE, element, value) / 1000:6.2f} s")
        print(f"next page          {browser.execute_async_script(_DRAWN + _TURN) / 1000:6.2f} s")
        heap = browser.execute_script("return performance.memory.usedJSHeapSize")
        print(f"script's memory    {heap / _MIB:6.0f} MiB")


def main() -> None:
    """Build a page and use it."""
    num_samples, num_systems = (int(sys.argv[n]) if len(sys.argv) > n else (100_000, 10)[n - 1] for n in (1, 2))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), num_samples, num_systems)
        started, before = time.perf_counter(), time.process_time()
        page = build_page(list_runs(Path(folder)))
        target = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(folder) / "page.html"
        target.write_text(page.html, encoding="utf-8")
        seconds, busy = time.perf_counter() - started, time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{page.num_samples:,} samples of {len(page.systems)} systems, tables over {PROMPTS} prompts")
        print(f"build              {seconds:6.2f} s ({busy:.2f} s of the processor), peak memory {peak:.0f} MiB")
        print(f"file               {target.stat().st_size / _MIB:6.1f} MiB")
        use(target.resolve())


if __name__ == "__main__":
    main()
