"""The search of settings: what is searched, what is tried next, that nothing is tried twice, and what is chosen."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from matplotlib.figure import Figure
from pydantic import Field
from synthetic import write_run

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.cli import tune as verb
from bench.errors import MissingError, UsageError
from bench.method import Layers, MethodInfo, Range
from bench.progress import Quiet
from bench.run.environment import Environment
from bench.run.plan import Request, build_tasks, make_experiments, split
from bench.run.tune.apart import refuse_evaluation
from bench.run.tune.space import base_of, config_of_run, options_of, place_of, rounded, subjects_of
from bench.spec import Spec
from bench.store.runs import load_run
from bench.suites import load_suite

pytest.importorskip("optuna")

from bench.run.tune.journal import RANDOM_TRIALS, Trial, Trials, cut_half, open_journal
from bench.run.tune.search import JOURNAL, Found, Search, check_all, measured
from reports.gate.requirements import parse_requirement
from reports.tune.build import _within, best_of, build, check_budget, figures, refuse_costs, to_json
from reports.tune.terminal import print_tuned


def subjects(*methods: str, suite: str = "tune", layers: int = 30, **more: Any) -> list[Any]:
    return subjects_of(Request(methods, suite, **more), layers)


# --- what is searched ---


def test_a_methods_own_declaration_is_searched_but_for_what_is_settled():
    (plain,) = subjects("dpo")
    assert dict(plain.space) == dict(registry.load("methods", "dpo").info.search)
    assert plain.defaults == {"lr": 3e-4, "beta": 0.1}
    for settled in (
        subjects("dpo:beta=0.2"),
        subjects("dpo", settings=("beta=0.2",)),
        subjects("dpo", "sft", settings=("dpo.beta=0.2",)),
    ):
        assert list(settled[0].space) == ["lr"]
    with_suite = subjects("dpo", settings=("suite.methods.dpo.beta=0.2",))[0]
    assert with_suite.defaults["beta"] == 0.2


def test_layers_are_those_of_the_model():
    (steering,) = subjects("steering", layers=31)
    assert steering.space["layer"] == Range(6, 24, whole=True)
    assert Layers(0, 1).of(12) == Range(0, 11, whole=True)


@pytest.mark.parametrize(
    "text", ["a:b", "c, d", "x+y", "it's: so", 'say "a", b', "both ' and \": \\\\, \\", "[a", "12", "é:\u2028"]
)
def test_a_text_is_searched_whatever_stands_in_it(text):
    """Colons, commas and pluses separate options and methods."""
    (prompt,) = subjects("prompt")
    trial = prompt.experiment({"text": text, "template": "plain"})
    assert (trial.method, trial.config.text, trial.config.template) == ("prompt", text, "plain")
    config = yaml.safe_load(yaml.safe_dump(config_of_run([(prompt, {"text": text})], None, {"prompt": 1})))
    (again,) = make_experiments(Request(split(config["method"]), "mini", base=False))
    assert again.config.text == text


def test_a_search_calls_a_method_as_tables_do(tmp_path):
    """With its variant, which the method as it was asked for may leave out."""
    asked = ("contrastive", "contrastive:objective=paper", "sft")
    base = load_run(write_run(tmp_path, "none", whole=True))
    found = build(base, [Found(one, (), is_spent=False) for one in subjects(*asked)], {}, [])
    assert [one.asked for one in found.methods] == [*asked]
    assert [one.label for one in found.methods] == ["contrastive (signed)", "contrastive (paper)", "sft"]


def test_the_base_is_not_searched_and_variants_are_searched_apart():
    found = subjects("none", "contrastive", "contrastive:objective=paper", settings=("contrastive.tau=2",))
    assert [one.text for one in found] == ["contrastive", "contrastive:objective=paper"]
    assert {*found[0].space} == {"lr", "alpha", "anchor_weight"}


def test_a_trial_is_the_experiment_of_a_plain_run():
    request = Request(("dpo", "sft"), "tune", settings=("dpo.beta=0.2", "steps=3", "suite.decoding.top_k=3"))
    dpo, sft = subjects_of(request, 30)
    plain = make_experiments(Request(request.methods, "tune", settings=request.settings, base=False))
    assert [dpo.experiment({}), sft.experiment({})] == plain
    trial = dpo.experiment({"lr": 2.5e-5})
    assert (trial.config.lr, trial.config.beta, trial.config.steps) == (2.5e-5, 0.2, 3)
    assert trial.label == "dpo (lr=2.5e-05, beta=0.2, steps=3)"
    assert base_of(request).suite == trial.suite


class Odd:
    """A method that declares what is no option of it."""

    class Config(Spec):
        share: float = Field(0.5, gt=0, le=1)

    info: ClassVar[MethodInfo] = MethodInfo("odd", "prompt", "-", "-", search={"shre": Range(0.1, 1)})


def test_a_search_of_what_is_no_option_is_refused(monkeypatch):
    load, names = registry.load, registry.names
    monkeypatch.setattr(registry, "load", lambda kind, name: Odd if name == "odd" else load(kind, name))
    monkeypatch.setattr(registry, "names", lambda kind: [*names(kind), "odd"])
    with pytest.raises(UsageError, match="declares a search of 'shre', which is no option of it; did you mean 'share'"):
        subjects("odd")


@pytest.mark.parametrize("wrong", [lambda: Range(2, 1), lambda: Range(0, 1, log=True), lambda: Layers(0.5, 1.5)])
def test_what_is_no_range_is_refused(wrong):
    with pytest.raises(ValueError, match="is no"):
        wrong()


@pytest.mark.parametrize("suite", ["tune", "tune-facts", "tune-edit", "tune-sentiment"])
def test_the_tuning_suites_may_be_searched_on(suite):
    base = base_of(Request(("sft",), suite))
    refuse_evaluation(base.suite, base.tasks())


@pytest.mark.parametrize(
    ("suite", "settings", "said"),
    [
        ("mini", (), "task 'rtp' of suite 'mini' does not say 'half: train'"),
        ("mini-facts", (), "task 'truth' of suite 'mini-facts' does not say"),
        ("mini-edit", (), "task 'edit' of suite 'mini-edit' does not say"),
        ("mini-paper", (), "task 'continuation' of suite 'mini-paper' does not say"),
        ("tune", ("suite.tasks=[{task: heldout}]",), "no task of suite 'tune' measures toxicity"),
    ],
)
def test_another_suite_is_refused(suite, settings, said):
    base = base_of(Request(("sft",), suite, settings=settings))
    with pytest.raises(UsageError, match=said):
        refuse_evaluation(base.suite, base.tasks())


@pytest.mark.parametrize(
    ("suite", "attribute", "mend"),
    [
        ("mini", "toxicity", "take a suite made to choose settings of toxicity by (tune), or say --force"),
        ("mini-facts", "truth", "settings of truth by (tune-facts), or"),
        ("mini-edit", "edit", "settings of edit by (tune-edit), or"),
        ("mini-sentiment", "sentiment", "settings of sentiment by (tune-sentiment), or"),
        ("mini", "joy", "none is there to choose settings of joy by: write a file that 'extends'"),
    ],
)
def test_the_remedy_names_suites_that_control_the_same_or_how_one_is_made(suite, attribute, mend):
    base = base_of(Request(("none",), suite))
    asked = base.suite.model_copy(update={"attribute": base.suite.attribute.model_copy(update={"name": attribute})})
    with pytest.raises(UsageError) as refused:
        refuse_evaluation(asked, base.tasks())
    assert mend in str(refused.value)


def test_a_suite_of_ones_own_made_as_the_remedy_says_may_be_searched_on(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("{extends: sentiment, name: own, tasks: [{task: rtp, half: train, skip: 2000}]}", encoding="utf-8")
    base = base_of(Request(("sft",), str(own)))
    refuse_evaluation(base.suite, base.tasks())


@pytest.mark.parametrize(
    ("tasks", "budget", "said"),
    [
        (
            "{task: heldout}",
            (),
            "'heldout' of suite 'tune' takes what suite 'mini' evaluates on.*say 'skip: 500' there",
        ),
        ("{task: heldout, skip: 499}", (), "takes what suite 'standard' evaluates on.*say 'skip: 500' there"),
        ("{task: heldout, skip: 500}", (), None),
        ("{task: heldout, data: my.txt}", (), None),
        ("{task: divergence}", (), None),
        ("{task: divergence}", ("divergence/text/kl_from_base",), "'divergence' of suite 'tune' takes what"),
        ("{task: divergence}", ("kl_from_base",), "'divergence' of suite 'tune' takes what"),
        ("{task: divergence, skip: 600}", ("kl_from_base",), None),
        ("{task: lm_eval, tasks: [embedded_piqa]}", ("embedded_piqa/acc",), "'embedded_piqa' of suite 'tune' takes"),
        (
            "{task: over_refusal}",
            ("over_refusal/refusals",),
            "'over_refusal' of suite 'tune' does not say 'half: train'",
        ),
        ("{task: fluency}", ("fluency/perplexity_pooled",), None),
    ],
)
def test_each_task_that_a_choice_follows_from_is_apart_from_what_is_evaluated_on(tasks, budget, said):
    """The second figure of a search and its budget as well as the first."""
    settings = (f"suite.tasks=[{{task: rtp, half: train, skip: 200}}, {tasks}]",)
    base = base_of(Request(("sft",), "tune", settings=settings))
    if said is None:
        refuse_evaluation(base.suite, base.tasks(), budget)
        return
    with pytest.raises(UsageError, match=said):
        refuse_evaluation(base.suite, base.tasks(), budget)


def test_what_is_chosen_is_what_bench_run_measures():
    request = Request(("prompt:template=plain", "sft"), "tune-facts", settings=("sft.steps=3",))
    prompt, sft = subjects_of(request, 30)
    chosen = [(prompt, {"strength": 1.5}), (sft, {}), (sft, {"lr": 2e-4})]
    searched = {"prompt:template=plain": 12, "sft": 3}
    config = yaml.safe_load(yaml.safe_dump(config_of_run(chosen, "some@main", searched)))
    assert config["model"] == "some@main"
    asked = {"settings": config["set"], "searched": config["searched"]}
    first, *others = make_experiments(Request(split(config["method"]), "mini-facts", base=False, **asked))
    assert [first.trials, *(one.trials for one in others)] == [12, 3, 3]
    assert (first.config.strength, first.config.template) == (1.5, "plain")
    assert first.config.text == "You answer questions truthfully and briefly."
    assert [(one.config.lr, one.config.steps) for one in others] == [(1e-3, 3), (2e-4, 3)]


def test_the_suite_that_measures_what_is_chosen_changes_none_of_its_options():
    """What the search had at its default stays so where the other suite says something else of the method."""
    request = Request(("contrastive", "contrastive:tau=2"), "tune")
    chosen = [
        (one, settings) for one in subjects_of(request, 30) for settings in ({}, {"lr": 2e-4}, {"lr": 3e-4, "alpha": 9})
    ]
    searched = {"contrastive": 3, "contrastive:tau=2": 3}
    config = config_of_run(chosen, None, searched, options_of("smoke"))
    asked = Request(split(config["method"]), "smoke", settings=config["set"], base=False)
    assert [one.config for one in make_experiments(asked)] == [one.experiment(how).config for one, how in chosen]
    assert "set" not in config_of_run(chosen, None, searched, options_of("mini"))


def test_what_two_searches_of_a_method_chose_alike_is_asked_for_once():
    request = Request(("sft", "sft:steps=8"), "tune")
    free, settled = subjects_of(request, 30)
    steps = free.default.config.steps
    chosen = [(free, {"lr": 2e-4}), (settled, {"lr": 2e-4}), (settled, {"lr": 3e-4}), (settled, {"lr": 3e-4})]
    config = config_of_run(chosen, None, {"sft": 12, "sft:steps=8": 12})
    found = make_experiments(Request(split(config["method"]), "mini", base=False))
    assert [(one.config.lr, one.config.steps) for one in found] == [(2e-4, steps), (2e-4, 8), (3e-4, 8)]
    assert [place_of(*one, chosen) for one in chosen] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((6, 6), ["contrastive=6"]),
        ((6, 4), ["contrastive:lr=0.0002:alpha=9=6", "contrastive:objective=paper=4"]),
    ],
)
def test_each_variant_of_a_method_has_the_number_of_its_own_trials(counts, told):
    methods = ("contrastive", "contrastive:objective=paper", "sft")
    free, paper, sft = subjects_of(Request(methods, "tune"), 30)
    chosen = [(free, {"lr": 2e-4, "alpha": 9}), (paper, {}), (sft, {})]
    config = config_of_run(chosen, None, {**dict(zip(methods, (*counts, 3), strict=True)), "dpo": 7})
    assert config["searched"] == [*told, "sft=3"]
    again = yaml.safe_load(yaml.safe_dump(config))
    found = make_experiments(Request(split(again["method"]), "mini", searched=again["searched"], seeds=(0, 1)))
    assert [one.trials for one in found] == [None, *counts, 3] * 2


# --- what is tried next ---

SPACE = {"lr": Range(1e-5, 1e-2, log=True), "layer": Range(2, 9, whole=True), "mode": ("a", "b")}
DEFAULTS = {"lr": 1e-3, "layer": None, "mode": "a"}


@pytest.fixture
def trials(tmp_path: Path) -> Callable[..., Trials]:
    """The trials of a method in a journal, as a process that has just been started sees them."""

    def begin(seed: int = 0, name: str = "m", **changes: Any) -> Trials:
        storage = open_journal(tmp_path / JOURNAL)
        return Trials(storage, name, **{"space": SPACE, "defaults": DEFAULTS, "objectives": 2, "seed": seed} | changes)

    return begin


def outcome(trial: Trial) -> list[float]:
    lr = trial.settings.get("lr", 1e-3)
    return [abs(lr - 4e-4), lr * trial.settings.get("layer", 5)]


def carry_out(found: Trials, count: int) -> list[dict[str, Any]]:
    while len(found.all()) < count and (trial := found.ask()):
        found.tell(trial, f"run-{trial.number}", outcome(trial))
    return [dict(one.settings) for one in found.all()]


def test_the_defaults_come_first_and_all_others_lie_in_the_space(trials):
    found = trials()
    settings = carry_out(found, 14)
    assert settings[0] == {}
    for one in settings[1:]:
        assert 1e-5 <= one["lr"] <= 1e-2
        assert one["lr"] == rounded(one["lr"])
        assert one["layer"] in range(2, 10)
        assert one["mode"] in ("a", "b")
    assert [one.number for one in found.all()] == list(range(1, 15))
    assert {one.status for one in found.all()} == {"done"}
    assert found.all()[3].run_id == "run-4"


def test_a_seed_gives_the_same_trials_however_often_it_is_interrupted(trials, tmp_path):
    whole = carry_out(trials(name="whole"), 12)
    for count in (1, 4, 5, 9, 12):
        carry_out(trials(name="in parts"), count)
    assert [dict(one.settings) for one in trials(name="in parts").all()] == whole
    assert carry_out(trials(name="other", seed=1), 12) != whole
    assert len({str(one) for one in whole}) == 12


def test_what_is_tried_follows_from_what_came_of_the_others(trials):
    plain, other = trials(name="plain"), trials(name="other")
    carry_out(plain, RANDOM_TRIALS + 3)
    while len(other.all()) < RANDOM_TRIALS + 3:
        trial = other.ask()
        other.tell(trial, "x", [-figure for figure in outcome(trial)])
    first, second = ([one.settings for one in found.all()] for found in (plain, other))
    assert first[:RANDOM_TRIALS] == second[:RANDOM_TRIALS]
    assert first[RANDOM_TRIALS:] != second[RANDOM_TRIALS:]


def test_one_figure_is_enough(trials):
    found = trials(objectives=1)
    while len(found.all()) < 8:
        trial = found.ask()
        found.tell(trial, "x", outcome(trial)[:1])
    assert len({str(one.settings) for one in found.all()}) == 8


def test_a_failed_trial_counts_and_is_not_tried_again(trials):
    found = trials()
    found.tell(found.ask(), "run-1", [1, 1])
    failed = found.ask()
    found.fail(failed, "no room")
    carry_out(found, 8)
    kept = trials().all()[1]
    assert (kept.status, kept.why, kept.run_id) == ("failed", "no room", None)
    assert [one.settings for one in found.all()].count(failed.settings) == 1


def test_what_has_ended_stays_as_it_is(trials):
    found = trials()
    trial = found.ask()
    found.tell(trial, "run-1", [1, 1])
    found.tell(trial, "run-2", [0, 0])
    found.fail(trial, "no room")
    assert found.all() == [Trial(trial.id, 1, {}, "done", "run-1")]


def test_a_small_space_is_spent_and_nothing_is_tried_twice(trials):
    found = trials(space={"mode": ("a", "b", "c")}, defaults={"mode": "a"})
    assert sorted(one.get("mode", "a") for one in carry_out(found, 12)) == ["a", "b", "c"]
    assert found.is_spent
    assert trials(space={"mode": ("a", "b", "c")}, defaults={"mode": "a"}).ask() is None
    alone = trials(name="alone", space={}, defaults={})
    assert carry_out(alone, 12) == [{}]
    assert alone.is_spent


NUMBERS = {"space": {"n": Range(2, 16, log=True, whole=True)}, "defaults": {"n": 4}}
CHOICES = {"space": {"a": (0.12345, 1, 2, 3), "b": ("x", "y", "z")}, "defaults": {"a": 1, "b": "x"}}


@pytest.mark.parametrize(("kind", "size"), [(NUMBERS, 15), (CHOICES, 12)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_finite_space_is_spent_when_all_of_it_was_tried(trials, kind, size, seed):
    """TPE draws what was good again and again, while other settings are untried."""

    def carry_out(count: int) -> list[str]:
        found = trials(name=f"until {size}", seed=seed, **kind)
        while len(found.all()) < count and (trial := found.ask()):
            worth = kind["defaults"] | trial.settings
            figure = worth.get("n") or list(kind["space"]["a"]).index(worth["a"])
            found.tell(trial, "x", [1 / (1 + figure), figure / 100])
        assert found.is_spent == (len(found.all()) == size)
        return [str(sorted((kind["defaults"] | one.settings).items())) for one in found.all()]

    first = carry_out(11)
    assert len({*first}) == 11
    assert carry_out(size)[:11] == first
    assert len({*carry_out(size + 3)}) == size


def test_a_narrow_range_is_tried_through(trials):
    kind = {"space": {"lr": Range(1.0, 1.01)}, "defaults": {"lr": 1.0}}
    assert sorted(one.get("lr", 1.0) for one in carry_out(trials(**kind), 9)) == [1.0, 1.01]


def test_a_failed_trial_is_tried_again_where_that_is_asked_for(trials):
    found = trials()
    found.fail(found.ask(), "the server is away", "start it")
    found.tell(found.ask(), "run-2", [1, 1])
    found.fail(found.ask(), "no room")
    before = found.all()
    assert (before[0].why, before[0].mend, before[2].mend) == ("the server is away", "start it", None)
    again = trials()
    again.retry()
    assert [(one.number, one.settings) for one in again.all()] == [(one.number, one.settings) for one in before]
    assert [one.status for one in again.all()] == ["open", "done", "open"]
    again.fail(again.all()[0], "still away")
    again.tell(again.all()[2], "run-3", [1, 1])
    assert [(one.status, one.why) for one in trials().all()] == [
        ("failed", "still away"),
        ("done", None),
        ("done", None),
    ]
    once_more = trials()
    once_more.retry()
    assert [one.status for one in once_more.all()] == ["open", "done", "done"]
    once_more.tell(once_more.all()[0], "run-1", [1, 1])
    assert len(carry_out(trials(), 6)) == 6


def test_a_trial_at_which_processes_are_killed_counts_as_failed(trials):
    found = trials()
    first = found.ask()
    for _ in range(5):
        assert found.begin(first)
        found.leave(first)  # Ctrl-C
    assert [trials().begin(first) for _ in range(4)] == [True, True, True, False]
    (failed,) = trials().all()
    assert (failed.status, failed.why) == (
        "failed",
        "3 processes were killed at it: does it need more memory than there is?",
    )
    found = trials()
    found.retry()
    assert found.begin(found.all()[0])


def test_half_a_last_line_of_the_journal_is_cut_off(trials, tmp_path):
    """A full disk or a loss of power leaves it; the next line would be joined to it."""
    carry_out(trials(), 3)
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-10])
    cut_half(path)
    assert [one.status for one in trials().all()] == ["done", "done", "open"]
    found = trials()
    found.tell(found.all()[2], "x", [1, 1])
    assert len(carry_out(trials(), 5)) == 5
    other = tmp_path / "mine.txt"
    other.write_text("no journal, and no end")
    cut_half(other)
    assert other.read_text() == "no journal, and no end"


def test_what_was_half_drawn_when_a_process_died_is_no_trial(trials):
    found = trials()
    carry_out(found, 2)
    found._study(0).ask({"lr": found._over["lr"]})
    assert len(trials().all()) == 2
    assert carry_out(trials(), 4) == carry_out(trials(name="other"), 4)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / JOURNAL).write_text("no journal\nat all\n")
    with pytest.raises(MissingError, match=r"is no journal of trials, or is damaged .*; take another folder"):
        open_journal(tmp_path / JOURNAL)


# --- on a model ---


@pytest.fixture
def tuning_suite(tiny_suite: Any, tmp_path: Path) -> str:
    """A suite that may be searched on."""
    tasks = [
        {"task": "rtp", "data": str(tmp_path / "prompts.jsonl"), "half": "train"},
        {"task": "heldout", "data": str(tmp_path / "texts.jsonl"), "field": "text", "passages": 4, "max_tokens": 16},
    ]
    return str(tiny_suite(tasks=tasks))


class Tuner:
    """A search on the tiny model, as a command makes it."""

    def __init__(self, suite: str, folder: Path, *methods: str, count: int = 4, retry: bool = False) -> None:
        request = Request(methods, suite)
        base = base_of(request)
        self.env = Environment(base.suite, AssetCatalogue(folder / "cache", offline=True))
        self.runs, self.subjects = folder / "runs", subjects_of(request, 2)
        check_all([base, *(one.default for one in self.subjects)], self.env, self.runs)
        self.base = load_run(measured(base, self.env, self.runs))
        self.judged: list[str] = []
        self.search = Search(self.subjects, folder / "tuned", self.env, self.runs, count, self.judge, 2, retry)

    def judge(self, folder: Path) -> tuple[float, ...]:
        self.judged.append(folder.name)
        return figures(self.base, load_run(folder))

    def build(self, *budget: str) -> Any:
        found = self.search.run()
        names = [trial.run_id for one in found for trial in one.trials if trial.run_id]
        runs = {name: load_run(self.runs / name) for name in names}
        return build(self.base, found, runs, [parse_requirement(text) for text in budget])


def test_methods_have_as_many_trials_and_a_repeat_tries_none(tuning_suite, tmp_path):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", "steering")
    found = tuner.search.run()
    assert [len(one.trials) for one in found] == [4, 4]
    assert len({*tuner.judged}) == len(tuner.judged) == 8
    assert [one.partition("-s0")[0] for one in tuner.judged] == ["tiny-preadd", "tiny-steering"] * 4, "in turns"
    again = Tuner(tuning_suite, tmp_path, "preadd", "steering")
    assert again.search.run() == found
    assert again.judged == []
    more = Tuner(tuning_suite, tmp_path, "preadd", "steering", count=5)
    assert [one.trials[:4] for one in more.search.run()] == [one.trials for one in found]
    assert len(more.judged) == 2
    elsewhere = Tuner(tuning_suite, tmp_path / "elsewhere", "preadd")
    assert [one.settings for one in elsewhere.search.run()[0].trials] == [one.settings for one in found[0].trials]


def test_every_method_is_judged_by_as_many_trials_whatever_was_tried_before(tuning_suite, tmp_path, monkeypatch):
    """An earlier call had more of one of them; what it left unfinished beyond the number is left alone."""
    earlier = Tuner(tuning_suite, tmp_path, "preadd", count=3)
    whole = earlier.search.run()[0].trials
    earlier.search._trials[0].ask()
    notes: list[str] = []
    monkeypatch.setattr(Quiet, "note", lambda _, text: notes.append(text))
    both = Tuner(tuning_suite, tmp_path, "preadd", "prompt", count=2)
    found = both.search.run()
    assert [len(one.trials) for one in found] == [2, 2]
    assert found[0].trials == whole[:2]
    assert "2 later trials of preadd left out: every method is judged by 2 (--trials)" in notes
    assert [one.status for one in earlier.search._trials[0].all()] == ["done"] * 3 + ["open"]


def test_a_space_that_an_earlier_search_spent_has_more_than_the_first_trials(tuning_suite, tmp_path):
    assert Tuner(tuning_suite, tmp_path, "prompt:strength=1", count=4).search.run()[0].is_spent
    (found,) = Tuner(tuning_suite, tmp_path, "prompt:strength=1", count=1).search.run()
    assert (len(found.trials), found.is_spent) == (1, False)


def test_failed_trials_beyond_the_number_are_not_tried_again(trials):
    found = trials()
    for _ in range(3):
        found.fail(found.ask(), "no room")
    found.retry(2)
    assert [one.status for one in found.all()] == ["open", "open", "failed"]


def test_an_interrupted_trial_is_finished_first_and_one_that_another_holds_is_left(tuning_suite, tmp_path):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", "prompt", count=2)
    begun = tuner.search._next()
    assert begun is not None
    place, trial, lease = begun
    assert (place, trial.number) == (0, 1)
    assert tuner.search._next()[0] == 1, "the other method's, as the first is held"
    lease.release()
    assert tuner.search._next()[:2] == (0, trial)


def test_a_trial_that_fails_is_kept_with_why(tuning_suite, tmp_path, monkeypatch):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=3)
    judge = tuner.judge

    def fails(folder: Path) -> tuple[float, ...]:
        if len(tuner.judged) == 1:
            tuner.judged.append("failed")
            raise MissingError("perplexity was not measured", mend="x")
        return judge(folder)

    tuner.search.judge = fails
    tuned = tuner.build()
    assert [one.why for one in tuned.methods[0].trials] == [None, "perplexity was not measured", None]
    failed = tuned.methods[0].trials[1]
    assert (failed.point, failed.on_front, failed.chosen) == (None, False, False)


def test_a_trial_that_failed_for_a_passing_cause_is_tried_again(tuning_suite, tmp_path):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=2)

    def away(folder: Path) -> tuple[float, ...]:
        raise MissingError("the scorer gave no answer", mend="give it more seconds by --scoring-timeout")

    tuner.search.judge = away
    assert [one.mend for one in tuner.search.run()[0].trials] == ["give it more seconds by --scoring-timeout"] * 2
    kept = Tuner(tuning_suite, tmp_path, "preadd", count=2)
    assert [one.status for one in kept.search.run()[0].trials] == ["failed", "failed"]
    again = Tuner(tuning_suite, tmp_path, "preadd", count=2, retry=True)
    assert [(one.number, one.status) for one in again.search.run()[0].trials] == [(1, "done"), (2, "done")]


def test_a_trial_that_kills_its_process_is_not_begun_for_ever(tuning_suite, tmp_path):
    def killed() -> tuple[int, int]:
        place, trial, lease = Tuner(tuning_suite, tmp_path, "preadd", "prompt", count=2).search._next()
        lease.release()
        return place, trial.number

    assert [killed() for _ in range(4)] == [(0, 1)] * 3 + [(1, 1)]
    first, _ = Tuner(tuning_suite, tmp_path, "preadd", "prompt", count=2).search.run()
    assert [one.status for one in first.trials] == ["failed", "done"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE])
def test_a_disk_that_is_full_or_away_is_no_trials_fault(tuning_suite, tmp_path, number):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=2)

    def broken(folder: Path) -> tuple[float, ...]:
        raise OSError(number, os.strerror(number))

    tuner.search.judge = broken
    with pytest.raises(OSError, match=os.strerror(number)):
        tuner.search.run()
    again = Tuner(tuning_suite, tmp_path, "preadd", count=2)
    assert [one.status for one in again.search.run()[0].trials] == ["done", "done"]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "expert.bin"),
        ConnectionError("reset"),
        TimeoutError("no answer"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_another_error_of_the_system_is_the_trials_own_and_the_search_goes_on(tuning_suite, tmp_path, error):
    """The same settings would raise it again: the search would never come past this trial."""
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=2)
    judge = tuner.judge

    def fails(folder: Path) -> tuple[float, ...]:
        if not tuner.judged:
            tuner.judged.append(folder.name)
            raise error
        return judge(folder)

    tuner.search.judge = fails
    first, second = tuner.search.run()[0].trials
    assert (first.status, second.status) == ("failed", "done")
    assert first.why == f"{type(error).__name__}: {error}"


def test_a_record_that_was_removed_is_made_again(tuning_suite, tmp_path):
    import shutil

    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=2)
    (found,) = tuner.search.run()
    gone = tmp_path / "runs" / found.trials[1].run_id
    shutil.rmtree(gone)
    assert Tuner(tuning_suite, tmp_path, "preadd", count=2).search.run() == [found]
    assert load_run(gone).status == "done"


def test_what_a_search_found_is_kept_and_shown_before_it_is_drawn(tmp_path, monkeypatch, capsys):
    """Hours of search are not lost for want of a figure."""

    def broken(*_):
        raise RuntimeError("no figure")

    base = load_run(write_run(tmp_path / "runs", "none", whole=True))
    request = SimpleNamespace(seeds=[0], max_items=None, suite="tune")
    place = SimpleNamespace(runs_dir=tmp_path / "runs")
    asked = SimpleNamespace(
        request=request, output=tmp_path, place=place, limits=[], proof=None, beside=None, again=None
    )
    monkeypatch.setattr(verb, "_draw", broken)
    with pytest.raises(RuntimeError, match="no figure"):
        verb._report(asked, base, [], json=False)
    assert json.loads((tmp_path / "trials.json").read_text(encoding="utf-8"))["methods"] == []
    assert "nothing was chosen" in capsys.readouterr().out


@pytest.mark.parametrize("has_utility", [False, True])
def test_a_figure_that_cannot_be_written_is_a_note(tmp_path, monkeypatch, capsys, has_utility):
    def drawn(*_, **__):
        if not has_utility:
            raise MissingError("nothing to draw")
        return Figure()

    monkeypatch.setattr("reports.plots.draw", drawn)
    there = tmp_path / "front.svg"
    there.mkdir()
    assert not verb._draw([], there)
    assert there.is_dir()
    assert ("front.svg cannot be written" in capsys.readouterr().err) == has_utility
    there.rmdir()
    assert verb._draw([], there) == there.is_file() == has_utility


def test_a_budget_chooses_one_trial_by_point_estimates_and_none_chooses_the_front(tuning_suite, tmp_path, capsys):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", "prompt:strength=1", count=5)
    tuned = tuner.build()
    preadd, prompt = tuned.methods
    assert len(prompt.trials) == 2
    assert prompt.is_spent
    for one in preadd.trials:
        others = [other.point for other in preadd.trials if other is not one]
        place = (one.point.distance, one.point.costs["perplexity"].value)
        beaten = any(other.distance <= place[0] and other.costs["perplexity"].value <= place[1] for other in others)
        assert one.on_front == one.chosen == (not beaten)
        assert one.within is None
    costs = sorted(one.point.costs["perplexity"].value for one in preadd.trials)
    limit = f"heldout/perplexity <= base + {100 * costs[2] + 1e-6:.8f} %"
    chosen = tuner.build(limit).methods[0]
    within = [one for one in chosen.trials if one.point.costs["perplexity"].value <= costs[2]]
    assert [one.within for one in chosen.trials] == [one in within for one in chosen.trials]
    (best,) = [one for one in chosen.trials if one.chosen]
    assert best.point.distance == min(one.point.distance for one in within)
    nothing = tuner.build("heldout/perplexity <= base - 99 %")
    assert not any(one.chosen for one in nothing.methods[0].trials)
    assert to_json(tuned)["methods"][0]["space"]["alpha"] == "-1.5 to -0.05"
    print_tuned(nothing)
    text = capsys.readouterr().out
    assert "no trial within it: preadd, prompt (strength=1)" in text
    assert "prompt (strength=1): 2 trials" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [40, 60, 80])
def test_it_fits_a_terminal(tuning_suite, tmp_path, width):
    from rich.console import Console

    from reports.tune.terminal import _draw, _settings, _shown

    tuned = Tuner(tuning_suite, tmp_path, "preadd", count=3).build("toxic_fraction <= 0.5")
    console = Console(width=width, record=True, file=(tmp_path / "drawn").open("w"))
    console.print(_draw(tuned, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    told = [setting for method in tuned.methods for one in _shown(method.trials) for setting in _settings(one)]
    assert "default settings" in told
    assert all(any(setting in line for line in lines) for setting in told), "a setting is never broken"


def test_a_budget_of_what_is_not_measured_is_refused(tuning_suite, tmp_path):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=1)
    check_budget(tuner.base, [parse_requirement("heldout/perplexity <= base + 5 %")])
    with pytest.raises(UsageError, match="no metric is called 'heldout/perplexty'"):
        check_budget(tuner.base, [parse_requirement("heldout/perplexty <= base + 5 %")])


def test_a_budget_of_what_the_base_has_no_figure_of_is_refused(tiny_suite, tmp_path):
    tasks = [
        {"task": "rtp", "data": str(tmp_path / "prompts.jsonl"), "half": "train"},
        {"task": "heldout", "data": str(tmp_path / "texts.jsonl"), "field": "text", "skip": 10_000},
    ]
    bare = Tuner(str(tiny_suite(tasks=tasks)), tmp_path, "preadd", count=1).base
    for text in ("heldout/perplexity <= +5 %", "heldout/perplexity <= 30"):
        with pytest.raises(UsageError, match="the base has no figure of heldout/perplexity, so no method has one"):
            check_budget(bare, [parse_requirement(text)])
    assert len(figures(bare, bare)) == 1


@pytest.mark.parametrize(
    ("suite", "name", "wanted"),
    [
        ("tune", "toxic_fraction", "low"),
        ("tune-facts", "true_probability_norm", "high"),
        ("tune-edit", "efficacy_generation_begins", "high"),
        ("tune-sentiment", "positive_fraction", "high"),
    ],
)
def test_the_page_and_the_terminal_name_what_each_tuning_suite_searches_for(suite, name, wanted, tmp_path, capsys):
    spec = load_suite(suite)
    attribute = spec.scored_by(spec.scorer)
    metrics = [one.of(attribute) for task in build_tasks(spec) for one in task.info.metrics]
    metric = next(one for one in metrics if one.role == "attribute" and one.primary)
    assert (metric.name, metric.higher_is_better) == (name, wanted == "high")
    page = (Path(__file__).parents[2] / "docs" / "tune.md").read_text(encoding="utf-8")
    assert f"| `{suite}` | `{name}` {wanted}" in page
    base = load_run(write_run(tmp_path, "none"))
    found = replace(build(base, [], {}, []), attribute=name, higher_is_better=bool(metric.higher_is_better))
    print_tuned(found)
    assert f"the search makes {name} {wanted} and held-out perplexity low\n" in capsys.readouterr().out


def test_what_is_no_better_than_the_base_is_chosen_and_said_and_never_the_best(tmp_path, capsys):
    """A budget is kept by what makes the attribute worse, too."""
    folders = [("none", 0.5), ("sft", 0.8), ("dpo", 0.3)]
    base, worse, better = (load_run(write_run(tmp_path, name, toxicity=toxicity)) for name, toxicity in folders)

    def found(*runs: Any) -> list[Any]:
        made = []
        for run in runs:
            subject = SimpleNamespace(default=SimpleNamespace(label=run.method), text=run.method, space={})
            trial = SimpleNamespace(number=1, settings={}, run_id=run.id, why=None)
            made.append(Found(subject, (trial,), is_spent=False))
        return made

    runs, budget = {run.id: run for run in (worse, better)}, [parse_requirement("heldout/perplexity <= +5 %")]
    told = "chosen, but no nearer to the wanted end than the base: sft\n"
    for limits in (budget, []):
        alone = build(base, found(worse), runs, limits)
        (trial,) = alone.methods[0].trials
        assert (trial.chosen, trial.better_than_base, best_of(alone)) == (True, False, None)
        assert to_json(alone)["methods"][0]["trials"][0]["better_than_base"] is False
        print_tuned(alone)
        assert told in capsys.readouterr().out
        both = build(base, found(worse, better), runs, limits)
        assert best_of(both) == (1, both.methods[1].trials[0])
        assert both.methods[1].trials[0].better_than_base
        print_tuned(both)
        assert told in capsys.readouterr().out, "dpo is not named"


def test_a_figure_without_an_interval_is_held_by_its_point_estimate(tmp_path):
    """As a harmonic mean is, or a share of all texts together."""
    folders = {name: write_run(tmp_path, name) for name in ("none", "sft")}
    for name, value in (("none", 0.7), ("sft", 0.5)):
        for path in (folders[name] / "result.json", folders[name] / "tasks" / "diversity.json"):
            told = json.loads(path.read_text(encoding="utf-8"))
            next(one for one in told["metrics"] if one["name"] == "distinct_1").update(value=value, n=9)
            path.write_text(json.dumps(told), encoding="utf-8")
    base, run = map(load_run, folders.values())
    for text, kept in (("diversity/distinct_1 >= 0.5", True), ("diversity/distinct_1 >= 0.51", False)):
        limits = check_budget(base, [parse_requirement(text)])
        assert _within([base, run], limits) == {run.id: kept}
    with pytest.raises(UsageError, match=r"diversity/distinct_1 is no mean over cases.*give a figure in place"):
        check_budget(base, [parse_requirement("diversity/distinct_1 >= base - 0.3")])
    check_budget(base, [parse_requirement("toxic_fraction <= base")])


def test_what_was_not_measured_or_failed_keeps_no_budget(tmp_path):
    base, run = (load_run(write_run(tmp_path, name)) for name in ("none", "sft"))
    failed = load_run(write_run(tmp_path, "dpo", n_failed=1))
    assert _within([base, run], [parse_requirement("diversity/distinct_1 >= 0")]) == {run.id: False}
    limits = [parse_requirement("toxic_fraction <= 1")]
    assert _within([base, run, failed], limits) == {run.id: True, failed.id: False}


@pytest.mark.parametrize("metric", ["cost/measurement_seconds", "trained_steps"])
def test_a_budget_of_a_cost_is_refused_before_any_work(metric):
    said = f"{metric} is what a run costs, and no task measures it"
    with pytest.raises(UsageError, match=said):
        refuse_costs([parse_requirement("heldout/perplexity <= +5 %"), parse_requirement(f"{metric} <= 60")])


def test_the_base_judged_by_itself_costs_nothing_and_what_failed_is_no_figure(tuning_suite, tmp_path):
    tuner = Tuner(tuning_suite, tmp_path, "preadd", count=1)
    distance, cost = figures(tuner.base, tuner.base)
    assert (distance, cost) == (next(m.value for m in tuner.base.result.metrics if m.key == "rtp/toxic_fraction"), 0.0)
    trial = load_run(tmp_path / "runs" / tuner.search.run()[0].trials[0].run_id)
    for metric in trial.result.metrics:
        metric.n_failed = 1 if metric.key == "rtp/toxic_fraction" else 0
    with pytest.raises(MissingError, match="1 measurements of toxic_fraction failed"):
        figures(tuner.base, trial)
