"""Rank-one model editing, ROME (Meng et al., NeurIPS 2022, arXiv 2202.05262).

A feed-forward block's output matrix W is read as a memory of values by keys. At the subject's last token, with the key
k*, its value is changed to v*, by which the model says the new object, and as little as can be for all other keys:

    W + (v* - W k*) (C^-1 k*)^T / (k*^T C^-1 k*)        C = mean of k k^T over the keys of much text

Facts are edited one after another, each on the model that has the earlier ones.
"""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import Departure, Layers, MethodInfo, Range, RunContext
from methods.editing.method import ESSENCE, OWN_TEXTS, EditConfig, FactEditing, KeyOptions, ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from bench.policy import LoadedModel
    from methods.editing.facts import Fact


class ROMEConfig(EditConfig, ValueOptions, KeyOptions):
    """Options of `rome`."""

    layer: int | None = Field(None, ge=0, le=100_000, description="layer to edit, from 0; null: a quarter of the way")


class ROME(FactEditing[ROMEConfig]):
    """Writes each fact into one matrix, by a change of rank one."""

    info = MethodInfo(
        name="rome",
        kind="weights",
        summary="ROME: write each fact into one matrix by a change of rank one, in closed form",
        paper="Meng et al., NeurIPS 2022, arXiv 2202.05262",
        needs_sets=True,
        edits_facts=True,
        quantised=False,
        strength="scale",
        search={"layer": Layers(0.1, 0.6), "decay": Range(0.05, 2, log=True), "clamp": Range(1, 8, log=True)},
        departures=(
            OWN_TEXTS,
            ESSENCE,
            Departure(
                "the layer is found by causal tracing (17 of GPT-2 XL's 48); 20 sampled texts before each fact",
                "a quarter of the way; 5 sampled texts",
                "one setting for every model",
            ),
            Departure(
                "one edit at a time, undone afterwards",
                "the facts of the suite, one after another; as published with `suite.sets.at_once=1`",
                "the question is what a model is like that has them all",
            ),
        ),
    )
    Config = ROMEConfig

    def layers(self, count: int) -> "Sequence[int]":
        """The one layer."""
        return [count // 4 if self.config.layer is None else self.config.layer]

    def deltas(
        self, base: "LoadedModel", names: "Mapping[int, str]", facts: "Sequence[Fact]", ctx: RunContext
    ) -> "tuple[Mapping[str, torch.Tensor], dict[str, Any]]":
        """The sum of the facts' changes."""
        import torch

        from methods.anatomy.feed_forward import changed, module_of, shaped
        from methods.editing.facts import essence, readings
        from methods.editing.memory import kept_keys, keys_at, rank_one
        from methods.editing.values import find_change

        (name,), config = names.values(), self.config
        kept = kept_keys(base, [name], config, ctx)
        (moment,) = kept.moments
        delta = torch.zeros_like(base.model.get_parameter(name), dtype=torch.float64, device="cpu")
        losses, tokens = [], 0
        with ctx.progress.bar("rome", len(facts), "facts") as bar:
            for fact in facts:
                rows = readings(base, fact, kept.contexts)
                with changed(base, {name: delta.float()}):
                    found = find_change(base, module_of(base, name), rows, essence(base, fact), self.config)
                    key = keys_at(base, name, rows).mean(0)
                delta += shaped(base, name, rank_one(key, found.change, moment))
                losses.append(round(found.loss, 4))
                tokens += found.tokens
                bar.advance()
        return {name: delta}, {"losses": losses, "trained_tokens": tokens, "preserved_keys": kept.tokens}
