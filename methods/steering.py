"""Contrastive activation addition (Rimsky et al., 2024, arXiv 2312.06681, Section 3).

    h_l' = h_l + multiplier * v_l        v_l = mean over anchors of (mean h_l of positives - mean h_l of negatives)

with h_l the residual stream after decoder layer l. The states are those of a text's own tokens, read after its anchor.
Positives and negatives of an anchor weigh the same, however many there are of each, so that the anchor's share cancels.
The paper has pairs of answers that differ in one token, and takes the state there; free texts differ all along, hence
the mean over their tokens. The vector is added at every position, the prompt's included.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.method import Artifact, Departure, Layers, Method, MethodInfo, Range, RunContext
from methods.representation.options import VectorConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

VECTORS = "steering.safetensors"
"""The vectors of all layers, as `methods.representation.vectors` keeps them."""


class SteeringConfig(VectorConfig):
    """Options of `steering`."""


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
        from methods.learning.batches import required_sets
        from methods.representation.vectors import draw, layer_vectors

        sets = required_sets(sets, self.info.name)
        layer_number(base, self.config.layer)
        items = draw(sets, self.config, ctx.seed)
        vectors, figures = layer_vectors(base, items, self.config, ctx.progress)
        save_file(vectors, ctx.folder / VECTORS)
        return {"anchors": len(sets), **figures}

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
        from methods.representation.vectors import added

        return added(read_tensors(artifact.path / VECTORS), layer, self.config)
