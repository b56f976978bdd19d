"""What the verbs share: options, paths, progress."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bench.engine.processes import is_main
from bench.paths import expanded
from bench.progress import SILENT

if TYPE_CHECKING:
    from bench.progress import Progress

_Verb = TypeVar("_Verb", bound=Callable[..., Any])


class Commands(typer.Typer):
    """An app whose commands get each path with `~` made the user's home.

    A shell does so for a word that begins with it. It does not for `--runs-dir=~/runs`, nor in a file of options.
    """

    def command(self, *args: Any, **options: Any) -> Callable[[_Verb], _Verb]:
        """As Typer's."""
        register = super().command(*args, **options)

        def added(verb: _Verb) -> _Verb:
            @wraps(verb)
            def with_paths(*given: Any, **asked: Any) -> Any:
                return verb(*given, **{name: _at_home(value) for name, value in asked.items()})

            register(with_paths)
            return verb

        return added


def _at_home(value: Any) -> Any:
    """A path, or each of several, with `~` made the user's home; any other value as it is."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return expanded(value) if isinstance(value, Path) else value


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Offline = Annotated[bool, typer.Option("--offline", envvar="BENCH_OFFLINE", help="Never touch the network.")]
CacheDir = Annotated[
    Path | None,
    typer.Option("--cache-dir", envvar="BENCH_CACHE", help="Where models, data and artifacts are kept."),
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", envvar="BENCH_RUNS", help="Where records are kept.")]
RUNS = Path("runs")
"""Default of `RunsDir`."""


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make a file's values the command's defaults: flags and BENCH_* variables go before them."""
    if path is None or context.resilient_parsing:
        return path
    path = Path(_at_home(path))
    # Imported here: both bring pydantic and yaml.
    from bench.errors import UsageError, did_you_mean
    from bench.parsing import read_yaml

    options = [parameter for parameter in context.command.params if parameter.name not in ("config", "help")]
    flags = {flag[2:]: parameter.name for parameter in options for flag in parameter.opts if flag[:2] == "--"}
    defaults = dict(context.default_map or {})
    for key, value in read_yaml(path).items():
        flag = str(key).replace("_", "-")
        if flag not in flags:
            raise UsageError(f"{path}: unknown key '{key}'", mend=did_you_mean(flag, flags))
        defaults[str(flags[flag])] = value
    context.default_map = defaults
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="BENCH_CONFIG",
        is_eager=True,
        callback=_read_config,
        help="A YAML file of this command's options, such as 'suite: mini'.",
    ),
]


def _wait_for_scorers(seconds: float) -> float:
    from bench.engine.patience import PATIENCE

    PATIENCE.seconds = seconds or None
    return seconds


ScoringTimeout = Annotated[
    float,
    typer.Option(
        "--scoring-timeout",
        envvar="BENCH_SCORING_TIMEOUT",
        min=0,
        callback=_wait_for_scorers,
        help="Seconds that a scorer may take for one batch; 0 for as many as it takes.",
    ),
]
SCORING_TIMEOUT = 600.0
"""Default of `ScoringTimeout`."""


def console_progress() -> "Progress":
    """Progress on stderr: live bars on a terminal, else plain lines; silent in all but the first of several workers."""
    if not is_main():
        return SILENT
    # Imported here: rich is slow to load.
    from bench.cli.progress import LineProgress, LiveProgress

    return LiveProgress() if has_terminal() else LineProgress(sys.stderr)


def has_terminal() -> bool:
    """Whether stderr leads to a terminal in which lines can move."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
