"""A paper made anew: what is declared of it can be run, and the page says what was printed, made and not made."""

import html
import re

import pytest
import torch
from synthetic import write_run
from tokenizers.processors import TemplateProcessing
from typer.testing import CliRunner

from bench.cli.app import app
from bench.cli.reproduce import _requests
from bench.engine.tokens import encode
from bench.errors import UsageError
from bench.run.embeddings import embed, flat_map
from bench.run.plan import Request, make_experiments
from bench.spec import validate
from bench.store.runs import load_run
from methods.decoding.gate import GatedPolicy
from reports.reproduce.drawing import MapPanel
from reports.reproduce.page import Behind, make, replaced, to_html_page, to_markdown_page, write
from reports.reproduce.spec import Paper, Part, load_paper, papers

HOSTILE = "<script>alert(1)</script>![x](http://x) ::error::"
PART = {
    "name": "Table 1",
    "title": "toxicity",
    "suites": {"mini": ["mini"]},
    "methods": ["dpo"],
    "columns": [{"metric": "rtp/toxic/toxic_fraction", "label": "toxic %", "percent": True}],
    "published": {"columns": ["toxic %"], "rows": {"theirs": [12.5], "another's": [None]}},
    "not_at_hand": "the rest",
    "differs": ["another model"],
}
PAPER = {
    "name": "a-paper",
    "title": "A paper",
    "source": "Somebody, 2025",
    "scales": {"mini": {"description": "small"}},
}


def part(**changes):
    return validate(Part, {**PART, **changes}, "a part")


def page(*made):
    paper = validate(Paper, {**PAPER, "parts": [PART]}, "a paper")
    return html.unescape(to_html_page(paper, "mini", made)), to_markdown_page(paper, "mini", made)


@pytest.fixture
def runs(tmp_path):
    folders = [write_run(tmp_path, "none"), write_run(tmp_path, "dpo", toxicity=0.2)]
    return [load_run(folder) for folder in folders]


@pytest.mark.parametrize("name", papers())
def test_every_part_names_suites_and_methods_that_there_are(name):
    paper = load_paper(name)
    assert len({one.name for one in paper.parts}) == len(paper.parts)
    for one in paper.parts:
        assert one.columns or one.drawing
        assert one.published or one.not_at_hand
        for suite in (suite for some in one.suites.values() for suite in some):
            assert len(make_experiments(Request(one.methods, suite))) == len(one.methods) + 1


_BUDGET = ("lr", "anchors_per_step", "lora_r", "lora_alpha")


@pytest.mark.parametrize("name", papers())
def test_a_part_whose_rows_have_different_budgets_says_them(name):
    """Else a reader takes a difference of learning rates or adapters for one of objectives."""
    for one in load_paper(name).parts:
        told = {float(text) for text in re.findall(r"[0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?", " ".join(one.differs))}
        for suite in (suite for some in one.suites.values() for suite in some):
            made = [each.config for each in make_experiments(Request(one.methods, suite, base=False))]
            trained = [config for config in made if hasattr(config, "lora_r")]
            budgets = {tuple(getattr(config, option) for option in _BUDGET) for config in trained}
            if len(budgets) > 1:
                steps = {config.steps for config in trained if config.epochs is None}
                assert {figure for some in budgets for figure in some} | steps <= told, (one.name, suite)


def test_a_setting_goes_to_the_suites_where_it_fits():
    parts = load_paper("klein-nabi-2025").chosen(["Table 6", "Table 4"])

    def settled(*settings):
        return {suite: one.settings for suite, one in _requests(parts, "mini", [0], settings, None).items()}

    everywhere = ["contrastive_printed.steps=3", "lr=1e-4", "suite.decoding.top_p=1"]
    assert settled("dpo.lr=1e-4", *everywhere) == {"mini": everywhere, "mini-paper": ["dpo.lr=1e-4", *everywhere]}
    for setting, told in (
        ("kto.lr=1e-4", "'kto.lr' names no method of this run; it has none, contrastive_printed, dpo, simpo"),
        ("alpa=1", "no method of this run has the option 'alpa'"),
    ):
        with pytest.raises(UsageError, match=told):
            settled(setting)


def test_what_was_printed_stands_beside_what_is_measured(runs):
    made = make(part(), Behind({"mini": runs}))
    assert made.lacking == []
    for text in page(made):
        for told in ("12.5", "theirs", "Differs: another model", "Not at hand: the rest.", "dpo", "(base)"):
            assert told in text


def test_what_was_not_measured_is_said(runs):
    nothing = part(columns=[{"metric": "continuation/toxicity_rate"}])
    lacking = [
        make(nothing, Behind({"mini": runs})).lacking,
        make(part(), Behind({"mini": []})).lacking,
        make(part(columns=[], drawing="map"), Behind({"mini": runs})).lacking,
        make(part(columns=[], drawing="preference"), Behind({"mini": runs})).lacking,
        make(part(), Behind({"mini": runs}, ["kto, seed 0: no memory"])).lacking,
    ]
    told = ("nothing that the layout", "no run has finished", "not mapped", "no judge", "no memory")
    for lines, why in zip(lacking, told, strict=True):
        (line,) = lines
        assert why in line
    for text in page(make(part(), Behind({"mini": []}))):
        assert "Not made: mini: no run has finished." in text


def test_what_a_record_says_means_nothing_to_the_page(tmp_path):
    folders = [write_run(tmp_path, "none"), write_run(tmp_path, "dpo", label=HOSTILE, run_id="r", toxicity=0.2)]
    made = make(part(), Behind({"mini": [load_run(one) for one in folders]}, [HOSTILE]))
    paper = validate(Paper, {**PAPER, "parts": [PART]}, "a paper")
    assert "<script" not in to_html_page(paper, "mini", [made])
    text = to_markdown_page(paper, "mini", [made])
    assert "<script" not in text
    assert "![x](" not in text


def test_what_is_lost_with_a_page_that_is_replaced_is_said_before_any_work(tmp_path, monkeypatch):
    def stopped(*_):
        raise UsageError("stopped")

    monkeypatch.setattr("bench.cli.reproduce._measure", stopped)
    paper, out = load_paper("klein-nabi-2025"), tmp_path / "out"
    assert replaced(paper, "mini", paper.parts, out) is None, "nothing is there"
    write(paper, "mini", [make(one, Behind({})) for one in paper.parts], out)
    assert replaced(paper, "mini", paper.parts, out) is None, "the same again"
    assert replaced(paper, "full", paper.parts, out) == "is of scale mini"
    others = ", ".join(one.name for one in paper.parts if one.name != "Figure 4")
    assert replaced(paper, "full", paper.chosen(["Figure 4"]), out) == f"is of scale mini and also has {others}"
    done = CliRunner().invoke(app, ["reproduce", "klein-nabi-2025", "--only", "Figure 4", "--out", str(out)])
    assert f"this replaces the page in {out}, which also has {others}; --out names another folder" in done.stderr
    write(paper, "mini", [make(one, Behind({})) for one in paper.chosen(["Figure 4"])], out)
    assert replaced(paper, "mini", paper.parts, out) is None, "the whole page has what this one has"


def test_the_map_is_drawn_for_every_system(runs, tmp_path):
    points = [(float(n), float(n % 3)) for n in range(6)]
    panels = [MapPanel(system=one.label, points=points, toxic=[True, False] * 3, silhouette=0.25) for one in runs]
    made = make(part(columns=[], drawing="map"), Behind({"mini": runs}, maps={"mini": panels}))
    paper = validate(Paper, {**PAPER, "parts": [PART]}, "a paper")
    written = write(paper, "mini", [made], tmp_path / "out")
    assert [path.name for path in written] == ["page.html", "page.md", "table-1-mini.svg"]
    (figure,) = made.figures.values()
    assert [axes.get_title() for axes in figure.axes] == [f"{one.label}, silhouette +0.25" for one in runs]
    for axes in figure.axes:
        toxic, harmless = (marks.get_offsets().tolist() for marks in axes.collections)
        assert toxic == [list(one) for one in points[::2]]
        assert harmless == [list(one) for one in points[1::2]]
    assert "(table-1-mini.svg)" in written[1].read_text(encoding="utf-8")


def test_every_point_has_a_kind():
    with pytest.raises(UsageError, match="not every point has a kind"):
        validate(MapPanel, {"system": "x", "points": [(0, 1)], "toxic": [], "silhouette": 0}, "a map")


def test_an_embedding_is_the_mean_of_a_texts_last_states_whatever_stands_beside_it(tiny_policy):
    texts = ["She asked", "The river rises in the hills and runs south", "No"]
    found = embed(tiny_policy, texts)
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([encode(tiny_policy.tokenizer, text)])
        with torch.no_grad():
            states = tiny_policy.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose(states.mean(0), torch.tensor(vector), atol=1e-5)


def test_a_begin_token_has_no_part_in_an_embedding(tiny_policy):
    tokenizer = tiny_policy.tokenizer
    begin = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    texts = ["She asked", "The river rises in the hills and runs south", ""]
    found = torch.tensor(embed(tiny_policy, texts))
    for text, vector in zip(texts, found, strict=True):
        ids = encode(tokenizer, text)
        assert ids[0] == begin[1]
        with torch.no_grad():
            states = tiny_policy.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose((states[1:] if text else states).mean(0), vector, atol=1e-5)


def test_what_is_more_than_its_model_has_no_embedding(tiny_policy):
    """What its hooks ask for is there while it reads itself, and not while its model does."""
    gated = GatedPolicy(tiny_policy.model, tiny_policy.tokenizer, torch.zeros(32), 0.0)
    with pytest.raises(UsageError, match=r"more than one model.*map another method"):
        embed(gated, ["She asked"])


def test_kinds_that_lie_apart_have_a_high_silhouette():
    made = torch.Generator().manual_seed(0)
    near = torch.randn(20, 8, generator=made) * 0.05
    kinds = [True] * 10 + [False] * 10
    apart = near + torch.tensor(kinds)[:, None] * torch.eye(8)[0] + (~torch.tensor(kinds))[:, None] * torch.eye(8)[1]
    points, silhouette = flat_map(apart.numpy(), kinds)
    assert points.shape == (20, 2)
    assert silhouette > 0.8
    assert abs(flat_map(torch.randn(20, 8, generator=made).numpy(), kinds)[1]) < 0.3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"published": {"columns": ["a"], "rows": {"x": [1, 2]}}}, "row 'x' has another number of figures"),
        ({"drawing": "pie"}, "drawing"),
    ],
)
def test_a_part_that_is_not_whole_is_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        part(**changes)
