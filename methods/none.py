"""No edit: the base model as it is, the row that every other is compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.method import Artifact, Method, MethodInfo, RunContext
from bench.policy import HFPolicy, LoadedModel, Policy
from bench.sets import ContrastiveSets
from bench.spec import Spec


class NoEditConfig(Spec):
    """There is nothing to set."""


class NoEdit(Method[NoEditConfig]):
    """The base model."""

    info = MethodInfo(name="none", kind="none", summary="the base model, unedited", paper="")
    Config = NoEditConfig

    def prepare(self, base: LoadedModel, sets: ContrastiveSets | None, ctx: RunContext) -> dict[str, Any]:
        """Leave an empty artifact."""
        del base, sets, ctx
        return {}

    @contextmanager
    def applied(self, base: LoadedModel, artifact: Artifact) -> Iterator[Policy]:
        """Yield the base model."""
        del artifact
        yield HFPolicy(base.model, base.tokenizer)
