"""The engine beside what people use, on the embedded model: one table, in Markdown and as JSON.

    python tests/benchmarks/engine [--rounds 3] [--prompts 16] [--documents 50] [--steps 4] [--only sampling] [--json F]

Each row runs the peer and ours in turn, `rounds` times after one that does not count, and prints the median of the
rounds' ratios with the lowest and the highest. Nothing is asserted: speed is a property of the machine. The embedded
model and data are fetched first, where they are not in the cache. `--command` adds the main command as a user runs it,
`--first-version FOLDER` the same from another checkout.
"""

import argparse
import copy
import json
import os
import platform
import tempfile
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

import command
import likelihood
import sampling
import torch
import training
from duel import Row, fight, markdown, records
from growth import growth
from machine import flops_a_token, peak_flops

from bench.assets.catalogue import AssetCatalogue
from bench.data.prompts import load_prompts
from bench.data.splits import part
from bench.policy import HFPolicy
from bench.run.environment import Environment
from bench.sets import ContrastiveSets
from bench.sets.own import generate_sets
from bench.suites import load_suite

_SETS_PROMPTS = 24


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=16, help="prompts of the row of generation")
    parser.add_argument("--documents", type=int, default=50, help="documents of each task")
    parser.add_argument("--steps", type=int, default=4, help="training steps a round")
    parser.add_argument("--only", choices=("sampling", "likelihood", "training", "growth", "command"))
    parser.add_argument("--command", action="store_true", help="time the main command as well")
    parser.add_argument("--records", type=Path, help="leave the records of the main command in this folder")
    parser.add_argument("--first-version", type=Path, help="another checkout to time the main command from")
    parser.add_argument("--json", type=Path, help="write the table here too")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    asked = options()
    environment = Environment(load_suite("mini"), AssetCatalogue())
    base, suite = environment.base, environment.suite
    prompts = load_prompts(environment.assets.data(suite.sets.prompts).path)
    texts = [prompt.text for prompt in part(prompts, "eval")]
    peak = peak_flops()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{suite.model.id}: {peak / 1e9:.0f} GFLOP/s in a 2048^3 product, "
        f"{flops_a_token(base.model) / 1e9:.2f} GFLOP a token\n"
    )
    duels = []
    for row in rows(asked, environment, texts):
        duels.append(fight(row, asked.rounds))
        print(markdown(duels[-1:]) if len(duels) == 1 else markdown(duels[-1:]).splitlines()[-1], flush=True)
    if asked.only in (None, "growth"):
        print(f"\n{growth(HFPolicy(base.model, base.tokenizer), texts, 8)}")
    if asked.command or asked.first_version:
        print(f"\n{command.table(environment.assets.cache, asked.first_version, asked.records)}")
    if asked.json:
        asked.json.write_text(json.dumps(records(duels), indent=1) + "\n", encoding="utf-8")


def rows(asked: argparse.Namespace, environment: Environment, texts: list[str]) -> list[Row]:
    """The rows asked for; what they work on is made first."""
    base, suite = environment.base, environment.suite
    found: list[Row] = []
    if asked.only in (None, "sampling"):
        experts = [copy.deepcopy(base.model) for _ in range(2)]
        found += sampling.rows(base, experts, texts, asked.prompts)
    if asked.only in (None, "likelihood"):
        found += likelihood.rows(base, environment.assets, asked.documents)
    if asked.only in (None, "training"):
        prompts = part(load_prompts(environment.assets.data(suite.sets.prompts).path), "train")[:_SETS_PROMPTS]
        with tempfile.TemporaryDirectory() as folder:
            parts = Path(folder) / "parts.jsonl"
            sets = generate_sets(environment.base_policy, prompts, environment.scorer, suite.sets, {}, parts=parts)
        found += training.rows(base, ContrastiveSets(sets, "", "the benchmark"), asked.steps)
    return found


if __name__ == "__main__":
    main()
