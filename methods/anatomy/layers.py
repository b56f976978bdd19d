"""A model's decoder layers, and changes of what they hand on."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.engine.architecture import config_of
from bench.errors import UsageError
from bench.policy import HFPolicy, LoadedModel
from methods.anatomy.skeleton import skeleton

BASE = "the base model"
"""What it is called before it is loaded."""
Change = Callable[[torch.Tensor], torch.Tensor | None]
"""From a hidden state [rows, positions, hidden] (see `by_rows`) to the one in its place, or None to leave it."""


class HookedPolicy(HFPolicy):
    """A model whose hidden states are changed while it runs."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        plain: Callable[[], PreTrainedModel],
        reason: str | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: The model, with its hooks.
            tokenizer: Its tokenizer.
            plain: Makes the model that says the same without hooks.
            reason: Why there is none, where there is none.
        """
        super().__init__(model, tokenizer)
        self._plain, self._reason = plain, reason

    def not_exportable(self) -> str | None:
        """Why the change is no weight's, where it is none's."""
        return self._reason

    def plain(self) -> PreTrainedModel:
        """A model with the change in its weights."""
        return self._plain()


def decoder_layers(base: LoadedModel) -> list[nn.Module]:
    """The model's decoder layers, in order; the residual stream after one is what it returns.

    Raises:
        UsageError: the model is not made of a list of layers that can be told.
    """
    return layers_of(base.model, f"'{base.id}'")


def layers_of(model: PreTrainedModel, name: str) -> list[nn.Module]:
    """The same of a model that is called so; its weights are not looked at.

    Raises:
        UsageError: it is not made of a list of layers that can be told.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = [part for part in decoder_of(model).children() if isinstance(part, nn.ModuleList) and len(part) == count]
    if len(found) != 1:
        raise UsageError(
            f"the decoder layers of {name} ({type(model).__name__}) cannot be told",
            mend="use a model whose decoder holds one list of layers",
        )
    return list(found[0])


def decoder_of(model: PreTrainedModel) -> nn.Module:
    """The module that holds embeddings and decoder layers."""
    get_decoder = getattr(model, "get_decoder", None)
    found: nn.Module = get_decoder() if get_decoder else model
    return found


def layer_number(base: LoadedModel, layer: int | None) -> int:
    """The layer that an option names, from 0; the middle one for None.

    Raises:
        UsageError: the model has no such layer.
    """
    count = len(decoder_layers(base))
    if layer is None:
        return count // 2
    refuse_beyond(count, layer)
    return layer


def check_layer(base: Path, layer: int | None) -> list[nn.Module]:
    """Find out from a model's folder whether it has the layer that an option names; nothing is loaded.

    Returns:
        Its layers, without weights.

    Raises:
        UsageError: it has no such layer, or its layers cannot be told.
    """
    return layers_of(check_model(base, layer), BASE)


def check_model(base: Path, layer: int | None) -> PreTrainedModel:
    """The same; returns the model without weights."""
    model = skeleton(config_of(base))
    count = len(layers_of(model, BASE))
    if layer is not None:
        refuse_beyond(count, layer)
    return model


def refuse_beyond(count: int, layer: int) -> None:
    """Refuse a layer that a model of so many lacks.

    Raises:
        UsageError: it has no such layer.
    """
    if layer >= count:
        raise UsageError(f"the base model has {count} layers and no layer {layer}", mend=f"layer = 0 to {count - 1}")


def by_rows(state: torch.Tensor, rows: int) -> torch.Tensor:
    """A hidden state as [rows, positions, hidden]: some modules get the positions of all rows in one list (OPT).

    Raises:
        UsageError: it holds more than one vector a position.
    """
    if state.dim() > 3:  # noqa: PLR2004
        raise UsageError(
            "the model's layers hand on more than one hidden state a token (Gemma 3n), and the method changes one",
            mend="use another model",
        )
    return state.reshape(rows, -1, state.shape[-1])


@contextmanager
def after(changes: Iterable[tuple[nn.Module, Change]]) -> Iterator[None]:
    """Change what modules return, until the block ends."""
    with _hooks(module.register_forward_hook(_output_hook(change)) for module, change in changes):
        yield


@contextmanager
def before(module: nn.Module, change: Change) -> Iterator[None]:
    """Change what a module is given, until the block ends."""

    def hook(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        del module
        changed = change(given[0])
        return None if changed is None else (changed, *given[1:])

    with _hooks([module.register_forward_pre_hook(hook)]):
        yield


@contextmanager
def before_each(changes: Iterable[tuple[nn.Module, Change]]) -> Iterator[None]:
    """The same for several modules."""
    with ExitStack() as stack:
        for module, change in changes:
            stack.enter_context(before(module, change))
        yield


@contextmanager
def _hooks(handles: Iterable[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _output_hook(change: Change) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(module: nn.Module, given: Any, output: Any) -> Any:
        del module, given
        several = isinstance(output, tuple)  # some models hand on more than the hidden state
        changed = change(output[0] if several else output)
        if changed is None:
            return None
        return (changed, *output[1:]) if several else changed

    return hook
