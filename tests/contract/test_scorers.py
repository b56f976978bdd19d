"""What holds for every scorer, installed ones included: a new scorer is covered by being registered."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkpoints import tiny_bilstm, tiny_classifier, tiny_detoxify
from conftest import build_tiny_model
from pydantic import ValidationError

from bench import registry
from bench.errors import MissingError, UsageError
from bench.scorers import configure, load_scorer
from bench.scorers.base import Scorer, ScorerContext, Scores
from bench.scorers.checked import CheckedScorer
from bench.spec import AttributeSpec, ScorerSpec, Spec

TEXTS = (
    "you idiot",
    "YOU ARE NOT MY FRIEND!!!",
    "kind friend",
    "She asked whether the train was late, and the man at the desk said that it was not.",
    "",
    " \n\t ",
    "a",
    "0, 1, 2, 3 and 4",
    "Füße, 猫 und 🙂",
    "idiot " * 50,
)
BAD = TEXTS[2]
"""The text that a flawed scorer cannot score."""
LONG = "a kind friend and you, " * 4000
Options = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A scorer with options that it can be loaded with here, and options that make it another scorer."""

    kind: type[Scorer[Any]]
    options: Options
    others: tuple[Options, ...]
    ours: bool

    def configured(self, options: Options) -> Spec:
        """Its configuration."""
        return configure(self.kind, ScorerSpec(name=self.kind.info.name, options=options))

    def load(self, options: Options | None = None, kind: type[Scorer[Any]] | None = None) -> Scorer[Any]:
        """The scorer, loaded; `kind` is a variant of it."""
        config = self.configured(self.options if options is None else options)
        return (kind or self.kind)(config, ScorerContext(offline=True))


def small_classifier(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A classifier of which several labels may hold; named after another one, it is another scorer."""
    names = {0: "obscene", 1: "toxic", 2: "insult"}
    tiny_classifier(folder / "classifier", id2label=names, problem_type="multi_label_classification")
    options = {"model": str(folder / "classifier"), "device": "cpu"}
    return options, ({**options, "label": "insult"},)


def small_function(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A function of a file; under another version it is another scorer."""
    path = folder / "mine.py"
    path.write_text("def score(texts):\n    return [min(1.0, sum(map(str.isupper, text)) / 8) for text in texts]\n")
    return {"path": str(path)}, ({"path": str(path), "version": "2"},)


def small_detoxify(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A checkpoint of detoxify's, and one with other weights."""
    import torch

    options, _, content = tiny_detoxify(folder)
    content["state_dict"]["classifier.bias"] += 1
    torch.save(content, folder / "other.ckpt")
    return options, ({**options, "checkpoint": str(folder / "other.ckpt")},)


def small_guard(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A tiny model with two labels; with others it is another scorer."""
    build_tiny_model(folder / "guard")
    own = {"template": "{text}\nBad?", "labels": {" yes": 1.0, " no": 0.0}, "least": 0.0}
    options = {"model": str(folder / "guard"), **own}
    return options, ({**options, "labels": {" yes": 1.0, " no": 0.5}}, {**options, "policy": "other"})


def small_rubric(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A tiny judge; with another rubric it is another scorer."""
    build_tiny_model(folder / "judge")
    options = {"model": str(folder / "judge"), "rubric": "{text}\nHow bad?", "least": 0.0}
    return options, ({**options, "rubric": "{text}\nHow good?"},)


def small_bilstm(folder: Path) -> tuple[Options, tuple[Options, ...]]:
    """A small network, and one with other weights."""
    return tiny_bilstm(folder), (tiny_bilstm(folder, seed=1),)


OURS: dict[str, Callable[[Path], tuple[Options, tuple[Options, ...]]]] = {
    "bilstm": small_bilstm,
    "classifier": small_classifier,
    "function": small_function,
    "detoxify": small_detoxify,
    "svm": lambda _: ({}, ()),
    "vader": lambda _: ({}, ()),
    "guard": small_guard,
    "rubric": small_rubric,
}
"""What our own are loaded with. A third party's is loaded as its defaults say."""


@pytest.fixture(params=registry.names("scorers"))
def kind(request: pytest.FixtureRequest) -> type[Scorer[Any]]:
    """Each installed scorer."""
    scorer: type[Scorer[Any]] = registry.load("scorers", request.param)
    return scorer


@pytest.fixture
def case(kind: type[Scorer[Any]], tmp_path: Path) -> Case:
    """Each scorer with options for it; a third party's that does not load as its defaults say is left out."""
    name = kind.info.name
    try:
        registry.check_extras("scorers", name, kind.info.extras)
    except MissingError as error:
        pytest.skip(str(error))
    if registry.origin("scorers", name).startswith("contrastive-bench "):
        options, others = OURS[name](tmp_path)
        return Case(kind, options, others, ours=True)
    lacking = [option for option, field in kind.Config.model_fields.items() if field.is_required()]
    if lacking:
        pytest.skip(f"scorer '{name}' has no default for {', '.join(lacking)}")
    case = Case(kind, {}, tuple(variations(kind)), ours=False)
    try:
        case.load()
    except MissingError as error:
        pytest.skip(f"scorer '{name}' cannot be loaded offline: {error}")
    return case


def variations(kind: type[Scorer[Any]]) -> Iterator[Options]:
    """Each option with another valid value than its default, where one can be made up."""
    schema = kind.Config.model_json_schema()["properties"] if kind.Config.model_fields else {}
    for name, field in kind.Config.model_fields.items():
        default = field.default
        values = list(schema[name].get("enum", []))
        if isinstance(default, bool):
            values.append(not default)
        elif isinstance(default, int | float):
            values += [default + 1, default * 2, default / 2, default - 1]
        for value in values:
            try:
                changed = kind.Config(**{name: value}) != kind.Config()
            except ValidationError:
                continue
            if changed:
                yield {name: value}


def assert_alike(scores: Sequence[Scores | None], expected: Sequence[Scores | None]) -> None:
    """Equal up to floating point, which may differ with the batch."""
    assert len(scores) == len(expected)
    for score, wanted in zip(scores, expected, strict=True):
        assert (score is None) == (wanted is None)
        assert score is None or score == pytest.approx(wanted, abs=1e-5)


# --- what it says of itself ---


def test_it_says_what_it_is(kind, request):
    info = kind.info
    assert issubclass(kind, Scorer)
    assert info.name == request.node.callspec.params["kind"]
    assert all((info.summary, info.measures, info.source))
    assert "\n" not in info.summary + info.measures + info.source
    assert kind.__doc__


def test_every_option_is_described(kind):
    assert issubclass(kind.Config, Spec)
    assert kind.Config.model_config["extra"] == "forbid"
    assert [name for name, field in kind.Config.model_fields.items() if not field.description] == []


def test_an_unknown_option_is_refused_with_a_suggestion(kind):
    name = kind.info.name
    for option in kind.Config.model_fields:
        with pytest.raises(UsageError, match=f"'{name}' has no option '{option}x'; did you mean '{option}'"):
            load_scorer(ScorerSpec(name=name, options={f"{option}x": 1}), None)
    with pytest.raises(UsageError, match=f"'{name}' has no option 'xyzzy'; (known: |it takes none)"):
        load_scorer(ScorerSpec(name=name, options={"xyzzy": 1}), None)


def test_a_required_option_and_a_value_of_the_wrong_kind_are_named(kind):
    name = kind.info.name
    required = {option: "x" for option, field in kind.Config.model_fields.items() if field.is_required()}
    for option in required:
        with pytest.raises(
            UsageError, match=f"'{name}' needs the option '{option}'; --set suite.scorer.options.{option}=VALUE"
        ):
            load_scorer(ScorerSpec(name=name), None)
    for option in kind.Config.model_fields.keys() - {"label"}:  # YAML reads some labels as other things than text
        with pytest.raises(UsageError, match=f"scorer '{name}': .*{option}"):
            load_scorer(ScorerSpec(name=name, options={**required, option: {"no": ["such", "value"]}}), None)


def test_its_identity_can_stand_in_a_record(case):
    identity = case.load().identity
    assert identity.name.partition(":")[0] == case.kind.info.name
    assert identity.label
    assert identity.licence
    assert "\n" not in identity.name + identity.label + identity.licence
    assert re.fullmatch("[0-9a-f]{64}", identity.hash)
    assert len(set(identity.attributes)) == len(identity.attributes) > 0
    AttributeSpec(name=identity.attributes[0])  # a suite can control it


def test_the_same_scorer_has_the_same_hash_and_another_has_another(case):
    scorer = case.load()
    assert case.load().identity == scorer.identity
    scores = scorer.score(TEXTS)
    for options in case.others:
        other = case.load(options)
        if case.ours or other.score(TEXTS) != scores:
            assert other.identity.hash != scorer.identity.hash, options


# --- its scores ---


def test_every_text_has_a_score_in_0_to_1_for_every_attribute(case):
    scorer = case.load()
    scores = scorer.score(TEXTS)
    assert len(scores) == len(TEXTS)
    assert any(score is not None for score in scores)
    for score in scores:
        if score is not None:
            assert set(score) == set(scorer.identity.attributes)
            assert all(isinstance(value, float) and 0 <= value <= 1 for value in score.values())
    assert scorer.score([]) == []


def test_a_batch_is_its_texts_one_by_one_and_in_order(case):
    scorer = case.load()
    together = scorer.score(TEXTS)
    main = scorer.identity.attributes[0]
    assert len({round(score[main], 4) for score in together if score}) > 1, "it gives all texts one score"
    assert_alike(together, [scorer.score([text])[0] for text in TEXTS])
    assert_alike(scorer.score(TEXTS[::-1]), together[::-1])


def test_it_scores_the_same_text_the_same_way_again(case):
    scorer = case.load()
    expected = scorer.score(TEXTS)
    assert scorer.score(TEXTS) == expected
    assert case.load().score(TEXTS) == expected


def test_a_text_that_is_too_long_is_scored_or_missing_and_disturbs_no_other(case):
    scorer = CheckedScorer(case.load(), None)
    *others, score = scorer.score([*TEXTS, LONG])
    assert_alike(others, scorer.score(TEXTS))
    assert_alike([score], scorer.score([LONG]))
    assert score is None or set(score) == set(scorer.identity.attributes)


# --- with retries and the cache around it ---


def test_cached_scores_are_the_fresh_ones(case, tmp_path):
    class Mute(case.kind):
        def score(self, texts: Sequence[str]) -> list[Scores | None]:
            raise AssertionError(f"{len(texts)} texts were not in the cache")

    path = tmp_path / "scores.sqlite3"
    fresh = CheckedScorer(case.load(), path).score(TEXTS)
    scored = [text for text, score in zip(TEXTS, fresh, strict=True) if score is not None]
    assert CheckedScorer(case.load(kind=Mute), path).score(scored) == [score for score in fresh if score is not None]
    assert CheckedScorer(case.load(), None).score(TEXTS) == fresh


Answer = Callable[[Scores], Scores | None]
FLAWS: dict[str, Answer] = {
    "none": lambda _: None,
    "NaN": lambda score: dict.fromkeys(score, math.nan),
    "too high": lambda score: dict.fromkeys(score, 1.5),
    "too low": lambda score: dict.fromkeys(score, -0.5),
    "without its main attribute": lambda score: dict(list(score.items())[1:]),
}


@pytest.mark.parametrize("flaw", [*FLAWS, "raises"])
def test_what_cannot_be_scored_is_missing_and_no_other_text_is(case, flaw, tmp_path):
    class Flawed(case.kind):
        def score(self, texts: Sequence[str]) -> list[Scores | None]:
            if flaw == "raises" and BAD in texts:
                raise RuntimeError("flawed")
            scores = super().score(texts)
            return [FLAWS[flaw](score) if text == BAD else score for text, score in zip(texts, scores, strict=True)]

    path = tmp_path / "scores.sqlite3"
    expected = CheckedScorer(case.load(), None).score(TEXTS)
    assert expected[TEXTS.index(BAD)] is not None
    missing = [None if text == BAD else score for text, score in zip(TEXTS, expected, strict=True)]
    assert_alike(CheckedScorer(case.load(kind=Flawed), path).score(TEXTS), missing)
    assert_alike(CheckedScorer(case.load(), path).score(TEXTS), expected)  # the failure is not in the cache
