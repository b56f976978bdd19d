"""No edit: the base model as it is, the row that every other is compared with."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.method import Artifact, Method, MethodInfo, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets


class NoEditConfig(Spec):
    """There is nothing to set."""


class NoEdit(Method[NoEditConfig]):
    """The base model."""

    info = MethodInfo(name="none", kind="none", summary="the base model, unedited", paper="", seeded=False)
    Config = NoEditConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Leave an empty artifact."""
        del base, sets, ctx
        return {}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model."""
        from bench.policy import HFPolicy

        del artifact
        yield HFPolicy(base.model, base.tokenizer)
