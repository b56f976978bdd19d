"""Runs of several base models in one table: real runs of two tiny models with other tokenizers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.assets.local import tokenizer_hash
from bench.errors import MissingError
from bench.progress import SILENT
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.runs import Run, load_run
from reports.compare.comparison import compare
from reports.table.build import build
from reports.table.cells import OWN, MetricRow, Table
from reports.table.cost import cost_rows
from reports.table.models import across
from reports.table.opening import arranged

Build = Callable[..., Path]


def measured(suite: Path, model: Path, folder: Path, method: str = "none", *settings: str) -> list[Run]:
    request = Request([method], str(suite), str(model), settings=settings, max_items=6)
    experiments = make_experiments(request)
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True), SILENT)
    found = list(run_experiments(experiments, env, folder / "runs"))
    assert [one.error for one in found] == [None] * len(found)
    return [load_run(one.folder) for one in found]


@pytest.fixture(scope="module")
def runs(
    write_suite: Build, tiny_model: Path, other_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Run]:
    """The base and `prompt` of either model, on one suite."""
    folder = tmp_path_factory.mktemp("models")
    suite = write_suite(folder)
    return [run for model in (tiny_model, other_tokenizer) for run in measured(suite, model, folder, "prompt")]


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> Table:
    return across(runs, wanted=lambda _: True)


def rows_of(table: Table) -> dict[str, MetricRow]:
    return {row.key: row for row in table.rows}


def test_each_system_stands_beside_the_base_of_its_own_model(runs, table):
    labels = [system.label for system in table.systems]
    assert labels == ["none · tiny-llama", "prompt · tiny-llama", "none · short-tokens", "prompt · short-tokens"]
    assert [system.is_reference for system in table.systems] == [True, False, True, False]
    assert table.reference == OWN
    assert (table.caption.model, table.caption.revision) == ("tiny-llama, short-tokens", None)
    for start, own in ((0, build(runs[:2], wanted=lambda _: True)), (2, build(runs[2:], wanted=lambda _: True))):
        for row in own.rows:
            cells = rows_of(table)[row.key].cells[start : start + 2]
            assert [(one.value, one.low, one.high) for one in cells] == [(c.value, c.low, c.high) for c in row.cells]
            assert [one.difference for one in cells] == [one.difference for one in row.cells]
            assert [one.p_holm for one in cells] == [one.p_holm for one in row.cells]


def test_what_belongs_to_a_tokenizer_or_a_model_is_ranked_over_none(table):
    ranked = {row.key for row in table.rows if any(cell.n_ranked for cell in row.cells)}
    assert {"rtp/toxic_fraction", "rtp/expected_maximum_toxicity", "diversity/distinct_2"} <= ranked
    assert all({cell.n_ranked for cell in rows_of(table)[key].cells} == {4} for key in ("diversity/distinct_2",))
    apart = {"heldout/perplexity", "fluency/perplexity_pooled", "fluency/perplexity_median", "fluency/relevance"}
    assert not ranked & apart
    assert apart <= rows_of(table).keys()
    tokenizer, model = (next(one for one in table.footnotes if why in one) for why in ("a token", "own base model"))
    assert "heldout/perplexity" in tokenizer
    assert "fluency/perplexity_pooled" in model
    assert any(note.startswith("Up to 8 tokens are texts of another length") for note in table.footnotes)


def test_ranks_are_those_of_all_systems_together(runs, table):
    """The best of a row has the best figure of all four."""
    row = rows_of(table)["diversity/distinct_2"]
    best = max(cell.value for cell in row.cells)
    assert min(row.cells, key=lambda cell: cell.rank_low).value == best


def test_footnotes_are_those_of_each_model_and_cells_point_at_their_own(runs, table):
    for start, own in ((0, build(runs[:2], wanted=lambda _: True)), (2, build(runs[2:], wanted=lambda _: True))):
        name = table.systems[start].model
        for row in own.rows:
            for place, cell in enumerate(row.cells):
                told = [table.footnotes[mark] for mark in rows_of(table)[row.key].cells[start + place].footnotes]
                assert told == [f"{name}: {own.footnotes[mark]}" for mark in cell.footnotes]
    n = table.n_data_notes
    assert n
    assert len(set(table.footnotes[-n:])) == n


def test_the_sentences_are_against_ones_own_base(runs):
    told, sheet = arranged(runs)
    assert told.reference == OWN
    alone = [arranged(some)[1].verdict for some in (runs[:2], runs[2:])]
    assert list(sheet.verdict)[:2] == [
        next(line for line in lines if line.startswith("prompt:")).replace("prompt:", f"prompt · {model}:")
        for lines, model in zip(alone, ("tiny-llama", "short-tokens"), strict=True)
    ]


def test_two_runs_of_two_models_are_compared_in_what_can_be(runs):
    """Differences are those of the evidence; figures a token, and those by a base model, have none and a reason."""
    found = compare(runs[:1], runs[2:3])
    assert (found.a.label, found.b.label) == ("none · tiny-llama", "none · short-tokens")
    changes = {one.key: one for one in found.changes}
    for key in ("rtp/toxic_fraction", "diversity/distinct_2"):
        assert changes[key].difference.value == pytest.approx(changes[key].b - changes[key].a)
    for key in ("heldout/perplexity", "fluency/relevance", "diversity/length"):
        assert (changes[key].difference, changes[key].p_holm) == (None, None)
        assert changes[key].a is not None
        assert any(key in note and note.startswith("not compared (") for note in found.notes)
    assert found.prompts.n == 6


def test_two_models_of_one_tokenizer_share_figures_a_token(write_suite, tiny_model, other_model, tmp_path):
    suite = write_suite(tmp_path)
    runs = [run for model in (tiny_model, other_model) for run in measured(suite, model, tmp_path)]
    rows = rows_of(across(runs, wanted=lambda _: True))
    assert {cell.n_ranked for cell in rows["heldout/perplexity"].cells} == {2}
    assert {cell.n_ranked for cell in rows["fluency/perplexity_pooled"].cells} == {None}
    assert tokenizer_hash(tiny_model) == tokenizer_hash(other_model) != tokenizer_hash(tmp_path)
    assert [run.manifest.model["tokenizer_sha256"] for run in runs] == [tokenizer_hash(tiny_model)] * 2


def test_one_model_has_the_table_that_it_had(runs):
    assert across(runs[:2]) == build(runs[:2])


def test_records_that_say_nothing_of_it_are_ranked_over_no_other_model(runs, tmp_path):
    """Those of before: their metrics do not say how far they can be compared."""
    old = []
    for run in runs:
        shutil.copytree(run.path, tmp_path / run.id)
        for path in (tmp_path / run.id).rglob("*.json"):
            path.write_text(json.dumps(_without(json.loads(path.read_text()), "within")))
        old.append(load_run(tmp_path / run.id))
    rows = across(old).rows
    assert rows
    assert not any(cell.n_ranked for row in rows for cell in row.cells)


def _without(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _without(one, key) for name, one in value.items() if name != key}
    return [_without(one, key) for one in value] if isinstance(value, list) else value


def test_what_was_measured_otherwise_is_refused(runs, write_suite, other_tokenizer, tmp_path):
    suite = write_suite(tmp_path)
    others = measured(suite, other_tokenizer, tmp_path, "none", "suite.decoding.top_p=0.5")
    with pytest.raises(MissingError, match=r"not comparable: they differ in decoding\.top_p \(0\.9, 0\.5\)"):
        across([*runs[:2], *others])
    assert across([*runs[:2], *others], force=True).forced


def test_a_run_that_was_put_to_its_model_otherwise_is_refused(runs, tmp_path):
    """Chat templates, system messages, and facts to edit belong to what is measured."""
    for changes, told in (
        ({"chat_template": True}, r"suite\.chat_template \(None, True\)"),
        ({"chat_template": True, "system": "Be kind."}, r"suite\.system \(None, Be kind\.\)"),
        ({"sets": {"source": "edits", "num_prompts": 3}}, r"suite\.sets"),
    ):
        other = _changed(runs[2], tmp_path / str(len(told)), lambda m, new=changes: m["suite"].update(new))
        with pytest.raises(MissingError, match=told):
            across([*runs[:2], other])
    learned = _changed(runs[2], tmp_path / "learned", lambda m: m["suite"]["sets"].update(num_prompts=3))
    assert across([*runs[:2], learned]).reference == OWN, "what methods learn from is not measured"


def _changed(run: Run, folder: Path, change: Callable[[dict[str, Any]], None], *, finished: bool = True) -> Run:
    shutil.copytree(run.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if not finished:
        (folder / "result.json").unlink()
    return load_run(folder)


def test_a_model_of_which_no_run_has_finished_is_named(runs, tmp_path):
    def third(manifest: dict[str, Any]) -> None:
        manifest["model"]["sha256"], manifest["status"] = "0" * 64, "failed"

    lost = _changed(runs[2], tmp_path / "lost", third, finished=False)
    table = across([*runs, lost])
    assert f"Left out: run {lost.id} has not finished (failed)." in table.footnotes
    assert len(table.systems) == 4


def test_a_file_of_texts_stands_beside_one_model(runs, tmp_path):
    def made_elsewhere(manifest: dict[str, Any]) -> None:
        manifest["method"]["elsewhere"], manifest["model"]["sha256"] = True, None

    texts = _changed(runs[0], tmp_path / "texts", made_elsewhere)
    with pytest.raises(MissingError, match="stands beside one model, and here are tiny-llama, short-tokens"):
        across([*runs, texts])


def test_what_asks_an_endpoint_is_no_cost_of_its_model(runs, tmp_path):
    behind = _changed(runs[0], tmp_path / "behind", lambda m: m.update(engine={"name": "endpoint"}))
    cells = {row.key: [cell.value for cell in row.cells] for row in cost_rows([[runs[0]], [behind]])}
    assert cells["cost/measurement_seconds"][1] is not None
    for key in ("cost/sampled_tokens_per_second", "cost/peak_memory_gib"):
        assert cells[key][0] is not None
        assert cells[key][1] is None
