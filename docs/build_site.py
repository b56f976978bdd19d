"""Build the documentation's site into the folder `site`: `python docs/build_site.py`, or `tox -e docs`.

Zensical reads one folder of pages. So the pages of this folder and the texts of the repository's root, which stand once
and link to each other as files do, are put together in a temporary folder, with their links as they are there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MOVED = {
    "README.md": "index.md",
    "docs/index.md": "pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Texts whose page on the site is called otherwise than their file, or lies elsewhere."""
_LINK = re.compile(r"(?<=\]\()[\w./-]+\.(?:md|ipynb|svg|png)")


def pages() -> dict[str, str]:
    """Every page of the site by its file's name."""
    files = {*DOCS.glob("*.md"), *(ROOT / name for name in MOVED)}
    texts = {_place(path): _moved(path) for path in sorted(files)}
    return texts | {path.with_suffix(".md").name: _of_notebook(path) for path in sorted(DOCS.glob("*.ipynb"))}


def _place(path: Path) -> str:
    """The page that a text is on the site."""
    name = Path(os.path.normpath(path)).relative_to(ROOT).as_posix()
    return MOVED.get(name, name.removeprefix("docs/").replace(".ipynb", ".md"))


def _moved(path: Path) -> str:
    """A text with its links to other texts and its pictures as they are on the site."""
    return _LINK.sub(lambda link: _place(path.parent / link[0]), path.read_text(encoding="utf-8"))


def _of_notebook(path: Path) -> str:
    """A notebook as a page: its texts, its code, and what this put out."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_shown(output["data"]) for output in cell.get("outputs", ())]
    return "\n\n".join(parts) + "\n"


def _shown(data: dict[str, list[str]]) -> str:
    """One output of a cell, in the richest form that a page can show."""
    for form in ("text/html", "image/svg+xml"):
        if form in data:
            # Markdown is read again after an empty line.
            return "<div>" + re.sub(r"\n\s*\n", "\n", "".join(data[form])) + "</div>"
    return "```\n" + "".join(data["text/plain"]) + "\n```"


def build(site: Path, texts: dict[str, str]) -> None:
    """Build the site of some pages; what lies in the folder gives way.

    Raises:
        CalledProcessError: a page has a warning; what it is stands on stderr.
    """
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        shutil.copy(ROOT / "zensical.toml", work)
        shutil.copytree(DOCS / "images", work / "docs" / "images")
        for name, text in texts.items():
            (work / "docs" / name).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        # The reference reads the sources here, installed or not.
        subprocess.run(command, cwd=work, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)  # noqa: S603
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(work / "site", site)


if __name__ == "__main__":
    try:
        build(ROOT / "site", pages())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
