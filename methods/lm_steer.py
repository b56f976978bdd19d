"""LM-Steer (Han et al., 2024, arXiv 2305.12798): a linear change of the output word embeddings.

    logits = E (h + epsilon * s * W h)        W = P2 P1^T, of low rank

with h what the output layer E is given. W is learned with everything else frozen, by the language modelling loss on
positives with s = +1 and on negatives with s = -1; s is then chosen freely, and one above 0 prefers the positives. P1
and P2 start small and random, as the authors' do.

Only the output layer takes part in learning, so the states h are computed once. The authors' own code learns a second
matrix, with s = 1 for all texts, that takes up how the corpus differs from what the model writes; sets that the model
wrote itself do not differ so, and there is none here.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.learning.options import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Item

STEER = "lm_steer.safetensors"
"""`read` (P1) and `write` (P2), both [hidden, rank]."""
_START = 1e-2  # standard deviation of the first P1 and P2


class LMSteerConfig(Budget):
    """Options of `lm_steer`."""

    rank: int = Field(64, ge=1, le=65_536, description="rank of W")
    epsilon: float = Field(0.01, gt=0, description="factor on W, in training too")
    lr: float = Field(1e-2, gt=0, description="learning rate (Adam)")
    steer: float = Field(
        4.0,
        description="strength: the steer value s; 0 is the base, 1 what positives were learned with",
        json_schema_extra=APPLY,
    )


class LMSteer(Method[LMSteerConfig]):
    """Learns a linear change of the output embeddings that tells good texts from bad."""

    info = MethodInfo(
        name="lm_steer",
        kind="representation",
        summary="LM-Steer: a learned linear change of the output word embeddings",
        paper="Han et al., 2024, arXiv 2305.12798",
        needs_sets=True,
        strength="steer",
        search={"lr": Range(1e-3, 3e-2, log=True), "steer": Range(1, 8, log=True)},
        departures=(
            Departure(
                "a second matrix, switched on for all texts, takes up what sets the corpus apart from the model's "
                "own writing",
                "none",
                "sets that the model wrote itself do not differ so",
            ),
            Departure(
                "rank 1000, epsilon 0.001",
                "rank 64, epsilon 0.01",
                "within 40 steps these do better: chosen on `tune`",
            ),
            Departure(
                "1,000 steps of 32 texts",
                "40 steps of up to 16 texts",
                "all methods of a table have the same budget",
            ),
        ),
    )
    Config = LMSteerConfig

    def not_exportable(self, base: "Path") -> None:
        """The change is one of the output layer's weight: E (I + epsilon s P2 P1^T)."""
        del base

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn W."""
        from safetensors.torch import save_file

        from methods.anatomy.output import check_logits
        from methods.learning.batches import draw_items, required_sets
        from methods.representation.head import head_states
        from methods.representation.states import pairs_of

        sets = required_sets(sets, self.info.name)
        check_logits(base)
        items = draw_items(sets, self.config, ctx.seed)
        pairs = pairs_of(items)
        states = dict(zip(pairs, head_states(base, pairs, ctx.progress), strict=True))
        read, write, tokens = self._learn(base, items, states, ctx)
        save_file({"read": read, "write": write}, ctx.folder / STEER)
        return {
            "steps": len(items) // self.config.anchors_per_step,
            "anchors": len(sets),
            "trained_tokens": tokens,
            "trainable_parameters": read.numel() + write.numel(),
        }

    def _learn(
        self,
        base: "LoadedModel",
        items: "Sequence[Item]",
        states: "dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]",
        ctx: RunContext,
    ) -> "tuple[torch.Tensor, torch.Tensor, int]":
        """P1 and P2, float32 [hidden, rank], and the number of tokens learned from."""
        import torch

        from methods.learning.descent import descend

        config = self.config
        generator = torch.Generator().manual_seed(ctx.seed)
        hidden, device = next(iter(states.values()))[0].shape[-1], base.model.device
        read, write = (
            (_START * torch.randn(hidden, config.rank, generator=generator)).to(device).requires_grad_()
            for _ in range(2)
        )

        def loss(some: "Sequence[Item]") -> tuple[torch.Tensor, int]:
            rows = [
                (*states[one.anchor, text], sign)
                for one in some
                for sign, texts in ((1.0, one.positives), (-1.0, one.negatives))
                for text in texts
            ]
            total = steered_loss(base, rows, read, write, config.epsilon)
            return total, sum(len(targets) for _, targets, _ in rows)

        share = config.anchors_per_step
        tokens = descend([read, write], config.lr, items, share, loss, progress=ctx.progress, name="train lm_steer")
        return read.detach().cpu().contiguous(), write.detach().cpu().contiguous(), tokens

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the change before its output layer."""
        from bench.engine.loading import read_tensors
        from bench.policy import HFPolicy
        from methods.anatomy.layers import HookedPolicy, before
        from methods.anatomy.output import output_layer
        from methods.anatomy.plain import with_output

        if not self.config.steer:
            yield HFPolicy(base.model, base.tokenizer)
            return
        kept = {name: part.to(base.model.device) for name, part in read_tensors(artifact.path / STEER).items()}
        factor = self.config.epsilon * self.config.steer
        with before(output_layer(base), lambda state: steered(state, kept["read"], kept["write"], factor)):
            yield HookedPolicy(
                base.model,
                base.tokenizer,
                lambda: with_output(base.model, lambda weight: steered(weight, kept["write"], kept["read"], factor)),
            )


def steered(
    state: "torch.Tensor", read: "torch.Tensor", write: "torch.Tensor", factor: "torch.Tensor | float"
) -> "torch.Tensor":
    """The state h plus factor * P2 P1^T h, [..., hidden]; a tensor `factor` is [..., 1]."""
    change = (state.float() @ read) @ write.T
    return state + (factor * change).to(state.dtype)


def steered_loss(
    base: "LoadedModel",
    rows: "Sequence[tuple[torch.Tensor, torch.Tensor, float]]",
    read: "torch.Tensor",
    write: "torch.Tensor",
    epsilon: float,
) -> "torch.Tensor":
    """Mean over texts of their log-perplexity under the model that is steered by each text's own value.

    Args:
        base: The base model.
        rows: Of each text its states [tokens, hidden], its tokens [tokens] and the steer value.
        read: P1.
        write: P2.
        epsilon: Factor on W.
    """
    import torch

    from methods.anatomy.output import final_logits

    state = torch.cat([states for states, _, _ in rows])
    targets = torch.cat([tokens for _, tokens, _ in rows])
    sizes = torch.tensor([len(tokens) for _, tokens, _ in rows], device=state.device)
    signs = torch.tensor([sign for _, _, sign in rows], device=state.device).repeat_interleave(sizes)
    logits = final_logits(base, steered(state, read, write, epsilon * signs[:, None]))
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return (nll / sizes.repeat_interleave(sizes)).sum() / len(rows)
