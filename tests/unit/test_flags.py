"""Flags: who gets one, where it stands, and that who has one is best nowhere."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import evidence, metric, write_run

from bench.errors import MissingError
from bench.store.files import read_json, write_json
from bench.store.record import Flag, TaskResult
from bench.store.runs import list_runs, load_run
from bench.tasks.diversity import Diversity
from bench.tasks.fluency import Fluency
from reports.audit import audit
from reports.compare.comparison import compare
from reports.compare.comparison import to_json as compared_json
from reports.compare.terminal import print_comparison
from reports.page.page import build_page
from reports.plots import draw
from reports.table.build import build
from reports.table.forms import FORMS
from reports.table.forms.csv import to_frame
from reports.table.forms.latex import LatexOptions
from reports.table.layout import arrange, load_layout
from reports.table.terminal import text_of
from reports.tradeoff.build import build as build_tradeoff
from reports.tradeoff.terminal import print_tradeoff

SHARE = Flag(text="repeats itself across prompts", margin=0.25)
GAIN = Flag(text="ignores the prompt", margin=0.5, of_base=True)
PROMPTS, SAMPLES = 40, 5


def share_of(value, seed=0):
    """Shares of texts: a prompt's samples are hits with this probability."""
    return evidence(np.random.default_rng(seed).uniform(size=(PROMPTS, SAMPLES)) < value)


def gain_of(mean, seed=0, spread=0.5):
    return evidence(np.random.default_rng(seed).normal(mean, spread, (PROMPTS, SAMPLES)), bounded=False)


def add(folder, share, gain):
    """Put the two flagging metrics into a record."""
    found = [
        (metric("diversity", "recurring_share", share, higher=False, role="diversity", difference="absolute"), share),
        (metric("fluency", "relevance", gain, higher=True, role="relevance", difference="absolute"), gain),
    ]
    told = [one.model_copy(update={"flag": flag}) for (one, _), flag in zip(found, (SHARE, GAIN), strict=True)]
    behind = {one.key: own for one, (_, own) in zip(told, found, strict=True)}
    write_json(folder / "tasks" / "straw.json", TaskResult(metrics=told, evidence=behind).model_dump())
    result = read_json(folder / "result.json")
    result["metrics"] += [one.model_dump() for one in told]
    write_json(folder / "result.json", result)
    return folder


def flags_in(root, **options):
    return {system.label: system.flags for system in build(list_runs(root), **options).systems}


@pytest.fixture
def root(tmp_path):
    """The base, a method that works, and a straw man that is the least toxic of all."""
    add(write_run(tmp_path, "none"), share_of(0.02), gain_of(1.0))
    add(write_run(tmp_path, "contrastive", toxicity=0.3), share_of(0.1, 1), gain_of(0.8, 1))
    add(write_run(tmp_path, "strawman", toxicity=0.05), share_of(0.9, 2), gain_of(0.0, 2))
    return tmp_path


def test_who_is_far_from_the_base_is_flagged(root):
    assert flags_in(root) == {"none": (), "contrastive": (), "strawman": (SHARE.text, GAIN.text)}


@pytest.mark.parametrize(
    ("share", "gain", "flags"),
    [
        (0.9, 1.0, (SHARE.text,)),
        (0.02, 0.0, (GAIN.text,)),
        (0.02, -1.0, (GAIN.text,)),
        (0.30, 1.0, ()),  # 0.28 above the base, but the interval reaches below the margin
        (0.02, 0.48, ()),  # a little below half of the base's
        (0.02, 3.0, ()),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_margin(tmp_path, share, gain, flags):
    add(write_run(tmp_path, "none"), share_of(0.02), gain_of(1.0))
    add(write_run(tmp_path, "dpo", toxicity=0.3), share_of(share, 1), gain_of(gain, 1))
    assert flags_in(tmp_path)["dpo"] == flags


def test_where_the_base_gains_nothing_nobody_ignores_the_prompt(tmp_path):
    """A base that reads nothing into its prompts, as a random model: half of nothing is no margin."""
    add(write_run(tmp_path, "none"), share_of(0.02), gain_of(0.0))
    add(write_run(tmp_path, "dpo"), share_of(0.02, 1), gain_of(-1.0, 1))
    assert flags_in(tmp_path)["dpo"] == ()


def test_seeds_count_together(tmp_path):
    """One of three trainings that repeats itself does not flag the method."""
    for seed in range(3):
        add(write_run(tmp_path, "none", seed), share_of(0.02, seed), gain_of(1.0, seed))
        add(write_run(tmp_path, "dpo", seed), share_of(0.9 if seed == 1 else 0.02, seed + 5), gain_of(1.0, seed + 5))
    assert flags_in(tmp_path)["dpo"] == ()


def test_without_the_base_a_footnote_says_so(root):
    runs = [run for run in list_runs(root) if run.method != "none"]
    table = build(runs)
    assert all(system.flags == () for system in table.systems)
    assert any("no system can be flagged" in note for note in table.footnotes)
    assert not any("flagged" in note for note in build(list_runs(root)).footnotes)


def test_records_without_such_metrics_have_no_flags(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", toxicity=0.1)
    assert set(flags_in(tmp_path).values()) == {()}
    assert not any("flagged" in note for note in build(list_runs(tmp_path)[1:]).footnotes)


# --- never best ---


def test_who_is_flagged_is_best_nowhere(root):
    table = build(list_runs(root))
    place = [system.label for system in table.systems].index("strawman")
    assert all(row.cells[place].standing is None for row in table.rows)
    fraction = next(row for row in table.rows if row.name == "toxic_fraction")
    assert min(fraction.cells, key=lambda cell: cell.value) is fraction.cells[place]
    assert [cell.standing for cell in fraction.cells if cell is not fraction.cells[place]][-1] == "best"


def test_who_is_flagged_is_on_no_front(root):
    found = build_tradeoff(list_runs(root), {"contrastive": None, "strawman": None})
    points = {curve.method: curve.points[0] for curve in found.curves}
    assert points["strawman"].flags == (SHARE.text, GAIN.text)
    assert not points["strawman"].counts
    assert points["strawman"].fronts == ()
    assert points["contrastive"].counts
    straw = next(curve for curve in found.curves if curve.method == "strawman")
    assert set(straw.best.values()) == {None}
    buffer = io.StringIO()
    print_tradeoff(found, buffer)
    assert "ignores the prompt" in " ".join(buffer.getvalue().split())
    assert "! flagged" in buffer.getvalue()


def test_a_figure_shows_who_is_flagged_as_hollow_and_on_no_front(root):
    write_run(root, "steering", config={"scale": 2.0}, toxicity=0.25, nll=3.2, run_id="stronger")
    write_run(root, "steering", config={"scale": 1.0}, toxicity=0.35, nll=3.1, run_id="weaker")
    for name in ("tradeoff", "sweep"):
        figure = draw(name, list_runs(root))
        (axes,) = figure.axes
        marks = [line for line in axes.lines if line.get_label() == "strawman" and line.get_marker() != "None"]
        assert [mark.get_markerfacecolor() for mark in marks] == ["white"]
        assert "Hollow: flagged, or some" in " ".join(text.get_text() for text in reversed(figure.texts))
        corners = [tuple(at) for line in axes.lines if line.get_label() == "front" for at in line.get_xydata()]
        assert bool(corners) == (name == "tradeoff")
        assert tuple(marks[0].get_xydata()[0]) not in corners


# --- where it stands ---


@pytest.mark.parametrize("form", ["terminal", *FORMS])
@pytest.mark.parametrize("layout", ["summary", "full"])
def test_every_form_says_it_beside_the_name(root, form, layout):
    shown = load_layout(layout)
    table = build(list_runs(root), wanted=shown.wants)
    sheet = arrange(table, shown)
    text = text_of(sheet) if form == "terminal" else FORMS[form](table, sheet, LatexOptions())
    told = " ".join(text.replace("-{}", "-").split())
    if form in ("csv", "json"):
        assert SHARE.text in told
    else:
        assert "FLAGGED: its texts are no answers" in told  # the legend
        assert told.count("FLAGGED:") > 1
    if form == "csv":
        frame = to_frame(table)
        assert set(frame[frame.system == "strawman"]["flags"]) == {f"{SHARE.text}; {GAIN.text}"}
        assert frame[frame.system != "strawman"]["flags"].isna().all()
    if form == "json":
        assert json.loads(text)["systems"][-1]["flags"] == [SHARE.text, GAIN.text]


def test_the_page_says_it(root):
    html = build_page(list_runs(root), samples=False, figures=False).html
    assert "<strong>Flagged:</strong> strawman (repeats itself across prompts, ignores the prompt)." in html
    assert 'class="flagged"' in html


def test_a_comparison_with_the_base_says_it(root):
    runs = {run.method: run for run in list_runs(root)}
    found = compare([runs["none"]], [runs["strawman"]])
    assert (found.a.flags, found.b.flags) == ((), (SHARE.text, GAIN.text))
    assert compared_json(found)["b"]["flags"] == (SHARE.text, GAIN.text)
    buffer = io.StringIO()
    print_comparison(found, 1, buffer)
    assert "FLAGGED: repeats itself across prompts, ignores the prompt" in " ".join(buffer.getvalue().split())
    apart = compare([runs["contrastive"]], [runs["strawman"]])
    assert (apart.a.flags, apart.b.flags) == ((), ())


# --- the audit ---


def test_an_audit_fails_where_a_straw_man_passes_for_the_best(root):
    folder = write_run(root, "strawman", label="canned", config={"kind": "canned"}, toxicity=0.01)
    add(folder, share_of(0.1), gain_of(1.0))
    found = {one.label: one for one in audit(build(list_runs(root)))}
    assert found["strawman"].is_exposed
    assert found["strawman"].line == "strawman: flagged (repeats itself across prompts, ignores the prompt)"
    assert not found["canned"].is_exposed
    assert found["canned"].line == "canned: NOT FLAGGED, and among the best in rtp/toxic/toxic_fraction"
    assert found["contrastive"].is_exposed  # not flagged, and not among the best
    assert "none" not in found


@pytest.mark.parametrize("failed", ["strawman", "none"])
def test_an_audit_says_nothing_where_measurements_failed(tmp_path, failed):
    for name, toxicity in (("none", 0.8), ("strawman", 0.0)):
        write_run(tmp_path, name, toxicity=toxicity, n_failed=int(name == failed))
    with pytest.raises(MissingError, match="strawman is not flagged, and cannot be ranked in rtp/toxic/toxic_fraction"):
        audit(build(list_runs(tmp_path)))


# --- on the real model ---

RECORDED = Path(__file__).parents[1] / "fixtures" / "straw-men"
"""Records of `smoke` on the embedded model, seed 0: the figures that flag, with their evidence. They hold no text."""
IGNORES, REPEATS = "ignores the prompt", "repeats itself across prompts"


def test_every_straw_man_is_flagged_and_no_method_is():
    table = build([load_run(path) for path in sorted(RECORDED.iterdir())])
    assert {system.label: system.flags for system in table.systems} == {
        "none": (),
        "contrastive": (),
        "dpo": (),
        "strawman (kind=empty)": ("empty",),
        "strawman (kind=fixed)": (IGNORES, REPEATS),
        "strawman (kind=canned)": (IGNORES, REPEATS),
        "strawman (kind=copy)": ("copies the prompt",),
        "strawman (kind=punctuation)": (REPEATS, "no words"),
        "strawman (kind=foreign)": (IGNORES, REPEATS, "in another language"),
        "strawman (kind=unrelated)": (IGNORES,),
    }
    assert all(one.is_exposed for one in audit(table) if one.label.startswith("strawman"))
    fraction = next(row for row in table.rows if row.key == "rtp/toxic_fraction")
    best = {system.label for system, cell in zip(table.systems, fraction.cells, strict=True) if cell.standing}
    assert best <= {"none", "contrastive", "dpo"}


def test_the_records_say_what_the_tasks_declare_today():
    """A margin that is changed is changed here too: the records are those of an earlier run."""
    declared = {spec.name: spec.flag for task in (Fluency, Diversity) for spec in task.info.metrics if spec.flag}
    recorded = [one for path in RECORDED.iterdir() for one in load_run(path).result.metrics if one.flag]
    assert {one.name: one.flag for one in recorded} == declared
    assert all(one.flag == declared[one.name] for one in recorded)
