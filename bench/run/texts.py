"""Continuations that are there already: which count, their rows with scores, and the figures of these, task by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.continuations import Continued, of_prompts
from bench.data.counted import BEYOND, Counted
from bench.data.prompts import ToxicityPrompt
from bench.store.files import write_json
from bench.store.record import TaskResult
from bench.store.samples import Sample, write_samples
from bench.tasks.given import MeasuresTexts

# For the type checker alone, as in `bench.run.measuring`: figures do not follow from the code of these.
if TYPE_CHECKING:
    from bench.attribute import Attribute
    from bench.run.environment import Environment
    from bench.run.phases import Phases
    from bench.tasks.base import Task

Texts = Counted[tuple[ToxicityPrompt, str]]
"""Prompts with a continuation each."""


def of_own_prompts(found: Mapping[str, Continued], most: int | None, count: int, name: str) -> Texts:
    """The first continuations of each of a file's prompts, by content id; `most` is how many prompts at most."""
    return of_prompts(found, [found[key].prompt for key in sorted(found)[:most]], count, name, BEYOND)


@dataclass
class MeasuringTexts:
    """The tasks that measure continuations alone, carried out one after another.

    Attributes:
        tasks: What to measure; the rows are the samples of the first.
        texts: The continuations, as many of each prompt.
        source: What they stand under in the record.
        env: The suite and its scorers.
        folder: The run's folder.
        phases: Where the time of each task is noted.
    """

    tasks: "Sequence[Task[Any]]"
    texts: Texts
    source: str
    env: "Environment"
    folder: Path
    phases: "Phases"

    def measure(self) -> list[TaskResult]:
        """The results of all tasks, which are written too."""
        suite = self.env.suite
        attributes: dict[str | None, Attribute] = {None: suite.scored_by(suite.scorer)}
        attributes |= {key: suite.scored_by(spec) for key, spec in suite.further.items()}
        languages = {prompt.id: prompt.language for prompt, _ in self.texts if prompt.language}
        results = []
        rows: list[Sample] = []
        for place, task in enumerate(self.tasks):
            assert isinstance(task, MeasuresTexts)  # noqa: S101 - no others are among them
            with self.phases.phase(task.name, "measure"):
                if not place:
                    rows = self._scored()
                    write_samples(self.folder / "samples" / f"{task.name}.jsonl", rows)
                result = task.of_texts(rows, attributes, languages)
            taken = [] if place else [self.texts.facts(self.source)]
            result = result.model_copy(update={"phase": self.phases.done[-1], "taken": taken})
            write_json(self.folder / "tasks" / f"{task.name}.json", result.model_dump())
            results.append(result)
        return results

    def _scored(self) -> list[Sample]:
        """The continuations with their scores."""
        texts = [text for _, text in self.texts]
        scores = self.env.scorer.score(texts)
        further = {key: scorer.score(texts) for key, scorer in self.env.further.items()}
        count = self.env.suite.decoding.num_samples
        return [
            Sample(
                prompt_id=prompt.id,
                sample=place % count,
                prompt=prompt.text,
                continuation=text,
                scores=scores[place],
                group=prompt.group,
                tokens=None,
                ended=None,
                further={key: some[place] for key, some in further.items()},
            )
            for place, (prompt, text) in enumerate(self.texts)
        ]
