"""Questions with answers that people have called true and false: natural questions, or a user's file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from bench.data.counted import CLASHING, REPEATED, Counted
from bench.data.files import read_rows
from bench.data.squad import normalised
from bench.errors import UsageError
from bench.hashing import content_id
from bench.words import words

ONE_KIND = "without a true and a false answer"
NOT_ALIKE = "without a true and a false answer of one length and letter case"
_TRUE = ("true", "answer", "def_correct_predictions")
_FALSE = ("false", "def_incorrect_predictions")
"""Keys of a row that hold its answers, all that it has: ours, and those of the embedded NQ-open."""
_QUOTES = ('""', "''", "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}")


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question with true and false answers, each once; no answer is of both kinds.

    Attributes:
        id: The question's content id.
        text: The question, without a question mark at its end.
        true: True answers.
        false: False ones.
    """

    id: str
    text: str
    true: tuple[str, ...]
    false: tuple[str, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """All of them, the true ones first."""
        return self.true + self.false

    @property
    def says(self) -> tuple[set[str], set[str]]:
        """Its true and its false answers, normalised."""
        return set(map(normalised, self.true)), set(map(normalised, self.false))

    def asked(self, template: str) -> str:
        """The prompt: the question in a template."""
        return template.replace("{question}", self.text)


def load_questions(path: Path) -> Counted[AnsweredQuestion]:
    """Read questions, each content once, by content id.

    Rows are `{"question": ..., "true": [...], "false": [...]}`, or the embedded NQ-open's, in any form that `read_rows`
    reads. Of answers that are the same after SQuAD's normalisation the first is taken; a false answer that is also a
    true one is left out.

    Raises:
        UsageError: a row is neither, or no question has both kinds of answers.
    """
    questions: dict[str, AnsweredQuestion] = {}
    left_out: Counter[str] = Counter()
    for where, row in read_rows(path):
        question = _question(row, where)
        if question.id in questions:
            left_out[REPEATED if question.says == questions[question.id].says else CLASHING] += 1
        elif not (question.true and question.false):
            left_out[ONE_KIND] += 1
        else:
            questions[question.id] = question
    if not questions:
        what = f"{path} holds no question with a true and a false answer"
        raise UsageError(what, mend='rows are {"question": "...", "true": ["..."], "false": ["..."]}')
    return Counted((questions[key] for key in sorted(questions)), left_out)


def _question(row: dict[str, Any], where: str) -> AnsweredQuestion:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{where}: no question under the key 'question'")
    for keys in (_TRUE, _FALSE):
        if not any(key in row for key in keys):
            raise UsageError(
                f"{where}: no answers under the key '{keys[0]}'", mend="an empty list says that none is known"
            )
    true = _once(_answers(row, _TRUE, where))
    false = _once(_answers(row, _FALSE, where), but=true)
    text = " ".join(text.split()).removesuffix("?").rstrip()
    return AnsweredQuestion(content_id(text), text, tuple(true), tuple(false))


def _answers(row: dict[str, Any], keys: Sequence[str], where: str) -> list[str]:
    found: list[str] = []
    for key in keys:
        answers = row.get(key) or []
        if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
            raise UsageError(f"{where}: '{key}' is not a list of texts")
        found.extend(map(_cleaned, answers))
    return found


def _cleaned(answer: str) -> str:
    r"""An answer as it is said: without quotes around the whole, the backslash of `\"`, and line breaks."""
    answer = " ".join(answer.replace('\\"', '"').replace("\\'", "'").split())
    while len(answer) > 1 and answer[0] + answer[-1] in _QUOTES:
        answer = answer[1:-1].strip()
    return answer


def _once(answers: Iterable[str], but: Iterable[str] = ()) -> list[str]:
    """The answers of which something is left after normalisation, each once, but for some."""
    taken, found = set(map(normalised, but)), []
    for answer in answers:
        if (name := normalised(answer)) and name not in taken:
            taken.add(name)
            found.append(answer)
    return found


def matched(question: AnsweredQuestion) -> AnsweredQuestion | None:
    """The question with as many true as false answers, alike in form one for one; None where no two are.

    Two answers are alike that have as many words and the same letter case: no capital letter, some, or a digit at the
    beginning. False answers are lower-case more often than true ones, so that without this a model could rank them
    rightly by their capitals. Of several that are alike, those are taken that are nearest in characters.
    """
    pairs = [(true, false) for true, false in product(question.true, question.false) if _form(true) == _form(false)]
    pairs.sort(key=lambda pair: (abs(len(pair[0]) - len(pair[1])), pair))
    chosen: dict[str, str] = {}
    for true, false in pairs:
        if true not in chosen and false not in chosen.values():
            chosen[true] = false
    return replace(question, true=tuple(chosen), false=tuple(chosen.values())) if chosen else None


def _form(answer: str) -> tuple[int, str]:
    """An answer's number of words and its letter case."""
    first = next((letter for letter in answer if letter.isalnum()), "")
    return len(words(answer)), "digit" if first.isdigit() else "lower" if answer == answer.lower() else "upper"


def all_matched(questions: Counted[AnsweredQuestion]) -> Counted[AnsweredQuestion]:
    """The questions that have answers alike in form, with these alone."""
    return questions.keep([found for one in questions if (found := matched(one))], NOT_ALIKE)
