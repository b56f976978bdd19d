"""Best of n: draw n continuations, and keep the one that a scorer finds best (Nakano et al., 2021, arXiv 2112.09332).

The scorer is the one that labels the suite's sets (`sets.scorer`): its first, or a further one that reports too.
Nothing that is read changes: all likelihoods, and with them perplexities and multiple choice, are the base model's.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets


class BestOfNConfig(Spec):
    """Options of `best_of_n`."""

    n: int = Field(
        4,
        ge=1,
        le=1000,
        description="continuations that are drawn for each that is kept; 1 is the base",
        json_schema_extra=APPLY,
    )


class BestOfN(Method[BestOfNConfig]):
    """Keeps the best of several continuations."""

    info = MethodInfo(
        name="best_of_n",
        kind="decoding-time",
        summary="draw n continuations and keep the best by the scorer of the suite's sets; likelihoods are the base's",
        paper="Nakano et al., 2021, arXiv 2112.09332 (rejection sampling)",
        needs_scorer=True,
        chooses=True,
        seeded=False,
        search={"n": Range(2, 16, log=True, whole=True)},
        departures=(
            Departure(
                "a reward model that was trained on people's preferences",
                "the scorer that labels the suite's sets, which reports as well: the method's label names it",
                "no model beyond the base, and what other methods learn from",
            ),
            Departure(
                "n 4, 16 or 64, the larger the model",
                "n 4, which was not searched",
                "each continuation takes n times the sampling",
            ),
        ),
    )
    Config = BestOfNConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing."""
        del base, sets, ctx
        return {}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model, of whose continuations the best is kept."""
        from bench.policy import HFPolicy
        from methods.decoding.best import BestPolicy

        if self.config.n == 1:
            yield HFPolicy(base.model, base.tokenizer)
        else:
            yield BestPolicy(base, self.config.n, artifact.unwanted)
