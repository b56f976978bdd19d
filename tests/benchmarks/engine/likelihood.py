"""Likelihoods: lm-eval's tasks through the engine and through lm-eval's own model class."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from duel import Row, timed
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from bench.assets.catalogue import AssetCatalogue
from bench.policy import HFPolicy, LoadedModel
from bench.progress import SILENT
from bench.tasks.lm_eval.data import CONTEXTS, task_config
from bench.tasks.lm_eval.model import PolicyLM
from bench.tasks.lm_eval.task import quiet

ZERO_SHOT = ("embedded_piqa", "embedded_siqa", "embedded_commonsense_qa", "embedded_openbookqa", "embedded_boolq")
FEW_SHOT = ("embedded_openbookqa",)


def evaluated(
    lm: Any, assets: AssetCatalogue, tasks: Sequence[str], documents: int, shots: int
) -> list[dict[str, Any]]:
    """What lm-eval keeps of each document, task by task."""
    found = []
    with quiet():
        for name in tasks:
            manager = TaskManager(include_defaults=False)
            config = task_config(name, assets.data(CONTEXTS[name][0]).path)
            if shots:
                config |= {"fewshot_split": "test", "fewshot_config": {"sampler": "first_n"}}
            loaded = manager.load([config])
            for task in loaded["tasks"].values():
                task.set_config(key="num_fewshot", value=shots)
                task.set_fewshot_seed(seed=1234)
            results = evaluate(lm=lm, task_dict=loaded, limit=documents, bootstrap_iters=0, log_samples=True)
            found += results["samples"][name]
    return found


def rows(base: LoadedModel, assets: AssetCatalogue, documents: int) -> list[Row]:
    """Five tasks without examples, and one of four choices after five examples."""

    def make(name: str, tasks: Sequence[str], shots: int, goal: float) -> Row:
        kept: dict[str, list[dict[str, Any]]] = {}

        def ours() -> float:
            context: Any = SimpleNamespace(progress=SILENT, seed=0, tokens=0, shares=False, folder=Path("none"))
            lm = PolicyLM(HFPolicy(base.model, base.tokenizer), context, "")
            kept["ours"] = evaluated(lm, assets, tasks, documents, shots)
            return float(len(kept["ours"]))

        def theirs() -> float:
            lm = HFLM(pretrained=base.model, tokenizer=base.tokenizer, batch_size=16)
            kept["theirs"] = evaluated(lm, assets, tasks, documents, shots)
            return float(len(kept["theirs"]))

        def agreement() -> str:
            pairs = list(zip(kept["ours"], kept["theirs"], strict=True))
            apart = max(
                abs(mine[0] - other[0])
                for one, two in pairs
                for mine, other in zip(one["filtered_resps"], two["filtered_resps"], strict=True)
            )
            same = all(one["acc"] == two["acc"] for one, two in pairs)
            return f"answers {'the same' if same else 'differ'}, log-likelihoods within {apart:.1e}"

        return Row(name, "lm-eval's HFLM, batch 16", "documents", goal, timed(ours), timed(theirs), agreement)

    return [
        make(f"{len(ZERO_SHOT)} tasks, 0-shot, {documents} documents each", ZERO_SHOT, 0, 2),
        make(f"openbookqa, 5-shot, 4 choices, {documents} documents", FEW_SHOT, 5, 3),
    ]
