"""Scorers: text to attribute scores in [0, 1]."""

from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UsageError, did_you_mean
from bench.progress import SILENT, Progress, notes_only
from bench.scorers.base import Scorer, ScorerContext
from bench.scorers.checked import CheckedScorer
from bench.spec import ScorerSpec, Spec, validate


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
        MissingError: what the scorer needs is neither here nor available.
    """
    kind: type[Scorer[Any]] = registry.load("scorers", spec.name)
    registry.check_extras("scorers", spec.name, kind.info.extras)
    scorer = kind(configure(kind, spec), ScorerContext(cache, offline, progress))
    # A run scores batch by batch within its own bars: of scoring itself it needs the notes alone.
    return CheckedScorer(scorer, None if cache is None else cache / "scores.sqlite3", notes_only(progress))


def configure(kind: type[Scorer[Any]], spec: ScorerSpec) -> Spec:
    """A scorer's configuration out of a suite's options.

    Raises:
        UsageError: an option is unknown or missing, or its value is not valid.
    """
    known = kind.Config.model_fields
    for name in spec.options:
        if name not in known:
            mend = did_you_mean(name, known) if known else "it takes none"
            raise UsageError(f"scorer '{spec.name}' has no option '{name}'", mend=mend)
    for name, field in known.items():
        if field.is_required() and name not in spec.options:
            raise UsageError(
                f"scorer '{spec.name}' needs the option '{name}'", mend=f"--set suite.scorer.options.{name}=VALUE"
            )
    return validate(kind.Config, spec.options, f"scorer '{spec.name}'")
