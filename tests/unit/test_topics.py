"""No method reads a text about toxicity where a suite controls something else."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench import registry, suites
from bench.errors import UsageError
from bench.run.families import expand
from bench.run.plan import Experiment, Request, make_experiments
from bench.suites import load_suite

ABOUT_TOXICITY = re.compile(
    r"toxic|stereotyp|threat|profan|obscen|racist|rude|abus|polite|\bkind\b|respectful|\bclean\b|\bdirty\b"
)
METHODS = registry.names("methods")
OTHERS = [name for name in suites.names() if load_suite(name).attribute.name != "toxicity"]


def strings(value: Any) -> list[str]:
    """All texts in an option's value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def spoken(name: str) -> set[str]:
    """The options of a method whose default is about toxicity, by its words."""
    fields = registry.load("methods", name).Config.model_fields
    return {option for option, field in fields.items() if ABOUT_TOXICITY.search(" ".join(strings(field.default)))}


SPEAKING = [name for name in METHODS if spoken(name)]


def planned(name: str, suite: str, *settings: str) -> Experiment:
    return make_experiments(Request((name,), suite, base=False, settings=list(settings)))[0]


def test_who_speaks_of_toxicity_says_so():
    known = {"prompt", "preadd", "gedi", "model_arithmetic", "toxification_reversal", "self_debias"}
    assert {name for name in METHODS if registry.load("methods", name).info.speaks_of} == known
    assert known == {*SPEAKING}
    for name in known - {"self_debias"}:
        told = spoken(name) - {"formula"}  # which calls a prompt by a name, and is not read
        assert {*registry.load("methods", name).info.texts} == told


@pytest.mark.parametrize("suite", OTHERS)
@pytest.mark.parametrize("name", SPEAKING)
def test_in_a_suite_about_something_else_it_speaks_of_that_or_is_refused(name, suite):
    if name == "self_debias":
        controlled = load_suite(suite).attribute.name
        with pytest.raises(UsageError, match=f"speaks of toxicity and of nothing else, and suite '{suite}' controls"):
            planned(name, suite)
        assert controlled in ("truth", "sentiment", "edit")
    else:
        config = planned(name, suite).config
        said = [text for option in spoken(name) for text in strings(getattr(config, option))]
        assert said
        assert not [text for text in said if ABOUT_TOXICITY.search(text)]


def test_a_suite_of_ones_own_says_its_texts(tiny_suite):
    suite = str(tiny_suite(attribute={"name": "brightness", "wanted": "high"}))
    with pytest.raises(UsageError) as caught:
        planned("toxification_reversal", suite, "toxification_reversal.bad_prefix=dark")
    assert str(caught.value) == (
        "method 'toxification_reversal' speaks of toxicity unless told otherwise, and suite 'tiny' controls "
        "brightness; say what it is to read there "
        "(--set toxification_reversal.good_prefix='\"GOOD_PREFIX\"'), or take it out"
    )
    assert planned("preadd", suite, "prefix=dark").config.prefix == "dark"
    with pytest.raises(UsageError, match="method 'preadd' speaks of toxicity unless told otherwise"):
        planned("contrastive+preadd", suite)
    found, notes = expand(Request(("prompt",), suite))
    assert (found.methods, notes) == (("prompt",), [])
    found, notes = expand(Request(("all",), suite))
    assert not {*SPEAKING} & {*found.methods}
    assert any(note.startswith("--method all leaves out self_debias: method 'self_debias' speaks of") for note in notes)


@pytest.mark.parametrize("name", [name for name in METHODS if registry.load("methods", name).info.texts])
def test_the_settings_that_a_refused_method_asks_for_are_taken_as_printed(name, tiny_suite):
    """As a shell hands them over; another text may stand in the quotes, also one that reads as no text."""
    suite = str(tiny_suite(attribute={"name": "brightness", "wanted": "high"}))
    with pytest.raises(UsageError) as caught:
        planned(name, suite)
    told = re.search(r"read there \((.*)\), or take it out", str(caught.value.mend))
    settings = [word for word in shlex.split(told[1]) if word != "--set"]
    assert len(settings) == len(registry.load("methods", name).info.texts)
    for others in (settings, [re.sub(r'"[A-Z]+(_[A-Z]+)*"', f'"{n}"', one) for n, one in enumerate(settings)]):
        config = planned(name, suite, *others).config
        assert all(strings(getattr(config, option)) for option in registry.load("methods", name).info.texts)


def test_a_text_that_reads_as_none_is_said_to_want_quotes(tiny_suite):
    with pytest.raises(UsageError, match=r"'desired_code' = True: .* valid string; quoted it is one: '\"\.\.\.\"'"):
        planned("gedi", str(tiny_suite()), "gedi.desired_code=true")
    assert planned("gedi", str(tiny_suite()), 'gedi.desired_code="true"').config.desired_code == "true"


def test_kinds_of_toxicity_are_toxicity(tiny_suite):
    suite = str(tiny_suite(attribute={"name": "severe_toxicity"}))
    assert [planned(name, suite).method for name in SPEAKING] == SPEAKING


@pytest.mark.parametrize(("page", "suite"), [("facts", "mini-facts"), ("edits", "mini-edit")])
def test_the_page_of_a_suite_without_a_scorer_names_every_method_that_needs_one(page, suite):
    refused = [name for name in METHODS if registry.load("methods", name).info.needs_scorer]
    assert refused
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (said,) = [one for one in re.split(r"(?<=\.)\s", text) if "no scorer scores" in one]
    assert {*re.findall(r"`(\w+)`", said)} == {*refused}
    for name in refused:
        with pytest.raises(UsageError, match="needs a scorer"):
            planned(name, suite)
