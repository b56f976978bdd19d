"""The gate: a reference that is kept in the repository, and the decision whether a run is worse than it.

`docs/ci.md` has the rule and its error rates.
"""

from reports.gate.baseline import Baseline, load_baseline, save_baseline
from reports.gate.decision import CheckOutcome, Decision, decide, refused
from reports.gate.writing import make_baseline

__all__ = [
    "Baseline",
    "CheckOutcome",
    "Decision",
    "decide",
    "load_baseline",
    "make_baseline",
    "refused",
    "save_baseline",
]
