"""What all methods share that train an adapter with a loss of their own."""

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field

from bench.method import APPLY, Artifact, Method, RunContext
from methods.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.training.batches import Scores


class AdapterConfig(TrainingConfig):
    """Options of every method whose strength is a factor on the trained adapter."""

    scale: float = Field(
        1.0, description="strength: factor on the trained adapter, 0 is the base", json_schema_extra=APPLY
    )


C = TypeVar("C", bound=AdapterConfig)
T = TypeVar("T")


def required(value: T | None) -> T:
    """A part of `Scores` that the method has asked for."""
    if value is None:
        raise TypeError("the method does not say that its loss asks for this (reference, prompts)")
    return value


class TrainedMethod(Method[C]):
    """A loss on contrastive sets: the same batches, LoRA shape and budget as every other.

    Attributes:
        reference: Whether the loss asks for the texts' log-likelihoods under the base model.
        prompts: Whether the loss asks for the anchors' log-likelihoods too.
    """

    reference: ClassVar[bool] = False
    prompts: ClassVar[bool] = False

    @abstractmethod
    def loss(self, scores: "Scores") -> "torch.Tensor":
        """The loss of a micro-batch, 0-d: a mean over its anchors, pairs or texts."""

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Train the adapter."""
        from methods.training.trainer import train_adapter

        return train_adapter(
            base,
            sets,
            self.config,
            self.loss,
            ctx,
            f"train {self.info.name}",
            reference=self.reference,
            prompts=self.prompts,
        )

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the adapter's weights, scaled by the strength."""
        from bench.policy import HFPolicy
        from methods.training.adapter import adapted

        with adapted(base.model, artifact.path, self.config.scale):
            yield HFPolicy(base.model, base.tokenizer)
