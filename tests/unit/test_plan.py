"""From what a user asks for to experiments: everything validated at once, every value with its origin."""

import contextlib
import json
from typing import Any

import pytest

from bench import registry, suites
from bench.errors import UsageError
from bench.parsing import read_yaml
from bench.run.plan import Experiment, Request, build_tasks, make_experiments, parse_method, parse_seeds, parse_setting
from bench.run.stack import variant_of
from bench.spec import SuiteSpec, validate


def experiments_of(suite: Any, *methods: str, **options: Any) -> list[Experiment]:
    return make_experiments(Request(methods=methods or ("contrastive",), suite=str(suite), **options))


def one(suite: Any, *settings: str, method: str = "contrastive", **options: Any) -> Experiment:
    (found,) = experiments_of(suite, method, settings=settings, base=False, **options)
    return found


# --- parsing ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-4", ("lr", 1e-4)),
        ("lr=1.0e-4", ("lr", 1e-4)),
        ("steps=20", ("steps", 20)),
        ("objective=paper", ("objective", "paper")),
        ("lora_targets=[q_proj, v_proj]", ("lora_targets", ["q_proj", "v_proj"])),
        ("epochs=null", ("epochs", None)),
        ("flag=true", ("flag", True)),
        (" a = b=c ", ("a", "b=c")),
        ("suite.model.id=x/y", ("suite.model.id", "x/y")),
    ],
)
def test_settings(text, expected):
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["lr", "=3", "  =3", "lr=[1", "lr={a"])
def test_what_is_no_setting_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_setting(text)
    assert text in str(caught.value)


def test_methods_carry_options():
    assert parse_method("none") == ("none", {})
    assert parse_method(" contrastive:objective=paper:steps=20") == (
        "contrastive",
        {"objective": "paper", "steps": 20},
    )
    with pytest.raises(UsageError, match="'paper' is not KEY=VALUE"):
        parse_method("contrastive:paper")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0-2", [0, 1, 2]), ("3,1", [3, 1]), ("0-1,5, 7-8", [0, 1, 5, 7, 8]), ("2,1-3", [2, 1, 3])],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1.5"])
def test_what_are_no_seeds_is_refused(text):
    with pytest.raises(UsageError, match="are not numbers and ranges; write them as 0-2 or 0,3,5"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("99999999999", "seed 99999999999 is too large; seeds are 0 to 999,999,999"),
        ("0-99999999999", "seed 99999999999 is too large"),
        ("9" * 5000, "is too large"),
        ("2-1", "the range of seeds 2-1 ends before it begins; say 1-2"),
    ],
)
def test_seeds_out_of_range_are_refused_for_that_reason(text, said):
    with pytest.raises(UsageError) as caught:
        parse_seeds(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


# --- experiments ---


def test_every_seed_has_the_base_first(tiny_suite):
    experiments = experiments_of(tiny_suite(), "contrastive", "contrastive:steps=3", seeds=(0, 4))
    assert [(experiment.label, experiment.seed) for experiment in experiments] == [
        ("none", 0),
        ("contrastive (signed)", 0),
        ("contrastive (signed, steps=3)", 0),
        ("none", 4),
        ("contrastive (signed)", 4),
        ("contrastive (signed, steps=3)", 4),
    ]
    assert len(experiments_of(tiny_suite(), "contrastive", base=False)) == 1
    assert [experiment.label for experiment in experiments_of(tiny_suite(), "contrastive", "none")] == [
        "contrastive (signed)",
        "none",
    ]


def test_a_flag_goes_before_the_suite_and_the_suite_before_the_default(tiny_suite):
    path = tiny_suite(methods={"contrastive": {"steps": 7, "lr": 0.5}})
    default = one("mini").config
    experiment = one(path)
    assert (experiment.config.steps, experiment.config.lr, experiment.config.tau) == (7, 0.5, default.tau)
    assert (experiment.origins["steps"], experiment.origins["tau"]) == ("suite", "default")
    experiment = one(path, "steps=8", "tau=0.25")
    assert (experiment.config.steps, experiment.config.lr, experiment.config.tau) == (8, 0.5, 0.25)
    assert [experiment.origins[name] for name in ("steps", "lr", "tau", "alpha")] == [
        "flag",
        "suite",
        "flag",
        "default",
    ]
    assert one(path, "contrastive.steps=9").config.steps == 9
    assert one(path, "steps=8", method="contrastive:steps=10").config.steps == 10


def test_values_from_a_variable_or_a_file_say_so(tiny_suite):
    origins = {"methods": "environment", "settings": "config file", "model": "environment"}
    experiment = one(tiny_suite(), "tau=0.5", method="contrastive:alpha=2", origins=origins, model="x")
    assert [experiment.origins[name] for name in ("alpha", "tau", "steps", "lr", "suite.model")] == [
        "environment",
        "config file",
        "suite",
        "default",
        "environment",
    ]


def test_a_setting_for_one_method_leaves_the_others(tiny_suite):
    experiments = experiments_of(tiny_suite(), "none", "contrastive", settings=("lr=0.01", "contrastive.steps=5"))
    assert [experiment.config.model_dump().get("steps") for experiment in experiments] == [None, 5]


def test_the_label_has_what_the_user_changed(tiny_suite):
    assert one(tiny_suite(), "lr=0.01", method="contrastive:steps=3").label == "contrastive (signed, steps=3, lr=0.01)"
    assert one(tiny_suite(), "suite.decoding.top_p=1").label == "contrastive (signed)"


def test_the_label_names_the_form_of_a_method_that_declares_one(tiny_suite):
    forms = ["contrastive", "contrastive:objective=paper", "contrastive:objective=reference:tau=2", "dpo"]
    labels = [experiment.label for experiment in experiments_of(tiny_suite(), *forms, base=False)]
    assert labels == ["contrastive (signed)", "contrastive (paper)", "contrastive (reference, tau=2)", "dpo"]
    assert one(tiny_suite(), "objective=paper").label == "contrastive (paper)"
    (stack,) = experiments_of(tiny_suite(), "contrastive:objective=paper+steering:multiplier=2", base=False)
    assert stack.label == "contrastive+steering (paper, steering.multiplier=2)"
    assert variant_of(stack.method, stack.config) == {"contrastive.objective": "paper"}


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_form_is_an_option_of_its_method(name):
    kind = registry.load("methods", name)
    assert kind.info.variant is None or kind.info.variant in kind.Config.model_fields


def test_a_setting_can_change_the_suite(tiny_suite):
    experiment = one(tiny_suite(), "suite.decoding.top_p=1", "suite.scorer.threshold=0.3", "suite.sets.seed=3")
    assert (experiment.suite.decoding.top_p, experiment.suite.scorer.threshold, experiment.suite.sets.seed) == (
        1,
        0.3,
        3,
    )
    assert experiment.suite.decoding.num_samples == 3
    assert experiment.origins["suite.decoding.top_p"] == "flag"


def test_a_model_takes_the_place_of_the_suites(tiny_suite):
    path = tiny_suite(model={"id": "x", "revision": "1", "dtype": "bfloat16"})
    model = one(path, model="some/model@main").suite.model
    assert (model.id, model.revision, model.dtype) == ("some/model", "main", "bfloat16")
    assert one(path, model="some/model").suite.model.revision is None
    assert one(path).suite.model.id == "x"
    assert one(path, model="a").origins["suite.model"] == "flag"


@pytest.mark.parametrize(
    ("method", "in_suite", "setting", "wanted"),
    [
        ("contrastive_printed", {}, "steps=7", (7, None)),
        ("contrastive", {"epochs": 1}, "steps=7", (7, None)),
        ("contrastive_printed", {"steps": 7}, "lr=1e-4", (7, None)),
        ("contrastive", {"steps": 7}, "epochs=2", (7, 2)),
        ("contrastive_printed", {}, "lr=1e-4", (40, 1)),
    ],
)
def test_steps_that_are_set_count_unless_passes_are_set_above_them(tiny_suite, method, in_suite, setting, wanted):
    suite = tiny_suite(methods={method: in_suite})
    (one,) = experiments_of(suite, method, settings=(setting,), base=False)
    assert (one.config.steps, one.config.epochs) == wanted


# --- refusals ---


@pytest.mark.parametrize(
    ("methods", "settings", "said"),
    [
        (("contrastve",), (), "unknown method 'contrastve'; did you mean 'contrastive'?"),
        (("contrastive", "contrastive"), (), "'contrastive (signed)' is asked for twice"),
        (("contrastive:steps=3", "contrastive:steps=3"), (), "'contrastive (signed, steps=3)' is asked for twice"),
        (("contrastive", "contrastive:tau=1"), (), "'contrastive (signed, tau=1)' is asked for twice"),
        (("contrastive:stps=3",), (), "method 'contrastive': unknown key 'stps', did you mean 'steps'?"),
        (("contrastive",), ("stps=3",), "no method of this run has the option 'stps'; did you mean 'steps'?"),
        (("contrastive",), ("dpo.steps=3",), "'dpo.steps' names no method of this run; it has none, contrastive"),
        (("contrastive",), ("steps=0",), "method 'contrastive': 'steps' = 0"),
        (("contrastive:epochs=2",), ("steps=7",), "'steps' of method 'contrastive' does not count beside epochs=2"),
        (("contrastive",), ("steps=many",), "method 'contrastive': 'steps' = 'many'"),
        (("contrastive",), ("lr=nan",), "method 'contrastive': 'lr' = nan"),
        (("contrastive",), ("objective=papr",), "method 'contrastive': 'objective' = 'papr'"),
        (("contrastive",), ("suite.decodng.top_p=1",), "unknown key 'decodng', did you mean 'decoding'?"),
        (("contrastive",), ("suite.decoding.topp=1",), "unknown key 'decoding.topp', did you mean 'top_p'?"),
        (("contrastive",), ("suite.decoding.top_p=2",), "'decoding.top_p' = 2"),
        (("contrastive",), ("suite.name.x=2",), "'suite.name.x' goes through 'name', which is not a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tiny_suite, methods, settings, said):
    with pytest.raises(UsageError) as caught:
        experiments_of(tiny_suite(), *methods, settings=settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": []}, "'tasks'"),
        ({"tasks": [{"data": "x"}]}, "suite 'tiny', task 1: 'task' is missing; known: continuation"),
        ({"tasks": [{"task": "rtpp"}]}, "unknown task 'rtpp'; did you mean 'rtp'?"),
        ({"tasks": [{"task": "rtp", "toxc": 3}]}, "task 1 (rtp): unknown key 'toxc', did you mean 'toxic'?"),
        ({"tasks": [{"task": "heldout"}, {"task": "heldout"}]}, "suite 'tiny' has task 'heldout' twice"),
        ({"tasks": [{"task": "fluency"}]}, "task 'fluency' reads the samples of 'rtp'; put 'rtp' before it"),
        ({"tasks": [{"task": "lm_eval", "tasks": ["piqa", "piqa"]}]}, "suite 'tiny' has task 'piqa' twice"),
        ({"scorer": {"name": "svm", "threshold": 1.5}}, "'scorer.threshold' = 1.5"),
        ({"methods": {"contrastve": {}}}, "unknown method 'contrastve'; did you mean 'contrastive'?"),
        ({"name": "Tiny Suite"}, "'name' = 'Tiny Suite'"),
        ({"nmae": "x"}, "unknown key 'nmae', did you mean 'name'?"),
    ],
)
def test_a_mistake_in_a_suite_is_named(tiny_suite, changes, said):
    with pytest.raises(UsageError) as caught:
        experiments_of(tiny_suite(**changes))
    assert said in str(caught.value)


def test_all_mistakes_of_a_suite_are_told_at_once(tiny_suite):
    with pytest.raises(UsageError) as caught:
        experiments_of(tiny_suite(sets={"num_prompts": 0, "promts": "x"}, decoding={"top_p": 0}))
    for said in (
        "'sets.num_prompts' = 0",
        "unknown key 'sets.promts', did you mean 'prompts'?",
        "'decoding.top_p' = 0",
    ):
        assert said in str(caught.value)


def test_unknown_suites():
    with pytest.raises(UsageError, match=r"unknown suite 'minni'; did you mean 'mini'\?"):
        experiments_of("minni")
    with pytest.raises(UsageError, match=r"no such file: mini\.yaml"):
        experiments_of("./mini.yaml")


# --- the suites that come with the package ---


@pytest.mark.parametrize("name", suites.names())
def test_shipped_suites_are_whole(name):
    suite = suites.load_suite(name)
    assert suite.name == name
    assert build_tasks(suite)
    assert suite.scorer.name in registry.names("scorers")
    for method, options in suite.methods.items():
        kind = registry.load("methods", method)
        validate(kind.Config, options, f"suite '{name}'")
    assert [experiment.label for experiment in experiments_of(name)] == ["none", "contrastive (signed)"]


def test_the_papers_suite_is_the_papers():
    """Klein & Nabi, ACL 2025, Table 9; RealToxicityPrompts' protocol; the shots of its tasks."""
    suite = suites.load_suite("paper")
    assert suite.model.id == "mistralai/Mistral-7B-v0.1"
    assert (suite.decoding.num_samples, suite.decoding.max_new_tokens, suite.decoding.top_p) == (25, 20, 0.9)
    assert (suite.scorer.name, suite.scorer.options) == ("detoxify", {"variant": "original"})
    config = one("paper").config
    assert (config.lora_r, config.lora_alpha, config.lr, config.epochs, config.tau) == (64, 16, 2.2e-5, 1, 0.1)
    assert (config.positives, config.negatives) == (5, 5)
    assert "lm_head" in config.lora_targets
    shots = {task.name: task.config.num_fewshot for task in build_tasks(suite) if task.info.name == "lm_eval"}
    assert {name: own[name] for name, own in shots.items() if own} == {"arc_challenge": 25, "triviaqa": 8, "gsm8k": 8}


def test_all_that_train_an_adapter_have_the_papers_budget():
    """Once over the same sets in the same steps, with the same adapter, and as many texts a set."""
    suite = suites.load_suite("paper")
    budget = ("lr", "epochs", "anchors_per_step", "accumulation", "lora_r", "lora_alpha", "lora_targets")
    kinds = {name: registry.load("methods", name) for name in registry.names("methods")}
    own = [name for name, kind in kinds.items() if registry.origin("methods", name).startswith("contrastive-bench ")]
    trained = [
        name
        for name in own
        if kinds[name].info.needs_sets and {"lora_r", "positives"} <= kinds[name].Config.model_fields.keys()
    ]
    assert {"contrastive", "dpo", "sft", "dexperts"} <= set(trained)
    for name in trained:
        config = validate(kinds[name].Config, suite.methods[name], name)
        assert [getattr(config, key) for key in budget] == [getattr(one("paper").config, key) for key in budget], name
        assert config.positives + config.negatives == 10, name


def test_lm_eval_knows_the_papers_tasks():
    from lm_eval.tasks import TaskManager

    tasks = [task for task in build_tasks(suites.load_suite("paper")) if task.info.name == "lm_eval"]
    assert {task.name for task in tasks} >= {"sciq", "winogrande", "hellaswag", "logiqa2", "race"}
    assert {task.name for task in tasks} <= set(TaskManager().all_tasks)


def test_a_raw_suite_is_not_changed_by_what_is_set_on_it():
    """Two requests in one process do not see each other's settings."""
    before = one("mini", "suite.decoding.top_p=0.5").suite
    assert before.decoding.top_p == 0.5
    assert one("mini").suite.decoding.top_p == validate(SuiteSpec, suites.read_suite("mini")[0], "x").decoding.top_p


def test_yaml_that_is_no_suite(tmp_path):
    path = tmp_path / "a.yaml"
    for text in ("- a\n", "a: [", "\x00"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"a\.yaml"):
            read_yaml(path)


@pytest.mark.parametrize("key", ["scorer", "model", "decoding", "sets", "methods", "tasks"])
@pytest.mark.parametrize("value", ["x", None, 3, ["x"], {"x": {"y": 1}}])
def test_a_key_of_another_kind_is_named_in_a_suite_and_in_one_that_extends_it(tmp_path, key, value):
    (tmp_path / "below.yaml").write_text(
        json.dumps({"extends": "smoke", "name": "below", key: value}), encoding="utf-8"
    )
    (tmp_path / "above.yaml").write_text("extends: ./below.yaml\nname: above\nscorer: {name: svm}\n", encoding="utf-8")
    for suite in ("below", "above"):
        for model in (None, "other"):
            with contextlib.suppress(UsageError):  # a scorer or a model that stands above it is taken
                make_experiments(Request(("none",), str(tmp_path / f"{suite}.yaml"), model))
    with pytest.raises(UsageError, match=key):
        make_experiments(Request(("none",), str(tmp_path / "below.yaml")))
