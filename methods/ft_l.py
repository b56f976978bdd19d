"""Constrained fine-tuning of one layer, FT-L (Zhu et al., 2020, arXiv 2012.00363; as ROME's authors measure it).

One matrix, the output of a layer's feed-forward block, is trained on the new facts alone, and none of its weights may
change by more than a bound:

    min over Delta of the mean NLL of the objects, with |Delta_ij| <= norm_constraint
"""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import Departure, Layers, MethodInfo, Range, RunContext
from methods.editing.method import EditConfig, FactEditing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from bench.policy import LoadedModel
    from methods.editing.facts import Fact


class FTLConfig(EditConfig):
    """Options of `ft_l`."""

    layer: int | None = Field(None, ge=0, le=100_000, description="layer to edit, from 0; null: a quarter of the way")
    steps: int = Field(25, ge=1, le=1_000_000, description="optimiser steps, each on all facts")
    lr: float = Field(2e-3, gt=0, description="learning rate (Adam)")
    norm_constraint: float = Field(
        1e-2, gt=0, description="most that any weight may change by, kept after each step (L-infinity)"
    )


class FTL(FactEditing[FTLConfig]):
    """Trains one matrix on the new facts, within a bound."""

    info = MethodInfo(
        name="ft_l",
        kind="weights",
        summary="FT-L: train one matrix on the new facts, each weight kept within a bound of its own",
        paper="Zhu et al., 2020, arXiv 2012.00363; as a baseline: Meng et al., NeurIPS 2022, arXiv 2202.05262",
        needs_sets=True,
        edits_facts=True,
        quantised=False,
        seeded=False,
        strength="scale",
        search={
            "layer": Layers(0, 0.6),
            "lr": Range(5e-4, 1e-2, log=True),
            "norm_constraint": Range(1e-3, 5e-2, log=True),
        },
        departures=(
            Departure(
                "the layer is searched (0 of GPT-2 XL); bound 5e-4, learning rate 5e-4",
                "a quarter of the way; bound 1e-2, learning rate 2e-3",
                "the layer of the closed forms, for comparison; the rest chosen on `tune-edit`",
            ),
            Departure(
                "one edit at a time, undone afterwards",
                "all facts of the suite together, in each step; as published with `suite.sets.at_once=1`",
                "the question is what a model is like that has them all",
            ),
        ),
    )
    Config = FTLConfig

    def layers(self, count: int) -> "Sequence[int]":
        """The one layer."""
        return [count // 4 if self.config.layer is None else self.config.layer]

    def deltas(
        self, base: "LoadedModel", names: "Mapping[int, str]", facts: "Sequence[Fact]", ctx: RunContext
    ) -> "tuple[Mapping[str, torch.Tensor], dict[str, Any]]":
        """The trained change of the matrix."""
        import torch
        from torch.func import functional_call

        from bench.engine.batching import pad
        from methods.anatomy.feed_forward import edited
        from methods.editing.facts import readings
        from methods.editing.values import columns_of, object_loss
        from methods.learning.descent import descend

        (name,) = names.values()
        rows = [readings(base, fact, ())[0] for fact in facts]
        ids, mask = pad([row.tokens for row in rows], 0, "right", base.model.device)
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        }
        columns = columns_of(rows)
        inputs |= {"use_cache": False, "logits_to_keep": torch.tensor(columns, device=ids.device)}
        own = base.model.get_parameter(name)
        delta = torch.zeros_like(own, dtype=torch.float32).requires_grad_()
        losses: list[float] = []

        def loss(_: object) -> tuple[torch.Tensor, int]:
            output = functional_call(base.model, {name: edited(own, delta)}, (), inputs)
            logprobs = output.logits.float().log_softmax(-1)
            mean = object_loss(logprobs, rows, columns)
            losses.append(round(float(mean.detach()), 4))
            return mean, int(mask.sum())

        def bounded() -> None:
            delta.clamp_(-self.config.norm_constraint, self.config.norm_constraint)

        steps = range(self.config.steps)
        tokens = descend(
            [delta], self.config.lr, steps, 1, loss, after_step=bounded, progress=ctx.progress, name="train ft_l"
        )
        figures = {"steps": len(steps), "trained_tokens": tokens, "trainable_parameters": delta.numel()}
        return {name: delta}, {"losses": losses, **figures}
