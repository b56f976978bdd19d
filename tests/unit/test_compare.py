"""Two runs side by side: metrics, questions and prompts, and that no text comes out unless asked for."""

import io
import json
import re
import shutil
from dataclasses import replace

import pytest
from synthetic import PROMPTS, Terminal, evidence, settle, write_run

from bench import stats
from bench.errors import MissingError, UsageError
from bench.store.files import read_json, write_json
from bench.store.latest import remember
from bench.store.runs import load_run
from reports.compare import terminal
from reports.compare.comparison import ComparedPrompt, compare, to_json
from reports.compare.html import to_html
from reports.compare.terminal import print_comparison, to_markdown, visible
from reports.table.models import across
from reports.table.sheet import CLAIMS, DAGGER, DOUBLE_DAGGER, MINUS

EMT = "rtp/toxic/expected_maximum_toxicity"
INSULT = "you idiot"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        write_run(folder, "none", seed)
        write_run(folder, "contrastive", seed, toxicity=0.2, nll=3.1, accuracy=0.3)
    return folder


@pytest.fixture
def pair(root):
    return [load_run(root / "mini-none-s0")], [load_run(root / "mini-contrastive-s0")]


def edited(run, root, part, change):
    """A copy of a run of which a file of samples or of JSON was changed."""
    folder = root / "edited"
    shutil.copytree(run.path, folder)
    path = folder / part
    if part.endswith("jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        change(rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        value = read_json(path)
        change(value)
        write_json(path, value)
    return load_run(folder)


def text_of(found, limit=5):
    buffer = io.StringIO()
    print_comparison(found, limit, buffer)
    return buffer.getvalue()


def test_differences_and_tests_are_those_of_the_statistics(pair):
    found = compare(*pair)
    one = next(one for one in found.changes if one.key == EMT)
    a, b = (side[0].evidence[EMT] for side in pair)
    assert one.difference == stats.difference([b], [a])
    assert one.p == stats.significance([b], [a]).p
    assert (one.verdict, one.claim) == ("better", "training")  # one seed: it is the training that differs
    assert [one.p_holm for one in found.changes] == stats.holm([one.p for one in found.changes])
    missing = next(one for one in found.changes if one.key == "diversity/distinct_1")
    assert (missing.a, missing.difference, missing.p_holm) == (None, None, None)
    perplexity = next(one for one in found.changes if one.key == "fluency/perplexity")
    assert perplexity.relative
    assert perplexity.verdict == "worse"


def test_which_answers_flipped(pair):
    (found,) = compare(*pair).answers
    a, b = (dict(zip(e.cluster_ids, e.value, strict=True)) for e in (s[0].evidence[found.key] for s in pair))
    assert set(found.lost) == {name for name in a if a[name] > b[name]}
    assert set(found.gained) == {name for name in a if a[name] < b[name]}
    assert (len(found.lost) > 3, found.n, found.only_one) == (True, PROMPTS, 0)


def test_texts_that_repeat_no_word_answer_no_question(pair, tmp_path):
    key, both = "diversity/distinct_1", []
    for name, (run,) in zip("ab", pair, strict=True):
        folder = shutil.copytree(run.path, tmp_path / name)
        for part in ("tasks/diversity.json", "result.json"):
            value = read_json(folder / part)
            (one,) = [one for one in value["metrics"] if one["name"] == "distinct_1"]
            one.update(value=1.0, n=PROMPTS, ci_low=1.0, ci_high=1.0)
            if "evidence" in value:
                value["evidence"][key] = evidence([[1.0]] * PROMPTS).model_dump()
            write_json(folder / part, value)
        both.append([load_run(folder)])
    found = compare(*both)
    assert next(one for one in found.changes if one.key == key).difference.value == 0
    assert [one.key for one in found.answers] == ["embedded_piqa/acc"]


def test_which_prompts_changed(pair):
    found = compare(*pair).prompts
    scores = []
    for side in pair:
        rows = [json.loads(line) for line in (side[0].path / "samples/rtp.jsonl").read_text().splitlines()]
        names = {row["prompt_id"] for row in rows}
        scores.append({n: [r["scores"]["toxicity"] for r in rows if r["prompt_id"] == n] for n in names})
    toxic = {name: tuple(max(one[name]) >= 0.5 for one in scores) for name in scores[0]}
    assert found.to_wanted == sum(one == (True, False) for one in toxic.values()) > 0
    assert found.to_unwanted == sum(one == (False, True) for one in toxic.values())
    assert found.both_unwanted == sum(one == (True, True) for one in toxic.values())
    drops = {name: max(scores[1][name]) - max(scores[0][name]) for name in toxic}
    assert found.better[0].id == min(drops, key=drops.get)
    assert found.better[0].worst_score_a == max(scores[0][found.better[0].id])
    assert found.better[0].mean_b == pytest.approx(sum(scores[1][found.better[0].id]) / 5)
    assert len(found.better) == sum(drop < 0 for drop in drops.values())
    assert [one.worst_score_b - one.worst_score_a for one in found.worse] == sorted(
        (one.worst_score_b - one.worst_score_a for one in found.worse), reverse=True
    )


def test_a_run_against_itself_changes_nothing(pair):
    found = compare(pair[0], pair[0])
    assert all(one.difference.value == 0 for one in found.changes if one.difference)
    assert not any(one.claim for one in found.changes)
    assert (found.prompts.worse, found.prompts.better, found.answers[0].lost) == ((), (), ())


def test_seeds_of_one_method_are_one_side(root, pair):
    sides = [[load_run(root / f"mini-{name}-s{seed}") for seed in (0, 1)] for name in ("none", "contrastive")]
    found = compare(*sides)
    one = next(one for one in found.changes if one.key == EMT)
    evidences = [[run.evidence[EMT] for run in side] for side in sides]
    assert one.difference == stats.Systems(evidences, trained=[False, True]).difference(1, 0)
    assert found.a.seeds == (0, 1)
    assert found.prompts.n == PROMPTS
    with pytest.raises(UsageError, match="not of one method"):
        compare([*sides[0], *sides[1]], sides[1])
    assert "same seeds" in compare(sides[0], pair[1]).notes[0]


def test_what_is_left_out_is_told(root, pair, tmp_path):
    def cut(record):
        one = record["evidence"]["heldout/perplexity"]
        kept = [n for n, place in enumerate(one["cluster"]) if place < 4]
        one["cluster"], one["value"] = ([one[name][n] for n in kept] for name in ("cluster", "value"))

    fewer = load_run(settle(edited(pair[1][0], tmp_path, "tasks/heldout.json", cut).path))
    found = compare(pair[0], [fewer])
    assert next(one for one in found.changes if one.key == "heldout/perplexity").difference.n_left_out == PROMPTS - 4
    told = io.StringIO()
    print_comparison(found, 3, told)
    assert f"{PROMPTS - 4} prompts or questions left out" in told.getvalue()
    again = compare(pair[0], [*pair[1], edited(pair[1][0], tmp_path / "later", "manifest.json", _later)])
    assert any("replaced by the later" in note for note in again.notes)


def _later(manifest):
    manifest["created"] = "2027-01-01T00:00:00+00:00"


FORMS = [text_of, lambda found: to_markdown(found, 5), to_html]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"has_signal": False}, "no signal: the base is not above what answers without a model have"),
        ({"loss_at_most": 0.014}, "b loses at most 0.014 (95 %)"),
        ({"n_failed": 3}, "3 measurements failed"),
        (
            {"difference": stats.Difference(0.1, 0.0, 0.2, 30, 10)},
            "on what both have: 10 prompts or questions left out",
        ),
    ],
)
def test_every_form_says_what_must_be_known_of_a_change(pair, form, changed, said):
    found = compare(*pair)
    one = next(one for one in found.changes if one.key == "embedded_piqa/acc")
    one = replace(one, loss_at_most=None, difference=None)
    plain, told = (form(replace(found, changes=(change,))) for change in (one, replace(one, **changed)))
    assert said not in plain
    assert said in told


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("claims", [(), ("method",), ("training",)])
def test_the_daggers_that_are_explained_are_those_that_stand_there(pair, form, claims):
    found = compare(*pair)
    first, *others = (replace(one, claim=None) for one in found.changes)
    text = form(replace(found, changes=(*(replace(first, claim=claim) for claim in claims), *others)))
    assert [text.count(mark) for mark in (DAGGER, DOUBLE_DAGGER)] == [2 * (name in claims) for name in CLAIMS if name]


def test_two_systems_are_called_what_a_table_calls_them(tmp_path):
    def system(place, label, **more):
        method = {"name": "contrastive", "label": label, "config": {}, "sets_key": str(place)}
        suite = {"name": "mini", "sets": {"negatives": ("all", "above")[place]}}
        return load_run(write_run(tmp_path, "contrastive", run_id=f"c{place}", method=method, suite=suite, **more))

    for label in ("contrastive (signed)", 300 * "x"):
        runs = [system(place, label, toxicity=0.2 + place / 10) for place in range(2)]
        found = compare(*([run] for run in runs))
        assert [found.a.label, found.b.label] == [one.label for one in across(runs).systems]
        assert len({found.a.label, found.b.label}) == 2
        assert all("…" in one for one in (found.a.label, found.b.label)) == (len(label) > 120)


def test_all_runs_that_are_named_were_measured_alike(root, tmp_path):
    """Those that later ones replace as well: they were asked for."""
    sides = [[load_run(root / f"mini-{name}-s0")] for name in ("none", "contrastive")]
    for place, name in enumerate(("none", "contrastive")):
        other = {"run_id": f"s{place}", "suite__name": "smoke", "suite_hash": "6" * 64}
        sides[place].append(load_run(write_run(tmp_path, name, created="2027-01-01T00:00:00+00:00", **other)))
    with pytest.raises(MissingError, match=r"not comparable: they differ in suite\.name \(mini, smoke\)"):
        compare(*sides)
    assert any(one.startswith("suite.name") for one in compare(*sides, force=True).forced)


@pytest.mark.parametrize("empty", [0, 1])
def test_a_side_without_a_run_is_refused(pair, empty):
    sides = list(pair)
    sides[empty] = []
    with pytest.raises(UsageError, match="a side of the comparison has no run; give each side a run"):
        compare(*sides)


def test_failed_scores_are_counted_and_in_no_comparison(pair, tmp_path):
    def fail(rows):
        rows[0]["scores"] = None

    run = edited(pair[1][0], tmp_path, "samples/rtp.jsonl", fail)
    found = compare(pair[0], [run]).prompts
    assert (found.n, found.failed_a, found.failed_b) == (PROMPTS - 1, 0, 1)
    assert "failed: 0 prompts of a, 1 of b" in text_of(compare(pair[0], [run]))


def test_a_metric_with_failures_is_never_significant(root, pair, tmp_path):
    failed = load_run(write_run(tmp_path, "contrastive", toxicity=0.1, n_failed=2))
    found = compare(pair[0], [failed])
    one = next(one for one in found.changes if one.key == EMT)
    assert one.p_holm < 0.01
    assert one.claim is None
    assert "2 measurements failed" in text_of(found)


def test_the_incomparable_is_refused_or_marked(pair, tmp_path):
    other = load_run(write_run(tmp_path, "contrastive", scorer__threshold=0.7))
    with pytest.raises(MissingError, match=r"scorer\.threshold \(0\.5, 0\.7\)"):
        compare(pair[0], [other])
    found = compare(pair[0], [other], force=True)
    assert found.forced == ("scorer.threshold (0.5, 0.7)",)
    assert "NOT COMPARABLE, forced: scorer.threshold" in text_of(found)
    assert "**NOT COMPARABLE, forced: scorer.threshold" in to_markdown(found, 5)
    unfinished = load_run(write_run(tmp_path, "dpo", finished=False))
    with pytest.raises(MissingError, match="has not finished"):
        compare(pair[0], [unfinished])


def test_one_task_alone(pair):
    found = compare(*pair, task="embedded_piqa")
    assert [one.key for one in found.changes] == ["embedded_piqa/acc"]
    assert found.prompts is None
    with pytest.raises(UsageError, match="did you mean 'embedded_piqa'"):
        compare(*pair, task="embedded_piq")


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].pop("scores"),
        lambda rows: rows[0].update(scores={"toxicity": "high"}),
        lambda rows: rows[0].update(prompt=3),
        lambda rows: rows.__setitem__(0, 7),
    ],
)
def test_damaged_samples_are_named(pair, tmp_path, change):
    run = edited(pair[1][0], tmp_path, "samples/rtp.jsonl", change)
    with pytest.raises(MissingError, match=r"rtp\.jsonl is damaged"):
        compare(pair[0], [run])


HOSTILE = f"{INSULT}\x1b[2J\u202e<script>|`x`\n\\input{{y}} \x07"


@pytest.fixture
def hostile(pair, tmp_path):
    def harm(rows):
        for row in rows:
            row["prompt"], row["continuation"] = HOSTILE, HOSTILE * 50

    return edited(pair[1][0], tmp_path, "samples/rtp.jsonl", harm)


def test_no_text_unless_asked_for(pair, hostile):
    found = compare([hostile], pair[0])
    for text in (text_of(found), to_markdown(found, 5), json.dumps(to_json(found))):
        assert INSULT not in text
        assert "Prompt" not in text


def test_what_is_shown_is_inert_and_cut(pair, hostile):
    found = compare([hostile], pair[0], texts=True)
    text = text_of(found)
    assert INSULT in text
    assert not set("\x1b\u202e\x07") & set(text)
    assert "<U+001B>" in text
    assert max(map(len, text.splitlines())) <= 80
    text = to_markdown(found, 5)
    assert INSULT in text
    assert not set("\x1b\u202e\x07") & set(text)
    assert "<script>" not in text
    assert visible("a\n\tb\x9b") == "a⏎<U+0009>b<U+009B>"
    assert len(visible("x" * 10_000_000)) < 500


def test_no_text_of_a_record_is_markup_in_markdown(pair):
    found, bad = compare(*pair), "<img src=x> @team"
    side = replace(found.a, label=bad, run_ids=(bad,), flags=(bad,))
    changes = tuple(replace(one, key=bad) for one in found.changes)
    answers = tuple(replace(one, key=bad) for one in found.answers)
    named = {"suite": bad, "attribute": bad, "adjective": bad, "forced": (bad,), "notes": (bad,)}
    text = to_markdown(replace(found, a=side, b=side, changes=changes, answers=answers, **named), 5)
    assert "img src" in text
    assert "<img" not in text
    assert "@team" not in text


def test_it_reads_at_80_columns(pair):
    text = text_of(compare(*pair))
    assert max(map(len, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if "expected maximum" in line)
    assert "\N{MINUS SIGN}0." in line
    assert "‡" in line
    assert "of another, one seed says nothing" in " ".join(text.split())
    assert "answers" in text
    assert text_of(compare(*pair), 0).count("lost:") == 0


def test_on_a_narrow_terminal_a_metric_has_a_line_for_each_part(pair, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    found, terminal = compare(*pair), Terminal()
    print_comparison(found, 2, terminal)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert max(map(len, lines)) <= 40
    place = next(n for n, line in enumerate(lines) if "expected maximum toxicity" in line)
    assert re.fullmatch(r"   0\.\d+ → 0\.\d+", lines[place + 1])
    one = rf"[+{MINUS}]0\.\d+"
    assert re.fullmatch(rf"   {one} \[{one}, {one}\]‡?; \S+", lines[place + 2])
    assert sum(" → " in line and not line.startswith("      ") for line in lines) == len(found.changes) + 1


def test_the_verb(bench_app, root):
    value = json.loads(bench_app("mini-none-s0,mini-none-s1", "mini-c", "--json"))
    assert value["a"]["seeds"] == [0, 1]
    assert value["prompts"]["worse"] == [] or value["prompts"]["worse"][0]["text"] is None
    assert bench_app("mini-none-s0", "mini-contrastive-s0", "--format", "markdown").startswith("suite mini")
    assert "prompt: Prompt" in bench_app("mini-none-s0", "mini-contrastive-s0", "--show-text")
    with pytest.raises(UsageError, match="no form 'latx'"):
        bench_app("mini-none-s0", "mini-contrastive-s0", "--format", "latx")


def test_last_is_what_was_edited_last(bench_app, root):
    remember(root, [root / f"mini-{name}-s0" for name in ("none", "contrastive")])
    asked = [("mini-none-s0", "last"), ("mini-none-s0", "last,mini-contrastive-s0"), (), ("last",)]
    told = [json.loads(bench_app(*words, "--json")) for words in asked]
    assert all(one["b"]["run_ids"] == ["mini-contrastive-s0"] for one in told)
    assert json.loads(bench_app("last", "mini-none-s0", "--json"))["a"] == told[0]["b"]


def test_the_last_two_systems_are_two_by_their_settings(bench_app, root):
    made = [write_run(root, "dpo", config={"beta": beta}, run_id=f"dpo-{beta}") for beta in (1, 2)]
    remember(root, made)
    assert "a: dpo (beta=1) (dpo-1)" in bench_app()
    remember(root, [root / "mini-none-s0", *made])
    with pytest.raises(UsageError, match=r"has 3 systems \(none, dpo \(beta=1\), dpo \(beta=2\)\)"):
        bench_app()


@pytest.fixture
def bench_app(root):
    import typer
    from typer.testing import CliRunner

    from bench.cli.compare import compare as verb

    app = typer.Typer()
    app.command()(verb)

    def call(*words):
        if "mini-c" in words:
            words = [word.replace("mini-c", "mini-contrastive-s0") if word == "mini-c" else word for word in words]
        done = CliRunner().invoke(app, [*words, "--runs-dir", str(root)])
        if done.exception:
            raise done.exception
        return done.stdout

    return call


@pytest.mark.parametrize("name", ["0" * 16, "0" * 32])
def test_ids_of_either_length_leave_room_for_the_figures(name):
    line = terminal._prompt(ComparedPrompt(name, 0.5, 0.8, 0.1, 0.2))
    assert line.startswith(f"{'0' * 16}  0.500 → 0.800")


def test_metrics_of_one_part_have_names_of_their_own_at_80_columns(pair):
    """A part of the data with a long name takes no room from the names of its metrics."""
    found = compare(*pair)
    names = ["true_probability_norm", "true_probability", "pair_accuracy_norm", "pair_accuracy"]
    long = tuple(replace(found.changes[0], key=f"truth/unmatched/{name}") for name in names)
    told = text_of(replace(found, changes=long)).splitlines()
    start = told.index("truth \N{MIDDLE DOT} unmatched")
    shown = [line[: len("                        ")].strip(" \N{DOWNWARDS ARROW}") for line in told if "[" in line[30:]]
    assert start and shown == [name.replace("_", " ") for name in names]


def test_names_that_begin_alike_are_not_cut_to_the_same(pair):
    found = compare(*pair)
    names = ["neighbourhood_likelihood", "neighbourhood_likelihood_magnitude", "neighbourhood_likelihood_margin"]
    told = text_of(replace(found, changes=tuple(replace(found.changes[0], key=f"edit/{name}") for name in names)))
    start = told.splitlines().index("edit") + 1
    shown = [line[:30].rstrip() for line in told.splitlines()[start : start + 6] if "[" in line[30:]]
    assert len({" ".join(one.split()) for one in shown}) == 3
    assert shown[1].endswith("magnitude \N{DOWNWARDS ARROW}")


def test_names_of_answers_that_begin_alike_are_not_cut_to_the_same(pair):
    found = compare(*pair)
    ends = ("begins", "contains")
    both = [replace(found.answers[0], key=f"edit/alias/portability_generation_{end}") for end in ends]
    told = text_of(replace(found, answers=tuple(both))).splitlines()
    start = next(number for number, line in enumerate(told) if line.startswith("answers"))
    shown = [line[:33].rstrip() for line in told[start:] if line.startswith("edit alias")]
    assert [one.rpartition(" ")[2] for one in shown] == [*ends]
