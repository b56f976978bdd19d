"""Directional ablation (Arditi et al., NeurIPS 2024, arXiv 2406.11717, Sections 2.4 and 4.1).

    W' = W - strength * r r^T W        r = the unit vector along (mean h_l of positives - mean h_l of negatives)

for each W that writes into the residual stream: embeddings (of positions too), the output projections of attention and
of feed-forward blocks, and their biases. h_l is the residual stream after decoder layer l at a text's own tokens. At
strength 1 nothing in the model can write along r any more, which is what ablating it from every state comes to.

The output layer is left as it is, where it shares the embeddings' weight too.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Layers, Method, MethodInfo, Range, RunContext
from methods.representation.options import TextsConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

VECTORS = "ablation.safetensors"
"""The vectors of all layers, as `methods.representation.vectors` keeps them."""


class AblationConfig(TextsConfig):
    """Options of `ablation`."""

    layer: int | None = Field(
        None,
        ge=0,
        description="layer after which the texts' states give the direction, from 0; null: the middle",
        json_schema_extra=APPLY,
    )
    strength: float = Field(
        1.0,
        description="strength: share of what is written along the direction that is taken out; 0 is the base, 1 leaves "
        "nothing of it",
        json_schema_extra=APPLY,
    )


class Ablation(Method[AblationConfig]):
    """Takes the direction that tells bad texts from good out of all that the model writes."""

    info = MethodInfo(
        name="ablation",
        kind="weights",
        summary="directional ablation: no matrix writes along the mean difference of good and bad texts any more",
        paper="Arditi et al., NeurIPS 2024, arXiv 2406.11717",
        needs_sets=True,
        quantised=False,
        strength="strength",
        strengths=(1.0, 0.5, 0.75, 0.25, 1.5),
        search={"layer": Layers(0.2, 0.9), "strength": Range(0.25, 1)},
        departures=(
            Departure(
                "harmful and harmless instructions, which the model refuses and follows; what is ablated is refusal",
                "bad and good texts of the sets; what is ablated is what tells them apart",
                "the question is how to make bad text rarer",
            ),
            Departure(
                "the state at a token after the instruction",
                "the mean state over a text's tokens (`position=last`: at its last token)",
                "sets hold free texts, which have no such token",
            ),
            Departure(
                "layer and token are searched, by what the ablation does to refusals on held-out instructions",
                "the middle layer; not searched",
                "one setting for every model",
            ),
        ),
    )
    Config = AblationConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model has the layer, and whether all that writes can be told."""
        from methods.anatomy.layers import BASE, check_model
        from methods.anatomy.writers import writers

        del inputs
        writers(check_model(base, self.config.layer), BASE, self.info.name)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Read the texts and keep the vectors of all layers."""
        from safetensors.torch import save_file

        from methods.anatomy.feed_forward import refuse_quantised
        from methods.anatomy.layers import layer_number
        from methods.anatomy.writers import check_writers, writers
        from methods.learning.batches import refuse_long, required_sets
        from methods.representation.states import pairs_of
        from methods.representation.vectors import draw, layer_vectors

        sets = required_sets(sets, self.info.name)
        refuse_quantised(base, self.info.name)
        layer_number(base, self.config.layer)
        items = draw(sets, self.config, ctx.seed)
        refuse_long(base, pairs_of(items))
        check_writers(base, writers(base.model, f"'{base.id}'", self.info.name), self.info.name)
        vectors, figures = layer_vectors(base, items, self.config, ctx.progress)
        save_file(vectors, ctx.folder / VECTORS)
        return {"anchors": len(sets), **figures}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the edited matrices; it holds its own again afterwards."""
        from bench.policy import HFPolicy
        from methods.anatomy.feed_forward import refuse_quantised
        from methods.anatomy.layers import layer_number
        from methods.anatomy.writers import ablated, writers

        refuse_quantised(base, self.info.name)
        number = layer_number(base, self.config.layer)
        if not self.config.strength:
            yield HFPolicy(base.model, base.tokenizer)
            return
        found = writers(base.model, f"'{base.id}'", self.info.name)
        with ablated(found, self.direction(artifact, number), self.config.strength):
            yield HFPolicy(base.model, base.tokenizer)

    def direction(self, artifact: Artifact, layer: int) -> "torch.Tensor":
        """What is taken out, of length 1, float32 [hidden]."""
        from torch.nn.functional import normalize

        from bench.engine.loading import read_tensors

        return normalize(read_tensors(artifact.path / VECTORS)["vectors"][layer], dim=-1)
