"""The harness: which way of editing a language model helps, at what cost, and is the difference real?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.store.frame import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`bench.load`, found when first asked for: the command line starts without what it needs."""
    if name != "load":
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    from bench.store.frame import load

    return load
