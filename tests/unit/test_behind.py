"""A model behind an endpoint, measured as a system: a real server with a tiny model, against the same model here."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import served

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError, UsageError
from bench.progress import SILENT
from bench.run.behind import refuse_unmeasurable
from bench.run.edited import edited
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, build_tasks, make_experiments, parse_setting
from bench.store.files import read_jsonl
from bench.store.runs import Run, list_runs
from bench.suites import load_suite

pytestmark = pytest.mark.network
KEY = "sk-a-secret-that-nobody-may-see"
GREEDY = ("suite.decoding.top_k=1", "suite.decoding.num_samples=2")
Suite = Callable[..., Path]


@pytest.fixture
def texts(tiny_suite: Suite, tmp_path: Path) -> Path:
    """A suite of tasks that ask for texts alone."""
    prompts = {"task": "rtp", "data": str(tmp_path / "prompts.jsonl"), "half": "all"}
    asked = {"task": "over_refusal", "sentences": 3, "decoding": {"num_samples": 1, "max_new_tokens": 8, "top_k": 1}}
    return tiny_suite(tasks=[prompts, {"task": "diversity"}, asked])


def measured(
    suite: Path, runs: Path, cache: Path, *settings: str, model: str | None = None
) -> tuple[list[Any], list[Run]]:
    """What becomes of `none` under these settings, and the records."""
    experiments = make_experiments(Request(["none"], str(suite), model, settings=settings, max_items=5))
    env = Environment(experiments[0].suite, AssetCatalogue(cache, offline=True), SILENT)
    outcomes = list(run_experiments(experiments, env, runs))
    return outcomes, list_runs(runs)


def behind(address: str, *more: str) -> tuple[str, ...]:
    reach = "{key_variable: MY_KEY, retries: 0, timeout: 20}"
    return (*GREEDY, f"suite.model.endpoint={address}", f"suite.model.requests={reach}", *more)


def figures(run: Run) -> dict[str, float | None]:
    assert run.result is not None
    return {metric.key: metric.value for metric in run.result.metrics}


@pytest.mark.parametrize(("api", "path"), [("completions", "/v1/completions"), ("chat", "/v1/chat/completions")])
def test_its_figures_are_those_of_the_same_model_here(texts, tiny_model, tmp_path, monkeypatch, api, path):
    monkeypatch.setenv("MY_KEY", KEY)
    with served(tiny_model) as server:
        # asked as it is by chat, a model that has no chat template here continues the sentence as well
        same = [f"suite.tasks={json.dumps(_plain(texts))}"] if api == "chat" else []
        settings = behind(server.address, f"suite.model.api={api}", *same)
        outcomes, (remote,) = measured(texts, tmp_path / "a", tmp_path / "cache", *settings, model="tiny")
        asked = list(server.asked)
        again, _ = measured(texts, tmp_path / "a", tmp_path / "cache", *settings, model="tiny")
        assert len(server.asked) == len(asked), "a record is reused: nothing is asked"
    _, (here,) = measured(texts, tmp_path / "b", tmp_path / "cache", *GREEDY, *same)
    assert [one.error for one in (*outcomes, *again)] == [None, None]
    assert figures(remote) == pytest.approx(figures(here), nan_ok=False)
    assert {"rtp/toxic_fraction", "diversity/distinct_2", "over_refusal/refusal_rate"} <= figures(here).keys()
    for name in ("rtp", "over_refusal"):
        texts_of = [
            {(one.prompt_id, one.sample): one.continuation for one in run.samples(name)} for run in (remote, here)
        ]
        assert texts_of[0] == texts_of[1]
    assert {(one["path"], one["model"], one["max_tokens"], one["key"]) for one in asked} >= {
        (path, "tiny", 8, f"Bearer {KEY}")
    }
    assert len({one["seed"] for one in asked}) == len(asked), "each sample has a seed of its own"
    manifest = remote.manifest
    assert manifest.engine == {"name": "endpoint", "api": api, "reproducible": False}
    assert (manifest.model["id"], manifest.model["endpoint"], manifest.model["dtype"]) == ("tiny", server.address, None)
    assert all(KEY.encode() not in one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())


def _plain(suite: Path) -> list[dict[str, Any]]:
    """The suite's tasks, but for the one that asks a model that chats otherwise."""
    tasks = json.loads(suite.read_text())["tasks"]
    return [task | ({"template": "{sentence}"} if task["task"] == "over_refusal" else {}) for task in tasks]


def test_what_fails_ends_in_one_line_and_the_rest_is_asked_for_by_the_same_command(texts, tiny_model, tmp_path):
    down = [True]

    def trouble(body: dict[str, Any], number: int) -> tuple[int, dict[str, Any]] | None:
        return (503, {"error": {"message": "busy"}}) if down[0] and number % 5 == 0 else None

    with served(tiny_model, trouble) as server:
        settings = behind(server.address)
        (first,), (run,) = measured(texts, tmp_path / "a", tmp_path / "cache", *settings, model="tiny")
        said = str(first.error)
        assert f"{server.address} did not answer" in said
        assert "of 5 prompts (HTTP 503)" in said
        assert "run the same command again" in said
        assert "\n" not in said
        kept = read_jsonl(run.path / "samples" / "rtp.jsonl")
        assert run.result is None
        assert 0 < len({row["prompt_id"] for row in kept}) < 5
        assert len(kept) == 2 * len({row["prompt_id"] for row in kept}), "whole prompts alone"
        down[0], before = False, len(server.asked)
        (second,), (run,) = measured(texts, tmp_path / "a", tmp_path / "cache", *settings, model="tiny")
        assert second.error is None
        assert len(server.asked) - before == 2 * 5 - len(kept) + 3, "what is missing, and the other task's three"
    _, (here,) = measured(texts, tmp_path / "b", tmp_path / "cache", *GREEDY)
    assert figures(run) == pytest.approx(figures(here))


def test_a_server_that_dies_is_asked_no_more(texts, tiny_model, tmp_path):
    def trouble(body: dict[str, Any], number: int) -> tuple[int, dict[str, Any]] | None:
        return (500, {"error": {}}) if number > 2 else None

    with served(tiny_model, trouble) as server:
        experiments = make_experiments(Request(["none"], str(texts), "tiny", settings=behind(server.address)))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True), SILENT)
        (outcome,) = run_experiments(experiments, env, tmp_path / "runs")
        assert "and was asked no more after 16 in a row" in str(outcome.error)
        assert len(server.asked) < 60, "36 prompts, two samples of each"


FILTER_SAYS: list[tuple[int, dict[str, Any]]] = [
    (400, {"error": {"code": "content_filter", "message": "no"}}),
    (200, {"choices": [{"text": None, "finish_reason": "content_filter"}], "usage": {"completion_tokens": 0}}),
    (200, {"choices": [{"text": "a part", "finish_reason": "content_filter"}], "usage": {"completion_tokens": 2}}),
]


@pytest.mark.parametrize("reply", FILTER_SAYS)
def test_what_its_own_filter_declines_has_no_score_and_is_counted_as_failed(texts, tiny_model, tmp_path, reply):
    def trouble(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]] | None:
        return reply if body["prompt"].startswith("The river") else None

    with served(tiny_model, trouble) as server:
        (outcome,), (run,) = measured(texts, tmp_path / "a", tmp_path / "cache", *behind(server.address), model="tiny")
    assert outcome.error is None
    rows = run.samples("rtp")
    declined = {one.prompt_id for one in rows if one.prompt.startswith("The river")}
    assert declined
    assert {one.prompt_id for one in rows if one.declined} == declined
    assert {one.prompt_id for one in rows if one.is_blank and one.scores is None} == declined
    metrics = {metric.key: metric for metric in run.result.metrics}
    fraction, worst = metrics["rtp/toxic_fraction"], metrics["rtp/expected_maximum_toxicity"]
    assert (fraction.n_failed, worst.n_failed) == (2 * len(declined), len(declined))
    assert {one.n_failed for key, one in metrics.items() if key.startswith("diversity/")} == {2 * len(declined)}
    assert run.result.publishable is False


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ((401, {"error": {}}), r"refuses the key .HTTP 401.; set MY_KEY in the environment"),
        ((404, {"error": {}}), r"has no model 'tiny', or no /completions; check suite\.model\.endpoint .*api=chat"),
        (
            (200, {"choices": [{"text": "x", "finish_reason": "stop"}]}),
            r"say how many tokens they have .*; ask a server that gives usage",
        ),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(texts, tiny_model, tmp_path, trouble, told):
    with served(tiny_model, lambda *_: trouble) as server:
        (outcome,), _ = measured(texts, tmp_path / "a", tmp_path / "cache", *behind(server.address), model="tiny")
    assert re.search(told, str(outcome.error))


def test_the_edited_model_of_its_record_is_not_here(texts, tiny_model, tmp_path):
    with served(tiny_model) as server:
        _, (run,) = measured(texts, tmp_path / "a", tmp_path / "cache", *behind(server.address), model="tiny")
    with pytest.raises(MissingError, match=r"was measured behind an endpoint .*: no weights of it are here"):
        edited(run, AssetCatalogue(tmp_path / "cache", offline=True))


# --- what is refused ---

HOST = "suite.model.endpoint=https://host/v1"


def planned(suite: Path, *settings: str, methods: tuple[str, ...] = ("none",)) -> list[Any]:
    return make_experiments(Request(methods, str(suite), "m", settings=settings))


def test_tasks_that_read_logits_are_refused_and_the_remedy_leaves_them_out(tiny_suite):
    suite = tiny_suite()
    with pytest.raises(UsageError, match="need likelihoods or the base model: fluency, heldout") as told:
        planned(suite, HOST)
    _, setting = shlex.split(told.value.mend.removeprefix("measure the others: "))
    assert [task.name for task in planned(suite, HOST, setting)[0].tasks()] == ["rtp", "diversity"]


@pytest.mark.parametrize("name", ["mini", "mini-paper", "mini-safety", "mini-facts", "mini-edit", "standard", "paper"])
def test_every_suite_says_what_can_be_measured(name):
    suite = load_suite(name)
    remote = suite.model_copy(update={"model": suite.model.model_copy(update={"endpoint": "https://host/v1"})})
    with pytest.raises(UsageError) as told:
        refuse_unmeasurable(remote, build_tasks(remote), ["none"])
    assert told.value.mend.startswith(("measure the others: --set", "name a suite that has some of: "))
    refuse_unmeasurable(suite, build_tasks(suite), ["contrastive"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ((HOST, "suite.decoding.top_k=40"), "cannot be told to sample by top_k"),
        ((HOST, "suite.engine=vllm"), "the model is behind an endpoint"),
        (("suite.model.endpoint=https://user:pw@host/v1",), "the key goes into the environment"),
        (("suite.model.endpoint=host",), "not an address"),
        ((HOST, "suite.chat_template=true"), r"set suite\.chat_template=false and suite\.model\.api=chat"),
        (
            (HOST, "suite.chat_template=true", "suite.system=Be kind."),
            r"set suite\.chat_template=false, suite\.system=null and suite\.model\.api=chat",
        ),
        (("suite.model.api=chat",), "name 'model.endpoint'"),
        (("suite.model.requests={retries: 1}",), "name 'model.endpoint'"),
    ],
)
def test_what_does_not_go_together_is_refused(texts, settings, told):
    with pytest.raises(UsageError, match=told):
        planned(texts, *settings)


def test_methods_are_refused(texts):
    with pytest.raises(UsageError, match="method 'prompt' edits a model, and 'm' is behind an endpoint"):
        planned(texts, HOST, methods=("prompt",))


# --- keys ---


def test_the_key_holds_what_names_the_model_and_not_how_it_is_reached(texts, tmp_path):
    from bench.run.runner import Runner

    def key(*settings: str, model: str = "m") -> str:
        (one,) = make_experiments(Request(["none"], str(texts), model, settings=settings))
        return Runner(one, Environment(one.suite, AssetCatalogue(tmp_path, offline=True)), tmp_path).key

    base = key(HOST)
    same = [key(HOST, f"suite.model.requests={{{one}}}") for one in ("retries: 1", "concurrency: 2", "key_variable: K")]
    same += [
        key(HOST, f"suite.model.{one}") for one in ("dtype=bfloat16", "quantization=4bit")
    ]  # the endpoint's affair
    others = [
        key("suite.model.endpoint=https://other/v1"),
        key(HOST, "suite.model.api=chat"),
        key(HOST, model="n"),
        key(HOST, model="m@2026-11"),
    ]
    assert set(same) == {base}
    assert len({base, *others}) == 1 + len(others)


def test_records_of_a_model_here_say_nothing_of_endpoints(texts):
    (one,) = make_experiments(Request(["none"], str(texts)))
    assert one.suite.model.model_dump().keys() == {"id", "revision", "dtype", "quantization"}
    assert one.suite.model.who == one.suite.model.model_dump()
    assert parse_setting(HOST) == ("suite.model.endpoint", "https://host/v1")
