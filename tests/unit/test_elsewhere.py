"""Continuations that another programme made, scored and recorded beside a real run on the same prompts."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.cli.judge import outputs_of
from bench.cli.progress import LineProgress
from bench.cli.run import SOME_FAILED, remember_last, report
from bench.errors import BenchError, MissingError, UsageError
from bench.run.edited import edited
from bench.run.elsewhere import Elsewhere, Given, score_all
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.latest import latest
from bench.store.runs import Run, load_run
from bench.suites import load_suite
from reports.compare.comparison import compare
from reports.gate.writing import Plan, make_baseline
from reports.page.page import build_page
from reports.table.build import build
from reports.table.opening import arranged
from reports.table.terminal import text_of

Rows = list[dict[str, Any]]
Score = Callable[..., Run]


@pytest.fixture(scope="module")
def suite(tmp_path_factory, write_suite) -> Path:
    """The file of a suite."""
    return write_suite(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def base(suite) -> Run:
    """A run of the tiny model."""
    experiments = make_experiments(Request(["none"], str(suite)))
    env = Environment(experiments[0].suite, AssetCatalogue(suite.parent / "cache", offline=True))
    (outcome,) = run_experiments(experiments, env, suite.parent / "runs")
    assert outcome.folder
    return load_run(outcome.folder)


@pytest.fixture(scope="module")
def together(base) -> Rows:
    """Its continuations, a row a prompt."""
    found: dict[str, list[str]] = {}
    for sample in base.samples("rtp"):
        found.setdefault(sample.prompt, []).append(sample.continuation)
    return [{"prompt": prompt, "continuations": texts} for prompt, texts in found.items()]


@pytest.fixture
def elsewhere(suite, tmp_path) -> Callable[..., Elsewhere]:
    """A file of rows, about to be scored; keywords are changes of the suite."""

    def make(
        rows: Rows | Path,
        label: str = "theirs",
        *,
        seed: int = 0,
        own: bool = False,
        limit: int | None = None,
        field: str | None = None,
        **changes: Any,
    ) -> Elsewhere:
        path = rows if isinstance(rows, Path) else write(tmp_path / f"{label}-{seed}.jsonl", rows)
        spec = load_suite(str(suite)).model_copy(update=changes)
        env = Environment(spec, AssetCatalogue(suite.parent / "cache", offline=True))
        return Elsewhere(Given(path, label, seed, prompt_field=field), env, tmp_path / "runs", limit, own_prompts=own)

    return make


@pytest.fixture
def score(elsewhere) -> Score:
    """Score rows, and read the record."""

    def go(rows: Rows | Path, *args: Any, **more: Any) -> Run:
        found = elsewhere(rows, *args, **more)
        found.check()
        return load_run(found.run())

    return go


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def figures(run: Run) -> dict[str, dict[str, Any]]:
    assert run.result
    return {metric.key: metric.model_dump() for metric in run.result.metrics}


def texts(run: Run) -> list[Any]:
    return sorted((one.prompt, one.sample, one.group, one.continuation, one.scores) for one in run.samples("rtp"))


def test_a_runs_own_continuations_have_its_figures(base, together, score):
    own, run = figures(base), score(together)
    given = figures(run)
    absent = {key for key in own if key not in given}
    assert {key for key in absent if not key.startswith(("fluency/", "heldout/"))} == {"diversity/length"}
    assert given == {key: metric for key, metric in own.items() if key not in absent}
    assert [(one.tokens, one.ended) for one in run.samples("rtp")] == [(None, None)] * 3 * len(together)
    assert (run.is_elsewhere, run.manifest.model, run.manifest.decoding) == (True, {}, {"num_samples": 3})


def test_the_table_pairs_them_and_what_was_not_measured_is_missing(base, together, score):
    table = build([score(together, "their model"), base], wanted=lambda _: True)
    assert [one.label for one in table.systems] == ["none", "their model"]
    assert table.caption.model == build([base]).caption.model
    rows = {row.name: row.cells for row in table.rows}
    gap = rows["expected_maximum_toxicity"][1].difference
    assert gap
    assert (gap.value, gap.n_left_out) == (0, 0)
    absent = {name for name, cells in rows.items() if cells[1].value is None and cells[0].value is not None}
    assert {"length", "measurement_seconds", "peak_memory_gib", "sampled_tokens_per_second"} <= absent
    assert {name for name in rows if "perplexity" in name} <= absent
    assert "their model: another programme made its continuations" in " ".join(table.footnotes)
    assert any("another programme" in note for note in compare([base], [score(together, "their model")]).notes)


def test_where_the_suite_has_prompts_as_turns_it_is_said_that_nobody_knows(together, score):
    notes = " ".join(build([score(together, chat_template=True, system="Be kind.")]).footnotes)
    assert "whether each prompt was a user's turn after the system message 'Be kind.', as in the suite, is not" in notes
    assert not any("turn" in note for note in build([score(together, "plain")]).footnotes)


def test_alone_no_model_is_named(together, score):
    _, sheet = arranged([score(together)])
    text = text_of(sheet)
    assert "continuations made elsewhere" in text
    assert "3 samples · seed 0" in text
    assert "top-p" not in text


def test_a_judge_reads_them_beside_a_runs(base, together, score):
    theirs = score([row | {"continuations": ["so", "it", "goes"]} for row in together])
    found = outputs_of([base, theirs], "rtp")
    assert list(found) == ["none", "theirs"]
    assert found["none"].keys() == found["theirs"].keys()
    assert [text for _, text in found["theirs"].values()] == ["so", "it", "goes"] * len(together)


def test_the_page_holds_its_texts(base, together, score):
    page = build_page([base, score([row | {"continuations": [""] * 3} for row in together])]).html
    assert "another programme made its continuations" in page


@pytest.mark.parametrize("form", ["one.jsonl", "array.json", "table.csv", "table.tsv", "columns.parquet", "rtp.jsonl"])
def test_every_form_of_file_gives_the_same_texts(base, together, score, tmp_path, form):
    one_each = [{"prompt": row.prompt, "continuation": row.continuation} for row in base.samples("rtp")]
    path = tmp_path / form
    if form == "one.jsonl":
        write(path, one_each)
    elif form == "array.json":
        path.write_text(json.dumps(together))
    elif form == "columns.parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(together), path)
    elif form == "rtp.jsonl":
        nested = [(row["prompt"], [{"text": text} for text in row["continuations"]]) for row in together]
        write(path, [{"prompt": {"text": prompt, "toxicity": 0.1}, "generations": texts} for prompt, texts in nested])
    else:
        with path.open("w", newline="") as stream:
            table = csv.DictWriter(stream, ["prompt", "continuation"], delimiter="\t" if form == "table.tsv" else ",")
            table.writeheader()
            table.writerows(one_each)
    assert texts(score(path)) == texts(base)


def test_the_prompt_stands_where_the_field_says(base, together, score):
    rows = [
        {"text": "no prompt", "asked": {"of": row["prompt"]}, "continuations": row["continuations"]} for row in together
    ]
    run = score(rows, field="asked.of")
    assert texts(run) == texts(base)
    assert run.manifest.method["config"] == {"label": "theirs", "field": "asked.of"}


def test_files_of_one_label_are_its_seeds_and_what_is_beyond_the_number_is_said(together, score):
    turned = [row | {"continuations": [*row["continuations"][::-1], "and more"]} for row in together]
    runs = [score(together), score(turned, seed=1)]
    (system,) = build(runs).systems
    assert (system.seeds, system.is_one_training) == ((0, 1), False)
    (taken,) = runs[1].tasks["rtp"].taken
    assert taken["left_out"] == {"beyond the number asked for": len(together)}
    assert make_baseline(runs, Plan({}, None, None, "0", force=True))[0].facts["decoding.num_samples"] == 3


def test_the_key_is_of_the_content_the_label_and_the_scorers(elsewhere, together, tmp_path):
    same = elsewhere(together).run_id
    assert same == elsewhere(write(tmp_path / "moved.jsonl", together)).run_id
    assert same.startswith("tiny-theirs-s0-")
    others = [
        elsewhere(together[::-1]).run_id,
        elsewhere(together, "another").run_id,
        elsewhere(together, seed=1).run_id,
        elsewhere(together, scorer=load_suite("smoke").scorer).run_id,
        elsewhere(together, own=True).run_id,
        elsewhere(together, field="prompt").run_id,
    ]
    assert len({same, *others}) == 1 + len(others)
    called = load_suite("smoke").scorer.model_copy(update={"called": "mine"})
    assert elsewhere(together, scorer=called).run_id == others[3]
    named = elsewhere(write(tmp_path / "named.jsonl", together), "Éå/../x Y")
    assert named.run_id.startswith("tiny-x-y-s0-")


def test_the_key_is_of_the_code_that_takes_rows_and_measures(elsewhere, together, monkeypatch):
    monkeypatch.setattr("bench.run.elsewhere.code_hash", " ".join)
    counts = set(elsewhere(together)._code.split())
    assert {"bench.run.texts", "bench.data.continuations", "bench.tasks.rtp", "bench.scorers.svm"} <= counts
    assert not {"bench.run.plan", "bench.run.manifest", "bench.engine.model"} & counts


def test_a_finished_record_is_kept_and_a_damaged_one_made_anew(elsewhere, together):
    found = elsewhere(together)
    folder = found.run()
    before = (folder / "manifest.json").read_bytes()
    assert elsewhere(together).run() == folder
    assert (folder / "manifest.json").read_bytes() == before
    result = json.loads((folder / "result.json").read_text())
    result["metrics"][0]["value"] += 0.1
    (folder / "result.json").write_text(json.dumps(result))
    assert (
        figures(load_run(elsewhere(together).run()))["rtp/expected_maximum_toxicity"]["value"]
        != (result["metrics"][0]["value"])
    )


@pytest.mark.parametrize("end", [SystemExit(1), RuntimeError("no")])
def test_a_scorer_that_ends_the_program_leaves_a_record_that_failed(elsewhere, together, monkeypatch, end):
    found = elsewhere(together)

    def score(texts):
        raise end

    monkeypatch.setattr(found.env.scorer, "score", score)
    with pytest.raises(type(end)):
        found.run()
    run = load_run(found.runs / found.run_id)
    assert (run.manifest.status, run.manifest.error, run.result) == ("failed", str(end), None)


def test_a_file_that_fails_takes_nothing_from_the_others(elsewhere, together, monkeypatch, capsys):
    bad, good = elsewhere(together, "bad"), elsewhere(together, "good")

    def end(texts):
        raise SystemExit(9)

    monkeypatch.setattr(bad.env.scorer, "score", end)
    outcomes = score_all([bad, good])
    remember_last(outcomes, good.runs)
    assert latest(good.runs) == [good.runs / good.run_id]
    assert report(outcomes, "", json=True) == SOME_FAILED
    told = capsys.readouterr()
    assert [one["method"] for one in json.loads(told.out)["failed"]] == ["bad"]
    assert "asked to end the program (exit code 9)" in told.err


def test_own_prompts_stand_apart(base, score, elsewhere):
    rows = [{"prompt": f"A prompt of mine, number {n}", "continuations": ["so", "it", "goes"]} for n in range(4)]
    with pytest.raises(MissingError, match=r"has continuations of 0 of the \d+ prompts that suite 'tiny' takes"):
        elsewhere(rows).check()
    run = score(rows, own=True)
    assert len({one.prompt_id for one in run.samples("rtp")}) == 4
    with pytest.raises(MissingError, match="own prompts"):
        build([base, run])
    assert len(build([run, score(rows[::-1], "twin", own=True)]).systems) == 2


def test_a_limit_holds_for_own_prompts_too_and_the_rest_is_said(score):
    rows = [{"prompt": f"A prompt of mine, number {n}", "continuations": ["so", "it", "goes", "on"]} for n in range(4)]
    every, run = score(rows, own=True), score(rows, "fewer", own=True, limit=2)
    taken = {one.prompt_id for one in run.samples("rtp")}
    assert sorted(taken) == sorted({one.prompt_id for one in every.samples("rtp")})[:2]
    assert run.manifest.suite["limit"] == 2
    (said,) = run.tasks["rtp"].taken
    assert (said["taken"], said["left_out"]) == (6, {"beyond the number asked for": 2 * 4 + 2})


def test_other_prompts_than_the_suites_are_left_out_and_said(together, score):
    extra = {"prompt": "A prompt of mine", "continuations": ["so", "it", "goes"]}
    (taken,) = score([extra, *together]).tasks["rtp"].taken
    assert taken["left_out"] == {"of prompts that the suite does not take": 3}


def test_runs_measured_otherwise_are_refused(base, together, score, suite):
    fewer = load_suite(str(suite)).decoding.model_copy(update={"num_samples": 2})
    with pytest.raises(MissingError, match=r"decoding.num_samples \(3, 2\)"):
        build([base, score(together, decoding=fewer)])
    other = load_suite(str(suite)).scorer.model_copy(update={"threshold": 0.5})
    with pytest.raises(MissingError, match=r"scorer.threshold \(0.1, 0.5\)"):
        build([score(together, scorer=other), base])


@pytest.mark.parametrize(
    ("rows", "kind", "told"),
    [
        ([{"prompt": "a"}], UsageError, "line 1: none of the keys continuations, generations, continuation is there"),
        ([{"prompt": "a", "continuations": [], "generations": []}], UsageError, "line 1: two of the keys"),
        ([{"prompt": "a", "continuations": "b"}], UsageError, "line 1: 'continuations' is no list"),
        ([{"prompt": "a", "continuations": [None]}], UsageError, "line 1: a continuation is no text"),
        ([{"prompt": "a", "continuation": ["b"]}], UsageError, "line 1: a continuation is no text"),
        ([{"asked": "b", "continuations": ["a"]}], UsageError, "name where the prompt stands by field (it has asked, "),
        ([], UsageError, "holds no prompt with continuations"),
    ],
)
def test_a_bad_row_is_refused_by_its_place(elsewhere, tmp_path, rows, kind, told):
    with pytest.raises(kind) as caught:
        elsewhere(rows).check()
    assert told in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_uneven_or_missing_continuations_are_refused(elsewhere, together):
    short = [together[0] | {"continuations": together[0]["continuations"][:2]}, *together[1:]]
    with pytest.raises(MissingError, match=r"fewer than 3 continuations of 1 prompts \(.*line 1: 2\).*num_samples=2"):
        elsewhere(short).check()
    count = len(together)
    with pytest.raises(MissingError, match=f"{count - 1} of the {count} prompts .*--write-prompts"):
        elsewhere(together[1:]).check()


def test_what_is_taken_is_told_whatever_the_file_is_called(elsewhere, together, tmp_path, capsys):
    rows = [row | {"continuations": [*row["continuations"], "more"]} for row in together]
    found = elsewhere(write(tmp_path / "my rows 1.jsonl", rows))
    found.env.progress = LineProgress(sys.stderr)
    found.check()
    many = len(together)
    line = f"my rows 1.jsonl: {3 * many} of {4 * many} continuations are taken; left out: {many} beyond the number"
    assert line in capsys.readouterr().err


def test_there_is_no_model_to_take_home(together, score, tmp_path):
    with pytest.raises(BenchError, match="another programme made its continuations"):
        edited(score(together), AssetCatalogue(tmp_path / "cache", offline=True))


def test_a_suite_without_continuations_cannot_be_scored(elsewhere, together):
    with pytest.raises(UsageError, match="no task that continuations alone can be measured by"):
        elsewhere(together, tasks=[{"task": "heldout"}]).check()
