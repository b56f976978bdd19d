"""KL(base || edited): against torch's own, 0 for the base, and through every kind of policy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.assets.catalogue import AssetCatalogue
from bench.engine.divergence import KeptDistributions, Row
from bench.errors import MissingError, UsageError
from bench.policy import HFPolicy, LoadedModel, Policy
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.runs import load_run
from bench.tasks.context import TaskContext
from bench.tasks.divergence import Divergence, DivergenceConfig
from tests.unit.test_tasks import context, embedded  # noqa: F401


class Shifted(Policy):
    """The base with something added to its logits."""

    def __init__(self, policy: HFPolicy, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.inner, self.change = policy, change
        self.tokenizer, self.device, self.max_length = policy.tokenizer, policy.device, policy.max_length

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        logits, cache = self.inner.forward(*args, **kwargs)
        return self.change(logits), cache


def _kept(policy: HFPolicy, rows: list[list[int]], path: Path) -> KeptDistributions:
    return KeptDistributions(policy, [Row(row) for row in rows], path.open("w+b"), lambda _: None)


def test_it_is_the_divergence_of_every_token(tiny_policy, tmp_path):
    rows = [[1, 5, 7], [2, 9, 11, 13, 4], [3]]
    vocabulary = len(tiny_policy.tokenizer)

    def change(logits: torch.Tensor) -> torch.Tensor:
        return logits + torch.linspace(-1, 1, logits.shape[-1])

    found = _kept(tiny_policy, rows, tmp_path / "kept").divergence(Shifted(tiny_policy, change), lambda _: None)
    for row, own in zip(rows, found, strict=True):
        ids = torch.tensor([row])
        logits = tiny_policy.forward(ids, torch.ones_like(ids))[0][0]
        base = torch.distributions.Categorical(logits=logits[:, :vocabulary].double())
        edited = torch.distributions.Categorical(logits=change(logits)[:, :vocabulary].double())
        assert own == pytest.approx(torch.distributions.kl_divergence(base, edited).tolist(), abs=1e-5)
        assert min(own) > 0.01


def test_a_row_that_a_policy_does_not_read_is_refused(tiny_policy, tmp_path):
    edited = Shifted(tiny_policy, lambda logits: logits)
    edited.max_length = 4
    kept = _kept(tiny_policy, [[2, 9, 11, 13, 4]], tmp_path / "kept")
    with pytest.raises(UsageError, match="has 5 tokens, and the model reads 4; lower the task's max_tokens"):
        kept.divergence(edited, lambda _: None)


def test_of_the_base_it_is_0(tiny_policy, tmp_path):
    kept = _kept(tiny_policy, [[1, 5, 7], [2, 9]], tmp_path / "kept")
    assert kept.divergence(tiny_policy, lambda _: None) == [[0, 0, 0], [0, 0]]


def test_what_no_token_of_the_tokenizer_can_be_is_left_out(tiny_policy, tmp_path):
    """A checkpoint of the same tokenizer may have more rows in its output than the base has."""
    wider = Shifted(tiny_policy, lambda logits: torch.cat([logits, torch.full_like(logits[..., :8], 30)], -1))
    kept = _kept(tiny_policy, [[1, 5, 7]], tmp_path / "kept")
    assert kept.divergence(wider, lambda _: None)[0] == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_token_without_probability_is_refused(tiny_policy, tmp_path):
    cut = Shifted(tiny_policy, lambda logits: logits.masked_fill(logits < logits.amax(-1, keepdim=True), -torch.inf))
    with pytest.raises(MissingError, match="not finite"):
        _kept(tiny_policy, [[1, 5]], tmp_path / "kept").divergence(cut, lambda _: None)


def _config(path: Path, **options: Any) -> DivergenceConfig:
    path.write_text("".join(json.dumps({"passage": f"{n} stones lay there"}) + "\n" for n in range(6)))
    return DivergenceConfig(task="divergence", data=str(path), passages=4, **options)


def test_the_task_reads_plain_text_and_the_questions_of_the_run(
    context: Callable[..., TaskContext],  # noqa: F811
    tiny_policy: HFPolicy,
    tiny_base: LoadedModel,
    embedded: Any,  # noqa: F811
    tmp_path: Path,
):
    from bench.tasks.lm_eval.task import LMEval, LMEvalConfig

    (questions,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=("embedded_boolq",)))
    ctx = context(assets=embedded, tasks={"embedded_boolq": questions})
    task = Divergence(_config(tmp_path / "plain.jsonl", questions=3, max_tokens=5))
    before = {name: value.clone() for name, value in tiny_base.model.state_dict().items()}
    with task.beside(tiny_policy, ctx) as ctx.beside[task.name]:
        with torch.no_grad():
            for parameter in tiny_base.model.parameters():
                parameter.mul_(1.5)
        try:
            result = task.measure(tiny_policy, ctx)
        finally:
            tiny_base.model.load_state_dict(before)
    found = {metric.key: metric for metric in result.metrics}
    assert found.keys() == {"divergence/text/kl_from_base", "divergence/questions/kl_from_base"}
    assert [metric.n for metric in found.values()] == [4, 3]
    assert all(metric.value > 0.001 and metric.higher_is_better is False for metric in found.values())
    assert set(result.evidence["divergence/questions/kl_from_base"].weight or ()) == {5.0}
    assert list(ctx.folder.iterdir()) == []


def test_a_run_measures_it_of_the_base_a_trained_model_and_a_decoding(tiny_suite: Callable[..., Path], tmp_path: Path):
    """The base is read before it is edited in place, whatever kind of edit it is; of the base itself it is 0."""
    entry = {"data": str(tmp_path / "texts.jsonl"), "field": "text", "passages": 4, "max_tokens": 8}
    suite = tiny_suite(tasks=[{"task": "divergence", **entry}, {"task": "heldout", **entry}])
    experiments = make_experiments(Request(("contrastive:lr=0.1", "preadd", "task_arithmetic"), str(suite)))
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    outcomes = run_experiments(experiments, env, tmp_path / "runs", fresh=False)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    runs = [load_run(outcome.folder) for outcome in outcomes if outcome.folder]
    found = [next(m for m in run.result.metrics if m.task == "divergence") for run in runs if run.result]
    assert [metric.key for metric in found] == ["divergence/text/kl_from_base"] * 4
    assert (found[0].value, found[0].ci_low, found[0].ci_high) == (0, 0, 0)
    assert all(metric.value > 1e-6 for metric in found[1:])
    assert all("divergence of the base" in [phase.name for phase in run.result.phases] for run in runs if run.result)
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]
