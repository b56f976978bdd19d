"""AlphaEdit (Fang et al., ICLR 2025, arXiv 2410.02355): facts written where preserved knowledge has little part.

As MEMIT, with the change of each matrix projected on the directions that the keys to preserve leave free:

    W + R K^T P ((L L^T + K K^T) P + ridge I)^-1        P projects on the directions in which C is below `threshold`

L are the keys of facts that were written before (`batch`). Values of preserved keys stay as far as these keys have
nothing in the free directions: exactly where `threshold` is next to 0, and in part at its default of a half, at which
the keys have a share of their squared length there. The record says it for each layer (`free_share`).
"""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.errors import MissingError
from bench.method import Departure, MethodInfo, Range, RunContext
from methods.editing.method import ESSENCE, OWN_TEXTS
from methods.editing.spread import SpreadConfig, SpreadEditing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from bench.policy import LoadedModel
    from methods.editing.facts import Fact

_SHARE = "free_share"


class AlphaEditConfig(SpreadConfig):
    """Options of `alphaedit`."""

    threshold: float = Field(
        0.5,
        gt=0,
        description="a direction is free where the keys have less than this share of their mean square length",
    )
    ridge: float = Field(
        0.1,
        gt=0,
        description="weight of the squared change, over the mean square length of keys in free directions",
    )


class AlphaEdit(SpreadEditing[AlphaEditConfig]):
    """Writes all facts at once, in directions that preserved keys leave free."""

    info = MethodInfo(
        name="alphaedit",
        kind="weights",
        summary="AlphaEdit: MEMIT with the change projected on directions that the keys to preserve leave free",
        paper="Fang et al., ICLR 2025, arXiv 2410.02355",
        needs_sets=True,
        edits_facts=True,
        quantised=False,
        strength="scale",
        search={"threshold": Range(0.2, 1.0, log=True), "ridge": Range(0.01, 10, log=True)},
        departures=(
            OWN_TEXTS,
            ESSENCE,
            Departure(
                "a direction is free where C's eigenvalue is below 0.02",
                "below half of its mean eigenvalue",
                "keys are of another size in each model; the embedded one has no eigenvalue below a tenth, so that "
                "directions are free in which preserved keys do have something, and their values move by it",
            ),
            Departure(
                "the squared change has weight 10 (1 for some models)",
                "a tenth of the mean square length that the facts' keys have in free directions",
                "keys are of another size in each model: a weight of 1 left next to nothing of an edit on `tune-edit`",
            ),
            Departure(
                "batches of 100 facts one after another, earlier ones among what is preserved",
                "all facts in one batch unless `batch` says how many",
                "a suite edits its facts at once",
            ),
        ),
    )
    Config = AlphaEditConfig

    def deltas(
        self, base: "LoadedModel", names: "Mapping[int, str]", facts: "Sequence[Fact]", ctx: RunContext
    ) -> "tuple[Mapping[str, torch.Tensor], dict[str, Any]]":
        """The changes of all of the matrices; the figures say how much of the preserved keys is in free directions."""
        from methods.editing.memory import free_share, kept_keys

        found, figures = super().deltas(base, names, facts, ctx)
        if _SHARE not in ctx.shared:
            moments = kept_keys(base, list(names.values()), self.config, ctx).moments
            ctx.shared[_SHARE] = [round(free_share(moment, self.config.threshold), 4) for moment in moments]
        return found, {**figures, _SHARE: ctx.shared[_SHARE]}

    def update(
        self, keys: "torch.Tensor", changes: "torch.Tensor", moment: "torch.Tensor", written: "torch.Tensor"
    ) -> "torch.Tensor":
        """Write what is missing, in free directions.

        Raises:
            MissingError: there are none.
        """
        from methods.editing.memory import null_projection, projected_update

        free = null_projection(moment, self.config.threshold)
        length = float((free @ keys).square().sum(0).mean())
        if not length:
            raise MissingError("alphaedit finds no direction that preserved keys leave free", mend="raise threshold")
        return projected_update(keys, changes, free, written, self.config.ridge * length)
