"""A search that ends with a proof: what it chose is measured on other data, and the best edit lies in a folder."""

import itertools
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import typer
from synthetic import write_run
from typer.testing import CliRunner, Result

from bench import registry
from bench.cli import proof
from bench.cli.app import app
from bench.cli.proving import why_no_proof
from bench.cli.run import SOME_FAILED, request_of
from bench.cli.tune import _Asked, _command, _with_proof
from bench.errors import MissingError, UsageError
from bench.run.families import expand
from bench.run.launch.local import ExperimentOutcome
from bench.run.plan import Request, make_experiments
from bench.run.tune.apart import refuse_seen
from bench.run.tune.space import base_of, config_of_run, place_of, subjects_of
from bench.store.runs import load_run
from bench.suites import load_suite
from reports.gate import check, parse_requirement

Tune = Callable[..., Result]
BUDGET = "heldout/perplexity <= +500 %"


@pytest.fixture
def suites(tmp_path: Path, tiny_suite: Any) -> dict[str, str]:
    """A suite to search on, and four to prove on: apart, with passages of the search, without any, of sentiment."""
    rtp = {"task": "rtp", "data": str(tmp_path / "prompts.jsonl")}
    heldout = {"task": "heldout", "data": str(tmp_path / "texts.jsonl"), "field": "text", "passages": 4}
    few = {"decoding": {"num_samples": 2, "max_new_tokens": 6}}
    made = {}
    for name, changes in {
        "search": {"tasks": [rtp | {"half": "train"}, heldout]},
        "held": {"tasks": [rtp, heldout | {"skip": 4}]},
        "seen": {"tasks": [rtp, heldout | {"data": f"{tmp_path}/./texts.jsonl", "skip": 3}]},
        "bare": {"tasks": [rtp]},
        "other": {
            "tasks": [rtp],
            "attribute": {"name": "sentiment", "adjective": "positive"},
            "scorer": {"name": "vader"},
            "methods": {"preadd": {"prefix": "The following text is sad."}},
        },
    }.items():
        made[name] = str(tiny_suite(name=name, **few, **changes).rename(tmp_path / f"{name}.yaml"))
    return made


@pytest.fixture
def tune(suites: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """`bench tune ARGS...` in a folder of the test's own; a suite's name stands for its file.

    Every trial is better than the base: whether an edit of a random model is, chance decides.
    """
    monkeypatch.setattr("reports.tune.build._is_better", lambda *_: True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def call(*args: str) -> Result:
        words = [suites.get(word, word) for word in args]
        asked = ["tune", "--suite", suites["search"], "--trials", "2", "--limit", "4", "-o", "found", *words]
        return CliRunner().invoke(app, asked, standalone_mode=False)

    return call


def declare(suite: str, proof: str | None) -> None:
    """Let a suite say which one proves what a search on it chooses."""
    path = Path(suite)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"proof": proof}), encoding="utf-8")


def value_of(done: Result) -> dict[str, Any]:
    assert done.exception is None, done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_was_chosen_is_measured_held_to_the_budget_and_the_best_of_the_search_exported(tune, tmp_path):
    asked = ("--method", "preadd,contrastive", "--budget", BUDGET, "--prove", "held", "--prove-seeds", "0-1")
    told = value_of(tune(*asked, "--json"))
    proof = told["proof"]
    runs = [load_run(Path(folder)) for folder in proof["runs"]]
    assert [(run.method, run.manifest.seed) for run in runs] == [
        (method, seed) for seed in (0, 1) for method in ("none", "preadd", "contrastive")
    ]
    assert {run.manifest.suite["name"] for run in runs} == {"held"}
    assert [run.manifest.method.get("trials") for run in runs[:3]] == [None, 2, 2]
    chosen = {one["asked"]: next(trial for trial in one["trials"] if trial["chosen"]) for one in told["methods"]}
    for run in runs[1:3]:
        assert chosen[run.method]["settings"].items() <= run.manifest.method["config"].items()

    def rank(label: str) -> tuple[float, float]:
        point = chosen[label]["point"]
        return point["distance"], point["costs"]["perplexity"]["value"]

    best = min(chosen, key=rank)
    assert proof["best"].startswith(best)
    assert proof["edit"]["run"] == next(run.id for run in runs if run.method == best)
    assert proof["edit"]["what"] == {"preadd": "recipe", "contrastive": "model"}[best]
    held = check(runs, None, [parse_requirement(BUDGET)], by_name=True).requirements
    assert [(one["label"], one["status"], one["low"]) for one in proof["budget"]] == [
        (one.label, one.status, one.low) for one in held
    ]
    assert json.loads((tmp_path / "found" / "proof.json").read_text()) == proof
    exported = next(run for run in runs if run.method == best)
    base = next(run for run in runs if run.method == "none")
    own = check([base, exported], None, [parse_requirement(BUDGET)], by_name=True).requirements
    assert (proof["exported"]["run"], proof["exported"]["seed"]) == (exported.id, 0)
    assert [(one["status"], one["value"], one["low"]) for one in proof["exported"]["budget"]] == [
        (one.status, one.value, one.low) for one in own
    ]
    assert [one["low"] for one in proof["exported"]["over_trainings"]] == [one.low for one in held if best in one.label]
    assert {key: one["value"] for key, one in proof["exported"]["figures"].items()} == {
        one.key: one.value for one in exported.result.metrics
    }
    card = (tmp_path / "found" / "edit" / "README.md").stat()
    assert told["next"].endswith("held.yaml --seeds 0,1 --limit 4")

    shown = tune(*asked)
    assert shown.exception is None, shown.exception
    alone = ("of the exported training (seed 0) alone:", "its budget: ok over the 2 trainings, ok in the exported one")
    for words in ("proof on suite", "the budget on these data", f"best by the search: {best}", "records:", *alone):
        assert words in shown.stdout
    assert shown.stdout.count(BUDGET) >= 2
    assert (tmp_path / "found" / "edit" / "README.md").stat() == card, "the edit of the same run is not written again"


def test_the_best_is_exported_where_two_searches_of_a_method_chose_the_same(tmp_path, monkeypatch):
    """Of both there is one experiment, so that what comes after them stands one place before."""
    methods = ("preadd", "preadd:filter_p=0.5", "contrastive")
    free, settled, last = subjects_of(Request(methods, "tune"), 30)
    chosen = [(free, {"filter_p": 0.5}), (settled, {}), (last, {})]
    config = config_of_run(chosen, None, {"preadd": 2, "preadd:filter_p=0.5": 2, "contrastive": 1})

    def carried_out(experiments: Any, *_: Any) -> list[ExperimentOutcome]:
        return [ExperimentOutcome(one, tmp_path / f"{one.method}-{one.seed}") for one in experiments]

    monkeypatch.setattr(proof, "in_this_process", carried_out)
    monkeypatch.setattr("bench.store.runs.load_run", Path)
    monkeypatch.setattr(proof, "_held", lambda *_: [])
    monkeypatch.setattr(proof, "_alone", lambda *_: None)
    monkeypatch.setattr(proof, "_export", lambda record, *_: {"run": record.name})
    place: Any = None
    for one, name in zip(chosen, ("preadd", "preadd", "contrastive"), strict=True):
        best = place_of(*one, chosen)
        choice = proof.Choice(config, best, ["a"])
        found = proof.prove(Request(methods, "mini", seeds=(3, 5)), choice, [], tmp_path, place)
        assert len(found.outcomes) == 2 * 3
        assert found.best.startswith(name)
        assert found.edit == {"run": f"{name}-3"}


def test_the_exported_training_is_held_to_the_budget_by_itself(tmp_path, capsys):
    """The mean over trainings keeps it, and the training that lies in the folder does not."""
    runs = []
    for seed, of_method in enumerate((3.3, 3.0, 3.0)):
        for method, nll in (("none", 3.0), ("sft", of_method)):
            runs.append(load_run(write_run(tmp_path, method, seed, nll=nll, run_id=f"{method}-{seed}")))
    limits = [parse_requirement("heldout/perplexity <= +20 %")]
    own = proof._alone([run for run in runs if run.method == "sft"], runs, limits)
    assert (own.run, own.seed) == ("sft-0", 0)
    figures = {one.key: one.value for one in runs[1].result.metrics}
    assert own.figures["heldout/perplexity"]["value"] == figures["heldout/perplexity"]
    assert [one.status for one in own.budget] == ["failed"]
    assert [one.value < one.limit for one in own.over_trainings] == [True]
    asked: Any = Request(("sft",), "mini", seeds=(0, 1, 2))
    outcomes = [ExperimentOutcome(one, run.path) for one, run in zip(make_experiments(asked), runs, strict=True)]
    proof.show(asked, proof.Proof(outcomes, own.over_trainings, "sft", None, own))
    told = capsys.readouterr().out
    assert re.search(r"its budget: (ok|\?\?) over the 3 trainings, FAIL in the exported one", told), told


def test_an_edit_of_weights_is_a_model_and_another_one_takes_its_place_as_a_recipe(tune, tmp_path):
    asked = ("--budget", BUDGET, "--trials", "1", "--prove", "held", "--json", "--method")
    first = value_of(tune(*asked, "contrastive"))["proof"]["edit"]
    edit = tmp_path / "found" / "edit"
    assert (first["what"], first["why"]) == ("model", None)
    assert (edit / "config.json").is_file()
    second = value_of(tune(*asked, "preadd"))["proof"]["edit"]
    assert second["what"] == "recipe"
    assert "preadd cannot be exported" in second["why"]
    assert (edit / "manifest.json").is_file()
    assert not (edit / "config.json").exists()


def test_where_nothing_keeps_the_budget_nothing_is_proven_no_earlier_proof_stays_and_the_exit_code_says_so(
    tune, tmp_path
):
    found = tmp_path / "found"
    (found / "edit").mkdir(parents=True)
    (found / "proof.json").write_text('{"edit": {"run": "a", "what": "recipe"}}', encoding="utf-8")
    asked = ("--method", "preadd", "--budget", "heldout/perplexity <= -99 %", "--trials", "1", "--prove", "held")
    done = tune(*asked)
    assert done.exception is None, done.exception
    assert done.return_value == 1
    assert "bench: error: nothing is proven or exported: no trial keeps the budget; search longer" in done.stderr
    assert "nothing was chosen" in done.stdout
    assert "proof" not in done.stdout
    assert not (found / "edit").exists()
    assert not (found / "proof.json").exists()
    told = tune(*asked, "--json")
    assert (told.return_value, json.loads(told.stdout)["proof"]) == (1, None)
    assert tune(*asked[:-2], "--prove", "none").return_value == 0, "no proof was asked for"


def test_what_is_no_better_than_the_base_is_not_exported(tune, tmp_path, monkeypatch):
    """It stays chosen, so that it can be measured beside others; an earlier proof of the same choice does not stay."""
    asked = ("--method", "preadd", "--budget", BUDGET, "--trials", "1", "--prove", "held")
    assert value_of(tune(*asked, "--json"))["proof"]["edit"]
    monkeypatch.setattr("reports.tune.build._is_better", lambda *_: False)
    done = tune(*asked)
    assert done.return_value == 1
    assert "nothing is proven or exported: no chosen trial is nearer to the wanted end than the base" in done.stderr
    assert "chosen, but no nearer to the wanted end than the base: preadd" in done.stdout
    assert (tmp_path / "found" / "settings.yaml").is_file()
    assert not (tmp_path / "found" / "edit").exists()


def test_a_budget_alone_ends_with_the_proof_and_the_edit(tune, suites, tmp_path):
    """On the suite that measures the same on other data, in a folder that nobody has to name."""
    declare(suites["search"], "held.yaml")
    search = ["tune", "--suite", suites["search"], "--trials", "1", "--limit", "4"]
    asked = [*search, "--method", "preadd", "--budget", "perplexity <= +500%"]
    done = CliRunner().invoke(app, asked, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    assert "proof on suite" in done.stdout
    assert "  bench tune " not in done.stdout
    proof = json.loads((tmp_path / "tuned" / "proof.json").read_text(encoding="utf-8"))
    assert load_run(Path(proof["runs"][0])).manifest.suite["name"] == "held"
    assert (tmp_path / "tuned" / "edit" / "README.md").is_file()
    again = CliRunner().invoke(app, [*asked, "--prove", "none"], standalone_mode=False)
    assert "proof on suite" not in again.stdout
    command = next(line for line in again.stdout.splitlines() if line.startswith("  bench tune "))
    assert shlex.split(command)[-2:] == ["--prove", suites["held"]]
    assert command.count("--prove") == 1


@pytest.mark.parametrize("suite", ["tune", "tune-facts", "tune-edit", "tune-sentiment"])
def test_each_tuning_suite_has_one_that_proves_what_it_chooses(suite):
    request = Request(("sft",), suite, settings=("suite.model.dtype=bfloat16",), model="some/model")
    limits = [parse_requirement("perplexity <= +5%")]
    search = base_of(request)
    assert search.suite.proof == suite.replace("tune", "mini")
    assert why_no_proof(request, limits, search, search.suite.proof) is None


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        (None, "suite 'search' declares none ('proof: SUITE')"),
        ("away.yaml", "no such file: {folder}/away.yaml"),
        ("mini-facts", "suite 'mini-facts' controls truth, and suite 'search' toxicity"),
        (
            "seen.yaml",
            "task 'heldout' of suite 'seen' takes what the search looks at: settings may have been chosen on it",
        ),
    ],
)
def test_a_search_without_a_proof_says_so_before_any_work(tune, suites, monkeypatch, beside, why):
    declare(suites["search"], beside)
    monkeypatch.setattr("bench.cli.tune._search", stopped)
    done = tune("--method", "preadd", "--budget", BUDGET)
    assert str(done.exception) == "stopped"
    why = why.format(folder=Path(suites["search"]).parent)
    assert f"this search ends without a proof: {why}; --prove SUITE names one" in done.stderr


def stopped(*_: Any) -> Any:
    raise UsageError("stopped")


def test_a_proof_that_nobody_asked_for_is_refused_with_how_to_do_without(tune, suites, tmp_path):
    declare(suites["search"], "held.yaml")
    (tmp_path / "found" / "edit").mkdir(parents=True)
    told = "name another folder with -o; or search without a proof: --prove none"
    assert told in str(tune("--method", "preadd", "--budget", BUDGET).exception.mend)
    assert "--prove none" not in tune("--method", "preadd", "--budget", BUDGET, "--prove", "held").exception.mend


def test_a_limit_against_the_base_chooses_where_differences_have_no_interval(tune):
    """Of one prompt and one passage there is none, and a budget is kept by point estimates."""
    told = value_of(
        tune("--method", "preadd", "--budget", BUDGET, "--trials", "1", "--limit", "1", "--prove", "none", "--json")
    )
    (trial,) = told["methods"][0]["trials"]
    assert (trial["point"]["costs"]["perplexity"]["low"], trial["within"], trial["chosen"]) == (None, True, True)


def test_no_proof_of_another_choice_stays_beside_new_settings(tune, tmp_path):
    """Whether or not the new choice is proven; the proof of the same choice stays."""
    found = tmp_path / "found"
    asked = ("--method", "preadd", "--trials", "1", "--budget", BUDGET)
    assert value_of(tune(*asked, "--prove", "held", "--json"))["proof"]["choice"]
    same = tune(*asked)
    assert same.exception is None
    assert "removed" not in same.stderr
    assert (found / "edit").is_dir()
    assert (found / "proof.json").is_file()
    other = tune("--method", "preadd:filter_p=0.5", "--trials", "1", "--budget", BUDGET, "--prove", "none")
    assert other.exception is None
    assert "removed from found: edit and proof.json, which are of another choice" in other.stderr
    assert not (found / "edit").exists()
    assert not (found / "proof.json").exists()
    assert (found / "settings.yaml").is_file()


@pytest.mark.parametrize("text", ["[]", "{}", "{"])
def test_what_is_no_proof_of_a_search_is_not_removed(tmp_path, text):
    (tmp_path / "edit").mkdir()
    (tmp_path / "proof.json").write_text(text, encoding="utf-8")
    proof.clear(tmp_path)
    assert (tmp_path / "edit").is_dir()
    assert (tmp_path / "proof.json").read_text() == text


def test_experiments_of_the_proof_that_fail_are_told_beside_trials_that_fail(tune, monkeypatch):
    def fails(*_: Any) -> Any:
        raise MissingError("cut off")

    def proven(asked: Request, *_: Any) -> proof.Proof:
        failed = [ExperimentOutcome(one, error=MissingError("away")) for one in make_experiments(asked)]
        return proof.Proof(failed, [], "preadd", None)

    monkeypatch.setattr(registry.load("methods", "contrastive"), "prepare", fails)
    monkeypatch.setattr(proof, "prove", proven)
    done = tune("--method", "preadd,contrastive", "--budget", BUDGET, "--trials", "1", "--prove", "held")
    assert done.exception is None, done.exception
    assert done.return_value == SOME_FAILED
    assert "cut off (trial 1 of contrastive)" in done.stderr
    assert "away (experiment: preadd" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ("--method", "contrastive+steering"),
            "search each method alone: --method contrastive,steering",
        ),
        (("--prove", "held"), "--prove needs a --budget"),
        (("--prove-seeds", "0-2"), "--prove-seeds says nothing where nothing is proven"),
        (("--prove", "none", "--prove-seeds", "0", "--budget", BUDGET), "--prove-seeds says nothing where nothing is"),
        (
            ("--prove", "held", "--budget", BUDGET, "--force"),
            "--force lets the search see what methods are evaluated on",
        ),
        (
            ("--prove", "search", "--budget", BUDGET),
            "task 'rtp' of suite 'search' does not take the evaluation half alone",
        ),
        (("--prove", "other", "--budget", BUDGET), "suite 'other' controls sentiment, and suite 'search' toxicity"),
        (
            ("--prove", "mini", "--budget", BUDGET),
            "suite 'mini' is for the model smollm2-135m-instruct, and the search",
        ),
        (("--prove", "hel", "--budget", BUDGET), "unknown suite 'hel'"),
        (("--budget", "cost/peak_memory_gib <= 8"), "cost/peak_memory_gib is what a run costs, and no task"),
        (("--prove", "held", "--budget", "perplexity <= +5"), "is '+5' a change to the base?"),
        (("--prove", "held", "--budget", BUDGET, "--prove-seeds", "x"), "seeds 'x' are not numbers and ranges"),
    ],
)
def test_what_would_prove_nothing_is_refused_before_any_work(tune, tmp_path, args, said):
    done = tune("--method", "preadd", *args)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not (tmp_path / "found").exists()


def test_the_printed_command_can_be_pasted_whatever_the_folder_is_called():
    place: Any = None
    asked = _Asked(Request(("sft",), "tune"), place, Path("my search"), [], "mini")
    assert _command(asked) == "bench run --config 'my search/settings.yaml' --suite mini"
    proven = asked._replace(proof=Request(("sft",), "own suites/a.yaml", seeds=(1, 2)))
    assert _command(proven) == "bench run --config 'my search/settings.yaml' --suite 'own suites/a.yaml' --seeds 1,2"
    limited = asked._replace(proof=Request(("sft",), "mini", max_items=4))
    assert _command(limited) == "bench run --config 'my search/settings.yaml' --suite mini --limit 4"


def test_the_help_offers_no_stack_which_a_search_refuses():
    commands = typer.main.get_command(app).commands
    told = {verb: next(one.help for one in commands[verb].params if one.name == "method") for verb in ("run", "tune")}
    assert {verb: "contrastive+steering" in text for verb, text in told.items()} == {"run": True, "tune": False}


def test_a_search_within_a_budget_names_the_command_that_proves_it(tune, suites, tmp_path):
    asked = ("--method", "preadd:filter_p=0.5", "--budget", BUDGET, "--set", "suite.description=to be kind")
    done = tune(*asked)
    assert done.exception is None, done.exception
    command = next(line for line in done.stdout.splitlines() if line.startswith("  bench tune "))
    assert (tmp_path / "found" / "front.svg").read_text().startswith("<?xml")
    words = shlex.split(command)
    assert words[-2:] == ["--prove", "SUITE"]
    assert {asked[place : place + 2] for place in (0, 2, 4)} <= {*itertools.pairwise(words)}
    again = CliRunner().invoke(app, [*words[1:-1], suites["held"]], standalone_mode=False)
    assert again.exception is None, again.exception
    assert "proof on suite" in again.stdout
    assert "  bench tune " not in again.stdout


@pytest.mark.parametrize(
    ("args", "ending"),
    [
        (("--budget", "toxic_fraction <= 0.1"), " --prove mini"),
        (("--budget", "heldout/perplexity <= +5 %", "--suite", "tune-facts"), " --prove mini-facts"),
        (("--budget", "divergence2/kl <= 1"), None),
        (("--budget", "edit/efficacy >= 0.5", "--suite", "tune-edit"), " --prove mini-edit"),
        (("--budget", "heldout/perplexity <= +5 %", "--suite", "tune-sentiment"), " --prove mini-sentiment"),
    ],
)
def test_a_command_that_would_be_refused_is_not_named(args, ending):
    command = typer.main.get_command(app).commands["tune"]
    context = command.make_context("tune", ["--method", "sft", "--json", "-o", "my search", *args])
    request = request_of(context)
    limits = [parse_requirement(text) for text in context.params["budget"]]
    place: Any = None
    asked = _Asked(request, place, Path("my search"), limits, base_of(request).suite.proof)
    again = _with_proof(context, asked, base_of(request), "none", None, force=False).again
    assert again == (
        ending and f"bench tune --method sft --output 'my search' {shlex.join(swapped(args))} --json{ending}"
    )
    default = _with_proof(context, asked, base_of(request), None, None, force=False)
    assert (default.proof and default.proof.suite, default.again) == (ending and ending.split()[-1], None)


def swapped(args: tuple[str, ...]) -> list[str]:
    """In the order of the command's parameters."""
    return [*args[2:], *args[:2]] if "--suite" in args else list(args)


def test_a_folder_of_somebody_else_is_left_alone(tune, tmp_path):
    (tmp_path / "found" / "edit").mkdir(parents=True)
    done = tune("--method", "preadd", "--budget", BUDGET, "--prove", "held")
    assert "found/edit is there, and is of no earlier search; name another folder" in str(done.exception)


@pytest.mark.parametrize("metric", ["heldout/perplexity", "perplexity"])
def test_a_budget_that_the_proof_cannot_hold_is_refused_before_any_work(tune, tmp_path, metric):
    """By the name of its suite, and not once the base was measured on both."""
    done = tune("--method", "preadd", "--budget", f"{metric} <= +5 %", "--prove", "bare")
    what = f"--prove: no task of suite 'bare' measures {metric}, which the budget speaks of; take a suite with a task"
    assert what in str(done.exception)
    assert not (tmp_path / "found").exists()
    assert not (tmp_path / "runs").exists()


def test_a_proof_on_passages_that_the_search_looked_at_is_refused(tune, tmp_path):
    done = tune("--method", "preadd", "--budget", BUDGET, "--prove", "seen")
    what = "--prove: task 'heldout' of suite 'seen' takes what the search looks at: settings may have been chosen on it"
    assert f"{what}; say 'skip: 4' there, or more" in str(done.exception)
    assert not (tmp_path / "found").exists()


def test_what_a_suite_proves_follows_from_its_data_and_its_model():
    search = base_of(Request(("sft",), "tune"))
    refuse_seen(search, base_of(Request(("sft",), "mini")))
    with pytest.raises(UsageError, match="no task of suite 'mini' measures toxicity"):
        refuse_seen(search, base_of(Request(("sft",), "mini", settings=("suite.tasks=[{task: heldout}]",))))
    refuse_seen(search, base_of(Request(("sft",), "mini", settings=("suite.tasks=[{task: paraphrase}]",))))
    outputs = "suite.tasks=[{task: paraphrase, half: all, field: text}]"
    with pytest.raises(UsageError, match="'paraphrase' of suite 'mini' does not take the evaluation half alone"):
        refuse_seen(search, base_of(Request(("sft",), "mini", settings=(outputs,))))


def test_the_proof_is_of_the_setup_that_was_searched(tmp_path, capsys):
    """What the user says of the model, of how it is asked and of what it learns from is no other suite's to change."""
    setup = (
        "suite.model.dtype=bfloat16",
        "suite.chat_template=true",
        "suite.system=Be kind.",
        "suite.sets.num_prompts=8",
    )
    settings = (*setup, "sft.steps=3", "suite.methods.sft.lr=1e-4", "suite.decoding.num_samples=2")
    request = Request(("sft",), "tune", settings=settings)
    asked = proof.proving(request, "mini", None, tmp_path)
    assert asked.settings == ["sft.steps=3", *setup]
    told = capsys.readouterr().err
    assert "of the search alone: suite.decoding.num_samples\n" in told
    assert "than the search" not in told
    (sft,) = subjects_of(request, 30)
    config = config_of_run([(sft, {})], None, {"sft": 1})
    assert config["set"] == [*setup, "sft.steps=3", "sft.lr=0.0001"]
    again = base_of(replace(asked, settings=config["set"])).suite
    assert (again.model.dtype, again.system, again.sets.num_prompts) == ("bfloat16", "Be kind.", 8)
    proof.proving(Request(("ft_l",), "tune-edit", settings=("suite.sets.half=train",)), "mini-edit", None, tmp_path)
    assert "of the search alone: suite.sets.half\n" in capsys.readouterr().err


def test_a_suite_of_another_setup_than_the_search_is_told(tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text("{extends: mini, name: other, sets: {num_prompts: 8, scorer: bilstm}}", encoding="utf-8")
    proof.proving(Request(("sft",), "tune"), str(other), None, tmp_path)
    said = (
        "suite 'other' has another sets.scorer, sets.num_prompts than the search; say one for both: --set suite.sets."
    )
    assert said in capsys.readouterr().err


def test_a_suite_that_leaves_a_model_for_each_group_of_facts_is_refused():
    search = base_of(Request(("ft_l",), "tune-edit"))
    refuse_seen(search, base_of(Request(("ft_l",), "mini-edit")))
    with pytest.raises(UsageError, match=r"suite 'mini-edit-single' edits facts in groups \(sets\.at_once\)"):
        refuse_seen(search, base_of(Request(("ft_l",), "mini-edit-single")))


def test_families_and_all_methods_are_searched_each_by_itself():
    request, notes = expand(Request(("all",), "tune"))
    found = subjects_of(request, 30)
    assert {"contrastive", "dpo", "preadd", "steering", "prompt"} <= {one.text for one in found}
    assert len(found) == len(request.methods)
    assert any("leaves out checkpoint" in note for note in notes)
    assert all(one.experiment({}).config == one.default.config for one in found)
    tuned, _ = expand(Request(("fine-tuning",), "tune"))
    assert {one.default.build().info.kind for one in subjects_of(tuned, 30)} == {"fine-tuning"}


def test_the_suite_of_a_proof_lies_where_the_suite_that_declares_it_says(suites, tmp_path):
    """Its path is told from that suite's file, also where another suite extends it from elsewhere."""
    declare(suites["search"], "held.yaml")
    assert load_suite(suites["search"]).proof == suites["held"]
    (tmp_path / "elsewhere").mkdir()
    own = tmp_path / "elsewhere" / "own.yaml"
    own.write_text("extends: ../search.yaml\nname: own\n", encoding="utf-8")
    proof_of = load_suite(str(own)).proof
    assert proof_of is not None
    assert Path(proof_of).resolve() == Path(suites["held"]).resolve()
    declare(suites["search"], "mini")
    assert load_suite(str(own)).proof == "mini"
