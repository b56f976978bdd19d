"""Which methods and tasks fit a suite.

Of methods: what they learn from is there, and what they say is about what it controls.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from bench.errors import UsageError
from bench.method import REPLACES, Method
from bench.parsing import written
from bench.run.behind import without
from bench.run.stack import method_of
from bench.spec import EDITS, SuiteSpec
from bench.tasks.base import Task


def refuse_unfit(name: str, suite: SuiteSpec) -> None:
    """Refuse a method, or stacked ones, that the suite lacks something for.

    Raises:
        UsageError: it does; the message says what.
    """
    _refuse_unscored(name, suite)
    _refuse_factless(name, suite)
    _refuse_prefixing(name, suite)


def refuse_beside_groups(suite: SuiteSpec, tasks: Sequence[Task[Any]]) -> None:
    """Refuse tasks that measure one model where facts are edited in groups: there is a model for each.

    Raises:
        UsageError: it has one; the message names them, and how to leave them out.
    """
    if suite.sets.at_once is None:
        return
    if others := [task.name for task in tasks if not task.info.in_groups]:
        raise UsageError(
            f"suite '{suite.name}' edits facts in groups (sets.at_once), each on a model of its own, and these measure "
            f"one model: {', '.join(others)}",
            mend=without([task for task in tasks if task.info.in_groups], lambda info: info.in_groups)
            + ", or leave sets.at_once out",
        )


def refuse_off_topic(kind: type[Method[Any]], suite: SuiteSpec, told: Container[str]) -> None:
    """Refuse a method whose texts are about something that the suite does not control.

    Its row would stand among methods that were told what is wanted, and it was told something else.

    Args:
        kind: The method.
        suite: The suite.
        told: The options that somebody has set, the suite or the user.

    Raises:
        UsageError: an option that holds such a text was not set, or there is none to set.
    """
    info = kind.info
    if not info.speaks_of or suite.attribute.name in info.speaks_of:
        return
    about = f"and suite '{suite.name}' controls {suite.attribute.name}"
    if not info.texts:
        what = f"method '{info.name}' speaks of {info.speaks_of[0]} and of nothing else, {about}"
        raise UsageError(what, mend="take it out")
    if untold := [option for option in info.texts if option not in told]:
        what = f"method '{info.name}' speaks of {info.speaks_of[0]} unless told otherwise, {about}"
        settings = " ".join(f"--set {info.name}.{option}='{_example(kind, option)}'" for option in untold)
        raise UsageError(what, mend=f"say what it is to read there ({settings}), or take it out")


def outranked(kind: type[Method[Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    """Options that take the place of one that is told, and are not told themselves: they have no value then.

    Whoever sets `steps` means it, where a default or a suite has `epochs`.

    Raises:
        UsageError: both are told, and one of them would not count.
    """
    found: dict[str, Any] = {}
    for option, field in kind.Config.model_fields.items():
        extra = field.json_schema_extra
        replaced = extra.get(REPLACES) if isinstance(extra, dict) else None
        if replaced in told and told.get(option) is not None:
            what = f"'{replaced}' of method '{kind.info.name}' does not count beside {option}={told[option]}"
            raise UsageError(what, mend=f"leave one of the two out, or set {kind.info.name}.{option}=null")
        if replaced in told:
            found[option] = None
    return found


def _example(kind: type[Method[Any]], option: str) -> str:
    """A value of an option that holds texts, as `--set` takes it: in quotes, so that `true` or `7` are texts too."""
    default = kind.Config.model_fields[option].default
    if isinstance(default, dict):  # texts by their names
        return written({name: name.upper() for name in default})
    return f'"{option.upper()}"'


def _refuse_unscored(name: str, suite: SuiteSpec) -> None:
    """Refuse a method that needs a scorer where none scores what the suite controls."""
    if suite.is_unscored and method_of(name).info.needs_scorer:
        what = f"method '{name}' needs a scorer, and none of suite '{suite.name}' scores {suite.attribute.name}"
        raise UsageError(what, mend="take it out, or take a suite whose scorer scores what it controls")


def _refuse_factless(name: str, suite: SuiteSpec) -> None:
    """Refuse a method that edits facts where the suite makes sets that name none."""
    if suite.sets.is_made and suite.sets.source != EDITS and method_of(name).info.edits_facts:
        what = f"method '{name}' edits single facts, and the sets of suite '{suite.name}' name none"
        raise UsageError(what, mend="take it out, or take the suite mini-edit or a file of sets with subjects")


def _refuse_prefixing(name: str, suite: SuiteSpec) -> None:
    """Refuse a method that puts a text before the prompt where this is a user's turn: the text would be nobody's."""
    if suite.chat_template and method_of(name).info.prefixes:
        what = f"method '{name}' puts a text before the prompt, and suite '{suite.name}' has chat_template"
        raise UsageError(what, mend="take it out, or say the text as the suite's system")
