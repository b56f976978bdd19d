"""What each embedded task says of the base model, and at what cost: how the tasks of the suites were chosen.

    python tests/benchmarks/task_signal.py [--documents 300] [--noise 0.05] [--tasks embedded_piqa,embedded_boolq]

It looks at the LAST documents of each file, which no suite evaluates, and at no edited model. What a question can tell
is read off the base beside the base with Gaussian noise on its weight matrices (as a share of each one's standard
deviation): the standard deviation of the paired difference a question. Printed as Markdown, a line a task and figure.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

from bench.assets.catalogue import AssetCatalogue
from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode
from bench.policy import HFPolicy
from bench.run.environment import Environment
from bench.suites import load_suite
from bench.tasks.lm_eval.data import CONTEXTS, load_rows
from bench.tasks.lm_eval.options import Question, guessed_probability

HEAD = "| task | s a question | figure | base | largest without a model | z | sd of paired difference |"


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(CONTEXTS))
    return parser.parse_args()


def answered(policy: HFPolicy, name: str, env: Environment, documents: int) -> tuple[list[Question], float]:
    """The last questions of a task as a policy answers them, and the processor's seconds a question."""
    asset, context = CONTEXTS[name]
    rows = load_rows(env.assets.data(asset).path, boolean=name == "embedded_boolq")[-documents:]
    requests = []
    for row in rows:
        before = encode(policy.tokenizer, context(row))
        for choice in row["choices"]:
            requests.append((before, encode(policy.tokenizer, f"{context(row)} {choice}")[len(before) :]))
    start = time.process_time()
    scored = iter(loglikelihood(policy, requests))
    seconds = (time.process_time() - start) / len(rows)
    return [
        Question(
            row["id"],
            tuple(next(scored).logprob for _ in row["choices"]),
            frozenset({row["gold"]}),
            tuple(map(len, row["choices"])),
            tuple(len(f" {choice}".encode()) for choice in row["choices"]),
        )
        for row in rows
    ], seconds


def figures(questions: Sequence[Question]) -> dict[str, np.ndarray]:
    """What each question adds to each figure; all are better high."""
    by_length = [[p / c for p, c in zip(one.logprobs, one.lengths, strict=True)] for one in questions]
    return {
        "acc": np.array([float(int(np.argmax(one.logprobs)) in one.gold) for one in questions]),
        "acc_norm": np.array(
            [float(int(np.argmax(s)) in one.gold) for s, one in zip(by_length, questions, strict=True)]
        ),
        "gold_probability": np.array([one.gold_probability(by_length=False) for one in questions]),
        "gold_probability_norm": np.array([one.gold_probability(by_length=True) for one in questions]),
        "gold_bits_per_byte": np.array([-one.gold_bits[0] for one in questions]),
    }


def main() -> None:
    """Print the table."""
    asked = options()
    env = Environment(load_suite("mini"), AssetCatalogue())
    policy = HFPolicy(env.base.model, env.base.tokenizer)
    base = {name: answered(policy, name, env, asked.documents) for name in asked.tasks}
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in env.base.model.parameters():
            if weight.ndim > 1:
                weight.add_(torch.randn(weight.shape, generator=noise) * weight.std() * asked.noise)
    print(f"{HEAD}\n|---|---|---|---|---|---|---|")
    for name, (questions, seconds) in base.items():
        others = figures(answered(policy, name, env, asked.documents)[0])
        for figure, own in figures(questions).items():
            guessed = guessed_probability(questions, by_length=figure.endswith("norm"))
            most = max(share for key, share in guessed.items() if key != "prior" or figure.startswith("gold"))
            paired = (own - others[figure]).std(ddof=1)
            error = own.std(ddof=1) / np.sqrt(len(own))
            beside = " | " if figure == "gold_bits_per_byte" else f"{most:.3f} | {(own.mean() - most) / error:+.1f}"
            print(f"| {name} | {seconds:.3f} | {figure} | {abs(own.mean()):.3f} | {beside} | {paired:.3f} |")


if __name__ == "__main__":
    main()
