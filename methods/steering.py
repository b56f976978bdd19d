"""Contrastive activation addition (Rimsky et al., 2024, arXiv 2312.06681, Section 3).

    h_l' = h_l + multiplier * v_l        v_l = mean over anchors of (mean h_l of positives - mean h_l of negatives)

with h_l the residual stream after decoder layer l. The states are those of a text's own tokens, read after its anchor.
Positives and negatives of an anchor weigh the same, however many there are of each, so that the anchor's share cancels.
The paper has pairs of answers that differ in one token, and takes the state there; free texts differ all along, hence
the mean over their tokens. The vector is added at every position, the prompt's included.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Layers, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

VECTORS = "steering.safetensors"
"""`vectors` [layers, hidden] and `lengths` [layers], the mean length of a token's state after each layer."""


class SteeringConfig(Spec):
    """Options of `steering`."""

    positives: int = Field(4, ge=1, le=100_000, description="positives drawn for an anchor (fewer where it has fewer)")
    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor")
    anchors: int = Field(
        80, ge=1, le=1_000_000, description="anchors drawn, with new texts each time that the sets are gone through"
    )
    position: Literal["mean", "last"] = Field(
        "mean", description="where a text's state is taken: the mean over its tokens, or its last token"
    )
    layer: int | None = Field(
        None,
        ge=0,
        description="layer after which the vector is added, from 0; null: the middle",
        json_schema_extra=APPLY,
    )
    normalise: bool = Field(
        False,
        description="give the vector the mean length of a token's state after that layer, so that multipliers compare "
        "between layers and models",
        json_schema_extra=APPLY,
    )
    multiplier: float = Field(3.0, description="strength: factor on the vector, 0 is the base", json_schema_extra=APPLY)


class Steering(Method[SteeringConfig]):
    """Adds the difference between good and bad texts to the residual stream."""

    info = MethodInfo(
        name="steering",
        kind="representation",
        summary="contrastive activation addition: add the mean difference of good and bad texts' states after a layer",
        paper="Rimsky et al., 2024, arXiv 2312.06681",
        needs_sets=True,
        strength="multiplier",
        search={"multiplier": Range(0.5, 8, log=True), "layer": Layers(0.2, 0.8), "position": ("mean", "last")},
        departures=(
            Departure(
                "pairs of answers that differ in one letter; the state at that letter",
                "free texts; the mean state over a text's tokens (`position=last`: at its last token)",
                "sets hold texts that differ all along",
            ),
            Departure(
                "the layer is searched; the vector is added after the prompt's end",
                "the middle layer; the vector is added at every position",
                "one setting for every model; a likelihood needs the same edit at all positions",
            ),
            Departure(
                "multiplier 1 (of 7B, at the searched layer)",
                "multiplier 3",
                "chosen on `tune`",
            ),
        ),
    )
    Config = SteeringConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model has the layer."""
        from methods.anatomy.layers import check_layer

        del inputs
        check_layer(base, self.config.layer)

    def not_exportable(self, base: "Path") -> str | None:
        """What is added after a layer is its bias, where it has one."""
        from bench.engine.architecture import config_of
        from methods.anatomy.plain import no_bias

        return no_bias(config_of(base))

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Read the texts and keep the vectors of all layers."""
        from safetensors.torch import save_file

        from methods.anatomy.layers import layer_number
        from methods.learning.batches import draw_items, required_sets
        from methods.learning.options import Budget
        from methods.representation.states import differences, layer_states, pairs_of

        sets = required_sets(sets, self.info.name)
        layer_number(base, self.config.layer)
        config = self.config
        budget = Budget(
            positives=config.positives, negatives=config.negatives, steps=config.anchors, anchors_per_step=1
        )
        items = draw_items(sets, budget, ctx.seed)
        pairs = pairs_of(items)
        found = layer_states(base, pairs, config.position, ctx.progress)
        vectors, lengths = differences(items, found.state).mean(0), found.length.mean(0)
        save_file({"vectors": vectors.float(), "lengths": lengths.float()}, ctx.folder / VECTORS)
        return {
            "anchors": len(sets),
            "texts": len(pairs),
            "trained_tokens": found.tokens,
            "trainable_parameters": 0,
            "relative_lengths": [round(value, 4) for value in (vectors.norm(dim=-1) / lengths).tolist()],
        }

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the vector added after one layer."""
        from bench.policy import HFPolicy
        from methods.anatomy.layers import HookedPolicy, after, decoder_layers, layer_number
        from methods.anatomy.plain import no_bias, with_vector

        number = layer_number(base, self.config.layer)
        if not self.config.multiplier:
            yield HFPolicy(base.model, base.tokenizer)
            return
        vector = self.vector(artifact, number).to(base.model.device)
        layer = decoder_layers(base)[number]
        with after([(layer, lambda state: state + vector.to(state.dtype))]):
            yield HookedPolicy(
                base.model,
                base.tokenizer,
                lambda: with_vector(base.model, layer, vector),
                no_bias(base.model.config),
            )

    def vector(self, artifact: Artifact, layer: int) -> "torch.Tensor":
        """What is added after a layer, float32 [hidden]."""
        from bench.engine.loading import read_tensors

        kept = read_tensors(artifact.path / VECTORS)
        vector, length = kept["vectors"][layer], kept["lengths"][layer]
        if self.config.normalise:
            vector = vector * (length / vector.norm().clamp(min=1e-12))
        return self.config.multiplier * vector
