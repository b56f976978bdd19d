"""A model of whose continuations the best is kept."""

import math
from collections.abc import Sequence

from bench.errors import MissingError
from bench.method import Unwanted
from bench.policy import HFPolicy, LoadedModel


class BestPolicy(HFPolicy):
    """The base model, which draws several continuations for one."""

    def __init__(self, base: LoadedModel, draws: int, unwanted: Unwanted | None) -> None:
        """Take the model.

        Args:
            base: The model.
            draws: Continuations that are drawn for each that stays.
            unwanted: What they are chosen by; without it nothing can be sampled.
        """
        super().__init__(base.model, base.tokenizer)
        self.draws, self._unwanted = draws, unwanted

    def choose(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """The least unwanted of each group, of equal ones the first; one that is blank or has no score is the last.

        Raises:
            MissingError: there is no scorer.
        """
        if self._unwanted is None:
            raise MissingError("the best continuation is chosen by a scorer, and there is none")
        scores = iter(self._unwanted([text for group in groups for text in group if text.strip()]))
        places = []
        for group in groups:
            found = [next(scores) if text.strip() else None for text in group]
            distances = [math.inf if one is None else one for one in found]
            places.append(distances.index(min(distances)))
        return places

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it chooses among what it has sampled"
