"""What cannot happen in a page, whatever stands in a record: in a real Chromium."""

import pytest
from browser.hostile import LONG, TEXTS

from reports.page.text import LONGEST, visible

pytestmark = pytest.mark.network  # the driver listens on this machine
ATTEMPTS = {
    "script": "const s = document.createElement('script'); s.append('window.__pwned = 1'); document.body.append(s)",
    "handler": "const b = document.createElement('button'); b.setAttribute('onclick', 'window.__pwned = 1');"
    "document.body.append(b); b.click()",
    "markup": "document.body.innerHTML = '<img src=x onerror=\"window.__pwned = 1\">'",
    "address": "const a = document.createElement('a'); a.href = 'javascript:window.__pwned = 1';"
    "document.body.append(a); a.click()",
    "frame": "const f = document.createElement('iframe'); f.src = 'data:text/html,x'; document.body.append(f)",
    "picture": "const i = new Image(); i.src = 'http://127.0.0.1:1/x.png'; document.body.append(i)",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_its_policy_lets_nothing_else_run_or_load(page, attempt):
    """Even where something had got into the document."""
    page.run(f"try {{ {ATTEMPTS[attempt]} }} catch (error) {{ console.error(error.message) }}")
    told = page.wait(lambda: [entry["message"] for entry in page.browser.get_log("browser")])
    assert any("Content Security Policy" in one or "Trusted" in one for one in told), told
    assert page.run("return window.__pwned === undefined")


def test_hostile_texts_are_shown_as_what_they_are(page, hostile_file):
    page.open(hostile_file).read()
    page.set("unveil", True)
    expected = [visible(text) for text in TEXTS]
    assert page.texts(".prompt .text")[: len(TEXTS)] == expected
    assert page.texts(".sample .text")[: len(TEXTS)] == expected
    assert page.run(
        "return [...document.querySelectorAll('.text')].every((e) => e.tagName === 'BDI' && !e.children.length)"
    )


def test_hostile_texts_do_nothing(page, hostile_file):
    page.open(hostile_file).read()
    for task in range(len(page.all("#task option"))):
        page.set("task", str(task)).set("unveil", True).set("unveil", False)
    assert page.run("return window.__pwned === undefined")
    assert page.browser.get_log("browser") == []
    assert page.run("return document.scripts.length") == 1, "the data's own element goes when it is read"
    assert page.run("return document.querySelectorAll('main :is(iframe, object, embed, svg, link, style)').length") == 0
    assert page.browser.title == TEXTS[0]


def test_a_text_of_10_mb_is_cut_and_says_so(page, hostile_file):
    page.open(hostile_file).read()
    assert f"show {LONG:,} characters" in page.texts(".veil")[-1]
    page.set("unveil", True)
    assert page.texts(".text")[-1] == "z" * LONGEST
    assert f"{LONG - LONGEST:,} characters more are left out" in page.texts("article")[-1]


def test_a_text_cannot_draw_outside_its_place(page, hostile_file):
    page.open(hostile_file).read()
    page.set("unveil", True)
    assert page.run(
        "return [...document.querySelectorAll('.text')].every((e) => getComputedStyle(e).contain === 'paint')"
    )
    assert page.run("return Math.max(...[...document.querySelectorAll('.text')].map((e) => e.offsetHeight))") <= 24 * 16
