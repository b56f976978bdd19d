"""`python -m bench` is `bench`."""

import sys
from pathlib import Path

from bench.cli import main

if __name__ == "__main__":
    # As for the command, a folder "methods" where it is started is none of ours, unless we are there, too.
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
        del sys.path[0]
    main()
