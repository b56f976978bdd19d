"""A suite that controls something else than toxicity, of which much is wanted, goes through all that there is."""

import base64
import gzip
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.sweep import make_sweep
from bench.stats.hypervolume import hypervolume
from bench.store.record import Metric
from bench.store.runs import Run, load_run
from bench.store.samples import Sample
from reports.compare.comparison import compare
from reports.compare.terminal import print_comparison, to_markdown
from reports.gate import decide, make_baseline
from reports.gate.writing import Plan
from reports.page.page import build_page
from reports.plots import draw
from reports.table.build import build
from reports.table.caption import caption_lines
from reports.table.layout import arrange, load_layout
from reports.table.terminal import text_of
from reports.tradeoff.build import build as build_tradeoff
from reports.tradeoff.terminal import print_tradeoff

THRESHOLD = 0.1
ATTRIBUTE = {"name": "brightness", "wanted": "high", "adjective": "bright"}
MINIMUM, PROBABILITY, FRACTION = (
    f"rtp/{name}" for name in ("expected_minimum_brightness", "brightness_probability", "bright_fraction")
)
NOUNS = ("river", "stone", "train", "weather", "capital", "friend", "town", "sea", "desk", "hill", "feather", "digit")


@dataclass(frozen=True)
class Swept:
    """The runs of a sweep: the base, and the method at three strengths."""

    over: dict[str, str | None]
    runs: list[Run]

    @property
    def base(self) -> Run:
        return next(run for run in self.runs if run.method == "none")

    def at(self, scale: float) -> Run:
        return next(run for run in self.runs if run.manifest.method["config"].get("scale") == scale)


def carry_out(request: Request, folder: Path) -> list[Run]:
    """Run what is asked for, on records of its own."""
    experiments = make_experiments(request)
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True))
    outcomes = run_experiments(experiments, env, folder / "runs")
    assert [outcome.error for outcome in outcomes] == [None] * len(experiments)
    return [load_run(outcome.folder) for outcome in outcomes if outcome.folder]


@pytest.fixture(scope="module")
def swept(write_suite: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    folder = tmp_path_factory.mktemp("bright")
    real = registry._points
    points = {"brightness": EntryPoint("brightness", "brightness:Brightness", "bench.scorers")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_points", lambda kind: {**real(kind), **(points if kind == "scorers" else {})})
        scorer = {"name": "brightness", "threshold": THRESHOLD}
        suite = write_suite(folder, attribute=ATTRIBUTE, scorer=scorer)
        prompts = [
            {"text": f"The {noun} {end}", "toxicity": toxicity}
            for noun in NOUNS
            for end, toxicity in (("was late", 0.6), ("is here", 0.2), ("said", 0.8))
        ]
        write_rows(folder / "prompts.jsonl", prompts)
        request = Request(("contrastive:lr=0.03",), str(suite))
        sweep = make_sweep(request, "strength", ["0.5", "1", "4"], 3)
        yield Swept(sweep.over, carry_out(sweep.request, folder))


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def metric(run: Run, key: str) -> Metric:
    assert run.result
    return next(found for found in run.result.metrics if found.key == key)


def by_prompt(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Each prompt's scores, counted anew from the texts."""
    scores = defaultdict(list)
    for sample in samples:
        vowels = sum(letter in "aeiouAEIOU" for letter in sample.continuation)
        scores[sample.prompt_id].append(vowels / max(len(sample.continuation), 1))
    return scores


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def bright(run: Run) -> float:
    """The share of a run's continuations that are bright."""
    return mean([float(score >= THRESHOLD) for some in by_prompt(run.samples("rtp")).values() for score in some])


# --- what is measured ---


def test_the_figures_are_those_of_the_samples(swept):
    assert len(swept.runs) == 4
    for run in swept.runs:
        scores = by_prompt(run.samples("rtp"))
        lowest = [min(some) for some in scores.values()]
        assert metric(run, MINIMUM).value == pytest.approx(mean(lowest))
        assert metric(run, PROBABILITY).value == pytest.approx(mean([score >= THRESHOLD for score in lowest]))
        assert metric(run, FRACTION).value == pytest.approx(bright(run))
        attribute = [found for found in run.result.metrics if found.role == "attribute"]
        assert {found.name for found in attribute} == {
            key.partition("/")[2] for key in (MINIMUM, PROBABILITY, FRACTION)
        }
        assert all(found.higher_is_better for found in attribute)
        assert {found.key for found in attribute if found.primary} == {FRACTION} | {
            f"rtp/{group}/bright_fraction" for group in ("toxic", "nontoxic")
        }
        assert not [found.key for found in run.result.metrics if "toxicity" in found.key or "toxic_" in found.key]
    assert 0 < bright(swept.base) < 1
    assert len({bright(run) for run in swept.runs}) > 1


# --- the table ---


def test_the_pages_headings_say_the_attribute(swept):
    page = build_page(swept.runs, samples=False, figures=False).html
    heads = [" ".join(re.sub("<[^>]+>", " ", head).split()) for head in re.findall("<h3>.*?</h3>", page, re.DOTALL)]
    assert any(head.startswith("Brightness every measure of brightness,") for head in heads)
    assert any(head.startswith("Summary brightness, fluency") for head in heads)
    assert not [head for head in heads if "toxicity" in head.casefold()]


def test_the_table_says_the_attribute_and_which_way_is_better(swept):
    table = build(swept.runs)
    caption = table.caption
    assert (caption.attribute, caption.adjective, caption.lower_is_wanted) == ("brightness", "bright", False)
    assert caption.num_prompts == len(by_prompt(swept.base.samples("rtp")))
    assert "scorer: brightness (share of vowels), bright from 0.1" in list(caption_lines(caption))
    row = next(row for row in table.rows if row.key == FRACTION)
    assert row.higher_is_better
    by_id = {run.id: run for run in swept.runs}
    base = bright(swept.base)
    for system, cell in zip(table.systems, row.cells, strict=True):
        own = bright(by_id[system.run_ids[0]])
        assert cell.value == pytest.approx(own)
        if not system.is_base:
            assert cell.difference.value == pytest.approx(own - base)
            low, high = cell.difference.low, cell.difference.high
            assert cell.verdict == ("better" if low > 0 else "worse" if high < 0 else "unclear")


@pytest.mark.parametrize("name", ["summary", "full", "toxicity", "sweep"])
def test_the_layouts_show_it(name, swept):
    layout = load_layout(name)
    text = text_of(arrange(build(swept.runs, wanted=layout.wants), layout))
    words = " ".join(text.split())
    assert "bright from 0.1" in words
    assert re.search(r"bright\s*fraction", words)
    assert f"{bright(swept.base):.3f}" in words
    assert "toxic fraction" not in words
    assert "EMT" not in words


# --- the trade-off ---


def test_the_tradeoff_looks_up(swept):
    found = build_tradeoff(swept.runs, swept.over)
    assert (found.attribute, found.higher_is_better) == ("bright_fraction", True)
    (curve,) = found.curves
    assert (curve.over, [point.setting for point in curve.points]) == ("scale", [0.5, 1.0, 4.0])
    points = [found.base, *curve.points]
    runs = [swept.base, *(swept.at(scale) for scale in (0.5, 1.0, 4.0))]
    measured = [(1 - bright(run), metric(run, "heldout/perplexity").value) for run in runs]
    base = measured[0][1]
    places = [(distance, perplexity / base - 1) for distance, perplexity in measured]
    for point, run, (distance, cost) in zip(points, runs, places, strict=True):
        assert point.attribute.value == pytest.approx(bright(run))
        assert point.distance == pytest.approx(distance)
        assert point.costs["perplexity"].value == pytest.approx(cost)
        beaten = any(x <= distance and y <= cost and (x, y) != (distance, cost) for x, y in places)
        assert ("perplexity" in point.fronts) == (not beaten)
    cheap = [n for n, (_, cost) in enumerate(places[1:]) if cost <= 0.05]
    assert curve.best["perplexity"] == min(cheap, key=lambda n: places[1:][n], default=None)
    scaled = [(distance / places[0][0], cost / 0.25) for distance, cost in places[1:]]
    assert curve.hypervolume["perplexity"].apparent == pytest.approx(hypervolume(scaled))


def test_the_tradeoff_reads_well(swept):
    file = io.StringIO()
    print_tradeoff(build_tradeoff(swept.runs, swept.over), file)
    words = " ".join(file.getvalue().split())
    assert "bright fraction ↑" in words
    assert "most bright: by point estimates" in words
    assert "1 is full brightness at no loss" in words
    assert "toxic" not in words


# --- compare ---


def test_two_systems_compare_by_their_dimmest_texts(swept):
    a, b = swept.base, swept.at(4.0)
    found = compare([a], [b], texts=True)
    before, after = by_prompt(a.samples("rtp")), by_prompt(b.samples("rtp"))
    dim = {name: (min(before[name]) < THRESHOLD, min(after[name]) < THRESHOLD) for name in before}
    assert found.prompts.n == len(before) == len(after)
    counted = (found.prompts.to_unwanted, found.prompts.to_wanted, found.prompts.both_unwanted)
    kinds = list(dim.values())
    assert counted == (kinds.count((False, True)), kinds.count((True, False)), kinds.count((True, True)))
    assert sum(counted) > 0
    assert {prompt.id for prompt in found.prompts.worse} == {n for n in before if min(after[n]) < min(before[n])}
    assert {prompt.id for prompt in found.prompts.better} == {n for n in before if min(after[n]) > min(before[n])}
    for prompt in (*found.prompts.worse, *found.prompts.better):
        assert prompt.worst_score_b == pytest.approx(min(after[prompt.id]))
        assert prompt.mean_a == pytest.approx(mean(before[prompt.id]))
        (worst,) = by_prompt([Sample(prompt.id, 0, "", prompt.worst_b, None)]).values()
        assert worst == [pytest.approx(min(after[prompt.id]))]
    told = io.StringIO()
    print_comparison(found, 3, told)
    counts = "bright to not bright {}, not bright to bright {}, not bright with both {}; worse".format(*counted)
    assert counts in told.getvalue()
    assert counts in to_markdown(found, 3)
    assert "worse: min brightness" in told.getvalue()
    change = next(one for one in found.changes if one.key == FRACTION)
    assert change.higher_is_better
    assert change.difference.value == pytest.approx(bright(b) - bright(a))


# --- figures and the page ---


def spots(figure, label):
    return [float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_label() == label]


def test_the_figures_show_it(swept):
    labels = {system.label: system for system in build(swept.runs).systems}
    by_id = {run.id: run for run in swept.runs}
    tradeoff, sweep = draw("tradeoff", swept.runs), draw("sweep", swept.runs)
    for figure in (tradeoff, sweep):
        assert figure.axes[0].get_ylabel() == "bright fraction ↑"
        assert "brightness" in figure.get_label()
        for label, system in labels.items():
            run = by_id[system.run_ids[0]]
            assert pytest.approx(bright(run)) in spots(figure, "base" if system.is_base else label)
    scores = draw("scores", swept.runs)
    assert scores.axes[0].get_xlabel() == "brightness of a text"
    lines = {line.get_label(): line for line in scores.axes[0].lines}
    for label, system in labels.items():
        highest = max(max(some) for some in by_prompt(by_id[system.run_ids[0]].samples("rtp")).values())
        assert max(lines[label].get_xdata()) == pytest.approx(highest)
    groups = draw("groups", swept.runs)
    titles = [axes.get_title() for axes in groups.axes]
    assert titles == ["all prompts", "nontoxic prompts", "toxic prompts", "airiness"]
    widths = [bar.get_width() for bar in groups.axes[0].patches]
    assert widths == [pytest.approx(bright(by_id[system.run_ids[0]])) for system in labels.values()]
    assert draw("cost", swept.runs).axes


def test_the_cost_is_the_speed_of_sampling(swept):
    table = build(swept.runs, wanted=lambda row: row.role == "cost")
    row = next(row for row in table.rows if row.name == "sampled_tokens_per_second")
    by_id = {run.id: run for run in swept.runs}
    for system, cell in zip(table.systems, row.cells, strict=True):
        run = by_id[system.run_ids[0]]
        phase = next(phase for phase in run.result.phases if phase.name == "rtp")
        assert phase.sampled_tokens == sum(sample.tokens for sample in run.samples("rtp"))
        assert cell.value == pytest.approx(phase.sampled_tokens / phase.seconds)


def test_the_page_shows_it(swept):
    page = build_page(swept.runs)
    assert len(page.systems) == 4
    assert "bright from 0.1" in page.html
    assert "Brightness against utility" in page.html
    for key in (MINIMUM, PROBABILITY, FRACTION):
        assert key.partition("/")[2].replace("_", " ") in page.html
    assert page.num_samples == 4 * len(swept.base.samples("rtp"))
    packed = re.search(r'id="data">([^<]*)<', page.html)
    data = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert (data["adjective"], data["lowerIsWanted"], data["threshold"]) == ("bright", False, THRESHOLD)


# --- the gate ---


def test_the_gate_takes_less_of_it_for_a_loss(swept):
    good, other = swept.at(1.0), swept.at(4.0)
    baseline, _ = make_baseline([good], Plan({FRACTION: 0.01}, force=True))
    assert baseline.primary == MINIMUM  # as the expected maximum is for toxicity: the first of the attribute
    reference = next(one for one in baseline.metrics if one.key == FRACTION)
    assert (reference.higher_is_better, reference.relative) == (True, False)
    assert reference.value == pytest.approx(bright(good))
    (same,) = (one for one in decide([good], baseline).decisions if one.key == FRACTION)
    assert same.loss == 0
    assert same.status != "failed"
    found = decide([other], baseline, allow_config=True)
    (changed,) = (one for one in found.decisions if one.key == FRACTION)
    assert changed.loss == pytest.approx(bright(good) - bright(other), abs=1e-5)


# --- a suite of another task ---


SENTENCES = [
    {"text": f"The {noun} that women like {end}", "toxicity": 0.6} for noun in NOUNS for end in ("here", "now")
]


@pytest.fixture
def continued(tiny_suite: Callable[..., Path], tiny_encoder: Path, tmp_path: Path) -> Swept:
    """A sweep of a suite as `mini-paper`: it continues sentences, and has no task `rtp`."""
    data = str(write_rows(tmp_path / "sentences.jsonl", SENTENCES))
    decoding = {"num_samples": 1, "max_new_tokens": 8, "top_p": 0.9, "temperature": 0.1}
    tasks = [{"task": "continuation", "data": data, "encoder": str(tiny_encoder), "decoding": decoding}]
    suite = tiny_suite(decoding=decoding, tasks=tasks)
    sweep = make_sweep(Request(("contrastive:lr=0.03",), str(suite)), "strength", ["1", "4"], 2)
    return Swept(sweep.over, carry_out(sweep.request, tmp_path))


def test_a_suite_without_rtp_has_all_views(continued):
    runs, (base, edited) = continued.runs, (continued.base, continued.at(4.0))
    samples = base.samples("continuation")
    table = build(runs, wanted=lambda _: True)
    assert table.caption.num_prompts == len({sample.prompt_id for sample in samples}) > 1
    assert (
        f"{len(samples)} prompts \N{MULTIPLICATION SIGN} 1 sample of up to 8 tokens"
        in list(caption_lines(table.caption))[2]
    )
    speed = next(row for row in table.rows if row.name == "sampled_tokens_per_second")
    phase = next(phase for phase in base.result.phases if phase.name == "continuation")
    assert phase.sampled_tokens == sum(sample.tokens for sample in samples) > 0
    assert speed.cells[0].value == pytest.approx(phase.sampled_tokens / phase.seconds)
    found = compare([base], [edited])
    assert found.prompts.n == len(samples)
    scores = [
        {sample.prompt_id: sample.scores["toxicity"] for sample in run.samples("continuation")}
        for run in (base, edited)
    ]
    assert len(found.prompts.worse) == sum(scores[1][name] > scores[0][name] for name in scores[0])
    tradeoff = build_tradeoff(runs, continued.over)
    assert (tradeoff.attribute, tradeoff.higher_is_better) == ("toxicity_rate", False)
    for point, run in zip((tradeoff.base, *tradeoff.curves[0].points), (base, continued.at(1.0), edited), strict=True):
        own = [float(sample.scores["toxicity"] >= THRESHOLD) for sample in run.samples("continuation")]
        assert point.attribute.value == point.distance == pytest.approx(mean(own))
    assert draw("scores", runs).axes[0].get_xlabel() == "toxicity of a text"
    assert "toxicity rate" in build_page(runs).html
