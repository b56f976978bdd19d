"""DExperts: decoding-time control with an expert and an anti-expert (Liu et al., ACL 2021, arXiv 2105.03023).

The logits of three models are mixed (Equation 2): z + alpha (z+ - z-). The expert is trained on the positives of the
contrastive sets, the anti-expert on their negatives; both are adapters of the base model itself. As the authors do, the
base model's nucleus is taken first: a token outside of it is not sampled, whatever the experts say.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.learning.options import RATES, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from bench.engine.memory import Footprint
    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Likelihoods

EXPERT, ANTI_EXPERT = "expert", "anti_expert"


class DExpertsConfig(TrainingConfig):
    """Options of `dexperts`; the budget is the one of `contrastive`, its positives here, its negatives there."""

    positives: int = Field(
        4, ge=1, le=100_000, description="positives of an anchor that the expert is trained on in a step"
    )
    negatives: int = Field(
        4, ge=1, le=100_000, description="negatives of an anchor that the anti-expert is trained on in a step"
    )
    alpha: float = Field(
        2.0, description="strength: weight of the experts' difference, 0 is the base", json_schema_extra=APPLY
    )
    anti_only: bool = Field(False, description="the base model takes the expert's place, and no expert is trained")
    filter_p: float = Field(
        0.9,
        gt=0,
        le=1,
        description="when sampling, only tokens of the base model's nucleus of this mass, before mixing; the suite's "
        "top_p and top_k are then not applied on top, but for top_k=1; 1: as the suite decodes",
        json_schema_extra=APPLY,
    )


class DExperts(Method[DExpertsConfig]):
    """Towards an expert and away from an anti-expert."""

    info = MethodInfo(
        name="dexperts",
        kind="decoding-time",
        summary="mix in the difference between an expert on the positives and an anti-expert on the negatives",
        paper="Liu et al., 2021, arXiv 2105.03023",
        needs_sets=True,
        strength="alpha",
        strengths=(2.0, 1.0, 0.5, 3.0, 1.5),
        search={"lr": RATES, "alpha": Range(0.25, 4, log=True), "filter_p": Range(0.8, 1)},
        departures=(
            Departure(
                "the experts are language models of their own, all weights trained on Jigsaw's comments for an epoch",
                "two adapters of the base model, trained on the sets' positives and negatives",
                "every method learns from the same texts within the same budget",
            ),
        ),
    )
    Config = DExpertsConfig

    def memory(self, base: "Footprint") -> int:
        """A step of an expert's training."""
        from methods.learning.method import step_memory

        return step_memory(self.config, base)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Train the experts, each in a folder of its own."""
        from methods.learning.batches import draw_items, required_sets
        from methods.learning.trainer import train_adapter

        sets = required_sets(sets, "training")
        experts = {ANTI_EXPERT: self.config.model_copy(update={"positives": 0})}
        if not self.config.anti_only:
            experts[EXPERT] = self.config.model_copy(update={"negatives": 0})
        for config in experts.values():
            draw_items(sets, config, ctx.seed)  # what one of them lacks is missed before the other is trained
        facts = {
            name: train_adapter(base, sets, config, _loss, replace(ctx, folder=ctx.folder / name), f"train {name}")
            for name, config in experts.items()
        }
        totals = ("steps", "trained_tokens", "trainable_parameters")
        total = {key: sum(one[key] for one in facts.values()) for key in totals}
        return {**facts, **total}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model and its experts, mixed."""
        from bench.policy import HFPolicy
        from methods.decoding.experts import expert
        from methods.decoding.mixture import weighted

        plain, alpha = HFPolicy(base.model, base.tokenizer), self.config.alpha
        if not alpha:
            yield plain
            return
        with ExitStack() as stack:
            anti = (-alpha, stack.enter_context(expert(base, artifact.path / ANTI_EXPERT)))
            if self.config.anti_only:  # z + alpha (z - z-)
                parts: list[tuple[float, Policy]] = [(1 + alpha, plain), anti]
            else:
                parts = [(1.0, plain), (alpha, stack.enter_context(expert(base, artifact.path / EXPERT))), anti]
            yield weighted(parts, self.config.filter_p)


def _loss(likelihoods: "Likelihoods") -> "torch.Tensor":
    """Maximum likelihood: the mean log-perplexity of the texts."""
    return likelihoods.phi.mean()
