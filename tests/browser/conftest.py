"""A browser, and pages to open in it."""

import json
import time

import pytest
from browser.chromium import Missing, resize, start
from browser.hostile import LONG, TEXTS
from synthetic import write_run

from bench.store.runs import list_runs
from reports.page.page import build_page

DESKTOP = 1440


@pytest.fixture(scope="session")
def browser():
    """A browser; where there is none, its tests are skipped, and say what is missing."""
    try:
        chrome = start()
    except Missing as reason:
        pytest.skip(f"no browser: {reason}")
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folders of the base and of two methods, with the answers to four questions."""
    root = tmp_path_factory.mktemp("runs")
    folders = {
        "none": write_run(root, "none"),
        "dpo": write_run(root, "dpo", toxicity=0.4),
        "contrastive": write_run(root, "contrastive", toxicity=0.1, nll=3.1),
    }
    for (name, folder), right in zip(folders.items(), ([1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]), strict=True):
        lines = [
            {"doc_hash": f"q{n}", "filter": "none", "target": "1", "responses": [[-1 - acc, 0], [-1.5, 0]], "acc": acc}
            for n, acc in enumerate(map(float, right))
        ]
        (folder / "samples" / "piqa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        text = [{"doc_hash": "g", "filter": "none", "target": "7", "responses": [f"you idiot {name}"], "em": 1.0}]
        (folder / "samples" / "gsm8k.jsonl").write_text(json.dumps(text[0]) + "\n")
    return folders


@pytest.fixture(scope="session")
def file(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_page(list_runs(runs["none"].parent)).html, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def hostile_file(tmp_path_factory):
    """A page of texts that try to be more than text, one a prompt, and one of 10 MB."""
    root = tmp_path_factory.mktemp("hostile")
    folder = write_run(root, "none", label=TEXTS[1], suite__name=TEXTS[0])
    lines = [
        {"prompt_id": text, "sample": 0, "group": text, "prompt": text, "continuation": text, "scores": {"toxicity": 1}}
        for text in (*TEXTS, "z" * LONG)
    ]
    (folder / "samples" / "rtp.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    answer = {"doc_hash": "q", "filter": "none", "target": TEXTS[1], "responses": [TEXTS[0]], TEXTS[1]: 1.0}
    (folder / "samples" / "gsm8k.jsonl").write_text(json.dumps(answer) + "\n")
    path = tmp_path_factory.mktemp("page") / "hostile.html"
    path.write_text(build_page(list_runs(root), title=TEXTS[0], figures=False).html, encoding="utf-8")
    return path


class Page:
    """The page as a reader uses it."""

    def __init__(self, browser):
        self.browser = browser

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def wait(self, condition):
        end = time.monotonic() + 20
        while not (found := condition()):
            assert time.monotonic() < end, "nothing came of it"
            time.sleep(0.02)
        return found

    def open(self, path, width=DESKTOP):
        resize(self.browser, width)
        self.browser.get(path.as_uri())
        return self

    def read(self):
        """Come to the samples."""
        self.run("document.getElementById('samples').scrollIntoView()")
        self.wait(lambda: self.all("#list > *"))
        return self

    def set(self, name, value):
        """Set a control as a user does, and wait for what it changes."""
        self.run("document.getElementById('list').firstElementChild.dataset.old = ''")
        self.run(
            "const e = document.getElementById(arguments[0]); e[e.type === 'checkbox' ? 'checked' : 'value'] ="
            " arguments[1]; e.dispatchEvent(new Event('input', { bubbles: true }))",
            name,
            value,
        )
        self.wait(lambda: not self.all("[data-old]"))
        return self

    @property
    def status(self):
        return self.one("#status").text

    @property
    def spoken(self):
        """What a screen reader can come upon."""
        tree = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})
        return json.dumps([node.get(key) for node in tree["nodes"] for key in ("name", "value", "description")])


@pytest.fixture
def page(browser, file):
    browser.get_log("browser")  # what an earlier test left
    return Page(browser).open(file)
