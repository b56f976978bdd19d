"""The README as a package index shows it, where links to files of the repository would lead nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)")
_PICTURE = re.compile("!" + _RELATIVE.pattern)


def for_index(text: str, source: str | None) -> str:
    """A Markdown text whose relative links and pictures are those of the repository at an address.

    Without an address, the words of a link are left, and nothing of a picture.
    """
    text = _PICTURE.sub(rf"![\1]({source}/raw/main/\2)" if source else "", text)
    return _RELATIVE.sub(rf"[\1]({source}/blob/main/\2)" if source else r"\1", text)


class Readme(MetadataHookInterface):
    """Puts it into the metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the field `readme`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        shown = for_index(text, metadata.get("urls", {}).get("Source"))
        metadata["readme"] = {"content-type": "text/markdown", "text": shown}
