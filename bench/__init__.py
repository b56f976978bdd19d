"""The harness: which way of editing a language model helps, at what cost, and is the difference real?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Suite, compare
    from bench.store.frame import load

__version__ = "0.1.0"
__all__ = ["Suite", "__version__", "compare", "load"]

_PLACES = {"Suite": "bench.api", "compare": "bench.api", "load": "bench.store.frame"}
"""Where what users find here lies. The package is below all of its layers, so that none may import it for these."""


def __getattr__(name: str) -> Any:
    """`bench.load` and the like, found when first asked for: the command line starts without what they need."""
    if name not in _PLACES:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
