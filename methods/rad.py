"""Reward-augmented decoding, RAD (Deng & Raffel, EMNLP 2023, arXiv 2310.09520), with a low-rank reward.

A reward of the text so far with each token that may follow it is added to the logits (Section 2.2):

    z_v + beta * r(x_1..t, v)

The reward is of low rank, as of Troshin et al. (2024, arXiv 2407.04615), so that one reading gives those of all tokens:

    r(x_1..t, v) = sigmoid(b + w h + (P1^T h) (P2^T e_v))

with h what the base model's output layer is given after x_1..t, and e_v the layer's row of the token, each by its mean
length. It is learned on the sets with the base model frozen, by RAD's cumulative squared error: of a text of n tokens,
y = 1 for a positive and 0 for a negative,

    sum_t t (r(x_1..t) - y)^2 / (n (n + 1) / 2)
"""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.learning.options import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Item

REWARD = "reward.safetensors"
"""The tensors of `Reward`, by name."""


class RADConfig(Budget):
    """Options of `rad`."""

    # The reward tells the two kinds apart: of one alone it learns the same for every text.
    positives: int = Field(4, ge=1, le=100_000, description="positives drawn for an anchor (fewer where it has fewer)")
    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor")
    rank: int = Field(16, ge=1, le=65_536, description="rank of the part of the reward that depends on the next token")
    lr: float = Field(1e-2, gt=0, description="learning rate (Adam)")
    beta: float = Field(
        10.0, description="strength: factor on the reward, which is in [0, 1]; 0 is the base", json_schema_extra=APPLY
    )
    top_k: int = Field(
        20,
        ge=0,
        description="when sampling, only the base model's so many most likely tokens; the suite's top_p and top_k are "
        "then not applied on top, but for top_k=1; 0: as the suite decodes",
        json_schema_extra=APPLY,
    )


@dataclass(frozen=True)
class Reward:
    """The reward of a text with each token that may follow it.

    Attributes:
        bias: b, 0-d.
        weight: w, [hidden].
        read: P1, [hidden, rank].
        write: P2, [hidden, rank].
        lengths: Mean lengths of what the output layer is given, and of its rows, [2].
    """

    bias: "torch.Tensor"
    weight: "torch.Tensor"
    read: "torch.Tensor"
    write: "torch.Tensor"
    lengths: "torch.Tensor"

    def rows(self, embeddings: "torch.Tensor") -> "torch.Tensor":
        """P2^T e of some tokens, [tokens, rank], by their rows of the output layer, [tokens, hidden]."""
        return (embeddings.float() / self.lengths[1]) @ self.write

    def of_all(self, state: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """Rewards, [..., tokens], of states, [..., hidden], with every one of some tokens, by their `rows`."""
        own, key = self._of_state(state)
        return (own[..., None] + key @ rows.T).sigmoid_()

    def of_each(self, state: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """Rewards, [tokens], of states, [tokens, hidden], each with one token, by their `rows`."""
        own, key = self._of_state(state)
        return (own + (key * rows).sum(-1)).sigmoid()

    def _of_state(self, state: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        state = state.float() / self.lengths[0]
        return state @ self.weight + self.bias, state @ self.read


class RAD(Method[RADConfig]):
    """Towards tokens after which a reward, learned on the base model's states, is high."""

    info = MethodInfo(
        name="rad",
        kind="decoding-time",
        summary="reward-augmented decoding: add a reward of the text with each next token to the logits",
        paper="Deng & Raffel, 2023, arXiv 2310.09520; low-rank reward: Troshin et al., 2024, arXiv 2407.04615",
        needs_sets=True,
        strength="beta",
        strengths=(10.0, 5.0, 20.0, 2.0, 50.0),
        search={"beta": Range(1, 50, log=True), "lr": Range(1e-3, 3e-2, log=True)},
        departures=(
            Departure(
                "the reward is a GPT-2 of its own, all weights trained on 2 million comments; it reads each candidate",
                "a low-rank function of the base model's state and the candidate, trained on the sets",
                "no model beyond the base; all methods of a table learn from the same texts; a likelihood needs the "
                "rewards of all tokens at all positions",
            ),
            Departure(
                "comments' shares of raters, between 0 and 1, as targets; the reward is clamped",
                "1 and 0 for positives and negatives; the reward is a sigmoid",
                "sets have two kinds of text",
            ),
            Departure(
                "tokens outside of the top k have no probability",
                "so when sampling; a likelihood is of all tokens",
                "a text that was not sampled has a likelihood too",
            ),
            Departure(
                "several values of beta, top-k 20",
                "beta 10, which was not searched; top-k 20",
                "the reward is another function: what the authors' values do with theirs says little",
            ),
        ),
    )
    Config = RADConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn the reward."""
        from safetensors.torch import save_file

        from methods.learning.batches import draw_items, required_sets
        from methods.representation.head import head_states
        from methods.representation.states import pairs_of

        sets = required_sets(sets, self.info.name)
        items = draw_items(sets, self.config, ctx.seed)
        pairs = pairs_of(items)
        states = dict(zip(pairs, head_states(base, pairs, ctx.progress), strict=True))
        reward, tokens = self._learn(base, items, states, ctx)
        kept = {name: part.detach().cpu().contiguous() for name, part in vars(reward).items()}
        save_file(kept, ctx.folder / REWARD)
        return {
            "steps": len(items) // self.config.anchors_per_step,
            "anchors": len(sets),
            "trained_tokens": tokens,
            "trainable_parameters": sum(part.numel() for name, part in kept.items() if name != "lengths"),
        }

    def _learn(
        self,
        base: "LoadedModel",
        items: "Sequence[Item]",
        states: "dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]",
        ctx: RunContext,
    ) -> tuple[Reward, int]:
        """The reward, and the number of tokens learned from."""
        import torch

        from methods.anatomy.output import output_layer
        from methods.learning.descent import descend

        config, embeddings = self.config, output_layer(base).get_parameter("weight").detach()
        generator = torch.Generator().manual_seed(ctx.seed)
        length = torch.cat([state for state, _ in states.values()]).float().norm(dim=-1).mean()
        read = torch.randn(embeddings.shape[-1], config.rank, generator=generator).to(embeddings.device)
        reward = Reward(
            bias=torch.zeros((), device=read.device),
            weight=torch.zeros_like(read[:, 0]),
            read=read,
            write=torch.zeros_like(read),
            lengths=torch.stack([length, embeddings.float().norm(dim=-1).mean()]),
        )
        learned = [reward.bias, reward.weight, reward.read, reward.write]
        for part in learned:
            part.requires_grad_()

        def loss(some: "Sequence[Item]") -> tuple[torch.Tensor, int]:
            rows = [
                (*states[one.anchor, text], target)
                for one in some
                for target, texts in ((1.0, one.positives), (0.0, one.negatives))
                for text in texts
            ]
            errors = [cumulative_error(reward, state, embeddings[tokens], target) for state, tokens, target in rows]
            return torch.stack(errors).mean(), sum(len(tokens) for _, tokens, _ in rows)

        share = config.anchors_per_step
        return reward, descend(learned, config.lr, items, share, loss, progress=ctx.progress, name="train rad")

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the reward added to its logits."""
        from bench.engine.loading import read_tensors
        from bench.policy import HFPolicy
        from methods.anatomy.output import output_layer
        from methods.decoding.rewarded import RewardedPolicy

        if not self.config.beta:
            yield HFPolicy(base.model, base.tokenizer)
            return
        kept = {name: part.to(base.model.device) for name, part in read_tensors(artifact.path / REWARD).items()}
        reward = Reward(**kept)
        rows = reward.rows(output_layer(base).get_parameter("weight").detach())
        yield RewardedPolicy(base, lambda state: reward.of_all(state, rows), self.config.beta, self.config.top_k)


def cumulative_error(
    reward: Reward, state: "torch.Tensor", embeddings: "torch.Tensor", target: float
) -> "torch.Tensor":
    """RAD's loss of a text, 0-d: squared errors of the rewards of its beginnings, the longer the more they weigh.

    Args:
        reward: The reward.
        state: What the output layer is given before each token, [tokens, hidden].
        embeddings: Its rows of the tokens, [tokens, hidden].
        target: What the reward is to be, 0 or 1.
    """
    import torch

    found = reward.of_each(state, reward.rows(embeddings))
    weight = torch.arange(1, len(found) + 1, device=found.device)
    return (weight * (found - target) ** 2).sum() / weight.sum()
