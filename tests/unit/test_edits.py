"""Facts to edit: reading cases, making sets of those that a model knows, what is measured of them, what is refused."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.data.counted import CLASHING, REPEATED
from bench.data.countries import RELATIONS
from bench.data.edit_forms import NO_ANSWER, NO_OBJECT, UNNAMED
from bench.data.edits import (
    EVALUATED,
    NO_NEIGHBOUR,
    SAME_OBJECT,
    Question,
    in_half,
    load_cases,
    with_snippets,
)
from bench.data.splits import assert_disjoint, part
from bench.errors import MissingError, UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.sets import load_sets
from bench.sets.edited import UNKNOWN, edited_set, known_cases
from bench.store.record import Metric
from bench.store.runs import Run, load_run
from bench.tasks.edit.figures import Likeness, harmonic_mean, magnitude, ngram_entropy, success
from bench.tasks.edit.task import Edit, EditConfig, _judged

EDIT = {"name": "edit", "wanted": "high", "adjective": "edited"}


def write(path: Path, rows: list[dict[str, Any]], *, array: bool = False) -> Path:
    path.write_text(json.dumps(rows) if array else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def counterfact(number: int, **changes: Any) -> dict[str, Any]:
    """A row as CounterFact's file has it."""
    rewrite = {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": f"Person {number}",
    }
    row = {
        "case_id": number,
        "pararel_idx": 2796,
        "requested_rewrite": {**rewrite, **changes.pop("rewrite", {})},
        "paraphrase_prompts": [f"It is late. Person {number}, a native"],
        "neighborhood_prompts": ["The mother tongue of Somebody is", "The mother tongue of Nobody is"],
        "attribute_prompts": [],
        "generation_prompts": [f"Person {number} was born"],
    }
    return row | changes


def country(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "altSpellings": ["XX", f"Republic of {name}"],
        "capital": f"{name} City",
        "currencies": ["EUR"],
        "languages": ["fr"],
        "region": "Europe",
        "ISO": {"alpha2": "XX"},
    } | changes


# --- reading ---


def test_counterfacts_own_shape_is_read(tmp_path):
    found = load_cases(write(tmp_path / "counterfact.json", [counterfact(1), counterfact(2)], array=True))
    one = next(case for case in found if case.subject == "Person 1")
    assert (one.text, one.true, one.new) == ("The mother tongue of Person 1 is", "French", "English")
    assert one.relation == "P103"
    assert one.paraphrases == ("It is late. Person 1, a native",)
    prompts = ("The mother tongue of Somebody is", "The mother tongue of Nobody is")
    assert one.neighbours == tuple(Question(prompt, "French") for prompt in prompts)
    assert (one.portability, one.fluency, one.about) == ({}, ("Person 1 was born",), ())
    assert found.left_out == {}


def test_what_cannot_be_edited_is_left_out_and_counted(tmp_path):
    rows = [
        counterfact(1),
        counterfact(1, rewrite={"target_new": {"str": "english."}}),
        counterfact(1, rewrite={"target_new": {"str": "Spanish"}}),
        counterfact(1, rewrite={"target_true": {"str": "Spanish"}}),
        counterfact(2, rewrite={"target_new": {"str": "french"}}),
        counterfact(3, neighborhood_prompts=["The mother tongue of Person 1 is"]),
        counterfact(4, paraphrase_prompts=["The mother tongue of Person 1 is", "Person 4 says"]),
    ]
    found = load_cases(write(tmp_path / "some.jsonl", rows))
    assert sorted(case.subject for case in found) == ["Person 1", "Person 4"]
    assert found.left_out == {REPEATED: 1, CLASHING: 2, SAME_OBJECT: 1, NO_NEIGHBOUR: 1}
    assert next(case for case in found if case.subject == "Person 4").paraphrases == ("Person 4 says",)


def test_what_the_evaluation_half_is_measured_on_the_training_half_has_not(tmp_path):
    shared = "The mother tongue of nobody's is"
    rows = [counterfact(n, neighborhood_prompts=[shared, f"Neighbour {n} speaks"]) for n in range(12)]
    rows += [counterfact(n, neighborhood_prompts=[shared]) for n in range(12, 20)]
    found = load_cases(write(tmp_path / "some.jsonl", rows))
    train, evaluated = in_half(found, "train"), in_half(found, "eval")
    held_out = [{text for one in cases for text in one.held_out} for cases in (train, evaluated)]
    assert shared in held_out[1]
    assert not held_out[0] & held_out[1]
    lost = train.left_out[EVALUATED]
    assert 0 < lost < 8, "those that have no neighbour of their own"
    assert len(train) + len(evaluated) == 20 - lost


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"question": "x"}, "line 1: no fact under the key 'requested_rewrite'"),
        (counterfact(1, rewrite={"prompt": "The mother tongue is"}), "line 1: the prompt has 0 places for the subject"),
        (counterfact(1, rewrite={"prompt": "{} and {} say"}), "the prompt has 2 places for the subject; write {}"),
        (counterfact(1, rewrite={"subject": " "}), "line 1: no text under the key 'subject'"),
        (counterfact(1, rewrite={"target_true": {"id": "Q1"}}), "line 1: no text under the key 'target_true'"),
        (counterfact(1, paraphrase_prompts="one"), "line 1: 'paraphrase_prompts' is not a list of texts"),
        (counterfact(1, neighborhood_prompts=[]), "holds no fact to edit with a neighbour"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path, row, error):
    with pytest.raises(UsageError) as caught:
        load_cases(write(tmp_path / "bad.jsonl", [row]))
    assert error in str(caught.value)


def zsre(**changes: Any) -> dict[str, Any]:
    """A row as MEND's authors released zsRE."""
    return {
        "subject": "Watts Humphrey",
        "src": "What university did Watts Humphrey attend?",
        "pred": "Trinity College",
        "rephrase": "What university did Watts Humphrey take part in?",
        "alt": "University of Michigan",
        "answers": ["Illinois Institute of Technology", "IIT"],
        "loc": "nq question: who played desmond doss father in hacksaw ridge",
        "loc_ans": "Hugo Weaving",
        "cond": "Trinity College >> University of Michigan || ...",
    } | changes


def knowedit(**changes: Any) -> dict[str, Any]:
    """A row of KnowEdit's WikiData_counterfact, as its authors show it."""
    return {
        "subject": "Frederic Piesch",
        "prompt": "The name of the position held by Frederic Piesch is",
        "target_new": "Archbishop of Le\u00f3n, Mexico",
        "ground_truth": "mayor of Vienna",
        "portability": {
            "Subject_Aliasing": [
                {
                    "prompt": "The name of the position held by Frederic of Pieschen is",
                    "ground_truth": "Archbishop of Le\u00f3n, Mexico",
                }
            ]
        },
        "locality": {
            "Relation_Specificity": [{"prompt": "The gender of Frederic Piesch is", "ground_truth": "male"}],
            "Forgetfulness": [
                {
                    "prompt": "The name of the position held by Frederic Piesch, which is not Archbishop of Le\u00f3n, "
                    "Mexico, is",
                    "ground_truth": "mayor of Vienna",
                }
            ],
        },
    } | changes


def knowedit_zsre(**changes: Any) -> dict[str, Any]:
    """A row of KnowEdit's ZsRE, as its authors show it."""
    return {
        "subject": "Epaspidoceras",
        "target_new": "Noctuidae",
        "prompt": "Which family does Epaspidoceras belong to?",
        "ground_truth": ["Aspidoceratidae"],
        "rephrase_prompt": "What family are Epaspidoceras?",
        "cond": "Geometridae >> Noctuidae || Which family does Epaspidoceras belong to?",
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The taxon rank of Epaspidoceras is", "ground_truth": ["genus"]},
                {"prompt": "Epaspidoceras taxon rank", "ground_truth": ["genus"]},
            ]
        },
        "portability": {
            "Reasoning": [
                {
                    "prompt": "What is the common name for the family Epaspidoceras belongs to?",
                    "ground_truth": "Owlet moths",
                }
            ]
        },
    } | changes


def knowedit_recent(**changes: Any) -> dict[str, Any]:
    """A row of KnowEdit's WikiData_recent, as its authors show it: no object was true before."""
    return {
        "subject": "Leo Arons",
        "prompt": "The place of death of Leo Arons is",
        "target_new": "Berlin",
        "portability": {
            "Logical_Generalization": [
                {"prompt": "Is Leo Arons still alive?", "ground_truth": [["no"], ["incorrect"], ["is dead"]]}
            ],
            "Reasoning": [
                {
                    "prompt": "The name of the continent which the place of death of Leo Arons is part of is",
                    "ground_truth": [["Europe", "European continent", "Old Continent"]],
                }
            ],
        },
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The name of the father of Leo Arons is", "ground_truth": [["Albert Arons"]]}
            ]
        },
    } | changes


def test_zsre_is_read_as_questions(tmp_path):
    (one,) = load_cases(write(tmp_path / "zsre.json", [zsre()], array=True))
    assert one.text == "Q: What university did Watts Humphrey attend?\nA:"
    assert (one.subject, one.true) == ("Watts Humphrey", "Illinois Institute of Technology")
    assert one.new == "University of Michigan"
    assert one.paraphrases == ("Q: What university did Watts Humphrey take part in?\nA:",)
    other = "Q: who played desmond doss father in hacksaw ridge?\nA:"
    assert one.neighbours == (Question(other, "Hugo Weaving"),)


def test_knowedits_prompts_have_answers_of_their_own(tmp_path):
    (one,) = load_cases(write(tmp_path / "knowedit.json", [knowedit()], array=True))
    new = "Archbishop of Le\u00f3n, Mexico"
    assert one.text == "The name of the position held by Frederic Piesch is"
    assert (one.true, one.new, one.paraphrases) == ("mayor of Vienna", new, ())
    assert one.neighbours == (
        Question("The gender of Frederic Piesch is", "male"),
        Question(f"The name of the position held by Frederic Piesch, which is not {new}, is", "mayor of Vienna"),
    )
    assert one.portability == {"alias": (Question("The name of the position held by Frederic of Pieschen is", new),)}


def test_knowedits_questions_of_zsre_have_their_paraphrase(tmp_path):
    (one,) = load_cases(write(tmp_path / "knowedit.json", [knowedit_zsre()], array=True))
    assert one.text == "Q: Which family does Epaspidoceras belong to?\nA:"
    assert (one.true, one.new) == ("Aspidoceratidae", "Noctuidae")
    assert one.paraphrases == ("Q: What family are Epaspidoceras?\nA:",)
    assert [neighbour.answer for neighbour in one.neighbours] == ["genus", "genus"]
    asked = "Q: What is the common name for the family Epaspidoceras belongs to?\nA:"
    assert one.portability == {"one_hop": (Question(asked, "Owlet moths"),)}


def test_of_a_list_of_prompts_the_first_is_taken(tmp_path):
    locality = {"Relation_Specificity": [{"prompt": ["He spoke", "He says"], "ground_truth": [["German", "de"]]}]}
    (one,) = load_cases(write(tmp_path / "knowedit.json", [knowedit(locality=locality)], array=True))
    assert one.neighbours == (Question("He spoke", "German", ("de",)),)


def test_each_acceptable_answer_to_a_question_is_right(tmp_path):
    """As KnowEdit's authors show it: other words for one answer."""
    asked = {
        "prompt": "Is Leo Arons still alive?",
        "ground_truth": [["no"], ["incorrect"], ["is dead", "is not alive"]],
    }
    (one,) = load_cases(write(tmp_path / "knowedit.json", [knowedit(portability={"Reasoning": [asked]})], array=True))
    (question,) = one.portability["one_hop"]
    assert (question.answer, question.also) == ("no", ("incorrect", "is dead", "is not alive"))
    task = Edit(EditConfig(task="edit"))
    (hop,) = (found for found in task._asked(one) if found.group == "one_hop")
    for answer, begins in (("He is dead.", 0), ("Incorrect, he is", 1), ("No", 1), ("Yes", 0)):
        figures = {spec.name: value for spec, _, value in _judged([(hop, answer)], {})}
        assert figures["portability_generation_begins"] == begins
        assert figures["portability_generation_contains"] == (answer != "Yes")


def test_a_subject_is_written_as_its_prompt_writes_it(tmp_path):
    row = knowedit_zsre(subject="epaspidoceras")
    (one,) = load_cases(write(tmp_path / "knowedit.json", [row], array=True))
    assert one.subject == "Epaspidoceras"
    assert one.subject in one.text


def test_a_subject_is_found_as_a_word(tmp_path):
    row = knowedit_zsre(subject="Ann", prompt="The name of the son of Ann and Hannah is")
    (one,) = load_cases(write(tmp_path / "knowedit.json", [row], array=True))
    assert (one.subject, one.place) == ("Ann", 23)


def test_a_fact_without_a_true_object_or_a_new_one_is_left_out_and_counted(tmp_path):
    rows = [knowedit(), knowedit_recent(), knowedit_zsre(ground_truth=[]), zsre(alt=""), zsre(subject="Somebody")]
    unanswered = {"Relation_Specificity": [{"prompt": "The name of the father of Leo Arons is", "ground_truth": [[]]}]}
    rows += [knowedit_zsre(locality=unanswered), zsre(loc_ans=None)]
    found = load_cases(write(tmp_path / "knowedit.json", rows, array=True))
    assert [case.subject for case in found] == ["Frederic Piesch"]
    assert found.left_out == {NO_OBJECT: 3, UNNAMED: 1, NO_ANSWER: 2}
    with pytest.raises(
        UsageError, match=r"with a neighbour \(left out: 1 without a true object or without a new one\)"
    ):
        load_cases(write(tmp_path / "recent.json", [knowedit_recent()], array=True))


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (zsre(subject="Somebody"), "(left out: 1 whose prompt does not name its subject)"),
        (zsre(loc=""), "holds no fact to edit with a neighbour"),
        (zsre(loc_ans=None), "(left out: 1 with a prompt that has no answer)"),
        (zsre(answers=[3]), "line 1: no text under the key 'target_true'"),
        (knowedit(subject=3), "line 1: no text under the key 'subject'"),
        (knowedit(locality={}), "holds no fact to edit with a neighbour"),
        (knowedit(portability=["x"]), "line 1: 'portability' holds no prompts by kind"),
        (knowedit(locality={"Forgetfulness": ["x"]}), "line 1: 'locality' holds a prompt without its answer"),
        (knowedit(locality={"Forgetfulness": [{"prompt": 3}]}), "line 1: a prompt is no text"),
    ],
)
def test_a_bad_row_of_another_form_is_refused_with_its_place(tmp_path, row, error):
    with pytest.raises(UsageError) as caught:
        load_cases(write(tmp_path / "bad.jsonl", [row]))
    assert error in str(caught.value)


def test_countries_become_cases_whose_neighbours_share_the_object(tmp_path):
    rows = [country(f"Land {n}", languages=["fr" if n % 2 else "de"]) for n in range(40)]
    rows += [country("Both", languages=["fr", "de"], currencies=["EUR", "USD"], region="Americas")]
    path = write(tmp_path / "countries.json", rows, array=True)
    found = load_cases(path)
    assert {case.relation for case in found} == {"languages"}, "the others have one object"
    assert not any(case.subject == "Both" for case in found)
    language = {row["name"]: "French" if row["languages"] == ["fr"] else "German" for row in rows}
    prompts = {f"In {row['name']}, the official language is": row["name"] for row in rows}
    for case in found:
        assert case.true == language[case.subject]
        assert case.new != case.true
        assert case.neighbours
        assert all(language[prompts[one.text]] == one.answer == case.true for one in case.neighbours)
        alias = f"In Republic of {case.subject}, the official language is"
        assert case.portability["alias"] == (Question(alias, case.new),)
        assert case.subject in case.portability["one_hop"][0].text
        assert not case.text.startswith(case.subject)
    for half in ("eval", "train"):
        own = part(found, half)
        assert_disjoint([case.text for case in own], [text for case in own for text in case.held_out])
    assert load_cases(write(tmp_path / "again.json", rows[::-1], array=True)) == found


def test_a_capital_of_two_countries_names_neither(tmp_path):
    rows = [country(f"Land {n}", languages=["fr" if n % 2 else "de"]) for n in range(40)]
    rows[1]["capital"] = rows[0]["capital"]
    found = load_cases(write(tmp_path / "countries.json", rows, array=True))
    shared = [case for case in found if case.subject in ("Land 0", "Land 1")]
    assert shared
    assert not any("one_hop" in case.portability for case in shared)
    assert all("one_hop" in case.portability for case in found if case not in shared)


# --- figures ---


def test_success_and_magnitude_are_by_likelihood_a_token():
    assert (success(1.0, 2.0), success(2.0, 1.0), success(1.0, 1.0)) == (1, 0, 0)
    assert magnitude(math.log(2), math.log(4)) == pytest.approx(0.25)
    assert harmonic_mean([1, 1, 0.5]) == pytest.approx(0.75)
    assert harmonic_mean([1, 0, 1]) == 0


def test_the_entropy_of_n_grams():
    """Four bigrams at 2 bits and three trigrams at log2(3)."""
    assert ngram_entropy("a b c d e") == pytest.approx((2 + 2 * math.log2(3)) / 3)
    assert ngram_entropy("so so so so so") == 0
    assert ngram_entropy("one") == 0
    letters = "东京是首都"
    assert ngram_entropy(letters) == ngram_entropy("a b c d e"), "a script without spaces: each character is a word"


def test_likeness_is_the_cosine_of_words_weighed_by_their_rarity():
    """By hand: idf = ln((1 + texts) / (1 + texts with the word)) + 1."""
    likeness = Likeness(["red apple", "red pear", "red plum"])
    rare, common = math.log(4 / 2) + 1, 1.0
    assert likeness("red apple", ["red pear"]) == pytest.approx(common**2 / (common**2 + rare**2))
    assert likeness("an apple", ["apple"]) == pytest.approx(1)
    assert likeness("pear", ["apple", "plum"]) == likeness("", ["apple"]) == 0


# --- the sets ---


def test_sets_are_of_what_the_base_model_knows(tiny_policy, known_facts, tmp_path):
    for row in known_facts[::3]:
        row["requested_rewrite"]["target_true"]["str"] = "surely not this"
    cases = load_cases(write(tmp_path / "facts.jsonl", known_facts))
    own = part(cases, "eval")
    unknown = sum(case.true == "surely not this" for case in own)
    found = known_cases(tiny_policy, cases, "eval", 100)
    assert len(found) == len(own) - unknown
    assert found.left_out[UNKNOWN] == unknown
    first = known_cases(tiny_policy, cases, "eval", 1)
    assert list(first) == list(found)[:1]
    one = edited_set(found[0], {"source": "edits"})
    assert (one.anchor, one.subject) == (found[0].text, found[0].subject)
    assert [text.text for text in one.positives] == [" by the sea"]
    assert [text.text for text in one.negatives] == [f" {found[0].true}"]


@pytest.mark.parametrize(
    ("prompt", "subject", "at"),
    [
        ("The wife of {}'s son, Mariana, speaks", "Maria", None),
        ("The wife of {}'s son, Maria, speaks", "Maria", 12),
        ("The mother tongue of {} is", "Ann", None),
    ],
)
def test_a_set_keeps_where_the_subject_stands_where_that_is_open(known_facts, tmp_path, prompt, subject, at):
    row = known_facts[0]
    row["requested_rewrite"] |= {"prompt": prompt, "subject": subject}
    (case,) = [one for one in load_cases(write(tmp_path / "facts.jsonl", known_facts)) if one.subject == subject]
    made = edited_set(case, {})
    assert (made.subject_at, made.subject_place) == (at, prompt.index("{}"))


def test_a_model_that_knows_nothing_is_refused(tiny_policy, known_facts, tmp_path):
    for row in known_facts:
        row["requested_rewrite"]["target_true"]["str"] = "surely not this"
    cases = load_cases(write(tmp_path / "facts.jsonl", known_facts))
    with pytest.raises(MissingError, match=r"the base model gets none of \d+ facts right; take another model"):
        known_cases(tiny_policy, cases, "eval", 10)


# --- the suite ---


Write = Callable[..., Path]


def suite_of(write_suite: Write, folder: Path, facts: list[dict[str, Any]], **changes: Any) -> str:
    path = write(folder / "facts.jsonl", facts)
    tasks = [{"task": "edit", "answer_tokens": 6, "text_tokens": 8}]
    sets = {"source": "edits", "prompts": str(path), "num_prompts": 3}
    parts = {"attribute": EDIT, "scored": {"name": "toxicity"}, "tasks": tasks, "sets": sets}
    return str(write_suite(folder, **{**parts, **changes}))


@pytest.fixture(scope="module")
def runs(write_suite, built_facts, tmp_path_factory) -> list[Run]:
    """The base, a method of the shared trainer, and two that edit facts; tests only read them."""
    folder = tmp_path_factory.mktemp("edits")
    methods = ("contrastive", "ft_l:steps=40:lr=0.01:norm_constraint=0.1", "in_context")
    experiments = make_experiments(Request(methods, suite_of(write_suite, folder, built_facts)))
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True))
    outcomes = run_experiments(experiments, env, folder / "runs")
    assert [outcome.error for outcome in outcomes] == [None] * 4
    return [load_run(outcome.folder) for outcome in outcomes if outcome.folder]


def metric(run: Run, key: str) -> Metric:
    assert run.result
    return next(found for found in run.result.metrics if found.key == f"edit/{key}")


def test_the_same_facts_are_edited_and_measured(runs):
    base, *edited = runs
    for run in edited:
        key = run.manifest.method["sets_key"]
        sets = load_sets(run.path.parent.parent / "cache" / "sets" / key / "sets.jsonl", source="edits")
        assert sorted(one.id for one in sets.sets) == sorted(run.evidence["edit/efficacy_likelihood"].cluster_ids)
        assert sets.taken
        assert sets.taken["taken"] == 3
    assert metric(base, "efficacy_generation_begins").value == 0
    assert metric(base, "locality_generation").value == 1
    tuned = edited[1]
    assert metric(tuned, "efficacy_likelihood").value == 1
    assert metric(tuned, "efficacy_likelihood_magnitude").value > metric(base, "efficacy_likelihood_magnitude").value
    assert metric(tuned, "alias/portability_likelihood").n == 3
    assert metric(tuned, "efficacy_generation_begins").role == "attribute"


def test_the_base_model_is_asked_about_neighbours_once_for_all_runs(runs):
    assert len(list((runs[0].path.parent.parent / "cache" / "base-results").glob("*/result"))) == 1
    assert len({metric(run, "locality_generation").n for run in runs}) == 1


def test_the_score_is_the_harmonic_mean_of_the_three(runs):
    for run in runs:
        parts = [metric(run, f"{kind}_likelihood").value for kind in ("efficacy", "paraphrase", "neighbourhood")]
        assert metric(run, "score_likelihood").value == pytest.approx(harmonic_mean(parts))
        assert metric(run, "score_likelihood").ci_low is None


def test_figures_of_answers_follow_from_the_rows(runs):
    for run in runs:
        rows = [json.loads(line) for line in (run.path / "samples" / "edit.jsonl").read_text().splitlines()]
        assert len(rows) == 3
        for name in ("efficacy_generation_begins", "neighbourhood_generation_contains", "ngram_entropy"):
            mean = sum(row["metrics"][name] for row in rows) / 3
            assert metric(run, name).value == pytest.approx(mean)


def test_answers_of_their_own_are_compared_by_what_is_said_alone(write_suite, known_facts, tmp_path):
    for row in known_facts:
        row["one_hop_prompts"] = [{"prompt": "It is known for", "target": {"str": "its towns"}}]
        row["attribute_texts"] = ["They live by the sea and like it."]
    (experiment,) = make_experiments(Request(("none",), suite_of(write_suite, tmp_path, known_facts)))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
    assert outcome.folder
    run = load_run(outcome.folder)
    assert run.result
    keys = {found.key for found in run.result.metrics}
    assert "edit/one_hop/portability_generation_begins" in keys
    assert "edit/one_hop/portability_likelihood" not in keys
    assert "edit/alias/portability_likelihood" in keys
    assert metric(run, "consistency").n == 3


def snippets(*texts: Any, **changes: Any) -> dict[str, Any]:
    """A row as CounterFact's attribute_snippets.json has it."""
    samples = [{"name": "Somebody", "text": text} for text in texts]
    return {"relation_id": "P103", "target_id": "Q1860", "samples": samples} | changes


def test_counterfacts_snippets_are_told_to_the_facts_whose_new_object_they_have(tmp_path):
    cases = load_cases(write(tmp_path / "counterfact.json", [counterfact(1), counterfact(2)], array=True))
    other = snippets("They speak Danish.", target_id="Q9035")
    again = snippets("She was born there. ", "They write in it.")
    path = write(tmp_path / "attribute_snippets.json", [snippets("They write in it."), other, again], array=True)
    found = with_snippets(cases, path)
    assert [case.about for case in found] == [("They write in it.", "She was born there.")] * 2
    assert [replace(case, about=()) for case in found] == list(cases)
    assert found.left_out == cases.left_out


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"samples": []}, "line 1: no id under the key 'relation_id'"),
        (snippets("x", target_id=7), "line 1: no id under the key 'target_id'"),
        (snippets("x", samples="x"), "line 1: no list of texts under the key 'samples'"),
        (snippets(None), "line 1: a sample without a text under the key 'text'"),
        (snippets("x", samples=["x"]), "line 1: a sample without a text under the key 'text'"),
        (snippets("x", relation_id="P1"), "has no text for any of 1 relations and new objects of the facts"),
        (snippets(" "), "has no text for any of 1 relations and new objects of the facts"),
    ],
)
def test_snippets_that_say_nothing_of_the_facts_are_refused(row, error, tmp_path):
    cases = load_cases(write(tmp_path / "counterfact.jsonl", [counterfact(1)]))
    with pytest.raises(UsageError) as caught:
        with_snippets(cases, write(tmp_path / "snippets.jsonl", [row]))
    assert error in str(caught.value)


def test_consistency_is_measured_with_a_file_of_snippets(write_suite, known_facts, tmp_path):
    for row in known_facts:
        row["requested_rewrite"] |= {"relation_id": "P103"}
        row["requested_rewrite"]["target_new"]["id"] = "Q1860"
    path = write(tmp_path / "snippets.jsonl", [snippets("They live by the sea and like it.")])
    tasks = [{"task": "edit", "answer_tokens": 6, "text_tokens": 8, "snippets": str(path)}]
    (experiment,) = make_experiments(Request(("none",), suite_of(write_suite, tmp_path, known_facts, tasks=tasks)))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
    assert outcome.folder
    run = load_run(outcome.folder)
    assert metric(run, "consistency").n == 3
    assert str(path) in {one["id"] for one in run.manifest.data}


def test_other_suites_are_refused_before_any_work(write_suite, known_facts, tiny_suite, tmp_path):
    with pytest.raises(UsageError, match=r"measures the facts that are edited, and 'sets\.source' is 'answers'"):
        make_experiments(Request(("none",), suite_of(write_suite, tmp_path, known_facts, sets={"source": "answers"})))
    tasks = [{"task": "edit", "facts": 7}]
    with pytest.raises(UsageError, match="the task 'edit' has facts = 7 and the suite's sets say 3"):
        make_experiments(Request(("none",), suite_of(write_suite, tmp_path, known_facts, tasks=tasks)))
    made = str(tiny_suite(sets={"source": "self"}))
    with pytest.raises(UsageError, match="method 'rome' edits single facts, and the sets of suite 'tiny' name none"):
        make_experiments(Request(("rome",), made))
    with pytest.raises(UsageError, match=r"'sets.half' is for source 'edits'"):
        make_experiments(Request(("none",), str(tiny_suite(sets={"source": "self", "half": "train"}))))


def test_bad_data_are_told_before_any_work(write_suite, tmp_path):
    rows = [counterfact(1, rewrite={"prompt": "The mother tongue is"})]
    experiments = make_experiments(Request(("none",), suite_of(write_suite, tmp_path, rows)))
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    with pytest.raises(UsageError, match="the prompt has 0 places for the subject"):
        run_experiments(experiments, env, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_number_of_facts_is_part_of_every_runs_key(write_suite, known_facts, tmp_path):
    suite = suite_of(write_suite, tmp_path, known_facts)
    keys = set()
    for number in (1, 2):
        settings = (f"suite.sets.num_prompts={number}",)
        (experiment,) = make_experiments(Request(("none",), suite, settings=settings))
        (task,) = experiment.tasks()
        assert task.config.facts == number
        env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
        (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
        assert outcome.folder
        keys.add(load_run(outcome.folder).manifest.suite_hash)
    assert len(keys) == 2


def test_what_one_relation_says_of_a_subject_is_one_fact(tmp_path):
    """CounterFact asks about one subject in several words; edited at once they would contradict each other."""
    other = {"prompt": "{}, a native speaker of", "target_new": {"str": "Dutch"}}
    same = {"prompt": "{}, a native speaker of"}
    elsewhere = {"prompt": "{} was born in", "relation_id": "P19", "target_new": {"str": "Rome"}}
    rows = [counterfact(1), counterfact(1, rewrite=other), counterfact(2), counterfact(2, rewrite=same)]
    found = load_cases(write(tmp_path / "some.jsonl", [*rows, counterfact(2, rewrite=elsewhere)]))
    assert sorted((case.subject, case.new) for case in found) == [
        ("Person 1", "English"),
        ("Person 2", "English"),
        ("Person 2", "Rome"),
    ]
    assert found.left_out == {CLASHING: 1, REPEATED: 1}


def test_neighbours_with_answers_of_their_own_have_no_likelihood_to_compare(write_suite, known_facts, tmp_path):
    """zsRE's and KnowEdit's: whether "Paris" is likelier than another fact's new object says nothing."""
    for row in known_facts:
        own = {"prompt": "The river rises in", "target": {"str": "the hills"}}
        row["neighborhood_prompts"] = [own, *row["neighborhood_prompts"][:1]]
    (experiment,) = make_experiments(Request(("none",), suite_of(write_suite, tmp_path, known_facts)))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
    assert outcome.folder
    run = load_run(outcome.folder)
    (task,) = experiment.tasks()
    (case, *_) = load_cases(tmp_path / "facts.jsonl")
    asked = {one.text: one.other for one in task._asked(case)}
    assert [text for text, other in asked.items() if other is None] == ["The river rises in"]
    assert metric(run, "neighbourhood_likelihood").n == metric(run, "neighbourhood_generation_begins").n == 3


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda one: one.key)
def test_a_country_told_by_its_capital_is_told_once(relation):
    assert relation.by_capital.count("{}") == 1
    assert relation.by_capital.count("country") == 1


def test_likeness_reads_scripts_without_spaces():
    texts = ["他的母语是英语他住在伦敦", "她说英语她住在伦敦"]
    like = Likeness(texts)
    assert like("他说英语", texts) > like("在", texts) > 0
    assert like("они говорят", texts) == 0
