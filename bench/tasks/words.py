"""Options of tasks that read labels and identity groups: what words of the data mean that are not the usual ones."""

from typing import Literal

from pydantic import Field, field_validator

from bench.data.groups import GROUPS
from bench.data.sentences import Meaning, Words
from bench.data.splits import within
from bench.errors import did_you_mean
from bench.spec import Word
from bench.tasks.base import TaskConfig


class LabelsConfig(TaskConfig):
    """Options of a task that reads sentences and their labels."""

    half: Literal["eval", "all"] = Field(
        "eval",
        description="which sentences of its files: eval: the half that nothing learns from; all: every one, where the "
        "sets are made of other data",
    )
    labels: dict[Word, Meaning] = Field(
        {}, description="what labels of the data mean: each toxic, neutral, or null for nothing"
    )

    @property
    def words(self) -> Words:
        """What the words mean."""
        return Words(self.labels)

    @property
    def within(self) -> str:
        """Where sentences are looked for, as a message ends that finds too few."""
        return within(self.half)


class GroupsConfig(LabelsConfig):
    """Options of a task that reads labels and groups."""

    groups: dict[Word, str | None] = Field(
        {}, description="which of ToxiGen's groups names of the data mean; null for none of them"
    )

    @field_validator("groups")
    @classmethod
    def _known(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        for group in value.values():
            if group is not None and group not in GROUPS:
                raise ValueError(f"'{group}' is none of ToxiGen's groups, {did_you_mean(group, GROUPS)}")
        return value

    @property
    def words(self) -> Words:
        """What the words mean."""
        return Words(self.labels, self.groups)
