"""What of the cache this version does not look at: earlier versions of embedded assets, and old logs of errors."""

import re
import time
from pathlib import Path

from bench.assets.embedded import EMBEDDED, Catalog
from bench.assets.stamp import STAMP

_STEM = re.compile(r"(.+)-[0-9a-f]{8}")
_DAYS = 30
"""How long a log is kept."""


def stale(cache: Path, catalog: Catalog = EMBEDDED) -> list[Path]:
    """Folders of assets of which this version has another, and logs that are old.

    What has no name of an asset, or no seal of ours, is the user's and stays.
    """
    current = {asset.stem for asset in catalog.values()}
    found = [path for kind in ("data", "models") for path in sorted((cache / kind).glob("*-*"))]
    earlier = [
        path
        for path in found
        if (named := _STEM.fullmatch(path.name))
        and named[1] in catalog
        and path.name not in current
        and (path / STAMP).is_file()
    ]
    oldest = time.time() - _DAYS * 24 * 3600
    return earlier + [path for path in sorted((cache / "logs").glob("error-*.log")) if path.stat().st_mtime < oldest]
