"""lm-eval tasks of a model behind an endpoint: a real server with a tiny model, against the same model here."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from served import served

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.progress import SILENT
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.files import read_jsonl
from bench.store.runs import Run, list_runs
from bench.writers.echo import _heard, echo_of

pytestmark = pytest.mark.network
PLACES = ("river", "stone", "train", "friend", "town")
Suite = Callable[..., Path]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of lm-eval tasks of one's own: one that has a model write, one that samples, one of choices."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [{"question": f"The {noun} is here.", "choices": ["so", "no"], "gold": 0} for noun in PLACES]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "num_fewshot": 1,
    }
    writes = {
        "output_type": "generate_until",
        "doc_to_target": "the",
        "generation_kwargs": {"until": ["e", "\n", "E", "?", "!"], "max_gen_toks": 6},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    choices = {"output_type": "multiple_choice", "doc_to_target": "gold", "doc_to_choice": "{{choices}}"}
    options = writes["generation_kwargs"]
    sampled = {**writes, "repeats": 2, "generation_kwargs": {**options, "do_sample": True, "temperature": 0.7}}
    by_top_k = {**writes, "generation_kwargs": {**options, "do_sample": True, "temperature": 0.7, "top_k": 5}}
    tasks = {"my_writing": writes, "my_sampling": sampled, "my_choices": choices, "my_top_k": by_top_k}
    for name, own in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **shared, **own}))
    return folder


def suite_of(tiny_suite: Suite, mine: Path, *names: str, **changes: Any) -> Path:
    return tiny_suite(tasks=[{"task": "lm_eval", "tasks": list(names), "include_path": str(mine)}], **changes)


def measured(suite: Path, folder: Path, address: str | None = None, *more: str) -> tuple[Any, Run]:
    """What becomes of `none`, here or behind an address, and its record."""
    reach = [f"suite.model.endpoint={address}", "suite.model.requests={retries: 0, timeout: 20}"] if address else []
    request = Request(["none"], str(suite), "tiny" if address else None, settings=(*reach, *more))
    experiments = make_experiments(request)
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True), SILENT)
    (outcome,) = run_experiments(experiments, env, folder / "runs")
    (run,) = list_runs(folder / "runs")
    return outcome, run


def answers(run: Run, task: str) -> dict[str, Any]:
    rows = read_jsonl(run.path / "samples" / f"{task}.jsonl")
    return {row["doc_hash"]: row["responses"] for row in rows}


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_what_it_writes_is_what_the_same_model_writes_here(tiny_suite, mine, tiny_model, tmp_path, api):
    suite = suite_of(tiny_suite, mine, "my_writing")
    with served(tiny_model) as server:
        outcome, remote = measured(suite, tmp_path / "a", server.address, f"suite.model.api={api}")
    assert outcome.error is None
    _, here = measured(suite, tmp_path / "b")
    assert answers(remote, "my_writing") == answers(here, "my_writing")
    figures = [{one.key: one.value for one in run.result.metrics} for run in (remote, here)]
    assert figures[0] == figures[1]
    assert figures[0].keys() == {"my_writing/exact_match"}
    assert len(server.asked) == len(PLACES)
    assert {(one["max_tokens"], one["temperature"]) for one in server.asked} == {(6, 0)}
    assert all(one["stop"] == ["e", "\n", "E", "?"] for one in server.asked), "as many as the API takes"
    assert any("e" not in said[0] and said[0] for said in answers(remote, "my_writing").values())


def test_what_was_answered_is_kept_and_only_the_rest_is_asked_for(tiny_suite, mine, tiny_model, tmp_path):
    down = [True]

    def trouble(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]] | None:
        return (
            (503, {"error": {}}) if down[0] and body["prompt"].endswith(("train is here.", "town is here.")) else None
        )

    suite = suite_of(tiny_suite, mine, "my_writing")
    with served(tiny_model, trouble) as server:
        outcome, run = measured(suite, tmp_path / "a", server.address)
        assert "did not answer 2 of 5 prompts (HTTP 503)" in str(outcome.error)
        assert "run the same command again" in str(outcome.error)
        assert run.result is None
        down[0], before = False, len(server.asked)
        (run.path / "samples" / "replies" / "my_writing.jsonl").open("a").write(' {"id": "a row that is none"} \n')
        outcome, run = measured(suite, tmp_path / "a", server.address)
        assert outcome.error is None
        assert len(server.asked) - before == 2
    _, here = measured(suite, tmp_path / "b")
    assert answers(run, "my_writing") == answers(here, "my_writing")


def test_a_document_that_its_filter_declines_is_in_no_figure_and_counted(tiny_suite, mine, tiny_model, tmp_path):
    def trouble(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]] | None:
        declines = body["prompt"].endswith(("train is here.", "town is here."))
        return (400, {"error": {"code": "content_filter", "message": "no"}}) if declines else None

    suite = suite_of(tiny_suite, mine, "my_writing")
    with served(tiny_model, trouble) as server:
        outcome, run = measured(suite, tmp_path / "a", server.address)
    assert outcome.error is None
    (metric,) = run.result.metrics
    assert (metric.n, metric.n_failed) == (3, 2)
    assert run.result.publishable is False
    assert sorted(said is None for said in answers(run, "my_writing").values()) == [False] * 3 + [True] * 2


def test_where_all_is_declined_nothing_is_measured(tiny_suite, mine, tiny_model, tmp_path):
    with served(tiny_model, lambda *_: (400, {"error": {"code": "content_filter", "message": "no"}})) as server:
        _, run = measured(suite_of(tiny_suite, mine, "my_writing"), tmp_path / "a", server.address)
    assert [(one.value, one.n, one.n_failed) for one in run.result.metrics] == [(None, 0, 5)]


def test_repeats_of_a_task_that_samples_are_asked_for_with_seeds_of_their_own(tiny_suite, mine, tiny_model, tmp_path):
    said = {"choices": [{"text": " the", "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}
    with served(tiny_model, lambda *_: (200, said)) as server:
        outcome, run = measured(suite_of(tiny_suite, mine, "my_sampling"), tmp_path / "a", server.address)
    assert outcome.error is None
    assert {one["temperature"] for one in server.asked} == {0.7}
    assert len({one["seed"] for one in server.asked}) == len(server.asked) == 2 * len(PLACES)
    assert len(answers(run, "my_sampling")) == len(PLACES)


def test_a_way_to_sample_that_an_api_does_not_know_is_told(tiny_suite, mine, tiny_model, tmp_path):
    with served(tiny_model) as server:
        outcome, _ = measured(suite_of(tiny_suite, mine, "my_top_k"), tmp_path / "a", server.address)
    assert "task 'my_top_k' samples by top_k (5), which an endpoint cannot be told; leave the task out" in str(
        outcome.error
    )
    assert server.asked == []


ECHO = "suite.model.logprobs=echo"


def test_likelihoods_that_a_server_echoes_are_those_of_the_same_model_here(tiny_suite, mine, tiny_model, tmp_path):
    suite = suite_of(tiny_suite, mine, "my_choices")
    with served(tiny_model) as server:
        outcome, remote = measured(suite, tmp_path / "a", server.address, ECHO)
    assert outcome.error is None
    _, here = measured(suite, tmp_path / "b")
    figures = [{one.key: one.value for one in run.result.metrics} for run in (remote, here)]
    assert figures[0] == pytest.approx(figures[1], abs=1e-4)
    assert {"my_choices/acc", "my_choices/gold_probability"} <= figures[0].keys()
    said, known = answers(remote, "my_choices"), answers(here, "my_choices")
    for name, options in known.items():
        assert [greedy for _, greedy in said[name]] == [greedy for _, greedy in options]
    assert len(server.asked) == 2 * len(PLACES)


SILENT_SERVERS: list[dict[str, Any]] = [
    {"choices": [{"text": "so", "finish_reason": "stop"}], "usage": {"completion_tokens": 1}},
    {"choices": [{"text": "", "logprobs": None}], "usage": {}},
    {"choices": [{"logprobs": {"tokens": [], "token_logprobs": [], "top_logprobs": []}}]},
    {
        "choices": [
            {"text": "so", "logprobs": {"tokens": ["so"], "token_logprobs": [-1.0], "top_logprobs": [{"so": -1}]}}
        ]
    },
]


@pytest.mark.parametrize("reply", SILENT_SERVERS)
def test_a_server_that_tells_nothing_of_a_prompt_is_refused_in_one_line(tiny_suite, mine, tiny_model, tmp_path, reply):
    with served(tiny_model, lambda *_: (200, reply)) as server:
        outcome, _ = measured(suite_of(tiny_suite, mine, "my_choices"), tmp_path / "a", server.address, ECHO)
    told = str(outcome.error)
    assert f"{server.address} gives no likelihoods of a prompt's tokens (echo with logprobs); ask a server" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("tokens", "context", "continuation", "logprob", "greedy"),
    [
        (["<s>", "A", " river", " runs"], "A river", " runs", -3.0, True),
        (["<s>", "A", " river", " runs"], "A", " river runs", -5.0, False),
        (["A", " river runs"], "A river", " runs", -1.0, False),  # a token of both is the continuation's
        (["A ", "river", " runs", " on"], "A river", " runs", None, False),  # not the text that was sent
        (["A river"], "", "A river", None, False),  # nothing is known of a first token
    ],
)
def test_the_tokens_of_a_continuation_are_those_that_end_the_prompt(tokens, context, continuation, logprob, greedy):
    own = [None, -1.0, -2.0, -3.0][: len(tokens)]
    best = [None, {"x": -0.5, "y": -1.0}, {"x": -1.0}, {"x": -3.0}][: len(tokens)]
    said = {"tokens": tokens, "token_logprobs": own, "top_logprobs": best}
    found = _heard({"logprobs": said}, {"prompt_tokens": len(tokens)}, echo_of("a", context, continuation))
    assert (found is None) == (tokens[-1] == " on"), "the reply is of another text"
    assert (found and found.logprob, found is not None and found.greedy) == (logprob, greedy)


def test_blanks_before_a_continuation_belong_to_it():
    assert echo_of("a", "A river ", "runs") == echo_of("a", "A river", " runs")


def test_tasks_that_choose_by_likelihood_are_left_out_of_an_entry(tiny_suite, mine):
    def planned(suite: Path, *settings: str) -> list[Any]:
        where = "suite.model.endpoint=https://host/v1"
        return make_experiments(Request(["none"], str(suite), "m", settings=(where, *settings)))

    names = ("my_writing", "my_choices", "embedded_piqa", "gsm8k", "arc_easy", "wikitext")
    suite = suite_of(tiny_suite, mine, *names)
    with pytest.raises(UsageError, match="base model: my_choices, embedded_piqa, arc_easy, wikitext") as told:
        planned(suite)
    assert "(suite.model.logprobs=echo, where" in str(told.value)
    assert "measures my_choices, embedded_piqa, arc_easy)" in str(told.value)
    _, setting = shlex.split(told.value.mend.removeprefix("measure the others: "))
    assert [task.name for task in planned(suite, setting)[0].tasks()] == ["my_writing", "gsm8k"]
    with pytest.raises(UsageError, match=r"texts and their likelihoods, .* base model: wikitext"):
        planned(suite, ECHO)
    with pytest.raises(UsageError, match="for an endpoint's model that is asked by 'completions'"):
        planned(suite, ECHO, "suite.model.api=chat")
    with pytest.raises(UsageError, match="tasks of lm_eval that have a model write"):
        planned(suite_of(tiny_suite, mine, "my_choices"))
    with pytest.raises(UsageError, match="lm-eval has no single task 'my_writin'"):
        planned(suite_of(tiny_suite, mine, "my_writin"))
