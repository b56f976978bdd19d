"""Group relative policy optimisation (Shao et al., 2024, arXiv 2402.03300, Section 4.1), with the scorer as reward."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.errors import MissingError
from bench.method import Departure, MethodInfo, Range, RunContext
from methods.learning.method import AdaptedMethod, Scaled
from methods.learning.options import RATES, LoraOptions, Steps

if TYPE_CHECKING:
    from bench.policy import LoadedModel
    from bench.sets import ContrastiveSets


class GRPOConfig(Scaled, LoraOptions, Steps):
    """Options of `grpo`: as many texts a step as the other methods see, of its own writing."""

    steps: int = Field(32, ge=1, le=1_000_000, description="optimiser steps")
    generations: int = Field(8, ge=2, description="continuations sampled for an anchor, which are compared, G")
    max_new_tokens: int = Field(20, ge=1, description="most tokens of a continuation")
    temperature: float = Field(1.0, gt=0, description="temperature that they are sampled at")
    beta: float = Field(0.0, ge=0, description="weight of the KL divergence from the base model")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="what the rewards' deviations from their anchor's mean are divided by"
    )


class GRPO(AdaptedMethod[GRPOConfig]):
    """Reinforcement learning on what the model writes itself, on TRL's own trainer."""

    info = MethodInfo(
        name="grpo",
        kind="fine-tuning",
        summary="group relative policy optimisation: reinforcement learning with the suite's scorer as reward",
        paper="Shao et al., 2024, arXiv 2402.03300",
        needs_sets=True,
        needs_scorer=True,
        extras=("rl",),
        strength="scale",
        search={"lr": RATES, "beta": Range(0, 0.1)},
        departures=(
            Departure(
                "a divergence from the base model is in the loss (beta above 0)",
                "beta 0",
                "TRL's default",
            ),
            Departure(
                "each continuation's loss is the mean over its own tokens",
                "the sum over the tokens of all continuations of a step, over their number (DAPO's)",
                "TRL's default",
            ),
            Departure(
                "the reward is a model's that was trained for it",
                "the suite's scorer, of the continuation alone",
                "it is the attribute that the suite measures: so the scorer is learned directly",
            ),
            Departure(
                "all weights, thousands of prompts",
                "an adapter of the shape that all have, 32 steps",
                "all methods of a table have the same budget",
            ),
        ),
    )
    Config = GRPOConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Train the adapter."""
        try:
            from methods.grpo.training import train_on_reward
        except ImportError as error:
            raise MissingError(
                f"method 'grpo' needs trl ({error})", mend="pip install 'contrastive-bench[rl]'"
            ) from error
        return train_on_reward(base, sets, self.config, ctx)
