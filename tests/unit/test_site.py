"""The documentation's site holds every page and is built strictly; the README is whole on a package index too."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from bench import api

ROOT = Path(__file__).parents[2]
RELATIVE = re.compile(r"\]\((?!\w+:|#)[^)]+\)")


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def site():
    return module("docs/build_site.py")


def leaves(nav) -> list[str]:
    """The pages that a navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in leaves(part)]


def test_every_page_is_in_the_navigation_once(site):
    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(leaves(nav)) == sorted(site.pages())


def test_the_site_is_built_without_a_warning(site, tmp_path):
    site.build(tmp_path / "site", site.pages())
    built = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert built == {Path(name).stem for name in site.pages()} | {"404"}
    reference = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    names = {*api.__all__} - {"BenchError", "MissingError", "UsageError"}
    assert [name for name in names if f'id="bench.api.{name}"' not in reference] == []
    for page in ("index", "figures", "report"):
        html = (tmp_path / "site" / f"{page}.html").read_text(encoding="utf-8")
        shown = re.findall(r'<img[^>]* src="(images/[^"]+)"', html)
        assert shown
        assert [name for name in shown if not (tmp_path / "site" / name).is_file()] == []
    assert 'href="index.html' in (tmp_path / "site" / "quickstart.html").read_text(encoding="utf-8")


def test_a_warning_ends_the_build(site, tmp_path, capfd):
    with pytest.raises(subprocess.CalledProcessError):
        site.build(tmp_path / "site", {"index.md": "# Page\n\n[a](nowhere.md) [b](#no-such-part)\n"})
    told = capfd.readouterr().err
    assert "page does not exist" in told
    assert "anchor does not exist" in told
    assert not (tmp_path / "site").exists()


def test_a_name_that_the_code_lacks_ends_the_build(site, tmp_path, capfd):
    with pytest.raises(subprocess.CalledProcessError):
        site.build(tmp_path / "site", {"index.md": "# Page\n\n::: bench.api.nothing\n"})
    assert "Could not collect" in capfd.readouterr().err


def test_links_of_the_readme_are_whole_on_a_package_index():
    hook = module("hatch_build.py")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert RELATIVE.search(readme)
    words = hook.for_index(readme, None)
    assert not RELATIVE.search(words)
    assert "All pages: docs." in words
    addressed = hook.for_index(readme, "https://example.org/bench")
    assert not RELATIVE.search(addressed)
    assert "[docs](https://example.org/bench/blob/main/docs/index.md)" in addressed
    assert "](https://example.org/bench/raw/main/docs/images/perplexities.svg)" in addressed
    assert not re.search(r"/blob/[^)]*\.(svg|png)\)", addressed)
    assert not re.search(r"^!", words, re.MULTILINE)
    assert hook.for_index("![x](y.png) ![a](https://b.org/c.png)", None) == " ![a](https://b.org/c.png)"
    assert hook.for_index("[a](https://b.org) [c](#d)", None) == "[a](https://b.org) [c](#d)"
