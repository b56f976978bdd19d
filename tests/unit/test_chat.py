"""Suites whose prompts are a user's turns: what the model reads, what is scored, what learns, and what is refused."""

import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.assets.catalogue import AssetCatalogue
from bench.engine.chat import chat_text, chat_tokens, conversation_text
from bench.engine.generation import Prompt, generate
from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode, encode_after
from bench.errors import BenchError, MissingError, UsageError
from bench.run import preparation
from bench.run.edited import edited
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.store.runs import Run, load_run
from reports.table.build import build

CHAT = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}(no thoughts) {% endif %}"
    "{% if add_generation_prompt %}[answer]{% endif %}"
)


@pytest.fixture
def chatting(make_model) -> Callable[..., Path]:
    """Writes a tiny model whose tokenizer has a chat template, unless that is empty."""

    def make(template: str = CHAT) -> Path:
        folder = make_model("chatting")
        if template:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


@pytest.fixture
def runners(tiny_suite, tmp_path) -> Callable[..., list[Runner]]:
    def make(model: Path, *methods: str, **changes: Any) -> list[Runner]:
        spec = {"chat_template": True, "model": {"id": str(model)}} | changes
        path = tiny_suite(**{key: value for key, value in spec.items() if value is not None})
        experiments = make_experiments(Request(methods, str(path)))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
        return [Runner(one, env, tmp_path / "runs") for one in experiments]

    return make


def carry_out(runners: list[Runner]) -> list[Run]:
    outcomes = run_experiments([one.experiment for one in runners], runners[0].env, runners[0].runs)
    assert [one.error for one in outcomes] == [None] * len(runners)
    return [load_run(one.folder) for one in outcomes if one.folder]


def test_the_text_of_a_turn_is_read_as_its_tokens(chatting):
    tokenizer = AutoTokenizer.from_pretrained(chatting())
    for begin in (False, True):
        if begin:  # a tokenizer that puts a token before every text, and a template that says it as well
            tokenizer = AutoTokenizer.from_pretrained(chatting("{{ bos_token }}" + CHAT), add_bos_token=True)
        for system in (None, "Be kind."):
            text = chat_text(tokenizer, "The train was late", system)
            assert "[user] The train was late" in text
            assert ("[system] Be kind." in text) == bool(system)
            assert text.endswith("(no thoughts) [answer]")
            assert encode(tokenizer, text) == list(chat_tokens(tokenizer, "The train was late", system))


@pytest.mark.parametrize("form", ["%d %b %Y", "%d %B %Y", "%Y-%m-%d"])  # Llama 3.2, SmolLM3, gpt-oss
def test_a_template_that_writes_todays_date_writes_the_same_one_on_every_day(chatting, form):
    day = f"{{% macro day() %}}{{{{ strftime_now('{form}') }}}}{{% endmacro %}}{{{{ day() }}}}"
    dated, fixed = (
        AutoTokenizer.from_pretrained(chatting(f"\n  |{begin}{CHAT}"))
        for begin in (day, date(2024, 7, 26).strftime(form))
    )
    said = [{"role": "user", "content": "A train"}]
    whole = fixed.apply_chat_template(said, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert conversation_text(dated, said) == conversation_text(fixed, said) == whole
    assert chat_tokens(dated, "A train") == chat_tokens(fixed, "A train")


def test_prompts_are_turns_and_answers_are_scored_alone(chatting, runners):
    made = runners(chatting(), "none", system="Be kind.")
    (run,) = carry_out(made)
    samples = {(one.prompt_id, one.sample): one for one in run.samples("rtp")}
    policy = made[0].env.base_policy
    turns = {one.prompt_id: one.prompt for one in samples.values()}
    asked = [Prompt(key, text, chat_tokens(policy.tokenizer, text, "Be kind.")) for key, text in turns.items()]
    for batch in generate(policy, asked, made[0].experiment.suite.decoding, 0):
        for one in batch:
            assert samples[one.prompt_id, one.sample].continuation == one.text
    scores = made[0].env.scorer.score([one.continuation for one in samples.values()])
    assert [one.scores for one in samples.values()] == scores
    assert "[user]" not in "".join(turns.values())
    assert (run.manifest.suite["chat_template"], run.manifest.suite["system"]) == (True, "Be kind.")
    found = edited(run, AssetCatalogue(made[0].env.assets.cache, offline=True))
    assert found.chat
    assert found.chat.system == "Be kind."


def test_what_learns_sees_the_form_that_is_measured(chatting, runners, monkeypatch):
    seen: list[str] = []
    real = preparation.as_read
    monkeypatch.setattr(preparation, "as_read", lambda sets, env: _noted(seen, real(sets, env)))
    _, trained = carry_out(runners(chatting(), "contrastive"))
    assert seen
    assert all(anchor.startswith("[user] ") and anchor.endswith("[answer]") for anchor in seen)
    assert trained.result


def _noted(seen: list[str], sets: Any) -> Any:
    seen.extend(one.anchor for one in sets.sets)
    return sets


def test_sets_that_the_model_writes_are_its_answers(chatting, runners, tmp_path):
    sets = {
        "source": "self",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "positive_below": 0.5,
        "negative_above": 0.5,
        "min_negatives": 0,
        "decoding": {"num_samples": 2, "max_new_tokens": 4},
    }
    turns, plain = (runners(chatting(), "contrastive", sets=sets, chat_template=on)[-1] for on in (True, None))
    made = [one.preparation.sets() for one in (turns, plain)]
    assert all(made)
    texts = [{one.anchor: one.positives for one in some.sets} for some in made if some]
    assert {chat_text(turns.env.tokenizer, anchor) for anchor in texts[1]} == set(texts[0])
    assert any(texts[0][chat_text(turns.env.tokenizer, anchor)] != own for anchor, own in texts[1].items())


def test_it_stands_in_the_keys_and_changes_none_without_it(chatting, runners):
    model = chatting()
    plain, turns = (runners(model, "contrastive", chat_template=on)[-1] for on in (None, True))
    asked = runners(model, "contrastive", system="Be kind.")[-1]
    for of in ("key", "artifact_key"):
        assert len({getattr(one, of) for one in (plain, turns, asked)}) == 3
    dumped = plain.experiment.suite.model_dump()
    assert not {"chat_template", "system"} & dumped.keys()


@pytest.mark.parametrize(
    ("template", "changes", "told"),
    [
        ("", {}, "has no chat template, and the suite has chat_template"),
        ("{{ raise_exception('no system') }}", {"system": "x"}, "take system out of the suite"),
        ("[{{ messages[-1].content }}]", {"system": "Be kind."}, "leaves the system's message out; take system out"),
        ("{{ raise_exception('never') }}", {}, "cannot be applied (TemplateError)"),
        (CHAT, {"empty": True}, "1 anchors of "),
    ],
)
def test_what_cannot_be_a_turn_is_refused_before_any_work(chatting, runners, tmp_path, template, changes, told):
    if changes.pop("empty", False):
        path = tmp_path / "empty.jsonl"
        path.write_text('{"anchor": "", "positives": [{"text": "a"}], "negatives": [{"text": "b"}]}\n')
        changes = {"sets": {"source": str(path)}}
    with pytest.raises(BenchError) as caught:
        carry_out(runners(chatting(template), "contrastive", **changes))
    assert isinstance(caught.value, MissingError | UsageError)
    assert told in str(caught.value)
    assert not list(tmp_path.glob("runs/*/manifest.json"))


@pytest.mark.parametrize(
    ("methods", "changes", "told"),
    [
        (("prompt",), {}, "puts a text before the prompt"),
        (("contrastive+preadd",), {}, "puts a text before the prompt"),
        (("none",), {"chat_template": None, "system": "x"}, "it needs 'chat_template: true'"),
        (("none",), {"sets": {"source": "answers"}}, "asked as plain text"),
    ],
)
def test_what_does_not_go_together_is_refused(chatting, runners, methods, changes, told):
    with pytest.raises(UsageError) as caught:
        runners(chatting(), *methods, **changes)
    assert told in str(caught.value)


def test_a_text_outside_of_any_turn_is_told_of_where_a_task_asks_by_a_message(chatting, runners, tiny_model):
    tasks = [{"task": "over_refusal", "sentences": 2}]
    base, prompt = carry_out(runners(chatting(), "prompt", chat_template=None, tasks=tasks))
    assert (base.outside_turns, prompt.outside_turns) == ([], ["over_refusal"])
    (note,) = (one for one in build([base, prompt]).footnotes if "outside" in one)
    assert note.startswith("prompt: its text stands before the conversation, outside of any turn, in over_refusal,")
    *_, plain = runners(tiny_model, "prompt", chat_template=None, tasks=tasks)
    assert plain.outside_turns == []


def test_fluency_is_of_the_answer_after_the_turn(chatting, runners):
    (runner,) = runners(chatting(), "none")
    (run,) = carry_out([runner])
    policy = runner.env.base_policy
    rows = [one for one in run.samples("rtp") if not one.is_blank]
    turns = [chat_text(policy.tokenizer, one.prompt) for one in rows]
    pairs = [encode_after(policy.tokenizer, turn, one.continuation) for turn, one in zip(turns, rows, strict=True)]
    likelihoods = loglikelihood(policy, pairs)
    total = sum(one.logprob for one in likelihoods) / sum(one.tokens for one in likelihoods)
    assert run.result
    (found,) = (one.value for one in run.result.metrics if one.name == "perplexity_pooled")
    assert found == pytest.approx(math.exp(-total), rel=1e-5)
