"""What methods that change matrices for facts have in common: their artifact, and how it is applied."""

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.editing.facts import Fact

DELTAS = "deltas.safetensors"
"""What is added to each matrix, by its name in the model, float32 in its own shape."""

OWN_TEXTS = Departure(
    "C over 100,000 passages of Wikipedia",
    "C over 200 texts of 80 tokens that the model itself writes",
    "no corpus is at hand that no task measures on; it holds for any model",
)
ESSENCE = Departure(
    "the divergence from the base model is of what follows 'SUBJECT is a'",
    "of what follows the subject in it, without ' is a', as in the authors' code",
    "the code is what the published figures were measured with",
)


class EditConfig(Spec):
    """Options of each of them."""

    scale: float = Field(
        1.0, description="strength: factor on the change of the weights, 0 is the base", json_schema_extra=APPLY
    )


C = TypeVar("C", bound=EditConfig)


class FactEditing(Method[C]):
    """Changes the output matrices of some layers' feed-forward blocks so that the model says new facts."""

    @abstractmethod
    def layers(self, count: int) -> "Sequence[int]":
        """The layers to edit, of so many, from 0."""

    @abstractmethod
    def deltas(
        self, base: "LoadedModel", names: "Mapping[int, str]", facts: "Sequence[Fact]", ctx: RunContext
    ) -> "tuple[Mapping[str, torch.Tensor], dict[str, Any]]":
        """What is added to each of these matrices (by layer), in its own shape, and figures about the making."""

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model has the layers, and one matrix to edit in each."""
        from methods.anatomy.feed_forward import the_output
        from methods.anatomy.layers import check_layer, refuse_beyond

        del inputs
        layers = check_layer(base, None)
        for number in self.layers(len(layers)):
            refuse_beyond(len(layers), number)
            the_output(layers[number], f"layer {number} of the base model", self.info.name)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Find the change of the matrices."""
        from safetensors.torch import save_file

        from methods.anatomy.feed_forward import output_matrix, refuse_quantised
        from methods.anatomy.layers import decoder_layers, layer_number
        from methods.editing.facts import facts_of
        from methods.learning.batches import required_sets

        facts = facts_of(required_sets(sets, self.info.name), self.info.name)
        refuse_quantised(base, self.info.name)
        layers = [layer_number(base, number) for number in self.layers(len(decoder_layers(base)))]
        names = {number: output_matrix(base, number, self.info.name) for number in layers}
        deltas, figures = self.deltas(base, names, facts, ctx)
        kept = {name: delta.detach().float().cpu().contiguous() for name, delta in deltas.items()}
        save_file(kept, ctx.folder / DELTAS)
        return {"layers": layers, "facts": len(facts), **figures}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the edited matrices; it holds its own again afterwards."""
        from bench.engine.loading import read_tensors
        from bench.policy import HFPolicy
        from methods.anatomy.feed_forward import changed, refuse_quantised

        refuse_quantised(base, self.info.name)
        scale = self.config.scale
        kept = read_tensors(artifact.path / DELTAS) if scale else {}
        with changed(base, {name: scale * delta for name, delta in kept.items()}):
            yield HFPolicy(base.model, base.tokenizer)


class KeyOptions(Spec):
    """How keys are taken."""

    contexts: int = Field(
        5, ge=0, le=10_000, description="texts of the model's own after which a fact is read too, so that it is general"
    )
    context_tokens: int = Field(10, ge=1, le=100_000, description="tokens of each")
    texts: int = Field(
        200, ge=1, le=1_000_000, description="texts of the model's own whose keys are to keep their values"
    )
    text_tokens: int = Field(80, ge=1, le=100_000, description="tokens of each")


class ValueOptions(Spec):
    """How values are found."""

    steps: int = Field(20, ge=1, le=1_000_000, description="steps of finding a fact's value")
    lr: float = Field(0.5, gt=0, description="learning rate of them (Adam)")
    kl: float = Field(
        0.0625, ge=0, description="weight of KL(edited || base) at the last token of SUBJECT in 'SUBJECT is a'"
    )
    decay: float = Field(0.5, ge=0, description="weight of the value's change, over the square of its length")
    clamp: float = Field(4.0, gt=0, description="the most that a value may change by, as a multiple of its length")
    enough: float = Field(0.05, ge=0, description="the loss below which no more steps are taken")
