"""What methods that spread facts over several layers have in common: their options, and which layers they edit."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, model_validator

from methods.editing.method import EditConfig, FactEditing, KeyOptions, ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from bench.method import RunContext
    from bench.policy import LoadedModel
    from methods.editing.facts import Fact

_SHARE = 4  # of a model's layers, from the first, after which facts are read


class SpreadConfig(EditConfig, ValueOptions, KeyOptions):
    """Options of a method that spreads facts over layers."""

    layers: tuple[int, ...] | None = Field(
        None, min_length=1, description="layers to edit, from 0, ascending; null: five that end a quarter of the way"
    )
    batch: int | None = Field(
        None, ge=1, description="facts written at once, the next ones on the model that has them; null: all of them"
    )

    @model_validator(mode="after")
    def _ascending(self) -> "SpreadConfig":
        if self.layers is not None and list(self.layers) != sorted(set(self.layers)):
            raise ValueError("layers are not in ascending order, each once")
        return self

    def of(self, count: int) -> list[int]:
        """The layers to edit, of so many."""
        last = count // _SHARE
        return list(range(max(last - 4, 0), last + 1)) if self.layers is None else list(self.layers)


S = TypeVar("S", bound=SpreadConfig)


class SpreadEditing(FactEditing[S]):
    """Spreads facts over layers, by a closed form of its own for each matrix."""

    def layers(self, count: int) -> "Sequence[int]":
        """The layers over which facts are spread."""
        return self.config.of(count)

    def deltas(
        self, base: "LoadedModel", names: "Mapping[int, str]", facts: "Sequence[Fact]", ctx: "RunContext"
    ) -> "tuple[Mapping[str, torch.Tensor], dict[str, Any]]":
        """The changes of all of the matrices."""
        from methods.editing.spreading import spread

        return spread(base, names, facts, self.config, ctx, self.update)

    @abstractmethod
    def update(
        self, keys: "torch.Tensor", changes: "torch.Tensor", moment: "torch.Tensor", written: "torch.Tensor"
    ) -> "torch.Tensor":
        """The closed form, an `Update` (`methods.editing.spreading`)."""
