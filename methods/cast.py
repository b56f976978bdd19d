"""Conditional activation steering, CAST (Lee et al., ICLR 2025, arXiv 2409.05907, Section 3).

    h_l' = h_l + [ mean_{i <= t} cos(h_c,i , c) > threshold ] * multiplier * v_l

with v_l the vector of `steering`, and c what sets bad texts apart from good ones after an earlier layer (or the same):

    c = mean over anchors of (mean u of negatives - mean u of positives)

where u is a text's mean state after that layer, each token's at length 1, those of its anchor included. So the mean
cosine is what c is learned from, and no single token decides: the first one's state is many times longer than the
others'. The threshold is the one that tells the sets' bad texts from the good ones best.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from bench.errors import UsageError
from bench.method import APPLY, Artifact, Departure, Layers, Method, MethodInfo, Range, RunContext
from methods.representation.options import VectorConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Item

VECTORS = "cast.safetensors"
"""`vectors` and `lengths` (see `methods.representation.vectors`); `conditions` [layers, hidden], of length 1;
`thresholds` and `accuracies` [layers]."""


class CASTConfig(VectorConfig):
    """Options of `cast`."""

    condition_layer: int | None = Field(
        None,
        ge=0,
        description="layer after which the condition is looked at, from 0, no later than `layer`; null: the one of "
        "these whose condition tells the sets' texts best",
        json_schema_extra=APPLY,
    )
    condition_threshold: float | None = Field(
        None,
        description="mean cosine with the condition above which the vector is added; null: the one that tells the "
        "sets' texts best, -1: always",
        json_schema_extra=APPLY,
    )

    @model_validator(mode="after")
    def _in_order(self) -> "CASTConfig":
        if self.layer is not None and self.condition_layer is not None and self.condition_layer > self.layer:
            raise ValueError("condition_layer cannot come after layer")
        return self


class CAST(Method[CASTConfig]):
    """Adds the difference between good and bad texts where the text so far is like a bad one."""

    info = MethodInfo(
        name="cast",
        kind="representation",
        summary="conditional activation steering: add the vector of `steering` only where the text so far is like bad "
        "ones",
        paper="Lee et al., ICLR 2025, arXiv 2409.05907",
        needs_sets=True,
        lies_below=False,
        strength="multiplier",
        search={"multiplier": Range(0.5, 8, log=True), "layer": Layers(0.2, 0.8)},
        departures=(
            Departure(
                "the first principal component of the states of contrasting prompts",
                "the mean difference, as in `steering`",
                "so that the condition is what differs from `steering`",
            ),
            Departure(
                "the condition tells kinds of prompts apart (harmful from harmless instructions)",
                "bad texts from good ones, their anchors included",
                "sets hold one kind of prompt",
            ),
            Departure(
                "decided once, by the mean state of the prompt",
                "at each position, by all tokens up to it",
                "a policy is not told where a prompt ends, and a likelihood must see the edit that a continuation sees",
            ),
            Departure(
                "the cosine of the mean state with tanh of its projection on the condition",
                "the mean of the tokens' cosines with the condition",
                "the first token's state is many times longer than the others' and would decide alone",
            ),
            Departure(
                "condition layer and threshold are searched by F1, and several layers are steered",
                "condition layer and threshold by balanced accuracy; the middle layer is steered, multiplier 3, not "
                "searched",
                "sets need not hold as many good texts as bad ones; the rest is that of `steering`",
            ),
        ),
    )
    Config = CASTConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model has the layers, in this order."""
        from methods.anatomy.layers import check_layer

        del inputs
        count = len(check_layer(base, self.config.layer))
        self._refuse_later(count // 2 if self.config.layer is None else self.config.layer)

    def _refuse_later(self, layer: int) -> None:
        """Refuse to look at a condition after the layer that it is asked about.

        Raises:
            UsageError: it comes later.
        """
        asked = self.config.condition_layer
        if asked is not None and asked > layer:
            raise UsageError(
                f"the condition is looked at after layer {asked}, and the vector added after layer {layer}",
                mend=f"condition_layer = 0 to {layer}",
            )

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Read the texts and keep vectors, conditions and thresholds of all layers."""
        from safetensors.torch import save_file

        from methods.anatomy.layers import layer_number
        from methods.learning.batches import required_sets
        from methods.representation.vectors import draw, layer_vectors

        sets = required_sets(sets, self.info.name)
        self._refuse_later(layer_number(base, self.config.layer))
        items = draw(sets, self.config, ctx.seed)
        kept, figures = layer_vectors(base, items, self.config, ctx.progress)
        found, tokens = conditions(base, items, ctx)
        save_file({**kept, **found}, ctx.folder / VECTORS)
        figures["trained_tokens"] += tokens
        accuracies = [round(value, 4) for value in found["accuracies"].tolist()]
        return {"anchors": len(sets), **figures, "condition_accuracies": accuracies}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the vector added after one layer where the condition is met."""
        from bench.engine.loading import read_tensors
        from bench.policy import HFPolicy
        from methods.anatomy.layers import decoder_layers, layer_number
        from methods.decoding.gate import GatedPolicy
        from methods.representation.vectors import added

        number = layer_number(base, self.config.layer)
        self._refuse_later(number)
        if not self.config.multiplier:
            yield HFPolicy(base.model, base.tokenizer)
            return
        layers = decoder_layers(base)
        kept = {name: part.to(base.model.device) for name, part in read_tensors(artifact.path / VECTORS).items()}
        asked = self.config.condition_layer
        if asked is None:
            asked = int(kept["accuracies"][: number + 1].argmax())
        threshold = self.config.condition_threshold
        if threshold is None:
            threshold = float(kept["thresholds"][asked])
        policy = GatedPolicy(base.model, base.tokenizer, kept["conditions"][asked], threshold)
        with policy.gated(layers[asked], layers[number], added(kept, number, self.config)):
            yield policy


def conditions(base: "LoadedModel", items: "Sequence[Item]", ctx: RunContext) -> "tuple[dict[str, torch.Tensor], int]":
    """`conditions` [layers, hidden], `thresholds` and `accuracies` [layers], float32, and the number of tokens read."""
    import torch
    from torch.nn.functional import normalize

    from methods.representation.states import differences, pairs_of, unit_states

    pairs = pairs_of(items)
    found = unit_states(base, pairs, ctx.progress)
    vectors = normalize(-differences(items, found.state).mean(0), dim=-1)
    likeness = torch.einsum("tlh,lh->lt", found.state, vectors)
    negatives = {(one.anchor, text) for one in items for text in one.negatives}
    bad = torch.tensor([pair in negatives for pair in pairs])
    thresholds, accuracies = zip(*(best_threshold(one, bad) for one in likeness), strict=True)
    kept = {"conditions": vectors, "thresholds": torch.tensor(thresholds), "accuracies": torch.tensor(accuracies)}
    return {name: part.float().contiguous() for name, part in kept.items()}, found.tokens


def best_threshold(likeness: "torch.Tensor", bad: "torch.Tensor") -> tuple[float, float]:
    """The threshold above which texts are best called bad, and how well that tells them (balanced accuracy).

    Thresholds half-way between neighbouring values are tried; of equally good ones the lowest is taken.

    Args:
        likeness: Of each text, float64 [texts].
        bad: Whether it is, bool [texts]; both kinds are there.
    """
    from methods.representation.probes import balanced_accuracy

    values = likeness.unique()
    if len(values) == 1:
        return float(values[0]), 0.5
    tried = (values[1:] + values[:-1]) / 2
    found = balanced_accuracy(likeness > tried[:, None], bad)
    best = int(found.argmax())
    return float(tried[best]), float(found[best])
