"""The gate: a reference that is kept in the repository, and the decision whether a run is worse than it.

`docs/ci.md` has the rule and its error rates.
"""

from reports.gate.baseline import Baseline, load_baseline, save_baseline
from reports.gate.checking import check
from reports.gate.decision import CheckOutcome, Decision, decide, refused
from reports.gate.requirements import parse_requirement
from reports.gate.writing import make_baseline

__all__ = [
    "Baseline",
    "CheckOutcome",
    "Decision",
    "check",
    "decide",
    "load_baseline",
    "make_baseline",
    "parse_requirement",
    "refused",
    "save_baseline",
]
