"""Scorers: text to attribute scores in [0, 1]."""

from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UsageError, did_you_mean
from bench.progress import SILENT, Progress, notes_only
from bench.scorers.base import FURTHER, HEADLINE, Scorer, ScorerContext
from bench.scorers.checked import CheckedScorer
from bench.spec import ScorerSpec, Spec, SuiteSpec, validate


def load_scorer(
    spec: ScorerSpec,
    cache: Path | None,
    *,
    offline: bool = False,
    progress: Progress = SILENT,
    option: str = HEADLINE,
) -> CheckedScorer:
    """Load the scorer that a suite names, with retries and the cache of scores around it.

    Args:
        spec: The scorer's name and options.
        cache: The user's cache folder, or None for no cache of scores.
        offline: Fetch nothing; what is not on this machine is missing.
        progress: Where fetching and scoring report to.
        option: How the user says an option of it (`bench.scorers.base.HEADLINE`).

    Raises:
        UsageError: the scorer or one of its options is unknown, or an option's value is not valid.
        MissingError: what the scorer needs is neither here nor available.
    """
    kind: type[Scorer[Any]] = registry.load("scorers", spec.name)
    registry.check_extras("scorers", spec.name, kind.info.extras)
    scorer = kind(configure(kind, spec, option), ScorerContext(cache, offline, progress, option))
    # A run scores batch by batch within its own bars: of scoring itself it needs the notes alone.
    return CheckedScorer(scorer, None if cache is None else cache / "scores.sqlite3", notes_only(progress))


def check_scorers(suite: SuiteSpec) -> None:
    """Find out whether a suite's scorers are installed and have the options that they are given; none is loaded.

    Raises:
        UsageError: one is unknown, or an option of it is unknown, missing or not valid.
    """
    for spec in (suite.scorer, *suite.further.values()):
        configure(registry.load("scorers", spec.name), spec, said_in(suite, spec))


def said_in(suite: SuiteSpec, spec: ScorerSpec) -> str:
    """How the user says an option of one of a suite's scorers."""
    return FURTHER if spec in suite.scorers else HEADLINE


def configure(kind: type[Scorer[Any]], spec: ScorerSpec, option: str = HEADLINE) -> Spec:
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
            mend = ScorerContext(option=option).setting(name)
            raise UsageError(f"scorer '{spec.name}' needs the option '{name}'", mend=mend)
    return validate(kind.Config, spec.options, f"scorer '{spec.name}'")
