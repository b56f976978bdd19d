"""Stacked methods: the model that both edits make by hand, from the artifacts that each method has alone."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.engine.batching import pad
from bench.engine.export import export
from bench.errors import UsageError
from bench.method import Artifact, RunContext
from bench.policy import HFPolicy, LoadedModel, Policy
from bench.progress import SILENT, Progress
from bench.run.artifact import load_artifact, make_artifact
from bench.run.edited import edited
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.run.stack import Stack, joined, method_of
from bench.sets import ContrastiveSets
from bench.store.lock import HeldError, alone
from bench.store.runs import Run, list_runs, load_run
from bench.store.upkeep import everything
from reports.card import command_of
from reports.table.forms.markdown import to_markdown
from reports.table.opening import arranged

SMALL = {"steps": 2, "lr": 5e-3, "warmup": 0.0, "lora_r": 4, "anchors_per_step": 2}
STACKS = (
    "contrastive+steering",
    "contrastive+dexperts",
    "steering+dexperts",
    "steering+lm_steer",
    "task_arithmetic+contrastive",
    "contrastive+dinm+steering+prompt",
    "contrastive+gedi",
    "lm_steer+self_debias",
    "ablation+iti",
    "contrastive+rad",
    "steering+cast",
    "contrastive+few_shot",
    "iti+toxification_reversal",
    "lm_steer+model_arithmetic",
)
TEXT = "The river rises in the hills, runs south past two small"


def options(name: str, **own: Any) -> dict[str, Any]:
    """Options of stacked methods that make training short; `own` are of the first that has them."""
    kind = method_of(name)
    assert issubclass(kind, Stack)
    small = {f"{part}.{key}": value for part in kind.kinds for key, value in SMALL.items()}
    return {key: value for key, value in {**small, **own}.items() if key in kind.Config.model_fields}


class Made:
    """Stacked methods on the tiny model, each prepared by itself."""

    def __init__(self, base: LoadedModel, sets: ContrastiveSets, folder: Path) -> None:
        self.base, self.sets, self.folder = base, sets, folder

    def artifact(self, stack: Stack) -> Artifact:
        parts = {}
        for name, method in stack.methods.items():
            place = self.folder / name
            if not place.exists():
                place.mkdir()
                sets = self.sets if method.info.needs_sets else None
                make_artifact(method, self.base, sets, RunContext(place))
            parts[name] = load_artifact(place)
        return joined(parts, self.folder)

    @contextmanager
    def policy(self, name: str, **own: Any) -> Iterator[Policy]:
        kind: Any = method_of(name)
        stack = kind(kind.Config(**options(name, **own)))
        with stack.applied(self.base, self.artifact(stack)) as policy:
            yield policy


@pytest.fixture
def made(tiny_base: LoadedModel, tiny_sets: ContrastiveSets, tmp_path: Path) -> Made:
    return Made(tiny_base, tiny_sets, tmp_path)


def logits_of(policy: Policy, text: str = TEXT) -> torch.Tensor:
    ids = torch.tensor([policy.tokenizer(text)["input_ids"]])
    return policy.forward(ids, torch.ones_like(ids))[0][0].clone()


def model_logits(model: Any, base: LoadedModel, text: str = TEXT) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([base.tokenizer(text)["input_ids"]])).logits[0]
    return found


def with_adapter(base: LoadedModel, folder: Path) -> Any:
    """A copy of the base model with an adapter of it merged, by PEFT alone."""
    return PeftModel.from_pretrained(copy.deepcopy(base.model), str(folder)).merge_and_unload()


# --- the edits, by hand ---


def test_steering_lies_on_fine_tuned_weights(made):
    with made.policy("contrastive+steering", **{"steering.multiplier": 2.0}) as policy:
        found = logits_of(policy)
        assert isinstance(policy, HFPolicy)
        plain = model_logits(policy.plain(), made.base)
    model = with_adapter(made.base, made.folder / "contrastive")
    kind: Any = method_of("steering")
    vector = kind(kind.Config(multiplier=2.0)).vector(load_artifact(made.folder / "steering"), 1)
    model.model.layers[1].register_forward_hook(
        lambda _, __, out: (out[0] + vector, *out[1:]) if isinstance(out, tuple) else out + vector
    )
    expected = model_logits(model, made.base)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(plain, expected, atol=1e-4)
    assert float((found - model_logits(made.base.model, made.base)).abs().max()) > 1e-2


@pytest.mark.parametrize("below", ["contrastive", "steering"])
def test_experts_are_the_base_models_and_not_the_edited_ones(made, below):
    """z' + alpha (z+ - z-), z' of the edited model, z+ and z- of the base with either adapter."""
    name = f"{below}+dexperts"
    with made.policy(name, **{"dexperts.alpha": 1.5}) as policy:
        found = logits_of(policy)
    kind: Any = method_of(below)
    own = {key.partition(".")[2]: value for key, value in options(name).items() if key.startswith(below)}
    with kind(kind.Config(**own)).applied(made.base, load_artifact(made.folder / below)) as policy:
        edited_logits = logits_of(policy)
    experts = [
        model_logits(with_adapter(made.base, made.folder / "dexperts" / part), made.base)
        for part in ("expert", "anti_expert")
    ]
    expected = edited_logits + 1.5 * (experts[0] - experts[1])
    assert torch.allclose(found, expected, atol=2e-4)


def test_a_prompt_is_read_by_the_edited_model(made):
    with made.policy(
        "contrastive+prompt", **{"prompt.text": "She asked whether", "prompt.template": "plain"}
    ) as policy:
        found = logits_of(policy)
    model = with_adapter(made.base, made.folder / "contrastive")
    expected = model_logits(model, made.base, f"She asked whether\n{TEXT}")[-len(found) :]
    assert torch.allclose(found, expected, atol=1e-4)


def test_changes_of_weights_add_up(made):
    with made.policy("task_arithmetic+contrastive") as policy:
        model = {name: part.clone() for name, part in policy.plain().named_parameters()}
    parts = []
    for name in ("task_arithmetic", "contrastive"):
        with ExitStack() as held:
            kind: Any = method_of(name)
            small = {key: value for key, value in SMALL.items() if key in kind.Config.model_fields}
            method = kind(kind.Config(**small))
            held.enter_context(method.applied(made.base, load_artifact(made.folder / name)))
            parts.append({key: one.data.clone() for key, one in made.base.model.named_parameters()})
    for name, own in made.base.model.named_parameters():
        assert torch.allclose(model[name], parts[0][name] + parts[1][name] - own, atol=1e-6)


@pytest.mark.parametrize("name", ["ablation+contrastive", "ablation+steering"])
def test_embeddings_that_are_edited_below_are_written_apart_from_the_output_layer(made, tmp_path, name):
    with made.policy(name) as policy:
        found = logits_of(policy)
        export(policy, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(model_logits(loaded, made.base), found, atol=1e-4)
    assert made.base.model.config.tie_word_embeddings


# --- what every stack holds ---


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_leaves_the_base_as_it_was_and_its_rows_alone(made, name):
    before = {key: (one.data_ptr(), one.clone()) for key, one in made.base.model.state_dict(keep_vars=True).items()}
    texts = [TEXT, "She asked", "It rained all day, and"]
    with made.policy(name) as policy:
        alone = [logits_of(policy, text) for text in texts]
        tokens, mask = pad([policy.tokenizer(text)["input_ids"] for text in texts], 0, "left", policy.device)
        together, _ = policy.forward(tokens, mask)
        for number, one in enumerate(alone):
            scale = max(1.0, float(one.abs().max()))
            assert float((together[number, -len(one) :] - one).abs().max()) < 1e-5 * scale
    after = made.base.model.state_dict(keep_vars=True)
    assert {key: (one.data_ptr(), True) for key, one in after.items()} == {
        key: (place, torch.equal(own, after[key])) for key, (place, own) in before.items()
    }
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.base.model.modules())


@pytest.mark.parametrize("name", STACKS)
def test_parts_of_strength_0_leave_the_others(made, name):
    kind: Any = method_of(name)
    strengths = {f"{part}.{one.info.strength}": 0 for part, one in kind.kinds.items()}
    with made.policy(name, **strengths) as policy:
        assert torch.equal(logits_of(policy), model_logits(made.base.model, made.base))
    first, *_ = kind.kinds
    with made.policy(name, **{key: 0 for key in strengths if not key.startswith(f"{first}.")}) as policy:
        found = logits_of(policy)
    single: Any = method_of(first)
    own = {key.removeprefix(f"{first}."): value for key, value in options(name).items() if key.startswith(f"{first}.")}
    with single(single.Config(**own)).applied(made.base, load_artifact(made.folder / first)) as policy:
        assert torch.equal(found, logits_of(policy))


def test_what_a_stack_says_of_itself():
    info = method_of("contrastive+steering").info
    assert (info.name, info.kind, info.strength) == ("contrastive+steering", "representation", None)
    assert info.needs_sets and info.seeded
    assert not method_of("preadd").info.seeded
    assert method_of("adapter+preadd").info.inputs == {"adapter.path": "adapter"}
    assert not method_of("contrastive+sft").info.quantised
    assert not method_of("rome+steering").info.quantised
    assert method_of("contrastive+steering") is method_of("contrastive+steering")


def test_what_is_one_set_of_weights(tiny_model):
    def reason(name: str) -> str | None:
        kind: Any = method_of(name)
        return kind(kind.Config()).not_exportable(tiny_model)

    assert reason("contrastive+steering") is None
    assert "decoding-time" in str(reason("contrastive+preadd"))
    assert "steering and lm_steer both change hidden states" in str(reason("steering+lm_steer"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("steering+contrastive", "contrastive changes weights and cannot lie on steering.*say contrastive\\+steering"),
        ("preadd+steering", "steering changes hidden states and cannot lie on preadd, which decodes"),
        ("prompt+dexperts", "prompt and dexperts both leave no single model.*take one of them"),
        ("prompt+steering+dexperts", "prompt and dexperts both .*take one of them"),
        ("cast+steering", "steering changes hidden states and cannot lie on cast, which leaves.*say steering\\+cast"),
        ("cast+best_of_n", "cast and best_of_n both .*take one of them"),
        ("cast+toxification_reversal", "cast and toxification_reversal both .*take one of them"),
        ("toxification_reversal+dexperts", "toxification_reversal and dexperts both .*take one of them"),
        ("dexperts+toxification_reversal", "dexperts and toxification_reversal both .*take one of them"),
        ("contrastive+contrastive", "has contrastive twice"),
        ("none+contrastive", "none is no edit"),
        ("contrastive+strawman", "strawman is no edit"),
        ("checkpoint+steering", "checkpoint puts another model in the base's place"),
        ("contrastive+stearing", "unknown method 'stearing'; did you mean 'steering'"),
        ("contrastive:steps=2+steering:layr=1", "method 'steering': unknown key 'layr'"),
        ("contrastive:objective=paper+stearing", "in quotes \\(objective='paper\\+stearing'\\)"),
    ],
)
def test_what_cannot_be_stacked_is_refused_before_any_work(tiny_suite, name, why):
    with pytest.raises(UsageError, match=why) as caught:
        make_experiments(Request((name,), str(tiny_suite())))
    assert "\n" not in str(caught.value)


WRITING = [
    name
    for name in registry.names("methods")
    if (info := registry.load("methods", name).info).edits_facts and info.kind in ("weights", "fine-tuning")
]


@pytest.mark.parametrize(("first", "second"), list(permutations(WRITING, 2)))
def test_two_that_write_facts_into_weights_are_refused(first, second):
    """Each computes its change on the base model, so that both together would write each fact twice."""
    with pytest.raises(UsageError, match=f"{first} and {second} both write the facts into weights.*take one of them"):
        method_of(f"{first}+steering+{second}")
    assert method_of(f"{first}+in_context").info.edits_facts


def test_what_says_wrongly_that_it_lies_below_is_refused(made, monkeypatch):
    """As a method of another package may: its hooks would stay, and what they ask for would be gone."""
    monkeypatch.setattr(method_of("cast"), "info", replace(method_of("cast").info, lies_below=True))
    kind: Any = method_of.__wrapped__("cast+steering")
    stack = kind(kind.Config())
    artifact = made.artifact(stack)
    with pytest.raises(UsageError, match=r"cast.*single model.*run it alone"), stack.applied(made.base, artifact):
        pass


# --- runs ---


Go = Callable[..., list[Run]]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Run methods on a suite and read the records; `place` names the cache and the records."""

    def run(suite: Path, *methods: str, place: str = "a", progress: Progress = SILENT, **request: Any) -> list[Run]:
        experiments = make_experiments(Request(methods, str(suite), **request))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / place / "cache", offline=True), progress)
        outcomes = run_experiments(experiments, env, tmp_path / place / "runs")
        assert [one.error for one in outcomes] == [None] * len(experiments)
        return [load_run(one.folder) for one in outcomes if one.folder]

    return run


class Bars:
    """A progress that remembers its bars, and stops the run as Ctrl-C does where one begins."""

    def __init__(self, stop: str = "") -> None:
        self.stop = stop
        self.labels: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Bars"]:
        del total, unit
        self.labels.append(label)
        if label == self.stop:
            raise KeyboardInterrupt
        yield self

    def advance(self, amount: float = 1) -> None:
        del amount

    def note(self, text: str) -> None:
        del text


def figures(run: Run) -> list[dict[str, Any]]:
    assert run.result
    return [metric.model_dump() for metric in run.result.metrics]


def test_artifacts_are_those_of_the_methods_alone(go, tiny_suite, tmp_path):
    bars = Bars()
    base, first, second, stack = go(
        tiny_suite(),
        "contrastive",
        "steering",
        "contrastive+steering",
        settings=["steering.multiplier=2"],
        progress=bars,
    )
    assert bars.labels.count("train contrastive") == 1
    alone = {run.method: run.manifest.method["artifact_key"] for run in (first, second)}
    method = stack.manifest.method
    assert method["artifact_keys"] == alone
    assert method["config"]["steering.multiplier"] == 2
    assert method["origins"]["contrastive.steps"] == "suite"
    assert method["sets_key"] == first.manifest.method["sets_key"]
    assert stack.method == "contrastive+steering"
    assert stack.id.startswith("tiny-contrastive+steering-s0-")
    assert stack.label == "contrastive+steering (signed, steering.multiplier=2)"
    assert figures(stack) not in [figures(run) for run in (base, first, second)]
    facts = stack.result.artifact
    assert facts["contrastive"]["trained_tokens"] + facts["steering"]["trained_tokens"] == facts["trained_tokens"]
    assert list(stack.training) == ["contrastive-train"]
    kept = {one.path.name for one in everything(tmp_path / "a" / "cache", [tmp_path / "a" / "runs"]) if one.used}
    assert set(alone.values()) <= kept


def test_a_part_of_strength_0_has_the_figures_of_the_other(go, tiny_suite):
    suite = tiny_suite()
    _, contrastive, stack = go(suite, "contrastive", "contrastive+steering:multiplier=0")
    assert figures(stack) == figures(contrastive)


@pytest.mark.parametrize("label", ["train contrastive", "rtp", "heldout"])
def test_an_interrupted_stack_goes_on(go, tiny_suite, tmp_path, label):
    (whole,) = go(tiny_suite(), "contrastive+steering", place="whole", base=False)
    with pytest.raises(KeyboardInterrupt):
        go(tiny_suite(), "contrastive+steering", base=False, progress=Bars(label))
    assert [run.status for run in list_runs(tmp_path / "a" / "runs")] == ["started"]
    bars = Bars()
    (resumed,) = go(tiny_suite(), "contrastive+steering", base=False, progress=bars)
    assert figures(resumed) == figures(whole)
    assert bars.labels.count("train contrastive") == (label == "train contrastive")
    again = Bars()
    assert figures(go(tiny_suite(), "contrastive+steering", base=False, progress=again)[0]) == figures(whole)
    assert again.labels == []


def test_what_was_made_before_another_process_held_a_part_is_counted(tiny_suite, tmp_path):
    (experiment,) = make_experiments(Request(("contrastive+steering",), str(tiny_suite()), base=False))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    runner = Runner(experiment, env, tmp_path / "runs")
    held = tmp_path / "cache" / "artifacts" / runner.preparation.keys_of_parts["steering"]
    with alone(held), pytest.raises(HeldError):
        runner.run(wait=False)
    result = load_run(runner.run()).result
    assert result
    names = [phase.name for phase in result.phases]
    assert names[:2] == ["train contrastive", "train steering"]
    assert len(names) == len({*names})


def test_a_stack_is_a_method_in_tables_and_can_be_had_again(go, tiny_suite, tmp_path):
    suite = tiny_suite()
    runs = go(suite, "contrastive", "contrastive+steering:multiplier=2", "contrastive:scale=0.5+steering")
    text = to_markdown(arranged(runs)[1])
    assert "contrastive+steering (signed, steering.multiplier=2)" in text
    command = command_of(runs[2])
    assert "--method contrastive+steering --suite" in command
    assert "--set steering.multiplier=2.0" in command
    found = edited(runs[2], AssetCatalogue(tmp_path / "a" / "cache", offline=True))
    with found.worn() as policy:
        assert isinstance(policy, HFPolicy)
        ours, plain = logits_of(policy), policy.plain()
        assert torch.allclose(model_logits(plain, LoadedModel(plain, policy.tokenizer, "", "")), ours, atol=1e-5)


def test_keys_follow_every_part(go, tiny_suite):
    suite = tiny_suite()
    stack, other, again = go(
        suite,
        "contrastive+steering",
        "contrastive+steering:multiplier=1",
        "contrastive:steps=3+steering",
        base=False,
    )
    keys = [run.manifest.method["artifact_keys"] for run in (stack, other, again)]
    assert keys[0] == keys[1]
    assert keys[0]["steering"] == keys[2]["steering"]
    assert keys[0]["contrastive"] != keys[2]["contrastive"]
    assert len({run.manifest.key for run in (stack, other, again)}) == 3
