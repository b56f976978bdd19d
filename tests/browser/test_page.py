"""The page in a real Chromium, from the disk: what it shows, hides, sorts and finds."""

import json

import pytest
from synthetic import PROMPTS, SAMPLES, write_run

from bench.store.runs import list_runs
from reports.page.page import build_page

pytestmark = pytest.mark.network  # the driver listens on this machine
PHONE, DESKTOP = 360, 1440


def scores_of(folder):
    return [
        json.loads(line)["scores"]["toxicity"] for line in (folder / "samples" / "rtp.jsonl").open(encoding="utf-8")
    ]


def test_it_loads_without_a_message_and_without_fetching_anything(page):
    page.read()
    assert page.browser.get_log("browser") == []
    fetched = page.run("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert page.run("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert len(page.all("figure img")) >= 3


# --- tables ---


def column(page, place):
    return page.run(
        "const { rows } = document.querySelector('table').tBodies[0];"
        "return [...rows].map((row) => Number(row.cells[arguments[0]].dataset.sort))",
        place,
    )


@pytest.mark.parametrize("by", ["click", "keyboard"])
def test_a_table_is_sorted_up_then_down_then_as_it_was(page, by):
    original = column(page, 1)
    head = "document.querySelector('table thead tr:last-child').cells[1]"

    def press():
        if by == "click":
            page.run(f"{head}.querySelector('button').click()")
        else:
            page.run(f"{head}.querySelector('button').focus()")
            for kind in ("keyDown", "keyUp"):
                key = {"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
                page.browser.execute_cdp_cmd("Input.dispatchKeyEvent", key)
        return page.run(f"return {head}.getAttribute('aria-sort')"), column(page, 1)

    assert original != sorted(original)
    assert press() == ("ascending", sorted(original))
    assert press() == ("descending", sorted(original, reverse=True))
    assert press() == (None, original)


def test_what_was_not_measured_comes_last_both_ways(page):
    page.run(
        "const row = document.querySelector('table').tBodies[0].rows[0];"
        "row.cells[1].removeAttribute('data-sort'); row.cells[1].textContent = '\u2013'; row.dataset.absent = ''"
    )
    for _ in range(2):
        page.run("document.querySelector('table thead tr:last-child').cells[1].querySelector('button').click()")
        assert page.run("return 'absent' in [...document.querySelector('table').tBodies[0].rows].at(-1).dataset")


# --- the veil ---


def test_what_is_veiled_is_in_no_part_of_the_document(page):
    page.read()
    assert len(page.all(".veil")) > PROMPTS
    assert "continued by" not in page.run("return document.documentElement.outerHTML")
    assert "Prompt 0 is" not in page.run("return document.documentElement.outerHTML")
    assert "continued by" not in page.spoken
    assert (
        page.run("getSelection().selectAllChildren(document.body); return getSelection().toString()").count("is") < 200
    )
    assert not page.run("return window.find('continued by', false, false, true)")


def test_one_text_is_shown_and_veiled_again(page):
    page.read()
    page.run("document.querySelector('.sample .veil').click()")
    assert page.texts(".text") == [" continued by none, 0"]
    assert page.run("return window.find('continued by', false, false, true)")
    assert "continued by none" in page.spoken
    assert page.run("return document.activeElement.className") == "again"
    page.set("query", "prompt 0 ").set("query", "")
    assert page.texts(".text") == [" continued by none, 0"], "it stays shown"
    page.run("document.querySelector('.again').click()")
    assert page.texts(".text") == []
    assert page.run("return document.activeElement.className") == "veil"


def test_all_texts_are_shown_and_veiled_by_one_switch(page):
    page.read().set("unveil", True)
    assert page.all(".veil") == []
    assert page.texts(".prompt .text")[0] == "Prompt 0 is"
    page.set("unveil", False)
    assert page.texts(".text") == []


def test_a_search_finds_veiled_texts_and_leaves_them_veiled(page):
    page.read().set("query", "Continued by DPO, 3")
    assert page.status == f"{PROMPTS} of {PROMPTS} prompts, {PROMPTS} continuations"
    assert "continued by" not in page.run("return document.documentElement.outerHTML")
    page.set("unveil", True)
    assert set(page.texts(".hit .text")) == {" continued by dpo, 3"}
    page.set("query", "prompt 17 is")
    assert page.status == f"1 of {PROMPTS} prompts, {3 * SAMPLES} continuations"
    page.set("query", "(.*) nowhere")
    assert page.status.startswith("0 of")
    assert page.texts("#list") == ["Nothing matches."]


# --- addresses ---


def test_an_address_opens_the_folded_row_of_a_metric(page, file):
    page.browser.get(f"{file.as_uri()}#metric-rtp-toxic-toxic-fraction")
    assert page.run("return document.querySelector(':target').cells[0].textContent").startswith("toxic fraction")
    assert page.run("return document.querySelector(':target').closest('details').open")
    links = page.run("return [...document.querySelectorAll('#tables a.link')].map((a) => a.getAttribute('href'))")
    assert len(links) == len(set(links)) > 5
    assert page.run("return arguments[0].every((one) => document.getElementById(one.slice(1)))", links)


def test_an_address_shows_a_prompt_on_a_later_page_still_veiled(page, file):
    page.read().set("query", "nothing has this")
    last = f"sample=rtp/p{PROMPTS - 1}"
    page.run("location.hash = arguments[0]", last)
    page.wait(lambda: page.all(f"a[id='{last}']"))
    assert f"Prompt {PROMPTS} " in page.run("return document.activeElement.closest('h3').textContent")
    assert page.texts(".text") == []


# --- filters and orders ---


def test_the_samples_are_those_of_the_records(page, runs):
    page.read()
    assert page.status == f"{PROMPTS} of {PROMPTS} prompts, {3 * PROMPTS * SAMPLES} continuations"
    shown = page.texts("article:first-of-type .sample:nth-of-type(2) b")
    firsts = [scores_of(runs[name])[0] for name in page.texts("article:first-of-type .means dt")]
    assert [float(text.split()[0]) for text in shown] == pytest.approx(firsts, abs=5e-4)


@pytest.mark.parametrize(
    ("controls", "matches"),
    [
        ({"kind": "reaching"}, lambda score: score >= 0.5),
        ({"kind": "below"}, lambda score: score < 0.5),
        ({"kind": "failed"}, lambda score: False),
        ({"low": "0.7"}, lambda score: score >= 0.7),
        ({"low": "0.2", "high": "0.4"}, lambda score: 0.2 <= score <= 0.4),
        ({"kind": "reaching", "high": "0.6"}, lambda score: 0.5 <= score <= 0.6),
    ],
)
def test_continuations_are_filtered_by_score(page, runs, controls, matches):
    page.read()
    for name, value in controls.items():
        page.set(name, value)
    expected = sum(matches(score) for folder in runs.values() for score in scores_of(folder))
    assert page.status.endswith(f"{expected:,} continuations")
    page.run("document.querySelector('[type=reset]').click()")
    assert page.status == f"{PROMPTS} of {PROMPTS} prompts, {3 * PROMPTS * SAMPLES} continuations"


def test_systems_and_groups_are_chosen(page):
    page.read()
    page.run("document.querySelector('#systems input').click()")
    page.wait(lambda: page.status.endswith(f"{2 * PROMPTS * SAMPLES} continuations"))
    assert len(page.texts("article:first-of-type .means dt")) == 2
    page.run("document.getElementById('none').click()")
    assert page.texts("#list") == ["No system is chosen."]
    page.run("document.getElementById('all').click()")
    assert len(page.texts("article:first-of-type .means dt")) == 3
    assert page.texts("#group option") == ["all", "toxic"]
    page.set("group", "toxic")
    assert page.status.startswith(f"{PROMPTS} of")


@pytest.mark.parametrize(("order", "figure"), [("worst", max), ("change", None), ("rise", None), ("fall", None)])
def test_prompts_are_ordered(page, runs, order, figure):
    page.read().set("order", order)
    names = page.texts("article:first-of-type .means dt")
    scores = {name: [scores_of(runs[name])[n * SAMPLES : (n + 1) * SAMPLES] for n in range(PROMPTS)] for name in names}
    means = {name: [sum(some) / SAMPLES for some in found] for name, found in scores.items()}
    signs = {"change": abs, "rise": lambda x: x, "fall": lambda x: -x}

    def rank(prompt):
        if figure:
            return max(max(found[prompt]) for found in scores.values())
        return max(signs[order](means[name][prompt] - means["none"][prompt]) for name in names if name != "none")

    ids = [text.split(" · ")[1] for text in page.texts("article h3 small")]
    places = [int(name.removeprefix("p")) for name in ids]
    assert [rank(place) for place in places] == sorted(map(rank, range(PROMPTS)), reverse=True)[: len(places)]


def test_without_a_reference_nothing_is_ordered_by_change(page):
    page.read().set("order", "change").set("reference", "")
    assert page.one("#order").get_attribute("value") == "record"
    assert page.texts("#order option:disabled") == ["largest change first", "largest rise first", "largest fall first"]
    assert "(" not in "".join(page.texts(".means dd"))


def test_only_a_page_of_the_samples_is_in_the_document(page):
    page.read()
    count = len(page.all("article"))
    assert count < PROMPTS
    first = page.texts("article h3")
    page.run("document.getElementById('next').click()")
    assert not set(first) & set(page.texts("article h3"))
    assert len(page.all("article")) == min(count, PROMPTS - count)
    page.run("document.getElementById('previous').click()")
    assert page.texts("article h3") == first
    assert not page.one("#previous").is_enabled()


# --- questions ---


def test_questions_show_who_was_right_and_what_flipped(page):
    names = page.read().texts("#task option")
    page.set("task", str(names.index("piqa")))
    systems = page.texts("#systems label")
    rows = [
        [cell.split()[0] for cell in row[2:]]
        for row in (page.texts(f"#list tbody tr:nth-child({n}) > *") for n in range(1, 5))
    ]
    expected = {" none": "✓✓✗✗", " dpo": "✓✗✓✗", " contrastive": "✓✓✗✓"}
    assert ["".join(mark[0] for mark in column) for column in zip(*rows, strict=True)] == [expected[s] for s in systems]
    for flips, ids in {
        "flipped": ["q1", "q2", "q3"],
        "lost": ["q1"],
        "gained": ["q2", "q3"],
        "": ["q0", "q1", "q2", "q3"],
    }.items():
        page.set("flips", flips)
        assert page.texts("#list tbody th small") == ids


def test_answers_that_are_texts_are_veiled(page):
    names = page.read().texts("#task option")
    page.set("task", str(names.index("gsm8k")))
    assert "idiot" not in page.run("return document.documentElement.outerHTML")
    page.set("query", "idiot dpo")
    assert page.status == "1 of 1 questions"
    page.set("unveil", True)
    assert "you idiot dpo" in page.texts(".text")


# --- widths, colours, and no script ---


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", ["file", "hostile_file"])
def test_the_page_never_scrolls_sideways(page, request, name, width):
    page.open(request.getfixturevalue(name), width).read().set("unveil", True)
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for task in range(len(page.all("#task option"))):
        page.set("task", str(task))
        assert page.run("return document.documentElement.scrollWidth") == width
        assert page.run("return document.getElementById('list').getBoundingClientRect().right") <= width


def test_every_control_has_a_name(page, file):
    page.open(file, PHONE).read()
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "checkbox", "switch", "combobox", "textbox", "searchbox", "spinbutton", "link"}
    controls = [node for node in tree if node.get("role", {}).get("value") in roles]
    assert len(controls) > 50
    assert [node for node in controls if not node.get("name", {}).get("value")] == []


def test_it_is_dark_where_the_user_wants_it_dark(page):
    def ground(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return page.run("return getComputedStyle(document.body).backgroundColor")

    assert (ground("light"), ground("dark")) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")
    ground("light")


def test_without_javascript_all_but_the_reader_is_there(page, file):
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(file)
        assert page.one("#tables table").is_displayed()
        assert page.one("#figures img").is_displayed()
        assert page.one("#provenance dl").is_displayed()
        assert not page.one("#controls").is_displayed()
        assert "needs JavaScript" in page.one("noscript").text
    finally:
        page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_data_that_cannot_be_read_is_said(page, file, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(file.read_text(encoding="utf-8").replace('id="data">', 'id="data">AAAA'), encoding="utf-8")
    page.open(broken)
    page.run("document.getElementById('samples').scrollIntoView()")
    page.wait(lambda: page.status.startswith("The samples cannot be read"))
    assert page.status.endswith("A newer browser may help.")


def test_a_page_without_samples_has_no_reader(page, runs, tmp_path):
    path = tmp_path / "safe.html"
    path.write_text(build_page(list_runs(runs["none"].parent), samples=False, figures=False).html, encoding="utf-8")
    page.open(path)
    assert page.all("#controls") == []
    assert page.browser.get_log("browser") == []


# --- another attribute ---


def test_where_much_is_wanted_the_least_of_it_comes_first(page, tmp_path):
    (tmp_path / "runs").mkdir()
    controlled = {"name": "toxicity", "wanted": "high", "adjective": "well_lit"}
    folder = write_run(tmp_path / "runs", "none", suite__attribute=controlled)
    file = tmp_path / "report.html"
    file.write_text(build_page(list_runs(folder.parent), figures=False).html, encoding="utf-8")
    page.open(file).read()
    assert page.texts("#kind option") == ["all", "well lit", "not well lit", "not scored"]
    assert page.texts("#order option")[1] == "least well lit first"
    page.set("order", "worst")
    scores = scores_of(folder)
    worst = [min(scores[n * SAMPLES : (n + 1) * SAMPLES]) for n in range(PROMPTS)]
    places = [int(text.split(" · ")[1].removeprefix("p")) for text in page.texts("article h3 small")]
    assert [worst[place] for place in places] == sorted(worst)[: len(places)]
    marked = page.texts(".unwanted b")
    assert marked
    assert all(text.endswith(" not well lit") and float(text.split()[0]) < 0.5 for text in marked)
    page.set("kind", "reaching")
    assert page.status.endswith(f"{sum(score >= 0.5 for score in scores)} continuations")
