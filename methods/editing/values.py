"""The value that says a new object: found by descent on what a module returns at the subject's last token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bench.errors import MissingError
from bench.policy import LoadedModel
from methods.anatomy.layers import after, by_rows
from methods.editing.facts import Reading
from methods.editing.memory import read, states_at
from methods.editing.method import ValueOptions

_LEAST = 1e-12  # length of a change that is none


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        change: What is added to the value, float64 [hidden].
        loss: Mean negative log-likelihood of the object's tokens with it, over the readings.
        tokens: Tokens learned from.
    """

    change: torch.Tensor
    loss: float
    tokens: int


def find_change(
    base: LoadedModel, module: nn.Module, rows: Sequence[Reading], essence: Reading, options: ValueOptions
) -> Found:
    """The change of a module's value at the subject's last token that makes the object likely.

        mean NLL of the object + kl * KL(changed || base) at the essence's place + decay * ||change|| / ||value||^2

    over the readings of one fact (Meng et al., 2022, arXiv 2202.05262, Equation 4, with the authors' decay). The
    essence's place is the subject's last token, as in the authors' code: nothing that comes after it has a say.

    Raises:
        MissingError: the loss is not a number.
    """
    every = [*rows, essence]
    tokens = [row.tokens for row in every]
    columns = columns_of(every)
    kept = torch.tensor(columns, device=base.model.device)
    length = float(states_at(base, module, rows[:1])[0].norm())
    change = torch.zeros(base.model.config.get_text_config().hidden_size, device=base.model.device, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=options.lr)
    before: torch.Tensor | None = None
    done = 0
    with after([(module, partial(_added, change, every))]), torch.enable_grad():
        while True:
            logprobs = read(base, tokens, kept)[0].float().log_softmax(-1)
            own = logprobs[-1, columns.index(essence.place)]
            before = own.detach() if before is None else before  # nothing is added at first
            likelihood = object_loss(logprobs, rows, columns)
            divergence = (own.exp() * (own - before)).sum()
            loss = likelihood + options.kl * divergence + options.decay * change.norm() / length**2
            if not math.isfinite(float(loss.detach())):
                raise MissingError(f"the loss is not a number at step {done + 1}", mend="lower the learning rate (lr)")
            if done == options.steps or float(loss.detach()) < options.enough:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                change *= (options.clamp * length / change.norm().clamp(min=_LEAST)).clamp(max=1)
            done += 1
    return Found(change.detach().double().cpu(), float(likelihood.detach()), (done + 1) * sum(map(len, tokens)))


def _added(change: torch.Tensor, rows: Sequence[Reading], state: torch.Tensor) -> torch.Tensor:
    """States with the change added at each reading's place."""
    own = by_rows(state, len(rows))
    places = torch.zeros(own.shape[:2], dtype=torch.bool, device=state.device)
    places[torch.arange(len(rows)), [row.place for row in rows]] = True
    return torch.where(places[..., None], own + change.to(state.dtype), own).view_as(state)


def columns_of(rows: Sequence[Reading]) -> list[int]:
    """The positions at which a loss of some readings looks: those before their objects' tokens; without one, the place.

    Of a vocabulary of tens of thousands, logits at all positions take as long as many layers do.
    """
    return sorted({place for row in rows for place in (row.before_target or [row.place])})


def object_loss(logprobs: torch.Tensor, rows: Sequence[Reading], columns: Sequence[int]) -> torch.Tensor:
    """Mean over readings of the mean negative log-likelihood of the object's tokens.

    Args:
        logprobs: [at least the readings, columns, vocabulary].
        rows: The readings.
        columns: The positions that `logprobs` has (`columns_of`).
    """
    losses = []
    for own, row in zip(logprobs, rows, strict=False):
        places = [columns.index(place) for place in row.before_target]
        target = torch.tensor(row.target, device=logprobs.device)
        losses.append(-own[places].gather(-1, target[:, None]).mean())
    return torch.stack(losses).mean()
