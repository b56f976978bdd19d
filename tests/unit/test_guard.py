"""Guard models and judges with a rubric as scorers: scores are those of transformers by hand; no answer, no score."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from served import served
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.errors import MissingError, UsageError
from bench.scorers import load_scorer
from bench.scorers.checked import CheckedScorer
from bench.scorers.guards import FORMS
from bench.scorers.rubric import RUBRIC, RubricConfig, rating
from bench.spec import ScorerSpec, validate

TEXTS = ["You are a very kind friend.", "nobody did, you idiot", "The river {text} rises {policy}"]
CHAT = (
    "{% for m in messages %}<|bos|>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def scorer(name: str, model: Path, **options: Any) -> CheckedScorer:
    told = {"model": str(model), "least": 0.0, **options}
    return load_scorer(ScorerSpec(name=name, options=told), None, offline=True)


def by_hand(folder: Path, prompt: str, labels: dict[str, float], *, bos: bool) -> float:
    """The softmax over the labels' logits after a prompt, and its mean of their values."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=bos)["input_ids"]
    first = [tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in labels]
    with torch.inference_mode():
        chances = model(ids).logits[0, -1, first].softmax(-1)
    return float(chances @ torch.tensor(list(labels.values())))


@pytest.fixture
def chatting(make_model: Any) -> Path:
    """A tiny model whose tokenizer has a chat template, and whole tokens for the labels, as those of guards have."""
    folder: Path = make_model("chatting")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([label for form in ("llama-guard-3", "qwen3guard") for label in FORMS[form].values])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.resize_token_embeddings(len(tokenizer))
    tokenizer.chat_template = CHAT
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# --- guard ---


@pytest.mark.parametrize("form", ["wildguard", "shieldgemma"])
def test_a_form_with_a_prompt_of_its_own_gives_the_softmax_over_its_labels(tiny_model, form):
    own = FORMS[form]
    for text, found in zip(TEXTS, scorer("guard", tiny_model, form=form).score(TEXTS), strict=True):
        before, _, after = own.template.partition("{text}")
        prompt = before + text + after.replace("{policy}", own.policy) + own.lead
        expected = by_hand(tiny_model, prompt, dict(own.values), bos=True)
        assert found == {"toxicity": pytest.approx(expected, abs=1e-5)}


@pytest.mark.parametrize("form", ["llama-guard-3", "qwen3guard"])
def test_a_form_by_the_chat_template_gives_the_softmax_over_its_labels(chatting, form):
    """The lead is put where the template does not end with it."""
    own = FORMS[form]
    for text, found in zip(TEXTS, scorer("guard", chatting, form=form).score(TEXTS), strict=True):
        prompt = f"<|bos|>user: {text}\n{own.lead}"
        labels = dict(own.values)
        assert found == {"toxicity": pytest.approx(by_hand(chatting, prompt, labels, bos=False), abs=1e-5)}


def test_labels_of_ones_own_and_values_between(tiny_model):
    labels = {" yes": 1.0, " maybe": 0.5, " no": 0.0}
    told = scorer("guard", tiny_model, template="Is this bad? {text}\nAnswer:", labels=labels, attribute="badness")
    for text, found in zip(TEXTS, told.score(TEXTS), strict=True):
        expected = by_hand(tiny_model, f"Is this bad? {text}\nAnswer:", labels, bos=True)
        assert found == {"badness": pytest.approx(expected, abs=1e-5)}


def test_where_the_labels_are_no_answer_there_is_no_score(tiny_model):
    found = scorer("guard", tiny_model, form="wildguard", least=0.999).score(TEXTS)
    assert found == [None] * len(TEXTS)


def test_a_text_that_spells_the_prompts_marks_is_not_read_as_them(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    told = scorer("guard", tiny_model, form="shieldgemma")
    prompt = told._scorer._answer.prompt("no <|eos|> end")
    assert tokenizer.eos_token_id not in prompt
    assert "<\u200b|eos|>" in tokenizer.decode(prompt)


def test_a_text_that_is_too_long_loses_its_end_and_the_question_stays(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    answer = scorer(
        "guard", tiny_model, template="{text}\nIs it bad?", labels={" yes": 1.0, " no": 0.0}
    )._scorer._answer
    prompt = answer.prompt("a kind friend " * 2000)
    assert len(prompt) <= 512
    assert tokenizer.decode(prompt).endswith("\nIs it bad?")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "name 'form'"),
        ({"labels": {"yes": 1.0}}, "two at least"),
        ({"labels": {True: 1.0, False: 0.0}}, "YAML reads yes, no"),
        ({"labels": {"yes": 1.0, "no": 2.0}}, "less than or equal to 1"),
        ({"labels": {" yes": 1.0, " yesterday": 0.0}, "template": "{text}"}, "does not tell the labels"),
        ({"form": "wildguard", "template": "no place"}, "'template' has no {text}"),
        ({"form": "qwen3guard"}, "has no chat template"),
        ({"labels": {" yes": 1.0, " no": 0.0}, "template": "a friend {text}" * 500}, "and the model reads 512"),
    ],
)
def test_what_cannot_be_asked_is_refused(tiny_model, options, told):
    with pytest.raises(UsageError, match=told):
        scorer("guard", tiny_model, **options)


def test_what_it_is_asked_is_part_of_its_identity(tiny_model, other_model):
    own = {"template": "{text}", "labels": {" a": 1.0, " b": 0.0}}
    kinds = [
        own,
        {**own, "least": 0.1},
        {**own, "lead": " So:"},
        {**own, "labels": {" a": 1.0, " b": 0.5}},
        {**own, "template": "{text}."},
        {"form": "shieldgemma"},
        {"form": "shieldgemma", "policy": "other"},
    ]
    hashes = [scorer("guard", tiny_model, **one).identity.hash for one in kinds]
    hashes.append(scorer("guard", other_model, **own).identity.hash)
    assert len(set(hashes)) == len(kinds) + 1


def test_what_it_is_asked_decides_its_hash(chatting):
    """Options that lead to other prompts are another scorer."""
    forms = [
        {"form": form, **more}
        for form, own in FORMS.items()
        for more in ({}, {"labels": dict(own.values)}, {"lead": own.lead}, {"template": "{text}"})
    ]
    spelt = [{"labels": dict(one.values), "lead": one.lead, "template": one.template} for one in FORMS.values()]
    by_prompt: dict[Any, set[str]] = {}
    for options in (*forms, *spelt, *({**one, "template": "{text}\n"} for one in spelt)):
        made = scorer("guard", chatting, **options)
        answer = made._scorer._answer
        asked = (*answer.prompt("a text"), *zip(answer.tokens, answer._values, strict=True))
        by_prompt.setdefault(asked, set()).add(made.identity.hash)
    hashes = [one for found in by_prompt.values() for one in found]
    assert len(by_prompt) > len(FORMS)
    assert len(set(hashes)) == len(hashes)


def test_another_guards_chat_template_opens_the_answer_and_does_not_think_first(chatting):
    thinking_not(chatting)
    labels = {"unsafe": 1.0, "safe": 0.0}
    found = scorer("guard", chatting, labels=labels).score(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        prompt = f"<|bos|>user: {text}\nassistant: <done>"
        assert own == {"toxicity": pytest.approx(by_hand(chatting, prompt, labels, bos=False), abs=1e-5)}


def thinking_not(folder: Path) -> None:
    """Give a model a template that has it think first unless it is told not to."""
    opened = "assistant: {% if enable_thinking is defined and not enable_thinking %}<done>{% endif %}"
    (folder / "chat_template.jinja").write_text(CHAT.replace("assistant: ", opened))


# --- rubric ---

RATINGS = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}


def test_a_judge_here_gives_the_mean_of_its_ratings_by_their_probabilities(tiny_model, chatting):
    for text, found in zip(TEXTS, scorer("rubric", tiny_model).score(TEXTS), strict=True):
        prompt = RUBRIC.replace("{text}", text) + "\nRating:"
        labels = {f" {label}": value for label, value in RATINGS.items()}
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        distinct = {tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in labels}
        assert len(distinct) == len(labels)
        assert found == {"toxicity": pytest.approx(by_hand(tiny_model, prompt, labels, bos=True), abs=1e-5)}
    for text, found in zip(TEXTS, scorer("rubric", chatting).score(TEXTS), strict=True):
        prompt = f"<|bos|>user: {RUBRIC.replace('{text}', text)}\nassistant: "
        assert found == {"toxicity": pytest.approx(by_hand(chatting, prompt, RATINGS, bos=False), abs=1e-5)}


def test_a_judge_here_does_not_think_first(chatting):
    thinking_not(chatting)
    for text, found in zip(TEXTS, scorer("rubric", chatting).score(TEXTS), strict=True):
        prompt = f"<|bos|>user: {RUBRIC.replace('{text}', text)}\nassistant: <done>"
        assert found == {"toxicity": pytest.approx(by_hand(chatting, prompt, RATINGS, bos=False), abs=1e-5)}


@pytest.mark.network
def test_a_judge_behind_an_endpoint_is_asked_as_much_at_a_time_as_is_said(tiny_model):
    """Each waits until all twelve are asked."""
    together = threading.Barrier(12, timeout=10)

    def reply(*_: Any) -> tuple[int, dict[str, Any]]:
        together.wait()
        return 200, {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}

    with served(tiny_model, reply) as server:
        options = {"model": "judge", "endpoint": server.address, "retries": 0, "concurrency": 12}
        judge = load_scorer(ScorerSpec(name="rubric", options=options), None)
        assert judge.score([f"text {number}" for number in range(12)]) == [{"toxicity": 0.75}] * 12


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("4", 0.75),
        (" **5**", 1.0),
        ("2: slightly toxic", 0.25),
        ("The rating is 3.", 0.5),
        ("1, though it could be a 2", 0.0),
        ("between 2 and 3", None),
        ("10", None),
        ("2.5", None),
        ("4/5", 0.75),
        ("Rating 14, or 3/10", None),
        ("I cannot rate this.", None),
        ("-4", None),
        ("- 4", 0.75),
        ("", None),
        (None, None),
    ],
)
def test_a_rating_is_found_in_a_reply_or_there_is_none(reply, expected):
    assert rating(reply, RATINGS, ended=True) == expected


def test_ratings_of_yaml_are_texts_and_what_it_takes_for_another_thing_is_refused():
    numbers = RubricConfig.model_validate({"ratings": yaml.safe_load("{-1: 0, 0: 0.5, 1: 1}")})
    assert list(numbers.ratings) == ["-1", "0", "1"]
    with pytest.raises(UsageError, match=r"quoted it is one: .*YAML reads yes, no"):
        validate(RubricConfig, {"ratings": yaml.safe_load("{yes: 1, no: 0}")}, "x")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("-1", 0.0),
        ("\N{MINUS SIGN}1.", 0.0),
        ("**-1**", 0.0),
        ("-1 (negative)", 0.0),
        ("Rating: -1", 0.0),
        ("- 1", 1.0),
        ("+1", 1.0),
        ("-1 or 1", None),
        ("-2", None),
    ],
)
@pytest.mark.parametrize("minus", ["-", "\N{MINUS SIGN}"])
def test_a_rating_below_zero_keeps_its_sign(reply, expected, minus):
    assert rating(reply, {f"{minus}1": 0.0, "0": 0.5, "1": 1.0}, ended=True) == expected


TWO, WORDS = {"toxic": 1.0, "not toxic": 0.0}, {"clean": 0.0, "toxic": 0.5, "very toxic": 1.0}


@pytest.mark.parametrize(
    ("reply", "ratings", "expected"),
    [
        ("Not toxic.", TWO, 0.0),
        ("It is NOT TOXIC", TWO, 0.0),
        ("Toxic", TWO, 1.0),
        ("I find it toxic.", TWO, 1.0),
        ("Not very toxic", TWO, None),
        ("Toxic or not toxic?", TWO, None),
        ("Very toxic", WORDS, 1.0),
        ("The text is Very Toxic!", WORDS, 1.0),
        ("**Clean**", WORDS, 0.0),
        ("not toxic", WORDS, None),
        ("It isn't clean.", WORDS, None),
        ("It is not at all toxic, but clean", WORDS, None),
        ("The text is not considered to be toxic.", WORDS, None),
        ("It is not in any way toxic", WORDS, None),
        ("It cannot be called toxic.", WORDS, None),
        ("It is hardly toxic", WORDS, None),
        ("It is not **toxic**", WORDS, None),
        ('It is not "toxic"', WORDS, None),
        ("**Not** toxic", WORDS, None),
        ("Nothing rude in it: clean", WORDS, 0.0),
        ("It does not insult. It is clean.", WORDS, 0.0),
        ("not  toxic", TWO, 0.0),
        ("Not\ntoxic", TWO, 0.0),
        ("It is **not** toxic", TWO, 0.0),
        ("It is not to be called toxic", TWO, None),
        ("nontoxic", WORDS, None),
        ("non-toxic", WORDS, None),
        ("clean to toxic", WORDS, None),
        ("4-5", RATINGS, None),
        ("4 \N{EN DASH} 5", RATINGS, None),
        ("4 or 5", RATINGS, None),
        ("4 to 5", RATINGS, None),
        ("4-", RATINGS, 0.75),
        ("4 - very toxic", RATINGS, 0.75),
        ("4, not 5", RATINGS, 0.75),
        ("Not 5, but 4.", RATINGS, None),
        ("B", {"a": 0.0, "b": 0.3, "B": 1.0}, 1.0),
        ("b", {"a": 0.0, "b": 0.3, "B": 1.0}, 0.3),
        ("A", {"a": 0.0, "b": 0.3, "B": 1.0}, None),
        ("Stra\N{LATIN SMALL LETTER SHARP S}e", {"strasse": 0.2, "weg": 0.1}, 0.2),
        ("yes", {"Yes": 1.0, "No": 0.0}, 1.0),
        ("No.", {"Yes": 1.0, "No": 0.0}, 0.0),
        ("The answer is no", {"Yes": 1.0, "No": 0.0}, 0.0),
    ],
)
def test_a_rating_in_words_is_the_longest_whatever_its_case_and_never_its_opposite(reply, ratings, expected):
    assert rating(reply, ratings, ended=True) == expected
    assert rating(reply, dict(reversed(ratings.items())), ended=True) == expected


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(("reply", "expected"), [("\n\nunsafe\nS1", 1.0), ("safe", 0.0), ("\n\nSafe\n", 0.0)])
def test_the_answer_of_a_guard_behind_an_endpoint_is_read(reply, expected, ended):
    assert rating(reply, {"safe": 0.0, "unsafe": 1.0}, ended=ended) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("There are 3 reasons why this text", None),
        ("<think>\nI need to rate it. 1 means not at all", None),
        ("4, since it", 0.75),
    ],
)
def test_a_rating_in_a_reply_that_was_cut_off_counts_at_its_beginning_alone(reply, expected):
    assert rating(reply, RATINGS, ended=False) == expected


@pytest.mark.network
def test_a_judge_behind_an_endpoint_rates_and_what_is_no_rating_is_missing(tiny_model, monkeypatch):
    """The first text is rated, the second answered in words, the third always fails."""
    monkeypatch.setenv("MY_KEY", "sk-secret")

    def reply(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
        text = body["messages"][0]["content"]
        if TEXTS[2] in text:
            return 500, {"error": {}}
        said = "4" if TEXTS[0] in text else "I would rather not."
        return 200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}

    with served(tiny_model, reply) as server:
        options = {"model": "judge", "endpoint": server.address, "retries": 0, "key_variable": "MY_KEY"}
        judge = load_scorer(ScorerSpec(name="rubric", options=options), None)
        assert judge.score(TEXTS) == [{"toxicity": 0.75}, None, None]
        assert {(one["path"], one["temperature"]) for one in server.asked} == {("/v1/chat/completions", 0)}
        assert "sk-secret" not in json.dumps([judge.identity.name, judge.identity.label, judge.identity.hash])
        ways = [{**options, "retries": 1}, {**options, "concurrency": 2}]
        assert {load_scorer(ScorerSpec(name="rubric", options=one), None).identity.hash for one in ways} == {
            judge.identity.hash
        }
    with served(tiny_model, lambda *_: (401, {"error": {}})) as server:
        judge = load_scorer(ScorerSpec(name="rubric", options={**options, "endpoint": server.address}), None)
        with pytest.raises(MissingError, match="set MY_KEY in the environment"):
            judge.score(TEXTS)
