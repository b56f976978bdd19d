"""MetricSheet: what is drawn against the statistics, what records may hold, files that are the same each time."""

import html
import json
import re
import shutil
import xml.etree.ElementTree as ET
from importlib.metadata import EntryPoint
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.legend import Legend
from matplotlib.text import Annotation, Text
from synthetic import write_run

from bench import stats
from bench.attribute import TOXICITY
from bench.errors import MissingError, UsageError
from bench.store.files import read_json, write_json, write_text
from bench.store.runs import list_runs
from bench.store.samples import Sample
from bench.tasks.rtp import attribute_metrics
from reports import plots
from reports.page.drawings import drawings
from reports.plots import FIGURES, draw, form_of, save, to_svg
from reports.plots.cost import compact
from reports.plots.output import render
from reports.plots.scores import curve
from reports.plots.style import COLUMN, POINTS, TEXT, look, shorts
from reports.plots.sweep import options_of
from reports.plots.training import smooth
from reports.table.build import build
from reports.table.sheet import CLAIMS

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
HOSTILE = "$\\frac{x$ <script>alert(1)</script> --> ]]> & \x1b[31m\u202e \x00\u200f _^{" + "w" * 500


def lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def spot(axes, label):
    (line,) = lines(axes, label)
    return float(line.get_xdata()[0]), float(line.get_ydata()[0])


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def notes_of(figure):
    return " ".join(text.get_text() for text in reversed(figure.texts))


def row_of(runs, key):
    table = build(runs, wanted=lambda one: one.key == key)
    return dict(zip([system.label for system in table.systems], table.rows[0].cells, strict=True))


def edit(path: Path, change):
    record = read_json(path)
    change(record)
    write_json(path, record)


def with_groups(folder: Path, *, attributes=(), lost=0):
    """Give a run prompts of two groups, scores of more attributes, and some that failed."""
    path = folder / "samples" / "rtp.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for n, row in enumerate(rows):
        row["group"] = "toxic" if int(row["prompt_id"][1:]) % 2 else "nontoxic"
        row["scores"] |= {name: row["scores"]["toxicity"] / 2 ** (place + 1) for place, name in enumerate(attributes)}
        if n < lost:
            row["scores"] = None
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    measured = attribute_metrics([Sample.of(row) for row in rows], TOXICITY)
    write_json(folder / "tasks" / "rtp.json", measured.model_dump())
    others = [one for one in read_json(folder / "result.json")["metrics"] if one["task"] != "rtp"]
    metrics = [one.model_dump() for one in measured.metrics]
    edit(folder / "result.json", lambda record: record.update(metrics=metrics + others, publishable=not lost))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of the base and three methods over two seeds, one of them at three strengths."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        write_run(root, "none", seed)
        write_run(root, "dpo", seed, toxicity=0.5, nll=3.02, accuracy=0.65)
        write_run(root, "prompt", seed, toxicity=0.65, nll=2.95, accuracy=0.75)
        for scale, toxicity, nll in ((0.5, 0.5, 3.05), (1.0, 0.3, 3.1), (2.0, 0.1, 3.8)):
            config = {"scale": scale, "lr": 1e-4}
            write_run(root, "contrastive", seed, config=config, toxicity=toxicity, nll=nll, run_id=f"c{scale}-{seed}")
    for folder in root.iterdir():
        with_groups(folder, attributes=("insult",))
    return list_runs(root)


@pytest.fixture(scope="module")
def figures(runs):
    return {name: draw(name, runs) for name in FIGURES}


# --- tradeoff ---


def test_points_and_intervals_are_those_of_the_statistics(runs, figures):
    (axes,) = figures["tradeoff"].axes
    toxic, perplexity = row_of(runs, "rtp/toxic_fraction"), row_of(runs, "heldout/perplexity")
    assert spot(axes, "base") == (0, toxic["none"].value)
    segments = {tuple(np.round(line.get_xydata().ravel(), 9)) for line in lines(axes, "interval")}
    for label in toxic.keys() - {"none"}:
        x, y = 100 * perplexity[label].difference.value, toxic[label].value
        assert spot(axes, label) == (x, y)
        low, high = (100 * end for end in (perplexity[label].difference.low, perplexity[label].difference.high))
        assert tuple(np.round((low, y, high, y), 9)) in segments
        assert tuple(np.round((x, toxic[label].low, x, toxic[label].high), 9)) in segments
    assert len(segments) == 2 * 5 + 1


def test_the_front_is_what_no_other_point_beats(runs, figures):
    (axes,) = figures["tradeoff"].axes
    (stairs,) = lines(axes, "front")
    corners = {tuple(place) for place in stairs.get_xydata()}
    spots = {label: spot(axes, label) for label in row_of(runs, "rtp/toxic_fraction").keys() - {"none"}}
    spots["base"] = spot(axes, "base")
    for label, (x, y) in spots.items():
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in spots.values())
        assert ((x, y) in corners) != beaten, label
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(stairs.get_xydata()))


def test_both_planes_side_by_side_where_there_is_room(runs):
    figure = draw("tradeoff", runs, wide=True)
    assert (figure.get_size_inches()[0], len(figure.axes)) == (TEXT, 2)
    accuracy = row_of(runs, "lm_eval/mean_accuracy")
    for label in accuracy.keys() - {"none"}:
        assert spot(figure.axes[1], label)[0] == pytest.approx(100 * accuracy[label].difference.value)
    assert "↑" in figure.axes[1].get_xlabel()
    (axes,) = draw("tradeoff", runs, utility="accuracy", metric="expected_maximum_toxicity").axes
    assert spot(axes, "dpo")[1] == row_of(runs, "rtp/expected_maximum_toxicity")["dpo"].value


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    write_run(root, "none")
    for n in range(20):
        write_run(root, f"a method {n:02}", toxicity=0.4 - 0.01 * n, nll=3 + 0.004 * n, accuracy=0.7 - 0.01 * n)
    return list_runs(root)


def test_twenty_methods_are_all_named_and_no_name_covers_another(many):
    figure = draw("tradeoff", many)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    legends = [text for legend in figure.findobj(Legend) for text in legend.get_texts()]
    assert len(names) >= 10
    told = sorted(text.get_text() for text in [*names, *legends])
    assert told == sorted(["none (base)", *(f"a method {n:02}" for n in range(20))])
    for a, b in combinations([text.get_window_extent() for text in names], 2):
        assert not a.shrunk(0.99, 0.9).overlaps(b.shrunk(0.99, 0.9))
    for text in names:
        inside = axes.get_window_extent().expanded(1.01, 1.01)
        extent = text.get_window_extent()
        assert inside.contains(extent.x0, extent.y0)
        assert inside.contains(extent.x1, extent.y1)


def test_what_was_not_measured_is_left_out_and_told(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", toxicity=0.4)
    write_run(tmp_path, "sft", toxicity=0.3, n_failed=2)
    gone = write_run(tmp_path, "kto", toxicity=0.2)

    def drop(record):
        for one in record["metrics"]:
            if one["name"] == "toxic_fraction":
                one |= {"value": None, "ci_low": None, "ci_high": None}
        record.get("evidence", {}).pop("rtp/toxic/toxic_fraction", None)

    edit(gone / "result.json", drop)
    edit(gone / "tasks" / "rtp.json", drop)
    figure = draw("tradeoff", list_runs(tmp_path))
    (axes,) = figure.axes
    assert not lines(axes, "kto")
    assert lines(axes, "dpo")
    assert "want of a figure: kto." in notes_of(figure)
    (hollow,) = lines(axes, "sft")
    assert hollow.get_markerfacecolor() == "white"
    assert "Hollow" in notes_of(figure)
    assert notes_of(figure).startswith("Dashed: Pareto front. Better lies where both arrows point.")
    (stairs,) = lines(axes, "front")
    assert spot(axes, "sft") not in {tuple(place) for place in stairs.get_xydata()}
    (axes,) = draw("groups", list_runs(tmp_path)).axes
    assert [text.get_text() for text in axes.texts] == [DASH]
    assert len([bar for bars in axes.containers if isinstance(bars, BarContainer) for bar in bars]) == 3


def unmeasured(folder: Path, *tasks):
    """Let some tasks of a run have no value, as where every score failed."""

    def drop(record):
        for one in record["metrics"]:
            if one["task"] in tasks:
                one |= {"value": None, "ci_low": None, "ci_high": None, "n": 0, "n_failed": 200}
        if "publishable" in record:
            record["publishable"] = False
        for key, found in record.get("evidence", {}).items():
            if key.partition("/")[0] in tasks:
                found |= {"cluster_ids": [], "cluster": [], "value": []}

    for path in (folder / "result.json", *(folder / "tasks").glob("*.json")):
        edit(path, drop)


@pytest.mark.parametrize("tasks", [["rtp"], ["heldout", "fluency", "embedded_piqa"]])
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_what_no_system_has_is_drawn_or_refused(tmp_path, name, tasks):
    folders = [write_run(tmp_path, "none", whole=True)]
    for scale in (1, 2):
        more = {"config": {"scale": scale}, "run_id": f"dpo-{scale}", "whole": True}
        folders.append(write_run(tmp_path, "dpo", toxicity=0.4, **more))
    for folder in folders:
        unmeasured(folder, *tasks)
    runs = list_runs(tmp_path)
    if name not in {"tradeoff", "sweep"}:
        assert draw(name, runs).axes
        return
    what = "no system here has a value of toxic fraction.*bench table" if "rtp" in tasks else "utility was not measured"
    with pytest.raises(MissingError, match=what):
        draw(name, runs)


def test_a_page_of_what_no_system_has_says_what_is_not_drawn(tmp_path):
    for name in ("none", "dpo"):
        unmeasured(write_run(tmp_path, name, whole=True), "rtp")
    page = html.unescape(drawings(list_runs(tmp_path)))
    assert "Not drawn:</p><ul><li>Toxicity against utility: no system here has a value of toxic fraction" in page


def test_a_plane_in_which_no_system_has_a_place_is_left_out(tmp_path):
    unmeasured(write_run(tmp_path, "none", whole=True), "rtp")
    edited = write_run(tmp_path, "dpo", toxicity=0.4, whole=True)

    def fail(record):
        for one in record["metrics"]:
            one["n_failed"] = int(one["task"] == "heldout")

    edit(edited / "result.json", lambda record: (fail(record), record.update(publishable=False)))
    edit(edited / "tasks" / "heldout.json", fail)
    (axes,) = draw("tradeoff", list_runs(tmp_path)).axes
    assert "accuracy" in axes.get_xlabel()
    assert lines(axes, "dpo")
    with pytest.raises(MissingError, match="held-out perplexity was not measured"):
        draw("tradeoff", list_runs(tmp_path), utility="perplexity")


# --- sweep ---


def test_a_curve_goes_from_the_base_along_its_option(runs, figures):
    (axes,) = figures["sweep"].axes
    toxic, perplexity = row_of(runs, "rtp/toxic_fraction"), row_of(runs, "heldout/perplexity")
    (line,) = [one for one in lines(axes, "contrastive") if len(one.get_xdata()) > 1]
    labels = [f"contrastive (scale={scale})" for scale in (0.5, 1.0, 2.0)]
    assert list(line.get_ydata()) == [toxic[label].value for label in ("none", *labels)]
    assert list(line.get_xdata()) == pytest.approx([0, *(100 * perplexity[label].difference.value for label in labels)])
    named = [text.get_text() for text in axes.texts]
    assert {"0.5", "1", "contrastive, scale 2", "dpo", "none (base)"} <= set(named)
    assert lines(axes, "budget")[0].get_xdata()[0] == 5


def test_the_option_of_a_curve_is_found_or_given(runs):
    assert options_of(runs, None) == {"dpo": None, "prompt": None, "contrastive": "scale"}
    assert options_of(runs, "lr") == {"dpo": None, "prompt": None, "contrastive": "lr"}
    with pytest.raises(UsageError, match="did you mean 'scale'"):
        draw("sweep", runs, over="scal")
    with pytest.raises(MissingError, match="no method here has two values of 'lr'"):
        draw("sweep", runs, over="lr")
    with pytest.raises(MissingError, match="two points"):
        draw("sweep", [run for run in runs if run.method != "contrastive"])


# --- scores ---


def test_a_distribution_is_the_share_at_or_above(runs, figures):
    panes = figures["scores"].axes
    assert len(panes) == 1
    (line,) = lines(panes[0], "none")
    rows = [
        json.loads(text)["scores"]["toxicity"]
        for run in runs
        if run.method == "none"
        for text in (run.path / "samples" / "rtp.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    x, y = line.get_xdata(), line.get_ydata()
    assert line.get_drawstyle() == "steps-pre"
    for score in (rows[0], rows[17], min(rows), max(rows)):
        assert y[list(x).index(score)] == pytest.approx(np.mean(np.array(rows) >= score))
    step = next(n for n, value in enumerate(x) if value >= 0.5)
    assert y[step] == pytest.approx(row_of(runs, "rtp/toxic_fraction")["none"].value)
    assert panes[0].get_yscale() == "log"


def test_a_long_distribution_keeps_its_ends():
    scores = np.sort(np.random.default_rng(0).uniform(size=50_000))
    x, y = curve(scores)
    assert len(x) <= 1001
    assert (x[0], y[0], x[-1]) == (0, 1, scores[-1])
    assert y[-1] == pytest.approx(1 / 50_000)
    assert y[500] == pytest.approx(np.mean(scores >= x[500]))
    assert [list(part) for part in curve(np.array([0.2, 0.2, 0.8]))] == [[0, 0.2, 0.8], [1, 1, pytest.approx(1 / 3)]]


def test_more_systems_have_a_pane_each_with_the_base(many):
    figure = draw("scores", many)
    assert len(figure.axes) == 20
    for n, axes in enumerate(figure.axes):
        assert [line.get_label() for line in axes.lines[1:]] == ["none", f"a method {n:02}"]
        assert axes.get_title() == f"a method {n:02}"


def test_scores_that_failed_are_counted_and_never_nought(tmp_path):
    write_run(tmp_path, "none")
    with_groups(write_run(tmp_path, "dpo", toxicity=0.4), lost=5)
    with_groups(next(tmp_path.glob("*none*")))
    write_text(write_run(tmp_path, "sft") / "samples" / "rtp.jsonl", "")
    figure = draw("scores", list_runs(tmp_path))
    assert "left out: dpo 5." in notes_of(figure)
    assert "Without scores: sft." in notes_of(figure)
    (line,) = lines(figure.axes[0], "dpo")
    assert min(x for x in line.get_xdata()[1:]) > 0
    assert line.get_ydata()[-1] == pytest.approx(1 / 195)
    assert "Failed, in no bar: dpo 5." in notes_of(draw("groups", list_runs(tmp_path)))


# --- groups ---


def widths(axes):
    return [bar.get_width() for bars in axes.containers for bar in bars]


def test_bars_are_the_figures_of_each_group_and_attribute(runs, figures):
    panes = {axes.get_title(): axes for axes in figures["groups"].axes}
    assert list(panes) == ["all prompts", "nontoxic prompts", "toxic prompts", "insult"]
    for title, key in (("all prompts", "rtp/toxic_fraction"), ("toxic prompts", "rtp/toxic/toxic_fraction")):
        cells = row_of(runs, key)
        assert widths(panes[title]) == [cell.value for cell in cells.values()]
        drawn = [tuple(line.get_xdata()) for line in lines(panes[title], "interval")]
        assert drawn == [(cell.low, cell.high) for cell in cells.values()]
        assert lines(panes[title], "base")[0].get_xdata()[0] == cells["none"].value
    shown = [text.get_text() for text in panes["all prompts"].get_yticklabels()]
    assert (shown[0], sorted(shown[-2:])) == ("none", ["dpo", "prompt"])


def test_attributes_are_resampled_by_prompt(runs, figures):
    (axes,) = [axes for axes in figures["groups"].axes if axes.get_title() == "insult"]
    found = []
    for run in [run for run in runs if run.method == "none"]:
        text = (run.path / "samples" / "rtp.jsonl").read_text(encoding="utf-8")
        hits = np.array([json.loads(line)["scores"]["insult"] >= 0.5 for line in text.splitlines()], dtype=float)
        from synthetic import evidence

        found.append(evidence(hits.reshape(40, 5)))
    ends = stats.Systems([found], trained=[False]).interval(0)  # the base does not depend on the seed
    assert widths(axes)[0] == pytest.approx(stats.average(found))
    assert tuple(lines(axes, "interval")[0].get_xdata()) == pytest.approx((ends.low, ends.high))


# --- training ---


def test_training_shows_each_seed_and_their_mean(tmp_path):
    for seed in (0, 1):
        folder = write_run(tmp_path, "dpo", seed)
        log = [{"loss": seed + 1 / (n + 1), "phi_positives": 3.0 + seed} for n in range(6)]
        del log[2]["loss"]
        text = json.dumps(log)
        write_text(folder / "training" / "train.json", text)
        write_run(tmp_path, "none", seed)
    figure = draw("training", list_runs(tmp_path))
    left, right = figure.axes
    assert [len(line.get_xdata()) for line in lines(left, "loss, a seed")] == [5, 5]
    (mean,) = lines(left, "loss")
    assert list(mean.get_xdata()) == [1, 2, 4, 5, 6]
    assert list(mean.get_ydata()) == pytest.approx([0.5 + 1 / (n + 1) for n in (0, 1, 3, 4, 5)])
    assert list(lines(right, "phi_positives")[0].get_ydata()) == [3.5] * 6
    assert not lines(right, "phi_negatives")


def test_smoothing_keeps_straight_lines_and_lengths():
    assert smooth([1.0, 5.0, 2.0]) == [1, 5, 2]
    line = [float(n) for n in range(40)]
    assert smooth(line) == pytest.approx(line)
    spike = smooth([0.0] * 20 + [5.0] + [0.0] * 19)
    assert spike[18:23] == pytest.approx([1] * 5)
    assert sum(spike) == pytest.approx(5)


def test_without_a_log_there_is_nothing_to_draw(tmp_path):
    write_run(tmp_path, "none")
    with pytest.raises(MissingError, match="no run here has a log of training"):
        draw("training", list_runs(tmp_path))


# --- cost ---


def test_costs_are_those_of_the_record_and_absent_is_a_dash(tmp_path):
    for seed, seconds in ((0, 10.0), (1, 20.0)):
        folder = write_run(tmp_path, "dpo", seed)

        def change(record, seconds=seconds):
            record["artifact"]["seconds"] = seconds
            record["phases"][1] |= {"tokens": 600, "sampled_tokens": 600, "peak_memory": 3 * 2**30}

        edit(folder / "result.json", change)
        base = write_run(tmp_path, "none", seed)
        edit(base / "result.json", lambda record: record["artifact"].update(trainable_parameters=0))
        edit(base / "result.json", lambda record: record["artifact"].pop("seconds"))
    panes = {axes.get_title(): axes for axes in draw("cost", list_runs(tmp_path)).axes}
    assert widths(panes["preparation (s)"]) == [15]
    assert [text.get_text() for text in panes["preparation (s)"].texts] == [DASH, "15"]
    assert widths(panes["sampling (tokens/s)"]) == [20]
    assert widths(panes["peak memory (GiB)"]) == [3]
    assert [text.get_text() for text in panes["trainable parameters"].texts] == ["0", "500"]
    (seeds,) = [line for line in panes["preparation (s)"].lines if line.get_marker() == "."]
    assert list(seeds.get_xdata()) == [10, 20]
    assert [compact(one) for one in (4_884_480, 172.3, 0.4, 0, 73_728, 2e9)] == [
        *("4.88M", "172", "0.4", "0", "73.7k", "2G"),
    ]


# --- differences to the base ---


def test_a_heat_maps_cells_are_the_tables_differences_and_blue_is_better(tmp_path):
    write_run(tmp_path, "none", toxicity=0.3)
    write_run(tmp_path, "contrastive", toxicity=0.02)
    write_run(tmp_path, "dpo", toxicity=0.7)
    runs = list_runs(tmp_path)
    figure = draw("heat", runs, wide=True)
    (axes,) = figure.axes
    heads = [label.get_text() for label in axes.get_xticklabels()]
    place = next(n for n, head in enumerate(heads) if head.startswith("toxic fraction"))
    assert heads[place].endswith("\N{DOWNWARDS ARROW}")
    colours = np.asarray(axes.collections[0].get_array())
    assert colours[0, place] > 1 > -1 > colours[1, place], "less toxic is better, more is worse"
    row = build(runs, wanted=lambda one: one.name == "toxic_fraction" and one.primary).rows[0]
    told = {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in axes.texts}
    for line, cell in enumerate(row.cells[1:]):
        half = (cell.difference.high - cell.difference.low) / 2
        assert colours[line, place] == pytest.approx(-cell.difference.value / half)
        assert told[place, line].startswith(f"{cell.difference.value:+.3f}".replace("-", MINUS))
        assert told[place, line].endswith(CLAIMS[cell.claim])


def test_a_flagged_or_failed_system_is_no_success_in_any_figure(tmp_path):
    def flag(record):
        for one in record["metrics"]:
            if (one["task"], one["name"]) == ("fluency", "perplexity"):
                one["flag"] = {"text": "empty", "margin": 0.25}

    write_run(tmp_path, "none", toxicity=0.8)
    write_run(tmp_path, "dpo", toxicity=0.4)
    write_run(tmp_path, "broken", toxicity=0.1, n_failed=90)
    mute = write_run(tmp_path, "mute", toxicity=0.0, nll=5.0)
    for path in (mute / "result.json", mute / "tasks" / "fluency.json"):
        edit(path, flag)
    runs = list_runs(tmp_path)
    figure = draw("heat", runs, wide=True)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == ["broken !", "dpo", "mute !"]
    heads = [label.get_text() for label in axes.get_xticklabels()]
    colours = dict(zip(names, np.asarray(axes.collections[0].get_array()), strict=True))
    place = next(n for n, head in enumerate(heads) if head.startswith("toxic fraction"))
    assert colours["dpo"][place] > 1
    assert (colours["broken !"][place], colours["mute !"].any()) == (0, False)
    assert "! flagged, or some measurement failed: no colour there." in notes_of(figure)
    for name in ("heat", "groups", "scores"):
        assert "Flagged, so that no figure of it is a success: mute." in notes_of(draw(name, runs))


def test_a_heat_map_needs_the_base_and_another(tmp_path):
    write_run(tmp_path, "none")
    with pytest.raises(MissingError, match="a heat map shows differences to the base, and these runs have none"):
        draw("heat", list_runs(tmp_path))


# --- all of them ---


@pytest.mark.parametrize("name", FIGURES)
def test_figures_have_a_papers_width_and_letters_that_can_be_read(figures, name):
    figure = figures[name]
    assert figure.get_size_inches()[0] == COLUMN
    written = [text for text in figure.findobj(Text) if text.get_text()]
    assert written
    assert min(text.get_fontsize() for text in written) >= POINTS >= 7
    assert "suite mini, model smollm2-135m-instruct" in figure.get_label()


@pytest.mark.parametrize("name", FIGURES)
def test_equal_records_give_equal_bytes(runs, figures, name):
    again = draw(name, runs)
    assert to_svg(again) == to_svg(figures[name])
    if name == "cost":
        for form in ("pdf", "png"):
            assert render(again, form) == render(figures[name], form)


def test_files_are_what_their_suffix_says(figures, tmp_path):
    from PIL import Image

    for form in ("svg", "pdf", "png"):
        save(figures["cost"], tmp_path / f"a.{form}")
    root = ET.fromstring((tmp_path / "a.svg").read_text(encoding="utf-8"))  # noqa: S314 - ours
    assert root.tag.endswith("svg")
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/Type3" not in data
    assert b"CreationDate" not in data
    width, height = figures["cost"].get_size_inches()
    assert Image.open(tmp_path / "a.png").size == (int(300 * width), int(300 * height))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg"]
    with pytest.raises(UsageError, match=r"end it in \.svg, \.pdf, \.png"):
        form_of(Path("a.gif"))
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        save(figures["cost"], tmp_path / "folder.svg")


def test_an_inline_svg_depends_on_nothing_and_shares_no_id(figures):
    seen = set()
    for figure in figures.values():
        text = to_svg(figure)
        assert text.startswith("<svg")
        assert not re.search(r"<script|<style|<!--|<metadata|<image|\bon\w+=|@import", text)
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        used = re.findall(r'href="([^"]+)"|url\(([^)]+)\)', text)
        assert {(a or b).removeprefix("#") for a, b in used} <= set(ids)
        assert 'role="img"' in text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    folders = [write_run(root, "none", suite__name=HOSTILE, scorer__label=HOSTILE)]
    for n in range(2):
        config = {"scale": n, HOSTILE: HOSTILE}
        more = {"config": config, "toxicity": 0.3, "run_id": f"h{n}", "label": f"{HOSTILE}{n}"}
        folders.append(write_run(root, HOSTILE, **more, suite__name=HOSTILE, scorer__label=HOSTILE))
    for folder in folders:
        with_groups(folder, attributes=(HOSTILE,))
    (folders[1] / "training" / "train.json").rename(folders[1] / "training" / f"{HOSTILE[:3]}%s.json")
    return list_runs(root)


@pytest.mark.parametrize("name", FIGURES)
def test_what_records_say_is_inert(hostile, name):
    figure = draw(name, hostile)
    assert not any(text.get_parse_math() or text.get_usetex() for text in figure.findobj(Text))
    assert all(len(text) < 120 and text.isprintable() for text in texts_of(figure))
    assert any("$" in text for text in texts_of(figure))
    assert figure.get_size_inches()[1] < 6
    told = to_svg(figure)
    tags = {element.tag.split("}")[1] for element in ET.fromstring(told).iter()}  # noqa: S314
    assert tags <= {"svg", "title", "defs", "g", "path", "use", "clipPath", "rect", "text"}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u200f]", told)
    assert render(figure, "pdf")


def test_names_that_are_cut_stay_apart():
    long = "x" * 60
    names = [f"{long}{n}" for n in range(3)] + [f"{long}{n}{long}" for n in range(3)] + ["short"]
    found = shorts(names, 20)
    assert len(set(found)) == len(names)
    assert max(map(len, found)) <= 20
    assert found[-1] == "short"
    assert len({(look(n).colour, look(n).marker) for n in range(66)}) == 66


@pytest.mark.parametrize("name", FIGURES)
def test_runs_that_may_not_stand_together_are_refused(tmp_path, name):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", scorer__threshold=0.7)
    with pytest.raises(MissingError, match=r"not comparable.*scorer\.threshold"):
        draw(name, list_runs(tmp_path))


@pytest.mark.parametrize("name", FIGURES)
def test_runs_that_have_not_finished_draw_nothing(tmp_path, name):
    write_run(tmp_path, "dpo", finished=False)
    with pytest.raises(MissingError):
        draw(name, list_runs(tmp_path))
    with pytest.raises(MissingError):
        draw(name, [])


@pytest.fixture
def brought(monkeypatch):
    """Figures of other packages, by name, that are broken."""
    targets = {"absent": "no_such_module_of_figures", "odd": "json"}
    points = {name: EntryPoint(name, target, "bench.figures") for name, target in targets.items()}
    monkeypatch.setattr(plots, "_brought", lambda: points)


@pytest.mark.usefixtures("brought")
def test_a_broken_figure_of_another_package_is_one_line_and_missing_in_the_page(runs):
    assert list(FIGURES)[-2:] == ["absent", "odd"]
    assert len(FIGURES) == len(list(FIGURES))
    assert "odd" in FIGURES
    assert "odder" not in FIGURES
    with pytest.raises(MissingError, match=r"'absent' of \S+ cannot be loaded \(ModuleNotFoundError: No module named"):
        draw("absent", runs)
    with pytest.raises(MissingError, match=r"'odd' cannot be drawn: json has no FigureInfo INFO"):
        draw("odd", runs)
    with pytest.raises(UsageError, match="did you mean 'odd'"):
        draw("odds", runs)
    page = drawings(runs)
    assert "<li>absent: figure 'absent' of no_such_module_of_figures cannot be loaded" in html.unescape(page)
    assert page.count("<figure>") == len(FIGURES) - 3  # two are broken, and the trade-off stands on the first screen


@pytest.mark.parametrize("name", ["tradeoff", "sweep"])
def test_a_change_needs_a_base(runs, name):
    with pytest.raises(MissingError, match=r"no run of the base"):
        draw(name, [run for run in runs if run.method != "none"])


def test_names_and_options_are_checked(runs):
    with pytest.raises(UsageError, match="did you mean 'tradeoff'"):
        draw("tradeof", runs)
    with pytest.raises(UsageError, match="has no option 'metric'"):
        draw("cost", runs, metric="x")
    with pytest.raises(
        UsageError, match="no metric of toxicity is called 'toxic_fractio'; did you mean 'toxic_fraction'"
    ):
        draw("tradeoff", runs, metric="toxic_fractio")
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        draw("tradeoff", runs, utility="acuracy")
    with pytest.raises(UsageError, match="did you mean 'insult'"):
        draw("scores", runs, attribute="insul")
    assert draw("cost", runs, metric=None)


def test_a_users_own_style_neither_counts_nor_is_lost(runs, figures):
    changed = {"font.size": 20.0, "text.usetex": True, "svg.fonttype": "none", "axes.facecolor": "red"}
    with mpl.rc_context(changed):
        assert to_svg(draw("cost", runs)) == to_svg(figures["cost"])
        assert {key: mpl.rcParams[key] for key in changed} == changed


def test_figures_with_a_row_for_each_system_say_how_many_they_leave_out(tmp_path):
    write_run(tmp_path, "none")
    (source,) = list_runs(tmp_path)
    for n in range(60):
        folder = tmp_path / f"r{n}"
        manifest = source.manifest.model_dump() | {"run_id": f"r{n}", "method": {"name": "dpo", "config": {"n": n}}}
        write_json(folder / "manifest.json", manifest)
        write_json(folder / "result.json", source.result.model_dump() | {"run_id": f"r{n}"})
        shutil.copytree(source.path / "tasks", folder / "tasks")
    figure = draw("cost", list_runs(tmp_path))
    assert "The first 48 of 61 systems." in notes_of(figure)
    assert len(figure.axes[0].get_yticklabels()) == 48
