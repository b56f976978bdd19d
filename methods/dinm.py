"""Detoxifying with intraoperative neural monitoring, DINM (Wang et al., ACL 2024, arXiv 2403.14472).

The toxic layer is the one whose states tell good texts from bad the most; the output matrix of its feed-forward block
is then tuned for a few steps, so that the good texts are likely and all else stays as it is:

    l = argmax_l  mean over anchors of || mean h_l of positives - mean h_l of negatives ||
    loss = NLL of the positives + contrast * unlikelihood of the negatives + locality * KL(edited || base)

The original knows good texts alone (`contrast` = 0, the default). Its good text is a refusal, which the model would
never have given: to make it likely is to change the model. Sets that the model wrote itself hold good texts that it
gives anyway, and learning these alone does little. With `contrast` the negatives' tokens are made unlikely as well
(Welleck et al., 2020, arXiv 1908.04319); the method is then another one.
"""

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, model_validator

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.learning.options import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Item

DELTA = "dinm.safetensors"
"""`delta`: what is added to the matrix, in its own shape."""
PLACE = "dinm.json"
"""`layer` and `parameter`, the matrix's name in the model."""
_LEAST = 1e-5  # of 1 - p: a token that is all but certain has no infinite loss


class DINMConfig(Budget):
    """Options of `dinm`."""

    positives: int = Field(4, ge=1, le=100_000, description="positives drawn for an anchor (fewer where it has fewer)")
    negatives: int = Field(
        4, ge=0, le=100_000, description="negatives drawn for an anchor, which the layer is found by too"
    )
    steps: int = Field(40, ge=1, le=1_000_000, description="optimiser steps")
    lr: float = Field(2e-3, gt=0, description="learning rate (Adam)")
    contrast: float = Field(0.0, ge=0, description="weight of the negatives' unlikelihood; 0: the original")
    locality: float = Field(1.0, ge=0, description="weight of the divergence from the base on the anchors' tokens")
    norm_constraint: float | None = Field(
        None,
        gt=0,
        description="most that any weight may change by, after each step (the authors' option, which their released "
        "settings leave off); null: no bound",
    )
    layer: int | None = Field(None, ge=0, le=100_000, description="layer to edit, from 0; null: the one that is found")
    scale: float = Field(
        1.0, description="strength: factor on the change of the matrix, 0 is the base", json_schema_extra=APPLY
    )

    @model_validator(mode="after")
    def _negatives_asked_for(self) -> "DINMConfig":
        if not self.negatives and (self.layer is None or self.contrast):
            raise ValueError(
                "negatives = 0 leaves nothing to find the layer by and no contrast: set layer and contrast=0"
            )
        return self


class DINM(Method[DINMConfig]):
    """Tunes one matrix of the layer that tells good texts from bad the most."""

    info = MethodInfo(
        name="dinm",
        kind="weights",
        summary="DINM: find the layer that tells good texts from bad, and tune one matrix of it on the good ones",
        paper="Wang et al., ACL 2024, arXiv 2403.14472",
        needs_sets=True,
        quantised=False,
        strength="scale",
        search={"lr": Range(1e-4, 5e-3, log=True), "locality": Range(0.1, 10, log=True)},
        departures=(
            Departure(
                "one edit for each harmful question, with a refusal as the good text, undone afterwards",
                "one edit over all sets",
                "the question is how the model fares afterwards, on all prompts",
            ),
            Departure(
                "the locality term has no gradient in the authors' code; KL(base || edited), with weight 1 to the "
                "likelihood's 0.1",
                "KL(edited || base) with its gradient, on the anchors' own tokens, weight 1 to 1",
                "without a gradient nothing holds the edit back; sets bring no unrelated questions",
            ),
            Departure(
                "10 steps, learning rate 1e-5 to 5e-4",
                "40 steps, 2e-3",
                "all sets instead of one question: chosen on `tune`",
            ),
        ),
    )
    Config = DINMConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model has the layer, and a matrix to edit in each that may be chosen."""
        from methods.anatomy.feed_forward import the_output
        from methods.anatomy.layers import check_layer

        del inputs
        layers = check_layer(base, self.config.layer)
        for number in range(len(layers)) if self.config.layer is None else [self.config.layer]:
            the_output(layers[number], f"layer {number} of the base model", self.info.name)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Find the layer and tune its matrix."""
        from safetensors.torch import save_file

        from bench.store.files import write_json
        from methods.anatomy.feed_forward import output_matrix, refuse_quantised
        from methods.anatomy.layers import layer_number
        from methods.learning.batches import draw_items, match, refuse_long, required_sets

        sets = required_sets(sets, self.info.name)
        refuse_quantised(base, self.info.name)
        items = draw_items(sets, self.config, ctx.seed)
        refuse_long(base, (row[:2] for row in match(items)))
        distances: list[float] = []
        if self.config.layer is None:
            distances = layer_distances(base, items, ctx)
            layer = max(range(len(distances)), key=distances.__getitem__)
        else:
            layer = layer_number(base, self.config.layer)
        name = output_matrix(base, layer, self.info.name)
        delta, tokens = self._tune(base, name, items, ctx)
        save_file({"delta": delta}, ctx.folder / DELTA)
        write_json(ctx.folder / PLACE, {"layer": layer, "parameter": name})
        return {
            "steps": len(items) // self.config.anchors_per_step,
            "anchors": len(sets),
            "layer": layer,
            "distances": [round(distance, 4) for distance in distances],
            "trained_tokens": tokens,
            "trainable_parameters": delta.numel(),
        }

    def _tune(
        self, base: "LoadedModel", name: str, items: "Sequence[Item]", ctx: RunContext
    ) -> "tuple[torch.Tensor, int]":
        """The change of the matrix, float32, and the number of tokens learned from."""
        import torch

        from methods.learning.batches import Collator
        from methods.learning.descent import descend

        config, collator = self.config, Collator(base.tokenizer)
        delta = torch.zeros_like(base.model.get_parameter(name), dtype=torch.float32).requires_grad_()

        def loss(some: "Sequence[Item]") -> tuple[torch.Tensor, int]:
            if not config.contrast:
                some = [replace(one, negatives=()) for one in some]
            batch = {key: value.to(base.model.device) for key, value in collator(some).items()}
            terms = edit_losses(base, name, delta, batch)
            total = terms.likelihood + config.contrast * terms.contrast + config.locality * terms.locality
            return total, int(batch["attention_mask"].sum())

        def bounded() -> None:
            if config.norm_constraint is not None:
                delta.clamp_(-config.norm_constraint, config.norm_constraint)

        share = config.anchors_per_step
        tokens = descend(
            [delta], config.lr, items, share, loss, after_step=bounded, progress=ctx.progress, name="train dinm"
        )
        return delta.detach().cpu().contiguous(), tokens

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the edited matrix; it holds its own again afterwards."""
        from bench.engine.loading import read_tensors
        from bench.policy import HFPolicy
        from bench.store.files import read_json
        from methods.anatomy.feed_forward import changed, refuse_quantised

        refuse_quantised(base, self.info.name)
        deltas = {}
        if self.config.scale:
            name = read_json(artifact.path / PLACE)["parameter"]
            deltas = {name: self.config.scale * read_tensors(artifact.path / DELTA)["delta"]}
        with changed(base, deltas):
            yield HFPolicy(base.model, base.tokenizer)


def layer_distances(base: "LoadedModel", items: "Sequence[Item]", ctx: RunContext) -> list[float]:
    """How far apart the states of positives and negatives are after each layer, averaged over the anchors."""
    from methods.representation.states import differences, layer_states, pairs_of

    found = layer_states(base, pairs_of(items), "mean", ctx.progress)
    distances: list[float] = differences(items, found.state).norm(dim=-1).mean(0).tolist()
    return distances


class EditLosses(NamedTuple):
    """Terms of the loss, 0-d; each has a gradient with respect to the change of the matrix.

    Attributes:
        likelihood: Mean log-perplexity of the positives.
        contrast: Mean of -log(1 - p) over the negatives' tokens; 0 where there are none.
        locality: Mean of KL(edited || base) over the anchors' tokens from the second on.
    """

    likelihood: "torch.Tensor"
    contrast: "torch.Tensor"
    locality: "torch.Tensor"


def edit_losses(base: "LoadedModel", name: str, delta: "torch.Tensor", batch: "dict[str, torch.Tensor]") -> EditLosses:
    """The terms of the loss under the edited model.

    Args:
        base: The base model, which is not changed.
        name: Name of the matrix.
        delta: Its change.
        batch: What the collator made of anchors with their texts.
    """
    import torch
    from torch.func import functional_call

    from methods.anatomy.feed_forward import edited

    ids, mask, start = batch["input_ids"], batch["attention_mask"], int(batch["start"])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    weight = edited(base.model.get_parameter(name), delta)
    output = functional_call(base.model, {name: weight}, (), inputs | {"use_cache": False})
    logprobs = output.logits.float().log_softmax(-1)
    own, good = mask[:, start:], batch["positive"]
    token = logprobs[:, start - 1 : -1].gather(-1, ids[:, start:, None])[..., 0] * own
    likelihood = (-token.sum(-1) / own.sum(-1))[good].mean()
    unlikely = -(1 - token[~good].exp()).clamp(min=_LEAST).log() * own[~good]
    group = batch["group"].tolist()
    one_each = [group.index(number) for number in sorted(set(group))]
    with torch.no_grad():
        anchors = {key: value[one_each, :start] for key, value in inputs.items()}
        reference = base.model(**anchors, use_cache=False).logits.float().log_softmax(-1)
    followed = mask[one_each, : start - 1].bool()
    theirs, plain = logprobs[one_each, : start - 1][followed], reference[:, :-1][followed]
    divergence = (theirs.exp() * (theirs - plain)).sum(-1)
    contrast = unlikely.sum() / own[~good].sum().clamp(min=1)
    return EditLosses(likelihood, contrast, divergence.sum() / max(len(divergence), 1))
