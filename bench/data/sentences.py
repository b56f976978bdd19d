"""Sentences to write sets of or to ask about, from the files that people have: JSON, CSV, Parquet, plain text."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.data.counted import LABELLED_TWICE, REPEATED, WITHOUT_TEXT, Counted
from bench.data.files import names_in, read_rows, refuse_misspelt, value_at
from bench.data.groups import find_group, known_groups, mentioned
from bench.data.prompts import TOXIC_FROM, TOXICITIES, is_said, stored_toxicity, toxicity_in
from bench.data.splits import halved
from bench.errors import UsageError
from bench.hashing import content_id

FIELDS = ("sentence", "text", "input", "neutral_comment", "generation", "passage", "prompt")
"""Keys that hold the sentence, the first that a row has: ours, SafeNLP's and ToxiGen's `text`, the `input` of Klein &
Nabi's released files, ParaDetox's `neutral_comment`, ToxiGen's `generation`."""
GROUPS = ("groups", "target_groups", "group", "target_group")
"""Keys that name the identity groups that a sentence is about: a list, or one name."""
_PROMPT_GROUPS = ("toxic", "nontoxic")  # what samples of RealToxicityPrompts have under `group`
_TOXIC = ("hate", "hateful", "toxic", "offensive", "harmful", "abusive", "true", "1")
_NEUTRAL = (
    *("neutral", "benign", "normal", "harmless", "false", "0"),
    *(no + word for no in ("non", "not") for word in _TOXIC if word.isalpha() and word != "true"),
)
"""What a `label` may say, without case, spaces, hyphens and underscores."""
_LABELS = ("label", "prompt_label")
_OUT_OF_RANGE = "the toxicity is not between 0 and 1"
Meaning = Literal["toxic", "neutral"] | None
"""What a label of the user's means; None: nothing, as if it were not there."""


@dataclass(frozen=True)
class Sentence:
    """A sentence.

    Attributes:
        id: Its content id.
        text: It itself.
        groups: The identity groups that it is about: as the data says, or none.
        names_groups: Whether the data names any, be it none of ToxiGen's.
        toxic: Whether the data calls it toxic; None where it says neither.
        odd_label: What is wrong with its label or toxicity, with the place, where that is not understood.
        odd_group: Likewise, of the groups that the data names.
    """

    id: str
    text: str
    groups: tuple[str, ...] = ()
    toxic: bool | None = None
    odd_label: str | None = field(default=None, compare=False)
    odd_group: str | None = field(default=None, compare=False)
    names_groups: bool = field(default=False, compare=False)

    @property
    def group(self) -> str | None:
        """Its groups as one word, for people."""
        return "+".join(self.groups) or None

    @property
    def about(self) -> tuple[str, ...]:
        """The groups that the data names; where it names none, those that the sentence mentions."""
        return self.groups if self.names_groups else mentioned(self.text)


@dataclass(frozen=True)
class Words:
    """What the words of a user's data mean, where they are not the usual ones.

    Attributes:
        labels: A label to `toxic`, `neutral`, or None: as if it were not there.
        groups: A group's name to one of ToxiGen's, or None: to none of them.
    """

    labels: Mapping[str, Meaning] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)


USUAL = Words()


def load_sentences(path: Path, field: str | None = None, words: Words = USUAL) -> Counted[Sentence]:
    """Read sentences, each content once, in the file's order; the first label that one has counts.

    A label or a group that is not understood is no error here: it stands in the sentence, and what reads labels or
    groups refuses it (`assert_labels`, `assert_groups`).

    Args:
        path: A file in any form that `read_rows` reads.
        field: The key or column of the sentence; None for the first of `FIELDS` that a row has.
        words: What words mean that are not the usual ones.

    Raises:
        UsageError: a row has no sentence, or there is none; the message has the row's number, not its text.
    """
    sentences: dict[str, Sentence] = {}
    left_out: Counter[str] = Counter()
    for where, row in read_rows(path):
        text = _text(row, field, where)
        if not text.strip():
            left_out[WITHOUT_TEXT] += 1
        else:
            groups, odd_group, names_groups = _groups(row, where, words.groups)
            toxic, odd_label = _toxic(row, where, words.labels, field)
            sentence = Sentence(content_id(text), text.strip(), groups, toxic, odd_label, odd_group, names_groups)
            known = sentences.setdefault(sentence.id, sentence)
            if known is not sentence:
                clashes = None not in (known.toxic, toxic) and known.toxic is not toxic
                left_out[LABELLED_TWICE if clashes else REPEATED] += 1
                if known.toxic is None:
                    sentences[sentence.id] = replace(known, toxic=toxic, odd_label=known.odd_label or odd_label)
    if not sentences:
        raise UsageError(f"{path} holds no sentence")
    return Counted(sentences.values(), +left_out)


def assert_labels(sentences: Iterable[Sentence]) -> None:
    """Refuse labels that are not understood: a guess would make neutral sentences toxic ones.

    Raises:
        UsageError: with the first place and the number of them; the labels are not shown.
    """
    if odd := [one.odd_label for one in sentences if one.odd_label]:
        known = f"known: {', '.join(_TOXIC[:4])}; {', '.join(_NEUTRAL[:4])}"
        mend = f"write another ({known}), or say what it means by the task's option labels: {{WORD: neutral}}"
        if "toxicity" in odd[0]:
            mend = "divide percents by 100" if _OUT_OF_RANGE in odd[0] else "write it as a number from 0 to 1"
        raise UsageError(f"{odd[0]}{_more(odd)}", mend=mend)


def assert_groups(sentences: Iterable[Sentence]) -> None:
    """Refuse groups that are not known.

    Raises:
        UsageError: with the first place and the number of them; the names are not shown.
    """
    if odd := [one.odd_group for one in sentences if one.odd_group]:
        mend = "say which it is in the task's options, such as groups: {NAME: women}, or null for none of them "
        raise UsageError(f"{odd[0]}{_more(odd)}", mend=f"{mend}(known: {known_groups()})")


def _more(odd: Sequence[object]) -> str:
    return f" ({len(odd)} such sentences)" if len(odd) > 1 else ""


def _groups(
    row: dict[str, Any], where: str, meant: Mapping[str, str | None]
) -> tuple[tuple[str, ...], str | None, bool]:
    """The identity groups that a row names, each once, what is odd in them, and whether it names any.

    Our own samples join them by +, or name none.
    """
    refuse_misspelt(row, GROUPS, where)
    key = next((key for key in GROUPS if row.get(key) and is_said(row[key])), "")
    said = row.get(key) or ()
    names = said if isinstance(said, list | tuple) else re.split(r"[+,;|]", str(said))
    groups: dict[str, None] = {}
    odd = None
    named = [name for name in map(str, names) if name.strip() and name not in _PROMPT_GROUPS]
    for name in named:
        group, is_known = find_group(name, meant)
        if group is not None:
            groups[group] = None
        elif not is_known:
            odd = f"{where}: '{key}' names a group that is none of ToxiGen's"
    return tuple(groups), odd, bool(named)


def _toxic(
    row: dict[str, Any], where: str, meant: Mapping[str, Meaning], field: str | None
) -> tuple[bool | None, str | None]:
    """What a row says: SafeNLP's `label`, ToxiGen's `prompt_label`, or RealToxicityPrompts' `toxicity` (0 to 1).

    A toxicity stands beside the sentence, or at the row's top.
    """
    own = {_folded(word): meaning for word, meaning in meant.items()}
    odd = None
    refuse_misspelt(row, _LABELS, where)
    for key in _LABELS:
        if not is_said(row.get(key)):
            continue
        label = _folded(row[key])
        if label in own:
            if own[label] is not None:
                return own[label] == "toxic", None
        elif label in _TOXIC + _NEUTRAL:
            return label in _TOXIC, None
        else:
            odd = odd or f"{where}: '{key}' says neither toxic nor neutral"
    if odd:
        return None, odd
    beside = value_at(row, field, where)[0] if field else row.get("prompt")
    refuse_misspelt(row, TOXICITIES, where)
    stored = [toxicity_in(part) for part in (beside, row) if isinstance(part, dict)]
    said = next(filter(is_said, stored), None)
    if said is None:
        return None, None
    score = stored_toxicity(said)
    if score is None:
        return None, f"{where}: the toxicity is not a number"
    return (score >= TOXIC_FROM, None) if 0 <= score <= 1 else (None, f"{where}: {_OUT_OF_RANGE}")


def _folded(label: Any) -> str:
    return re.sub(r"[\s_]|-(?!\d)", "", str(label)).casefold().removesuffix(".0")


def of_kind(sentences: Counted[Sentence], *, toxic: bool | None) -> Counted[Sentence]:
    """The sentences of the kind that is wanted; all of them where none is, or where none of them has a label.

    Raises:
        UsageError: a label is not understood, where a kind is wanted.
    """
    if toxic is None:
        return sentences
    assert_labels(sentences)
    labelled = [one for one in sentences if one.toxic is not None]
    if not labelled:
        return sentences
    sentences = sentences.keep(labelled, "without a label")  # what has no label beside others is of neither kind
    other = "labelled neutral" if toxic else "labelled toxic"
    return sentences.keep([one for one in sentences if one.toxic is toxic], other)


def evaluation_sentences(
    path: Path,
    field: str | None = None,
    *,
    toxic: bool | None = None,
    words: Words = USUAL,
    half: Literal["eval", "all"] = "eval",
) -> Counted[Sentence]:
    """The sentences that are measured on, by content id.

    Args:
        path: The file.
        field: The key of the sentence; None for the usual ones.
        toxic: The kind that is wanted: of a file whose sentences have labels, those that the data calls so; None for
            all, whatever it calls them.
        words: What words mean that are not the usual ones.
        half: Those of the half that nothing learns from, or all.

    Raises:
        UsageError: a label is not understood, where a kind is wanted.
    """
    sentences = of_kind(load_sentences(path, field, words), toxic=toxic)
    held_out = halved(sentences, half)
    return Counted(sorted(held_out, key=lambda sentence: sentence.id), held_out.left_out)


def assert_apart(toxic: Iterable[Sentence], neutral: Iterable[Sentence], task: str, kinds: str) -> None:
    """Refuse sentences that would be both kinds: those of one file without labels.

    Raises:
        UsageError: there are some; it names the task, and the kinds in its words.
    """
    if both := {one.id for one in toxic} & {one.id for one in neutral}:
        raise UsageError(
            f"{task}: {len(both)} sentences are both {kinds}",
            mend="one file for both needs labels (see docs/protocols.md)",
        )


def _text(row: dict[str, Any], field: str | None, where: str) -> str:
    if field:
        text = value_at(row, field, where)[1]
        if text is None:  # a request that failed left no text
            return ""
    else:
        text = next((row[name] for name in FIELDS if name in row), None)
    if isinstance(text, dict):  # the hub's RealToxicityPrompts: {"prompt": {"text": ...}}
        text = text.get("text")
    if not isinstance(text, str):
        what = f"no text under '{field}'" if field else f"none of the keys {', '.join(FIELDS)} holds a text"
        raise UsageError(f"{where}: {what}", mend=f"name the key by field (it has {names_in(row)})")
    return text
