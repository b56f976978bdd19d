"""Mass-editing memory in a transformer, MEMIT (Meng et al., ICLR 2023, arXiv 2210.07229).

As ROME, for many facts at once and over several layers. In each layer, with K the facts' keys at the subject's last
token and R what their values are to change by:

    W + R K^T (preserved C + K K^T)^-1        C = mean of k k^T over the keys of much text
"""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.method import Departure, MethodInfo, Range
from methods.editing.method import ESSENCE, OWN_TEXTS
from methods.editing.spread import SpreadConfig, SpreadEditing

if TYPE_CHECKING:
    import torch


class MEMITConfig(SpreadConfig):
    """Options of `memit`."""

    preserved: float = Field(
        1_500.0, gt=0, description="weight of the keys that are to keep their values, lambda: how many C stands for"
    )


class MEMIT(SpreadEditing[MEMITConfig]):
    """Writes all facts at once into several matrices."""

    info = MethodInfo(
        name="memit",
        kind="weights",
        summary="MEMIT: write all facts at once into the matrices of several layers, in closed form",
        paper="Meng et al., ICLR 2023, arXiv 2210.07229",
        needs_sets=True,
        edits_facts=True,
        quantised=False,
        strength="scale",
        search={"preserved": Range(300, 20_000, log=True), "clamp": Range(1, 8, log=True)},
        departures=(
            OWN_TEXTS,
            ESSENCE,
            Departure(
                "C weighs 15,000",
                "1,500",
                "chosen on `tune-edit`: with 15,000 half of the facts were not edited",
            ),
            Departure(
                "layers found by causal tracing",
                "five layers that end a quarter of the way (the authors' of GPT-J end after 9 of 28)",
                "one setting for every model",
            ),
        ),
    )
    Config = MEMITConfig

    def update(
        self, keys: "torch.Tensor", changes: "torch.Tensor", moment: "torch.Tensor", written: "torch.Tensor"
    ) -> "torch.Tensor":
        """Write what is missing, and keep the values of other keys."""
        from methods.editing.memory import spread_update

        return spread_update(keys, changes, moment, self.config.preserved)
