"""The page as a file: what is in it, what is never in it, and that hostile records stay text."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from functools import partial
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import PROMPTS, SAMPLES, write_run

from bench.errors import MissingError, UsageError
from bench.store.runs import list_runs, load_run
from bench.store.samples import read_samples
from reports.page.chosen import choose
from reports.page.page import build_page as build_whole
from reports.page.samples import count, gather, pack
from reports.page.text import LONGEST, shown, visible
from reports.table.build import build
from reports.table.forms.csv import to_csv
from reports.table.forms.latex import LatexOptions, to_latex
from reports.table.forms.markdown import to_markdown
from reports.table.layout import arrange, load_layout

HOSTILE = {
    "script": "</script><script>window.__pwned = 1</script>",
    "comment": "<!-- <script> --!> <!--",
    "handler": '"><img src=x onerror="window.__pwned = 1">',
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "nul": "a\x00b\x7f\x9b",
    "bidi": "\u202eabc\u2066d\u200f",
    "separator": "a\u2028b\u2029c",
    "unseen": "a\u200bb\ufeffc\u00ad",
    "surrogate": "a\ud800b",
    "latex": "\\input{/etc/passwd} $x$ ${HOME}",
}
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


build_page = partial(build_whole, figures=False)


class Elements(HTMLParser):
    """Counts elements and collects the attributes that a browser acts on."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.handlers, self.addresses, self.texts = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data):
        self.texts.append(data)


def data_of(html):
    """What the reader reads."""
    packed = re.search(r'<script type="application/octet-stream" id="data">([^<]*)</script>', html)
    return json.loads(gzip.decompress(base64.b64decode(packed[1]))) if packed else None


def add(folder, task, *rows):
    path = folder / "samples" / f"{task}.jsonl"
    with path.open("a", encoding="utf-8", errors="surrogatepass") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))


def continuation(text, prompt="A prompt", name="x", sample=0, score=0.9, **more):
    scores = None if score is None else {"toxicity": score}
    return {"prompt_id": name, "sample": sample, "group": "toxic", "prompt": prompt, "continuation": text} | {
        "scores": scores,
        **more,
    }


def question(name, acc, responses=None, **more):
    given = responses or [[-2.0, False], [-1.0, True]]
    return {"doc_hash": name, "filter": "none", "target": "1", "responses": given, "acc": acc, **more}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Runs of the base and a method; not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root, "none")
    write_run(root, "contrastive", toxicity=0.2, nll=3.1)
    return root


@pytest.fixture(scope="module")
def page(written):
    return build_page(list_runs(written))


@pytest.fixture
def root(written, tmp_path):
    """The same runs, a test's own."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def texts_of(runs, task="rtp"):
    return next(one for one in gather(runs) if one["name"] == task)


# --- the file ---


def test_it_needs_nothing_but_itself(page):
    elements = Elements(page.html)
    assert all(address.startswith(("#", "data:")) for address in elements.addresses)
    assert elements.handlers == []
    assert not re.search(r"https?://(?!www\.w3\.org/)", page.html)
    assert elements.tags.count("script") == 2
    assert "default-src 'none'" in page.html


def test_its_policy_names_the_script_and_style_that_are_in_it(page):
    for tag in ("script", "style"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page.html


def test_the_same_records_give_the_same_page(root, page):
    assert build_page(list_runs(root)[::-1]).html == page.html


def test_no_text_of_a_sample_can_be_read_in_it(page):
    """Nor by who looks at the source: not before the reader is asked."""
    assert "continued by" not in page.html
    assert "Prompt 3 is" not in page.html
    assert "continued by" in str(data_of(page.html))


def test_without_samples_there_are_none(root):
    page = build_page(list_runs(root), samples=False)
    assert page.num_samples == 0
    assert data_of(page.html) is None
    assert "left out of this page" in page.html
    assert "controls" not in Elements(page.html).tags
    assert 'id="list"' not in page.html


def test_runs_without_samples_are_said_to_have_none(root):
    for path in root.glob("*/samples/*.jsonl"):
        path.unlink()
    page = build_page(list_runs(root))
    assert (page.num_samples, data_of(page.html)) == (0, None)
    assert "have no samples" in page.html


def test_a_page_without_the_base_compares_nothing(tmp_path):
    write_run(tmp_path, "contrastive")
    page = build_page(list_runs(tmp_path))
    assert page.systems == ("contrastive",)
    assert data_of(page.html)["reference"] is None


def test_the_reference_is_the_one_asked_for(root):
    assert data_of(build_page(list_runs(root)).html)["reference"] == 0
    assert data_of(build_page(list_runs(root), against="contrastive").html)["reference"] == 1
    with pytest.raises(UsageError, match="no column"):
        build_page(list_runs(root), against="nosuch")


def test_incomparable_runs_are_refused(root):
    write_run(root, "dpo", scorer__threshold=0.7)
    with pytest.raises(MissingError, match="not comparable"):
        build_page(list_runs(root))


def test_an_unfinished_run_is_left_out_and_named(root):
    write_run(root, "dpo", finished=False, run_id="half-a-run")
    page = build_page(list_runs(root))
    assert "dpo" not in page.systems
    assert "half-a-run" in page.html


def test_what_is_not_publishable_is_said_at_the_top(root):
    assert "Not publishable" not in build_page(list_runs(root)).html
    write_run(root, "dpo", n_failed=3)
    head, _, rest = build_page(list_runs(root)).html.partition("<main>")
    assert "Not publishable" in head
    assert "Not publishable" in rest


# --- provenance ---


def test_the_sentences_of_the_verdict_are_whole_however_many_systems_they_list(tmp_path):
    write_run(tmp_path, "none", toxicity=0.9)
    labels = [f"dpo (tau={'1' * 90}{place})" for place in range(6)]
    for place, label in enumerate(labels):
        write_run(tmp_path, "dpo", toxicity=0.1, label=label, config={"tau": place}, run_id=f"d{place}")
    html = unescape(build_whole(list_runs(tmp_path)).html)
    verdict = html[html.index('<ul class="verdict">') : html.index("</ul>")]
    assert all(label in verdict.rpartition("<li>")[2] for label in labels)
    assert "\N{HORIZONTAL ELLIPSIS}" not in verdict


def test_it_says_where_everything_comes_from(root):
    run = load_run(write_run(root, "dpo", code={"hash": "f" * 64, "commit": "0123abc", "dirty": True}))
    html = build_page(list_runs(root)).html
    manifest = run.manifest
    for value in (manifest.model["sha256"], manifest.scorer["hash"], manifest.data[0]["sha256"], manifest.suite_hash):
        assert value in html
    for value in (run.id, manifest.created, "0123abc", "explicit toxicity (linear SVM), toxic from 0.5", "top p 0.9"):
        assert value in html


def test_each_scorer_stands_beside_what_it_makes_of_peoples_labels(tmp_path):
    figure = {"value": 0.69, "low": 0.61, "high": 0.76, "n": 200}
    further = {"mine": {"name": "mine", "label": "mine", "hash": "0", "threshold": 0.5}}
    write_run(tmp_path, "none", scorer__by_people={"toxigen_200": {"auc": figure}}, further=further)
    html = build_page(list_runs(tmp_path)).html
    assert re.search(r'<th scope="row">svm</th><td>toxigen_200</td>.*<td>0.69 \[0.61, 0.76\]</td></tr>', html)
    assert re.search(r'<th scope="row">mine</th><td>no figures: see .{1,6}bench scorers check', html)


def test_code_that_differs_is_told_with_the_runs_that_it_is_of(root):
    write_run(root, "dpo", code={"commit": "0123abc"})
    html = build_page(list_runs(root)).html
    assert "Code of mini-dpo-s0" in html
    assert "<h3>Packages</h3>" in html


# --- figures ---


def test_figures_are_images_that_hold_all_they_need(root):
    write_run(root, "dpo", label=HOSTILE["handler"])
    elements = Elements(build_whole(list_runs(root)).html)
    assert elements.tags.count("img") >= 3
    assert "svg" not in elements.tags
    assert elements.handlers == []
    for address in elements.addresses:
        kind, _, packed = address.partition(";base64,")
        if kind == "data:image/svg+xml":
            drawn = Elements(base64.b64decode(packed).decode())
            assert "script" not in drawn.tags
            assert [name for name in drawn.handlers if name != "style"] == []
            assert all(one.startswith(("#", "data:image/png")) for one in drawn.addresses)


def test_a_figure_that_cannot_be_drawn_is_named_with_the_reason(tmp_path):
    write_run(tmp_path, "contrastive")
    html = build_whole(list_runs(tmp_path)).html
    assert "Toxicity against utility: there is no run of the base" in html


def test_the_figure_of_the_verdict_stands_on_the_first_screen_and_nowhere_else(root):
    html = build_whole(list_runs(root)).html
    head, _, rest = html.partition("</header>")
    assert "<strong>Toxicity against utility</strong>" in head
    assert "<strong>Toxicity against utility</strong>" not in rest
    assert "<figure>" not in build_page(list_runs(root)).html.partition("</header>")[0]


def test_each_table_can_be_taken_home_as_it_is_made_elsewhere(root):
    write_run(root, "dpo", label="</textarea><b>")
    runs = list_runs(root)
    areas = [
        unescape(one) for one in re.findall(r"<textarea [^>]*>\n(.*?)</textarea>", build_page(runs).html, re.DOTALL)
    ]
    table = build(runs, wanted=lambda _: True)
    sheet = arrange(table, load_layout("summary").model_copy(update={"systems": "rows"}))
    assert areas[0] == to_latex(sheet, LatexOptions(bare=True))
    assert areas[1] == to_markdown(sheet)
    assert areas[-1] == to_csv(table)


def test_each_table_has_its_own_legend_and_all_share_the_footnotes(root):
    write_run(root, "dpo", n_failed=1)
    runs = list_runs(root)
    parts = build_page(runs, samples=False, figures=False).html.split('<div class="sheet">')[1:]
    table = build(runs, wanted=lambda _: True)
    names = ("summary", "toxicity", "utility", "cost", "full")
    assert len(parts) == len(names)
    for part, name in zip(parts, names, strict=True):
        legend = arrange(table, load_layout(name).model_copy(update={"systems": "rows"})).legend
        own = re.search(r'</table>.*?<div class="notes">(.*?)</div>', part, re.DOTALL)[1]
        assert [unescape(line) for line in re.findall(r"<p>(.*?)</p>", own)] == list(legend)
    notes = [re.findall(r"<li>[^<]*observations failed", part) for part in parts]
    assert [len(some) for some in notes] == [0, 0, 0, 0, 1]


# --- samples ---


def test_each_system_has_every_continuation_in_its_row(root):
    runs = [[run] for run in list_runs(root)]
    found = texts_of(runs)
    prompts, seeds, samples = found["rows"]
    assert len(prompts) == PROMPTS * SAMPLES
    assert list(zip(prompts, seeds, samples, strict=True)) == sorted(zip(prompts, seeds, samples, strict=True))
    for (run,), system in zip(runs, found["systems"], strict=True):
        rows = {
            (found["ids"].index(sample.prompt_id), sample.sample): sample
            for sample in read_samples(run.path / "samples" / "rtp.jsonl")
        }
        for prompt, sample, text, score in zip(prompts, samples, system["texts"], system["scores"], strict=True):
            assert text == rows[prompt, sample].continuation
            assert score == rows[prompt, sample].scores["toxicity"]


def test_seeds_are_rows_of_their_own_and_what_was_not_sampled_is_null(tmp_path):
    runs = [[load_run(write_run(tmp_path, "none", seed)) for seed in (0, 1)], [load_run(write_run(tmp_path, "dpo", 1))]]
    found = texts_of(runs)
    assert len(found["rows"][0]) == 2 * PROMPTS * SAMPLES
    base, dpo = found["systems"]
    assert None not in base["texts"]
    assert [text is None for text in dpo["texts"]] == [seed == 0 for seed in found["rows"][1]]


@pytest.mark.parametrize("score", [float("nan"), True, "0.1"])
def test_a_score_that_is_no_number_is_damage(root, score):
    add(root / "mini-none-s0", "rtp", continuation("text", score=score))
    with pytest.raises(MissingError, match=rf"rtp\.jsonl is damaged \(line {PROMPTS * SAMPLES + 1}.*--no-samples"):
        texts_of([[load_run(root / "mini-none-s0")]])


def test_a_score_that_failed_is_null_and_never_0(root):
    add(root / "mini-none-s0", "rtp", continuation("text", score=None))
    found = texts_of([[load_run(root / "mini-none-s0")]])
    assert found["systems"][0]["scores"][-1] is None
    assert found["systems"][0]["texts"][-1] == "text"


def test_questions_keep_what_was_answered_and_whether_it_was_right(root):
    add(root / "mini-none-s0", "embedded_piqa", question("q1", 1.0), question("q2", 0.0))
    add(root / "mini-contrastive-s0", "embedded_piqa", question("q2", 1.0, [[-1.0, False], [-2.0, False]]))
    runs = [[load_run(root / f"mini-{name}-s0")] for name in ("none", "contrastive")]
    found = texts_of(runs, "embedded_piqa")
    assert (found["kind"], found["ids"], found["metrics"]) == ("questions", ["q1", "q2"], ["acc"])
    base, other = (system["runs"][0] for system in found["systems"])
    assert (base["answers"], base["values"]) == ([1, 1], [[1.0, 0.0]])
    assert (other["answers"], other["values"]) == ([None, 0], [[None, 1.0]])


def test_generated_answers_are_texts_and_each_filter_is_a_task(root):
    rows = [question("q1", 1.0, ["42\x1b[1m"], filter=name) for name in ("strict", "none")]
    add(root / "mini-none-s0", "gsm8k", *rows)
    found = gather([[load_run(root / "mini-none-s0")]])
    assert [task["name"] for task in found] == ["rtp", "gsm8k (strict)", "gsm8k"]
    assert found[1]["systems"][0]["runs"][0]["answers"] == [visible("42\x1b[1m")]


def test_lines_of_another_kind_are_left_out(root):
    add(root / "mini-none-s0", "other", {"anything": 1})
    assert [task["name"] for task in gather([[load_run(root / "mini-none-s0")]])] == ["rtp"]


def test_of_too_many_samples_whole_prompts_are_taken_the_same_for_all_systems(root):
    runs = list_runs(root)
    num_systems, whole = len(runs), len(runs) * PROMPTS * SAMPLES
    page = build_page(runs, most=whole // 3)
    assert 0 < page.num_samples <= whole // 3
    assert (page.of, page.num_samples % (num_systems * SAMPLES)) == (whole, 0)
    assert f"{page.num_samples:,} of {whole:,} samples" in page.html
    chosen = choose([[run] for run in runs], whole // 3)
    assert chosen == choose([[run] for run in reversed(runs)], whole // 3)
    (task,) = gather([[run] for run in runs], chosen)
    assert set(task["ids"]) == chosen.kept["rtp"]
    assert None not in [text for system in task["systems"] for text in system["texts"]]
    every = build_page(runs, most=0)
    assert (every.num_samples, every.of) == (whole, whole)
    assert "samples</strong> are on this page" not in every.html


def test_a_file_may_hold_texts_and_questions_and_samples_without_a_number(root):
    bare = [{key: value for key, value in continuation(f"t{n}").items() if key != "sample"} for n in range(3)]
    add(root / "mini-none-s0", "both", *bare, question("q", 1.0))
    found = {one["name"]: one for one in gather([[load_run(root / "mini-none-s0")]])}
    assert set(found) == {"rtp", "both", "both (questions)"}
    assert count([found["both"]]) == 3
    assert count([found["both (questions)"]]) == 1


def test_a_line_that_was_cut_off_is_left_out_and_a_damaged_one_is_told(root):
    path = root / "mini-none-s0" / "samples" / "rtp.jsonl"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"prompt_id": "p', encoding="utf-8")
    assert len(list(read_samples(path))) == PROMPTS * SAMPLES
    for damage in ("no json\n", "[1]\n", "[" * 100_000 + "\n"):
        path.write_text(whole + damage, encoding="utf-8")
        with pytest.raises(MissingError, match=rf"rtp\.jsonl is damaged \(line {PROMPTS * SAMPLES + 1}"):
            list(read_samples(path))


def test_the_count_is_of_texts_and_answers(root, page):
    assert page.num_samples == 2 * PROMPTS * SAMPLES
    add(root / "mini-none-s0", "embedded_piqa", question("q1", 1.0), question("q2", 0.0))
    assert build_page(list_runs(root)).num_samples == 2 * PROMPTS * SAMPLES + 2


# --- hostile records ---


@given(st.text(st.characters(codec=None), max_size=60))
def test_a_visible_text_neither_steers_nor_hides(text):
    assert not STEERING.search(visible(text))
    assert visible(visible(text)) == visible(text)


def test_what_steers_is_shown_as_its_number():
    open_, close = visible("\x1b").split("U+001B")
    assert visible("a\x00b\u202ec\ud800") == f"a{open_}U+0000{close}b{open_}U+202E{close}c{open_}U+D800{close}"


def test_ordinary_text_of_any_script_stays_as_it_is():
    text = "naïve 日本語 العربية עברית 👩\u200d🔬 e\u0301\n\ttab"
    assert visible(text) == text


def test_a_long_text_is_cut_and_says_how_much_is_left_out():
    found = shown("x" * 10_000_000)
    assert (len(found.text), found.left_out) == (LONGEST, 10_000_000 - LONGEST)
    assert shown("x" * LONGEST).left_out == 0


def test_hostile_continuations_prompts_and_answers_are_only_data(root, page):
    for text in HOSTILE.values():
        add(root / "mini-none-s0", "rtp", continuation(text, prompt=text, name=text))
        add(root / "mini-none-s0", "gsm8k", question(text, 1.0, [text], target=text, **{f"metric {text}": 1.0}))
    html = build_page(list_runs(root)).html
    assert Elements(html).tags == Elements(page.html).tags
    assert not STEERING.search(html)
    found = data_of(html)
    assert not STEERING.search(json.dumps(found, ensure_ascii=False))
    assert found["tasks"][0]["prompts"][PROMPTS:] == [visible(text) for text in HOSTILE.values()]


def tags_of(root, text):
    """Elements of a page of one run with this text in every place where a record has one."""
    config = {"key": 1} if text == HOSTILE["surrogate"] else {f"key {text}": f"value {text}"}  # it cannot be hashed
    more = {"label": f"label {text}", "config": config, "suite__name": f"suite {text}", "decoding__top_p": text}
    more |= {"scorer__label": text, "model__id": text, "model__licence": text, "hardware": {text: text}}
    more |= {"data": [{"id": text, "sha256": text, "licence": text}], "code": {"commit": text}}
    path = write_run(root, "none", run_id="run", **more) / "manifest.json"
    manifest = json.loads(path.read_bytes().decode(errors="surrogatepass"))
    path.write_text(json.dumps(manifest), encoding="utf-8")  # escaped: half a pair can stand in a JSON file only so
    html = build_page(list_runs(root), title=f"title {text}").html
    assert not STEERING.search(html)
    return Elements(html)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    return tags_of(tmp_path_factory.mktemp("harmless"), "x")


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_string_anywhere_in_a_record_is_only_text(tmp_path, harmless, kind):
    found = tags_of(tmp_path, HOSTILE[kind])
    assert found.tags == harmless.tags
    assert found.handlers == []


def test_a_line_of_10_mb_makes_no_large_page(root):
    add(root / "mini-none-s0", "rtp", continuation("idiot " * 1_700_000, prompt="y" * 10_000_000))
    page = build_page(list_runs(root))
    found = data_of(page.html)["tasks"][0]
    row = str(len(found["rows"][0]) - 1)
    assert found["systems"][0]["left_out"] == {row: 10_200_000 - LONGEST}
    assert found["prompts_left_out"] == {str(PROMPTS): 10_000_000 - LONGEST}
    assert len(page.html) < 1_000_000


def test_packed_data_cannot_end_a_script():
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", pack(list(HOSTILE.values())))
    assert pack({"a": [1, None]}) == pack({"a": [1, None]})
