"""pip with the lowest versions that pyproject.toml allows: what `tox -e lowest` installs by.

python tests/lowest.py install ARGUMENTS OF PIP...
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

_BOUND = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)")


def lowest(pyproject: str) -> list[str]:
    """A line `NAME==VERSION` for each dependency, that of an extra too, with its lowest version."""
    project = tomllib.loads(pyproject)["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return [f"{found[1]}=={found[2]}" for one in wanted if (found := _BOUND.match(one))]


def main() -> int:
    """Run pip with these versions for its constraints."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lowest.txt"
        file.write_text("\n".join(lowest((Path(__file__).parents[1] / "pyproject.toml").read_text())) + "\n")
        return subprocess.call([sys.executable, "-m", "pip", *sys.argv[1:], "-c", str(file)])


if __name__ == "__main__":
    sys.exit(main())
