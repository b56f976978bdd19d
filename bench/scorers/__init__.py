"""Scorers: text to attribute scores in [0, 1]."""

import inspect
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UsageError, did_you_mean
from bench.progress import SILENT, Progress, notes_only
from bench.scorers.checked import CheckedScorer
from bench.spec import ScorerSpec

_AMBIENT = ("offline", "cache_dir", "progress")
"""Parameters of a scorer's factory that the harness fills in, where the factory has them; no user sets these."""


def load_scorer(
    spec: ScorerSpec, cache: Path | None, *, offline: bool = False, progress: Progress = SILENT
) -> CheckedScorer:
    """Load the scorer that a suite names, with retries and the cache of scores around it.

    Args:
        spec: The scorer's name and options.
        cache: The user's cache folder, or None for no cache of scores.
        offline: Fetch nothing; what is not on this machine is missing.
        progress: Where fetching and scoring report to.

    Raises:
        UsageError: the scorer or one of its options is unknown, or an option's value is not valid.
        MissingError: what the scorer needs is not here and cannot be had.
    """
    factory = registry.load("scorers", spec.name)
    parameters = inspect.signature(factory).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    ambient: dict[str, Any] = {"offline": offline, "cache_dir": cache, "progress": progress}
    options = [name for name in known if name not in _AMBIENT]
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for name in spec.options:
        if name in _AMBIENT or not (name in options or anything):
            mend = did_you_mean(name, options) if options else "it takes none"
            raise UsageError(f"scorer '{spec.name}' has no option '{name}'", mend=mend)
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    for name in needed:
        if name in options and name not in spec.options:
            raise UsageError(f"scorer '{spec.name}' needs the option '{name}'", mend=f"set scorer.options.{name}")
    scorer = factory(**spec.options, **{name: ambient[name] for name in _AMBIENT if name in known})
    # A run scores batch by batch within its own bars: of scoring itself it needs the notes alone.
    return CheckedScorer(scorer, None if cache is None else cache / "scores.sqlite3", notes_only(progress))
