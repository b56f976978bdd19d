"""Sampling by vLLM, held against a stand-in with the interface of vLLM 0.33 that samples from the exported folder."""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from transformers import AutoModelForCausalLM, AutoTokenizer, MistralConfig

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.engine.generation import Prompt, generate
from bench.engine.vllm import _tokens, check_vllm, sampled_by_vllm
from bench.errors import MissingError, UsageError
from bench.method import Method, RunContext
from bench.policy import HFPolicy
from bench.run.artifact import load_artifact, make_artifact
from bench.run.environment import Environment
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.spec import Decoding
from bench.store.runs import Run, load_run
from methods.decoding.mixture import weighted
from methods.learning.adapter import adapted

TEXTS = {"a": "The river rises in", "b": "She asked whether the train was late and the man", "c": ""}
PROMPTS = [Prompt(name, text) for name, text in TEXTS.items()]
GREEDY = Decoding(num_samples=2, max_new_tokens=8, top_k=1)


@dataclass
class SamplingParams:
    """The fields that are used, of vllm.SamplingParams."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool


class LLM:
    """Greedy, from the folder that it is given, with what transformers loads from it."""

    made: list["LLM"] = []  # noqa: RUF012 - the tests read what was asked for

    def __init__(
        self,
        model: str,
        *,
        dtype: str,
        max_model_len: int,
        gpu_memory_utilization: float,
        generation_config: str,
        trust_remote_code: bool,
        disable_log_stats: bool,
    ) -> None:
        assert generation_config == "vllm"
        assert trust_remote_code is False
        assert disable_log_stats
        assert 0 < gpu_memory_utilization < 0.5
        self.room, self.asked, self.ended = max_model_len, [], 0
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._end))
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        assert AutoTokenizer.from_pretrained(model).eos_token_id is not None
        LLM.made.append(self)

    def _end(self) -> None:
        self.ended += 1

    def generate(self, prompts: list[Any], sampling_params: list[SamplingParams], *, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        self.asked += sampling_params
        return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, sampling_params, strict=True)]

    def _one(self, ids: list[int], asked: SamplingParams) -> Any:
        assert len(ids) + asked.max_tokens <= self.room
        assert asked.top_k == 1
        row, reason = list(ids), "length"
        while len(row) < len(ids) + asked.max_tokens and reason == "length":
            row.append(int(self.model(torch.tensor([row])).logits[0, -1].argmax()))
            reason = "stop" if row[-1] in asked.stop_token_ids else "length"
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(row[len(ids) :]), finish_reason=reason)])


@pytest.fixture
def stand_in(monkeypatch):
    """A machine with a CUDA device and vLLM, as far as the engine asks."""
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    module.__spec__ = SimpleNamespace(name="vllm")
    monkeypatch.setitem(sys.modules, "vllm", module)
    device = SimpleNamespace(is_available=lambda: True, mem_get_info=lambda: (4 << 30, 10 << 30))
    monkeypatch.setattr("bench.engine.vllm.torch", SimpleNamespace(cuda=device))  # the model itself stays on the CPU
    monkeypatch.setattr(LLM, "made", [])
    return LLM


def flat(batches):
    return sorted((one for batch in batches for one in batch), key=lambda one: (one.prompt_id, one.sample))


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_what_is_exported_is_the_edited_model(tiny_base, tiny_adapter, stand_in, scale):
    with adapted(tiny_base.model, tiny_adapter, scale):
        policy = HFPolicy(tiny_base.model, tiny_base.tokenizer)
        expected = flat(generate(policy, PROMPTS, GREEDY, 0))
        with sampled_by_vllm(policy, "float32") as sampler:
            found = flat(generate(sampler, PROMPTS, GREEDY, 0))
            ids = torch.tensor([[5, 6, 7]])
            both = [one.forward(ids, torch.ones_like(ids))[0] for one in (policy, sampler)]
            folder = sampler.folder
    assert found == expected
    assert torch.equal(*both)
    assert not folder.exists()


def test_a_worn_adapter_is_exported_merged_and_stays_worn(tiny_base, tiny_adapter, stand_in):
    from peft import PeftModel

    from methods.learning.adapter import unwrap

    before = {name: one.clone() for name, one in tiny_base.model.state_dict().items()}
    try:
        worn = PeftModel.from_pretrained(tiny_base.model, str(tiny_adapter))
        policy = HFPolicy(worn, tiny_base.tokenizer)
        expected = flat(generate(policy, PROMPTS, GREEDY, 0))
        with sampled_by_vllm(policy, "float32") as sampler:
            assert flat(generate(sampler, PROMPTS, GREEDY, 0)) == expected
        assert flat(generate(policy, PROMPTS, GREEDY, 0)) == expected
    finally:
        unwrap(tiny_base.model)
    assert all(torch.equal(before[name], one) for name, one in tiny_base.model.state_dict().items())


def test_each_sample_has_a_random_stream_of_its_own(tiny_policy, stand_in):
    def seeds(prompts, seed):
        stand_in.made.clear()
        with sampled_by_vllm(tiny_policy, "float32") as sampler:
            list(generate(sampler, prompts, GREEDY, seed))
        return {one.seed for llm in stand_in.made for one in llm.asked}

    found = seeds(PROMPTS, 0)
    assert len(found) == len(PROMPTS) * GREEDY.num_samples
    assert seeds(PROMPTS[:1], 0) < found
    assert not seeds(PROMPTS, 1) & found
    assert all(0 <= one < 1 << 63 for one in found)


def test_any_end_token_of_the_model_ends_a_text(tiny_base, stand_in):
    tiny_base.model.generation_config.eos_token_id = [2, *range(100, 400)]
    policy = HFPolicy(tiny_base.model, tiny_base.tokenizer)
    expected = flat(generate(policy, PROMPTS, GREEDY, 0))
    assert any(one.ended and one.tokens < GREEDY.max_new_tokens for one in expected)
    with sampled_by_vllm(policy, "float32") as sampler:
        assert flat(generate(sampler, PROMPTS, GREEDY, 0)) == expected
    assert {tuple(one.stop_token_ids) for llm in stand_in.made for one in llm.asked} == {(2, *range(100, 400))}


@pytest.mark.parametrize(("row", "reason", "expected"), [((5, 7), 7, [5, 7]), ((5,), 7, [5, 7]), ((5,), None, [5, 2])])
def test_the_token_that_ended_a_text_is_in_its_row(row, reason, expected):
    """Some versions leave it out, and say which it was."""
    output = SimpleNamespace(token_ids=row, finish_reason="stop", stop_reason=reason)
    assert _tokens(output, [2, 7]) == expected


def test_longer_prompts_get_a_roomier_engine_and_shorter_ones_the_same(tiny_policy, stand_in):
    with sampled_by_vllm(tiny_policy, "float32") as sampler:
        for prompts in (PROMPTS[:1], PROMPTS, PROMPTS[:1]):
            list(generate(sampler, prompts, GREEDY, 0))
        assert [one.ended for one in stand_in.made] == [1, 0]  # the first was ended before the second began
    assert [one.ended for one in stand_in.made] == [1, 1]


def test_the_engine_is_ended_where_the_work_fails(tiny_policy, stand_in):
    with pytest.raises(KeyboardInterrupt), sampled_by_vllm(tiny_policy, "float32") as sampler:
        list(generate(sampler, PROMPTS[:1], GREEDY, 0))
        raise KeyboardInterrupt
    assert [one.ended for one in stand_in.made] == [1]


@pytest.mark.parametrize("temperature", [1e-6, 0.009])
def test_temperatures_that_it_would_change_are_refused(tiny_policy, stand_in, temperature):
    decoding = GREEDY.model_copy(update={"temperature": temperature})
    line = f"vLLM does not sample at a temperature of {temperature:g}: .*; --set suite.decoding.top_k=1"
    with pytest.raises(UsageError, match=line):
        check_vllm(method("none"), Path(), decoding)
    with sampled_by_vllm(tiny_policy, "float32") as sampler, pytest.raises(UsageError, match=line):
        list(generate(sampler, PROMPTS, decoding, 0))
    assert not stand_in.made
    check_vllm(method("none"), Path(), GREEDY.model_copy(update={"temperature": 0.01}))


def test_the_versions_that_it_is_installed_with_are_those_that_are_asked_for():
    """Of the project and of its extra; they differ from the tested ones where vLLM wants others."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = (root / "constraints-vllm.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    asked = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["vllm"])]
    assert [str(one) for one in asked if not one.specifier.contains(pins[canonicalize_name(one.name)])] == []
    assert "constraints-vllm.txt" in (root / "docs" / "performance.md").read_text()


def test_a_policy_that_is_not_one_set_of_weights_is_refused_with_the_reason(tiny_policy, stand_in):
    mixture = weighted([(1.0, tiny_policy), (1.0, tiny_policy)], 1.0)
    with pytest.raises(UsageError, match=f"vLLM cannot run this policy: {mixture.not_exportable()}"):
        sampled_by_vllm(mixture, "float32").__enter__()


def method(name: str) -> Method[Any]:
    kind = registry.load("methods", name)
    built: Method[Any] = kind(kind.Config.model_construct())  # some options are required
    return built


@pytest.mark.parametrize("name", registry.names("methods"))
def test_methods_without_weights_of_their_own_are_refused_before_any_work(name, stand_in, tiny_model):
    """Steering a Llama model is a bias, so are shifted heads, and LM-Steer is another output layer."""
    built = method(name)
    if built.info.kind in ("none", "fine-tuning", "weights") or name in ("steering", "lm_steer", "iti"):
        assert check_vllm(built, tiny_model, GREEDY) is None
        return
    with pytest.raises(UsageError, match=f"vLLM cannot run '{name}': a method of the kind {built.info.kind}"):
        check_vllm(built, tiny_model, GREEDY)


def test_a_vector_that_is_no_bias_of_the_model_is_refused_before_any_work(stand_in, tmp_path):
    MistralConfig().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"'steering': what it adds .* of the type mistral has; --set"):
        check_vllm(method("steering"), tmp_path, GREEDY)


@pytest.mark.parametrize("name", ["steering", "lm_steer"])
def test_hidden_states_that_are_changed_are_sampled_from_weights(name, tiny_base, tiny_sets, stand_in, tmp_path):
    kind = registry.load("methods", name)
    built = kind(
        kind.Config.model_validate({"steering": {"multiplier": 8}, "lm_steer": {"steer": 60, "lr": 0.1}}[name])
    )
    make_artifact(built, tiny_base, tiny_sets, RunContext(tmp_path))
    with built.applied(tiny_base, load_artifact(tmp_path)) as policy:
        expected = flat(generate(policy, PROMPTS, GREEDY, 0))
        with sampled_by_vllm(policy, "float32") as sampler:
            assert flat(generate(sampler, PROMPTS, GREEDY, 0)) == expected
    assert expected != flat(generate(HFPolicy(tiny_base.model, tiny_base.tokenizer), PROMPTS, GREEDY, 0))


def test_without_a_device_or_the_package_it_says_what_is_missing(monkeypatch, tiny_model):
    none = method("none")
    monkeypatch.setattr("bench.engine.vllm.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="this machine has no vllm; --set"):
        check_vllm(none, tiny_model, GREEDY)
    monkeypatch.setattr("bench.engine.vllm.find_spec", lambda _: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="this machine has no CUDA device"):
        check_vllm(none, tiny_model, GREEDY)


def test_a_run_says_which_engine_sampled_and_is_not_compared_with_the_other(tiny_suite, tmp_path, stand_in):
    def run(engine: str) -> Run:
        suite = tiny_suite(engine=engine, decoding=GREEDY.model_dump())
        (experiment,) = make_experiments(Request(("contrastive",), str(suite), base=False))
        runner = Runner(
            experiment, Environment(experiment.suite, AssetCatalogue(tmp_path, offline=True)), tmp_path / "runs"
        )
        runner.check()
        return load_run(runner.run())

    ours, theirs = run("transformers"), run("vllm")
    assert [one.manifest.engine["name"] for one in (ours, theirs)] == ["transformers", "vllm"]
    assert ours.manifest.suite_hash != theirs.manifest.suite_hash
    assert ours.manifest.key != theirs.manifest.key
    assert ours.manifest.method["artifact_key"] == theirs.manifest.method["artifact_key"]
    assert stand_in.made
    assert [one.value for one in ours.result.metrics] == [one.value for one in theirs.result.metrics]


def test_a_suite_that_vllm_cannot_run_here_stops_before_any_work(tiny_suite, tmp_path):
    (experiment,) = make_experiments(Request(("none",), str(tiny_suite(engine="vllm"))))
    runner = Runner(
        experiment, Environment(experiment.suite, AssetCatalogue(tmp_path, offline=True)), tmp_path / "runs"
    )
    with pytest.raises(MissingError, match="engine = vllm needs a CUDA device and vllm"):
        runner.check()
    assert not Path(tmp_path / "runs").exists()
