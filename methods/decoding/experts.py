"""Adapters of the base model as models of their own, beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engine.profile import profile_of
from bench.engine.twin import twin
from bench.policy import HFPolicy, LoadedModel
from methods.learning.adapter import adapted


@contextmanager
def expert(base: LoadedModel, folder: Path) -> Iterator[HFPolicy]:
    """The base model with an adapter, beside the base model itself, which is never touched; without others' edits.

    The two share every tensor that the adapter does not change: with one on all linear layers, an expert takes the
    memory of those layers' weights again and none for the embeddings. In return it is as fast as the base model. Where
    the device's memory is what lacks (see `bench.engine.profile`), the expert wears its adapter: then the two share all
    of the base's weights, and a step takes the adapter's products more.
    """
    model = twin(base.unedited or base.model)
    with adapted(model, folder, 1.0, merged=profile_of(base.model.device).merges_experts):
        yield HFPolicy(model, base.tokenizer)
