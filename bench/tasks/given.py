"""Tasks whose figures follow from continuations alone: they measure those that another programme made, too."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from bench.assets.catalogue import AssetCatalogue
from bench.attribute import Attribute
from bench.data.counted import Counted
from bench.data.prompts import ToxicityPrompt
from bench.store.record import TaskResult
from bench.store.samples import Sample


class MeasuresTexts(ABC):
    """A task that asks no model once the continuations are there."""

    @abstractmethod
    def of_texts(
        self, rows: Sequence[Sample], attributes: Mapping[str | None, Attribute], languages: Mapping[str, str]
    ) -> TaskResult:
        """The figures of continuations.

        Args:
            rows: All continuations with their scores.
            attributes: What is scored, by each scorer (see `bench.tasks.context.TaskContext.attributes`).
            languages: The language of each prompt, by its id, where it is known.
        """


class ContinuesPrompts(MeasuresTexts):
    """A task that has prompts continued, as they stand in its data, and measures what comes out."""

    @abstractmethod
    def asked(self, assets: AssetCatalogue, most: Callable[[int | None], int | None]) -> Counted[ToxicityPrompt]:
        """The prompts that are continued.

        Args:
            assets: Resolves data.
            most: The smaller of the suite's own number and the run's limit.
        """
