"""Records of two base models in the verbs that report: each system beside its own base, or refused with a remedy."""

import base64
import gzip
import json
import re
import shutil
from dataclasses import replace

import pytest
from matplotlib.text import Text
from synthetic import write_run

from bench.cli.judge import outputs_of
from bench.errors import MissingError, UsageError
from bench.store.runs import Run, list_runs, load_run
from bench.store.systems import latest
from reports.compare.comparison import compare
from reports.gate import check, make_baseline, parse_requirement
from reports.gate.checking import _listed
from reports.gate.wording import headline
from reports.gate.writing import Plan
from reports.page.page import build_page
from reports.plan.build import Wanted, plan
from reports.plots import FIGURES, draw
from reports.plots.plane import Spot
from reports.plots.tradeoff import fronts_of
from reports.table.models import across
from reports.trackers.content import content
from reports.tradeoff.build import Estimate

SYSTEMS = ["none · first", "dpo · first", "none · second", "dpo · second"]


def of_model(letter: str, name: str) -> dict[str, str]:
    return {
        "model__id": f"/models/{name}",
        "model__sha256": letter * 64,
        "model__tokenizer_sha256": letter * 64,
        "suite_hash": letter * 64,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    """The base and `dpo` of two models; the second is less toxic and has other tokens."""
    root = tmp_path_factory.mktemp("runs")
    for letter, name, toxicity, nll in (("a", "first", 0.6, 3.0), ("b", "second", 0.3, 2.0)):
        own = of_model(letter, name)
        write_run(root, "none", run_id=f"none-{name}", toxicity=toxicity, nll=nll, whole=True, **own)
        write_run(root, "dpo", run_id=f"dpo-{name}", toxicity=toxicity / 2, nll=nll + 0.05, whole=True, **own)
    return by_model(list_runs(root))


def by_model(found: list[Run]) -> list[Run]:
    return sorted(found, key=lambda run: (run.manifest.model["id"], run.method != "none"))


def told(figure) -> str:
    """All that a figure says, its notes (whose lines are drawn from the last on) in their order."""
    return " ".join(text.get_text() for text in [*figure.findobj(Text), *reversed(figure.texts)])


def spots(figure, label):
    return [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if line.get_label() == label]


def test_a_later_run_of_another_model_replaces_none(runs):
    assert len(latest(runs).runs) == 4
    assert latest(runs).replaced == ()


def test_the_tradeoff_has_each_system_at_its_change_to_its_own_base(runs):
    figure = draw("tradeoff", runs)
    rows = {row.key: row for row in across(runs, wanted=lambda _: True).rows}
    toxic, perplexity = rows["rtp/toxic/toxic_fraction"].cells, rows["heldout/perplexity"].cells
    assert sorted(spots(figure, "base")) == sorted((0, toxic[place].value) for place in (0, 2))
    for place in (1, 3):
        assert spots(figure, SYSTEMS[place]) == [(100 * perplexity[place].difference.value, toxic[place].value)]
    looks = {line.get_label(): line for line in figure.axes[0].lines}
    first, second = (looks[label] for label in (SYSTEMS[1], SYSTEMS[3]))
    assert first.get_markerfacecolor() == second.get_markerfacecolor(), "one method, one colour"
    assert first.get_marker() != second.get_marker(), "two models, two marks"
    assert {"first (base)", "second (base)", "dpo"} <= {text.get_text() for text in figure.findobj(Text)}
    assert "Changes are to the base of the same model" in told(figure)


def test_each_model_has_its_own_front():
    def spot(model, attribute, cost):
        return Spot("x", Estimate(attribute), Estimate(cost), model=model)

    found = fronts_of([spot("a", 0.6, 0), spot("a", 0.3, 0.1), spot("a", 0.4, 0.2), spot("b", 0.1, 0)])
    assert found == [[0, 1], [3]]
    assert fronts_of([spot("", 0.6, 0), spot("", 0.3, 0.1), spot("", 0.1, 0)]) == [[2]]


def test_an_attribute_that_is_each_models_own_is_said_to_be(runs, tmp_path):
    """Records that do not say how far a metric can be compared are compared within a model."""
    assert "cannot be compared across these models" in told(draw("tradeoff", runs))
    for run in runs:
        folder = tmp_path / run.id
        folder.mkdir()
        (folder / "manifest.json").write_bytes((run.path / "manifest.json").read_bytes())
        for path in (run.path / "result.json", *run.path.glob("tasks/*.json")):
            record = json.loads(path.read_text())
            record["metrics"] = [{**one, "within": "any"} for one in record["metrics"]]
            (folder / path.relative_to(run.path)).parent.mkdir(exist_ok=True)
            (folder / path.relative_to(run.path)).write_text(json.dumps(record))
    assert "cannot be compared" not in told(draw("tradeoff", by_model(list_runs(tmp_path))))


@pytest.mark.parametrize("name", ["heat", "scores", "groups", "training", "cost"])
@pytest.mark.parametrize("wide", [False, True])
def test_other_figures_show_the_systems_of_both(runs, name, wide):
    words = told(draw(name, runs, wide=wide))
    shown = {"heat": (1, 3), "training": (1, 3)}.get(name, range(4))
    assert all(SYSTEMS[place] in words for place in shown)
    notes = {"heat": "base of a system's own model", "groups": "the bases", "cost": "where the tokenizer is another"}
    assert notes.get(name, "") in words


def test_many_systems_of_two_models_have_their_own_base_in_each_pane(runs, tmp_path):
    for run in runs:
        letter, name = run.manifest.model["sha256"][0], run.manifest.model["id"].rpartition("/")[2]
        own = of_model(letter, name)
        for method in ("none", "dpo", "kto", "sft"):
            toxicity = {"a": 0.6, "b": 0.3}[letter] / (1 if method == "none" else 2)
            write_run(tmp_path, method, run_id=f"{method}-{name}", toxicity=toxicity, **own)
    figure = draw("scores", list_runs(tmp_path))
    base = {}
    for axes in figure.axes:
        (line,) = (one for one in axes.lines if str(one.get_label()).startswith("none"))
        base[axes.get_title()] = line.get_label()
    assert len(base) == 6
    assert all(title.partition(" · ")[2] == own.partition(" · ")[2] for title, own in base.items())
    assert "the base of its own model" in told(figure)


def test_every_figure_draws_them_or_says_what_to_name(runs):
    for name in FIGURES:
        try:
            assert "second" in told(draw(name, runs)) or name == "intervals"
        except MissingError as error:
            names = {"sweep": "dpo-first|none-first"}[name]
            assert re.search(
                f"is of one model, and here are first, second; name the runs of one.*({names})", str(error)
            )


def test_the_page_has_the_table_of_both_and_the_reader_their_own_references(runs):
    page = build_page(runs, figures=False)
    assert page.systems == tuple(SYSTEMS)
    packed = re.search(r'id="data">([^<]*)<', page.html)
    data = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert (data["reference"], data["own"]) == (None, [0, 0, 2, 2])
    assert data["systems"] == SYSTEMS
    assert [len(system["texts"]) for system in data["tasks"][0]["systems"]] == [200] * 4
    assert page.html.count("<caption>Models</caption>") == 1
    assert all(letter * 64 in page.html for letter in "ab")
    alone = build_page(runs[:2], figures=False)
    assert "<caption>Models</caption>" not in alone.html


def test_a_judge_is_given_the_texts_of_both(runs, capsys):
    found = outputs_of(runs, "rtp")
    assert list(found) == SYSTEMS
    assert len(set.intersection(*(set(one) for one in found.values()))) == 200
    assert "texts of another length where the tokenizer is another" in capsys.readouterr().err


def test_a_judge_is_not_given_what_an_endpoints_filter_declined(runs, tmp_path, capsys):
    base, edited, *_ = runs
    folder = shutil.copytree(edited.path, tmp_path / edited.id)
    path = folder / "samples" / "rtp.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[:3]:
        row |= {"continuation": "", "scores": None, "declined": True}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    whole, left = outputs_of([base, load_run(folder)], "rtp").values()
    assert (len(whole), len(left)) == (200, 197)
    assert "declined 3 answers, which no pair is made of" in " ".join(capsys.readouterr().err.split())


def test_a_tracker_is_given_the_table_of_both(runs):
    sent = content(runs)
    assert {one.settings["model.id"] for one in sent} == {"/models/first", "/models/second"}
    assert all(label in one.tables["comparison"] for one in sent for label in SYSTEMS)


def test_a_plan_is_of_one_model_and_names_its_runs(runs):
    with pytest.raises(MissingError, match="a plan is of one model, and here are first, second") as refused:
        plan(runs, Wanted())
    assert refused.value.mend.endswith("none-first dpo-first")
    assert plan(runs[:2], Wanted(seeds=1)).model == "/models/first"


def test_limits_hold_for_the_methods_of_each_model(runs):
    limits = [parse_requirement("toxic_fraction <= 1"), parse_requirement("heldout/perplexity <= base + 50 %")]
    held = check(runs, None, limits, by_name=False)
    assert [one.label for one in held.requirements] == [SYSTEMS[1], SYSTEMS[3]] * 2
    assert held.exit_code == 0
    assert (held.label, headline(held).partition(" on ")[0]) == ("dpo · first, dpo · second",) * 2
    assert headline(replace(held, label=_listed(["x" * 30] * 4))).startswith(f"{'x' * 30} and 3 more on mini")
    alone = check([runs[1]], None, limits[:1], by_name=False)
    assert [one.value for one in alone.requirements] == [held.requirements[0].value]
    bases = check([runs[0], runs[2]], None, limits[:1], by_name=False)
    assert [one.label for one in bases.requirements] == [SYSTEMS[0], SYSTEMS[2]], "none is left out"
    with pytest.raises(UsageError, match="needs the base of second, and no run of it is among these"):
        check([*runs[:2], runs[3]], None, limits, by_name=False)


def test_a_baseline_is_of_one_model_and_so_is_what_is_held_against_it(runs):
    made, _ = make_baseline([runs[3]], Plan({}, force=True))
    for by_name in (False, True):
        with pytest.raises(MissingError, match="a check against a baseline is of one model") as refused:
            check(runs[1::2], made, [], by_name=by_name)
        assert refused.value.mend.endswith("those of second: dpo-second"), "the baseline's own model"
    with pytest.raises(MissingError, match=r"not comparable: model\.sha256"):
        make_baseline(runs[1::2], Plan({}, force=True))


def test_a_side_of_a_comparison_is_of_one_model(runs):
    with pytest.raises(UsageError, match="none-first and none-second are of two base models"):
        compare(runs[::2], runs[1::2])
