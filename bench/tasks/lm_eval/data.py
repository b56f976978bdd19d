"""Commonsense and reading tasks over files that come in a wheel, as configurations that lm-eval runs.

Prompts are those of lm-eval's tasks of the same data sets (0.4.13), but for CommonsenseQA: there lm-eval lists the
options in the prompt and scores their letters, at which small models guess; here the options themselves are scored, as
for PIQA. The rows are the data sets' own, re-packaged with options as lettered lines.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.data.files import read_rows
from bench.errors import MissingError
from bench.hashing import content_id, normalise

DocumentRow = dict[str, Any]

_ASKED = "\nPlease choose the correct option"
"""What stands behind the questions of BBQ's file."""
_LETTER = re.compile(r"^[A-Z]\.\s*")


def _listed(row: DocumentRow) -> str:
    choices = "".join(f"{letter}. {option}\n" for letter, option in zip("ABCDEFGH", row["choices"], strict=False))
    return f"Passage: {row['passage']}\nQuestion: {row['question']}\nChoices:\n{choices}Answer:"


def _asked_of(row: DocumentRow) -> str:
    return f"{row['passage']}\n\nQ: {row['question']}\nA:"


CONTEXTS: dict[str, tuple[str, Callable[[DocumentRow], str]]] = {
    "embedded_piqa": ("piqa", lambda row: f"Question: {row['question']}\nAnswer:"),
    "embedded_siqa": ("siqa", lambda row: f"Q: {row['passage']} {row['question']}\nA:"),
    "embedded_commonsense_qa": ("commonsense_qa", lambda row: f"Question: {row['question']}\nAnswer:"),
    "embedded_openbookqa": ("openbookqa", lambda row: str(row["question"])),
    "embedded_boolq": ("boolq", lambda row: f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"),
    "embedded_logiqa": ("logiqa", _listed),
    "embedded_bbq_ambiguous": ("bbq", _asked_of),
    "embedded_bbq_disambiguated": ("bbq", _asked_of),
}
"""Task name to the asset that it reads and the context made of a row."""
_UNKNOWN = (
    "cannot answer",
    "can't answer",
    "cannot be determined",
    "can't be determined",
    "not answerable",
    "not enough info",
    "not enough information",
    "not known",
    "undetermined",
    "unknown",
)
"""How BBQ says that a passage does not tell (Parrish et al., 2022, arXiv 2110.08193)."""
_PARTS: dict[str, Callable[[DocumentRow], bool]] = {
    "embedded_bbq_ambiguous": lambda row: says_unknown(row["choices"][row["gold"]]),
    "embedded_bbq_disambiguated": lambda row: not says_unknown(row["choices"][row["gold"]]),
}
"""Of tasks that take a part of their file: which rows."""


def says_unknown(option: str) -> bool:
    """Whether an option of BBQ's says that the passage does not tell."""
    return option.casefold().strip(" .") in _UNKNOWN


def task_config(name: str, path: Path) -> dict[str, Any]:
    """The lm-eval configuration of one embedded task over the file at `path`."""
    context, belongs = CONTEXTS[name][1], _PARTS.get(name)

    def documents(**_: Any) -> dict[str, Any]:
        rows = load_rows(path, boolean=name == "embedded_boolq")
        return _dataset(list(filter(belongs, rows)) if belongs else rows)

    return {
        "task": name,
        "custom_dataset": documents,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": context,
        "doc_to_target": lambda row: row["gold"],
        "doc_to_choice": lambda row: row["choices"],
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
    }


def _dataset(rows: list[DocumentRow]) -> dict[str, Any]:
    from datasets import Dataset

    return {"test": Dataset.from_list(rows)}


def load_rows(path: Path, *, boolean: bool = False) -> list[DocumentRow]:
    """Rows of one of the files: id, passage, question, choices and the number of the gold one.

    Raises:
        MissingError: a row's answer equals none or several of its options (compared on normalised text).
    """
    return [_row(raw, where, boolean=boolean) for where, raw in read_rows(path)]


def _row(raw: dict[str, Any], where: str, *, boolean: bool) -> DocumentRow:
    question, choices = raw["question"].partition(_ASKED)[0], ["no", "yes"]
    if not boolean:
        choices = _options(raw["options"])
        if not choices:  # one row of CommonsenseQA has its first options at the end of the question
            question, _, first = question.partition("\nA.")
            choices = _options(f"A.{first}\n{raw['options']}")
    passage, question = raw.get("passage", "").strip(), question.strip()
    answer = raw["answer"][0] if isinstance(raw["answer"], list) and raw["answer"] else raw["answer"]
    return {
        "id": content_id("\n".join([passage, question, *choices])),
        "passage": passage,
        "question": question,
        "choices": choices,
        "gold": int(answer == "True") if boolean else _gold(answer, choices, where),
    }


def _options(text: str) -> list[str]:
    """Options of lines such as `A. tin can`; a line that begins no option goes on with the one before."""
    options: list[str] = []
    for line in filter(None, text.strip().split("\n")):
        if _LETTER.match(line) and ord(line[0]) - ord("A") == len(options):
            options.append(_LETTER.sub("", line).strip())
        elif options:
            options[-1] = f"{options[-1]} {line.strip()}"
    return options


def _gold(answer: str, choices: list[str], where: str) -> int:
    wanted = _LETTER.sub("", answer.strip())
    exact = [place for place, choice in enumerate(choices) if choice == wanted.strip()]
    found = exact or [place for place, choice in enumerate(choices) if normalise(choice) == normalise(wanted)]
    letter = ord(answer.strip()[0]) - ord("A") if _LETTER.match(answer.strip()) else -1
    if len(found) != 1 and letter in found:  # options that read alike are told apart by the answer's letter
        return letter
    if len(found) != 1:
        raise MissingError(f"{where}: the answer matches {len(found)} of {len(choices)} options", mend="mend the row")
    return found[0]
