"""The command line: one file per verb; starts without importing torch."""

import sys


def main() -> None:
    """Run `bench` on the process's arguments and exit with its code; see `bench.cli.failures` for what it may be."""
    # Imported here: `import bench.cli` stays cheap for those who want a part of it.
    try:
        from bench.cli.failures import guard, watch_signals
    except Exception as error:
        sys.exit(_cannot_start(error))

    watch_signals()
    sys.exit(guard(_call))


def _cannot_start(error: Exception) -> int:
    """Say which package the command line itself lacks."""
    from bench.packages import broken_package

    blamed = broken_package(error)
    if blamed is None:
        raise error
    what = f"bench: error: the package {blamed.name} cannot be loaded ({blamed.why}); {blamed.mend}"
    print(what, file=sys.stderr)
    if sys.argv[1:2] == ["doctor"]:
        from dataclasses import asdict

        from bench.cli.dependencies import lines, packages
        from bench.cli.output import print_json

        checks = list(packages())
        if "--json" in sys.argv:
            print_json([asdict(check) for check in checks])
        else:
            print("\n".join(lines(checks)))
    return 3


def _call() -> object:
    from bench.cli.app import app

    return app(prog_name="bench", standalone_mode=False)
