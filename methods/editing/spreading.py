"""Many facts at once over several layers, as MEMIT does it: what is missing at the last layer is spread over all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from methods.anatomy.feed_forward import changed, shaped
from methods.anatomy.layers import decoder_layers
from methods.editing.facts import Fact, essence, readings
from methods.editing.memory import kept_keys, keys_at, states_at
from methods.editing.values import Found, find_change

if TYPE_CHECKING:
    from bench.method import RunContext
    from bench.policy import LoadedModel
    from methods.editing.spread import SpreadConfig

Update = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From keys [inputs, facts], what their values are to change by [outputs, facts], the second moment of the keys to
preserve [inputs, inputs] and the keys of facts written before [inputs, earlier facts] to the change of the matrix,
[outputs, inputs], all float64."""


def spread(
    base: "LoadedModel",
    names: Mapping[int, str],
    facts: Sequence[Fact],
    config: "SpreadConfig",
    ctx: "RunContext",
    update: Update,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The changes of the matrices of several layers, and figures about the making.

    For each fact the state is found after the last of them, at the subject's last token, by which the model says the
    object. Layer by layer, with the earlier ones edited, an equal share of what the states still miss is written. Each
    batch of facts is written so, on the model that has the earlier ones.

    Args:
        base: The base model, which is left as it was.
        names: Names of the matrices by layer, ascending.
        facts: The facts.
        config: Options.
        ctx: Seed and progress.
        update: The closed form.
    """
    kept = kept_keys(base, list(names.values()), config, ctx)
    edited = [
        _Edited(name, torch.zeros_like(base.model.get_parameter(name), dtype=torch.float64, device="cpu"), moment)
        for name, moment in zip(names.values(), kept.moments, strict=True)
    ]
    last = decoder_layers(base)[max(names)]
    size = config.batch or len(facts)
    found: list[Found] = []
    with ctx.progress.bar("values", len(facts), "facts") as bar:
        for start in range(0, len(facts), size):
            some = facts[start : start + size]
            rows = [readings(base, fact, kept.contexts) for fact in some]
            alone = [own[0] for own in rows]
            with _changed(base, edited):
                for fact, own in zip(some, rows, strict=True):
                    found.append(find_change(base, last, own, essence(base, fact), config))
                    bar.advance()
                wanted = states_at(base, last, alone) + torch.stack([one.change for one in found[start:]])
            for number, matrix in enumerate(edited):
                with _changed(base, edited):
                    keys = torch.stack([keys_at(base, matrix.name, own).mean(0) for own in rows], 1)
                    missing = (wanted - states_at(base, last, alone)).T
                matrix.write(base, keys, missing / (len(edited) - number), update)
    return {matrix.name: matrix.delta for matrix in edited}, {
        "losses": [round(one.loss, 4) for one in found],
        "trained_tokens": sum(one.tokens for one in found),
        "preserved_keys": kept.tokens,
    }


class _Edited:
    """A matrix: what it changes by, the second moment of the keys to preserve, the keys of facts written so far."""

    def __init__(self, name: str, nothing: torch.Tensor, moment: torch.Tensor) -> None:
        self.name, self.delta, self._moment = name, nothing, moment
        self._written = moment[:, :0]

    def write(self, base: "LoadedModel", keys: torch.Tensor, changes: torch.Tensor, update: Update) -> None:
        """Write facts, with keys [inputs, facts] and what their values are to change by [outputs, facts]."""
        self.delta += shaped(base, self.name, update(keys, changes, self._moment, self._written))
        self._written = torch.cat([self._written, keys], 1)


def _changed(base: "LoadedModel", edited: Sequence[_Edited]) -> AbstractContextManager[None]:
    return changed(base, {matrix.name: matrix.delta.float() for matrix in edited})
