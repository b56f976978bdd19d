"""The command line: one file per verb; starts without importing torch."""

import sys


def main() -> None:
    """Run `bench` on the process's arguments and exit with its code; see `bench.cli.failures` for what it may be."""
    # Imported here: `import bench.cli` stays cheap for those who want a part of it.
    from bench.cli.failures import guard, watch_signals

    watch_signals()
    sys.exit(guard(_call))


def _call() -> object:
    from bench.cli.app import app

    return app(prog_name="bench", standalone_mode=False)
