"""Someone else's adapter: a published or home-made edit gets its row without training.

Any PEFT adapter of the kinds that change weights and can be scaled: LoRA (rank-stabilised LoRA and DoRA as well), LoHa,
LoKr, IA3. `scale` is a factor on the difference that it makes to the weights: theta + scale (theta_adapted - theta).
"""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, MethodInfo, Range, RunContext
from methods.learning.method import AdaptedMethod, Scaled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.policy import LoadedModel
    from bench.sets import ContrastiveSets


class AdapterMethodConfig(Scaled):
    """Options of `adapter`."""

    path: str = Field(min_length=1, description="the adapter: a folder, or OWNER/NAME[@REVISION] on the hub")
    scale: float = Field(
        1.0, description="strength: factor on the change of the weights, 0 is the base", json_schema_extra=APPLY
    )


class AdapterMethod(AdaptedMethod[AdapterMethodConfig]):
    """The base model with an adapter that is already there."""

    info = MethodInfo(
        name="adapter",
        kind="weights",
        summary="any PEFT adapter, as it is: a published edit gets its row without training",
        paper="Hu et al., 2022, arXiv 2106.09685 (LoRA)",
        seeded=False,
        inputs={"path": "adapter"},
        strength="scale",
        search={"scale": Range(0.25, 2)},
    )
    Config = AdapterMethodConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the adapter fits, from the shapes of its weights and the base's configuration."""
        from bench.engine.architecture import config_of
        from methods.anatomy.skeleton import skeleton
        from methods.learning.foreign import check_adapter

        check_adapter(inputs["path"], self.config.path, skeleton(config_of(base)))

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Copy the adapter in its normal form; the base model is not touched."""
        from methods.anatomy.skeleton import skeleton
        from methods.learning.foreign import check_adapter, copy_adapter

        del sets
        folder, name = ctx.inputs["path"], self.config.path
        config = check_adapter(folder, name, skeleton(base.model.config))
        return copy_adapter(folder, config, name, ctx.folder)
