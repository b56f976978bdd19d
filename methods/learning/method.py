"""What all methods share that train an adapter with a loss of their own."""

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from bench.method import APPLY, Artifact, Departure, Method, RunContext
from bench.spec import Spec
from methods.learning.options import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from bench.engine.memory import Footprint
    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Likelihoods


SAME_BUDGET = Departure(
    "all weights, or an adapter of the authors' own shape, for epochs over their data, with a learning rate for it",
    "a LoRA adapter of one shape, 40 steps on the sets, with a learning rate chosen on `tune`",
    "all methods of a table learn from the same texts with the same adapter, so that the loss is what differs",
)
"""What sets every loss of this table apart from its paper."""


class Scaled(Spec):
    """The option of every method whose strength is a factor on the trained adapter."""

    scale: float = Field(
        1.0, description="strength: factor on the trained adapter, 0 is the base", json_schema_extra=APPLY
    )


class AdapterConfig(Scaled, TrainingConfig):
    """Options of every method that trains an adapter on the sets' texts and scales it."""

    until: int | None = Field(
        None, ge=1, description="step after which the training ends, in place of the last; the schedule is that of all"
    )

    @model_validator(mode="after")
    def _ends_before_the_last_step(self) -> "AdapterConfig":
        if self.until is not None and self.epochs is None and self.until >= self.steps:
            raise ValueError(f"until = {self.until} is not before the last of {self.steps} steps: lower it or leave it")
        return self


class PairedConfig(AdapterConfig):
    """Options of those of them that learn from both kinds of text."""

    positives: int = Field(
        4, ge=1, le=100_000, description="positives drawn for an anchor, |P| (fewer where it has fewer)"
    )
    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor, |N|")


class UnlearningConfig(AdapterConfig):
    """Options of those that forget the negatives and may retain the positives."""

    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor, |N|: what is forgotten")
    retain: float = Field(1.0, ge=0, description="weight of the positives' log-perplexity")

    @model_validator(mode="after")
    def _something_to_retain(self) -> "UnlearningConfig":
        if self.retain and not self.positives:
            raise ValueError("positives = 0 leaves nothing to retain: set retain = 0 as well")
        return self


C = TypeVar("C", bound=AdapterConfig)
U = TypeVar("U", bound=UnlearningConfig)
S = TypeVar("S", bound=Scaled)
T = TypeVar("T")
_TEXT = 48  # tokens of a text with its share of the anchor, where nothing is known of the sets yet


def step_memory(config: TrainingConfig, base: "Footprint") -> int:
    """Bytes that a training step takes beside the weights, about."""
    anchors = -(-config.anchors_per_step // config.accumulation)
    tokens = anchors * (config.positives + config.negatives) * _TEXT
    return base.training(tokens, checkpointing=config.gradient_checkpointing)


def required(value: T | None) -> T:
    """A part of `Likelihoods` that the method has asked for."""
    if value is None:
        raise TypeError("the method does not say that its loss asks for this (reference, prompts, mismatched)")
    return value


class AdaptedMethod(Method[S]):
    """A method whose artifact is an adapter."""

    def factor(self) -> float:
        """What the adapter's change of the weights is multiplied with."""
        return self.config.scale

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the adapter's weights, scaled by the strength."""
        from bench.policy import HFPolicy
        from methods.learning.adapter import adapted

        with adapted(base.model, artifact.path, self.factor()):
            yield HFPolicy(base.model, base.tokenizer)


class TrainedMethod(AdaptedMethod[C]):
    """A loss on contrastive sets: the same batches, LoRA shape and budget as every other.

    Attributes:
        reference: Whether the loss asks for the texts' log-likelihoods under the base model.
        prompts: Whether the loss asks for the anchors' log-likelihoods too.
        mismatched: Whether the loss asks how far the model has moved on texts after another's anchor.
    """

    reference: ClassVar[bool] = False
    prompts: ClassVar[bool] = False
    mismatched: ClassVar[bool] = False
    along: ClassVar[str | None] = "until"

    @classmethod
    def steps_of(cls, config: C) -> int | None:
        """As configured, unless passes over the sets are."""
        return config.steps if config.epochs is None else None

    @abstractmethod
    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """The loss of a micro-batch, 0-d: a mean over its anchors, pairs or texts."""

    def memory(self, base: "Footprint") -> int:
        """A step on a micro-batch's texts."""
        return step_memory(self.config, base)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Train the adapter."""
        from methods.learning.batches import Asks
        from methods.learning.trainer import train_adapter

        asks = Asks(self.reference, self.prompts, self.mismatched)
        name, until = f"train {self.info.name}", self.config.until
        return train_adapter(base, sets, self.config, self.loss, ctx, name, asks=asks, until=until)


class UnlearningMethod(TrainedMethod[U]):
    """A loss that forgets the negatives, and retains the positives by their log-perplexity."""

    def retained(self, likelihoods: "Likelihoods") -> "torch.Tensor | float":
        """The weighted mean log-perplexity of the positives; 0 where nothing is retained."""
        return self.config.retain * likelihoods.phi[likelihoods.positive].mean() if self.config.retain else 0.0
