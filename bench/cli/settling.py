"""What a run sets in the process for libraries, for as long as it lasts: a program that calls it has its own mind."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from bench.cli.run import settle_process

_TRUE = {"1", "ON", "YES", "TRUE"}
_FLAGS = {
    "huggingface_hub.constants": ("HF_HUB_OFFLINE",),
    "datasets.config": ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"),
}
"""Where libraries keep what they read of the environment when they were loaded."""


@contextmanager
def settled(*, offline: bool) -> Iterator[None]:
    """The process as `settle_process` makes it; then environment, warnings and libraries are as they were."""
    environment, flags = dict(os.environ), _flags()
    with warnings.catch_warnings():
        settle_process(offline=offline)
        if offline:
            _set(dict.fromkeys(flags, True))
        try:
            yield
        finally:
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
            if offline:
                _set(dict.fromkeys(_flags(), _is_asked()) | flags)


def _flags() -> dict[tuple[str, str], bool]:
    """Whether each library that is loaded fetches nothing, by module and name."""
    return {
        (module, name): bool(vars(sys.modules[module])[name])
        for module, names in _FLAGS.items()
        for name in names
        if name in vars(sys.modules.get(module, sys))
    }


def _set(flags: dict[tuple[str, str], bool]) -> None:
    for (module, name), value in flags.items():
        setattr(sys.modules[module], name, value)


def _is_asked() -> bool:
    """Whether the user's own environment says that nothing is fetched: libraries loaded amid a run read ours."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
