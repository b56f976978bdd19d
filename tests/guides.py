"""What the guides of the documentation show, as files."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
NAMED = re.compile(r"^```\w+\n(# ([\w-]+\.\w+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
ROWS = re.compile(r"`([\w-]+\.jsonl)`[^\n]*\n\n```jsonl\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(page: str, folder: Path) -> list[str]:
    """Write the files that a page shows; their names."""
    text = (DOCS / page).read_text(encoding="utf-8")
    files = {name: block for block, name in NAMED.findall(text)} | dict(ROWS.findall(text))
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return sorted(files)
