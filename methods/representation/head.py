"""What the output layer is given where it predicts the tokens of texts."""

from collections.abc import Sequence

import torch

from bench.policy import LoadedModel
from bench.progress import Progress
from methods.anatomy.layers import before
from methods.anatomy.output import output_layer
from methods.representation.states import PromptAndText, read, text_batches


@torch.no_grad()
def head_states(
    base: LoadedModel, pairs: Sequence[PromptAndText], progress: Progress
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What the output layer is given where it predicts the tokens of each text.

    Returns:
        Of each pair: the states, [tokens, hidden], and the tokens that they predict, int64 [tokens].
    """
    given: list[torch.Tensor] = []

    def note(state: torch.Tensor) -> torch.Tensor:
        given.append(state)
        return state[:, -1:]  # nobody asks for the logits

    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    with progress.bar("hidden states", len(pairs), "texts") as bar, before(output_layer(base), note):
        for batch in text_batches(base, pairs):
            read(base, batch, logits_to_keep=0)
            state = given.pop()
            for row, place in enumerate(batch.places):
                own = batch.own[row].nonzero()[:, 0]
                found[place] = state[row, own - 1], batch.input_ids[row, own]
            bar.advance(len(batch.places))
    return [found[place] for place in range(len(pairs))]
