"""Methods named together: `all` of them, or those of a kind (`fine-tuning`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench import registry
from bench.errors import MissingError, UsageError, did_you_mean
from bench.parsing import written
from bench.run.fitting import refuse_off_topic, refuse_unfit
from bench.run.plan import Request, parse_method, parse_setting, said_of, suite_of
from bench.run.stack import names_of
from bench.spec import SuiteSpec

ALL = "all"
_ALONE = ("none", "straw man")
"""Kinds of methods that are in no family."""


def expand(request: Request) -> tuple[Request, list[str]]:
    """A request with the methods that `all`, or the name of a kind, stands for, and a note of each that is left out.

    A family has the installed methods that run as they are. Left out are those that need an option (a model's name), an
    extra that is not installed, a scorer where the suite has none of what it controls, or a text about that. Straw men
    and the base are in no family.

    Raises:
        UsageError: the suite is not valid, or a family is misspelt, stacked, or has options of its own.
    """
    installed = registry.names("methods")
    if all(name in installed for asked in request.methods for name in names_of(parse_method(asked)[0])):
        return request, []  # nothing is imported to find that out
    kinds, notes = _kinds()
    for asked in request.methods:
        _refuse_misused(asked, {ALL, *kinds.values()})
    settings = [parse_setting(text) for text in request.settings]
    suite = suite_of(request, settings)[0]
    methods: list[str] = []
    for asked in request.methods:
        if asked != ALL and asked not in kinds.values():
            methods.append(asked)
            continue
        for name in [name for name, kind in kinds.items() if asked in (ALL, kind)]:
            if why := _unfit(name, suite, settings):
                notes.append(f"--method {asked} leaves out {name}: {why}")
            elif name not in methods and name not in request.methods:
                methods.append(name)
    return replace(request, methods=methods), list(dict.fromkeys(notes)) if methods != request.methods else []


def _refuse_misused(asked: str, families: set[str]) -> None:
    """Refuse what can only have been meant as a family, and is none; other unknown names are refused with the plan.

    Raises:
        UsageError: a family's name is misspelt, has options after a colon, or stands in a stack.
    """
    name, options = parse_method(asked)
    if name in families and options:
        settings = " ".join(f"--set {key}={written(value)}" for key, value in options.items())
        what = f"'{name}' is a family of methods, and options after a colon are of one method"
        raise UsageError(what, mend=f"say --method {name} {settings}, which sets it in each method that has it")
    known = families | {*registry.names("methods")}
    mend = did_you_mean(name, known)
    if name not in known and any(f"'{family}'" in mend for family in families):
        raise UsageError(f"unknown method '{name}'", mend=mend)
    for part in names_of(name):
        if part in families and part != name:
            raise UsageError(f"'{part}' in '{name}' is a family of methods", mend=f"name one of its methods in {name}")


def _kinds() -> tuple[dict[str, str], list[str]]:
    """The kind of each method that is in a family, and a note of each whose package cannot be imported."""
    kinds, notes = {}, []
    for name in registry.names("methods"):
        try:
            kind = registry.load("methods", name).info.kind
        except MissingError as error:
            notes.append(f"method {name} is in no family: {error.what}")
        else:
            if kind not in _ALONE:
                kinds[name] = kind
    return kinds, notes


def _unfit(name: str, suite: SuiteSpec, settings: Sequence[tuple[str, Any]]) -> str | None:
    """Why a method does not run as it is set, or None."""
    kind = registry.load("methods", name)
    own = {**suite.methods.get(name, {}), **said_of(name, settings)}
    needed = [option for option, field in kind.Config.model_fields.items() if field.is_required() and option not in own]
    if needed:
        return f"it needs {name}:{needed[0]}=VALUE"
    try:
        refuse_unfit(name, suite)
        refuse_off_topic(kind, suite, own)
        registry.check_extras("methods", name, kind.info.extras)
    except UsageError as error:
        return error.what
    except MissingError as error:
        return f"{error.what}; {error.mend}"
    return None
