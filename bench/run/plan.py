"""From what a user asks for to the experiments to carry out: everything validated, every value with its origin."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bench import registry
from bench.errors import UsageError, did_you_mean
from bench.method import Method
from bench.parsing import parse_value
from bench.paths import expanded
from bench.run.behind import refuse_unmeasurable
from bench.run.fitting import outranked, refuse_beside_groups, refuse_off_topic, refuse_unfit
from bench.run.searched import trials_of
from bench.run.stack import JOINT, Stack, method_of, names_of, variant_of
from bench.scorers import check_scorers
from bench.spec import Spec, SuiteSpec, validate
from bench.suites import read_suite
from bench.tasks.base import Task

BASE = "none"
"""The method that every other is compared with."""
SEES_REPORT, SEES_FURTHER = "sees the scorer of the report", "sees the further scorer {}"
"""What the label says of a method that chooses its texts by a scorer that reports them, the first or another."""
_SHOWN = 80  # characters of what is not understood
_FILE_NAME = re.compile(rb"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")
"""A task's name: its samples and figures lie in files of that name, which are not hidden ones."""
_MOST_SEEDS = 10_000
_SEED_DIGITS = 9
_KEPT = r"""\[[^\]]*\]|(?<==)'[^']*'|(?<==)"[^"]*"|[^{separator}]"""
"""A part of a piece between separators. One within a list's brackets, or a value's quotes, separates nothing."""
_BETWEEN_COMMAS, _BETWEEN_COLONS = (re.compile(f"(?:{_KEPT.format(separator=one)})+") for one in ",:")
_BETWEEN_METHODS = re.compile(rf"(?:{_KEPT.format(separator=JOINT)}|\{JOINT}(?![A-Za-z_]))+")
"""Of pluses those alone that stand before a name: 1e+4 is a number."""


@dataclass(frozen=True)
class Request:
    """What a user asks for, flags and files already merged.

    Attributes:
        methods: Names, each with options of its own where wanted: `contrastive:objective=paper:steps=20`. Several that
            are stacked have a + between them: `contrastive:steps=20+steering`.
        suite: Name or path; of one that is in no file, what messages call it.
        model: A model in place of the suite's (`ID` or `ID@REVISION`), or None.
        seeds: Seeds of training and sampling.
        settings: `KEY=VALUE` for the methods' options, `METHOD.KEY=VALUE` for one's, `suite.PATH=VALUE`
            for the suite.
        max_items: The most prompts and documents of each task, or None.
        base: Whether to measure the base model as well.
        searched: `METHOD=TRIALS`: by how many trials of a search its settings were chosen; METHOD as in `methods`, or
            its name for all of its variants. Records keep it, and no figure follows from it.
        origins: Where `methods`, `model` and `settings` come from: `flag`, `environment` or `config file`.
        content: What stands in the suite, where it is in no file.
    """

    methods: Sequence[str]
    suite: str
    model: str | None = None
    seeds: Sequence[int] = (0,)
    settings: Sequence[str] = ()
    max_items: int | None = None
    base: bool = True
    searched: Sequence[str] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] | None = None

    def origin(self, name: str) -> str:
        """Where a part of the request comes from; `flag` unless told otherwise."""
        return self.origins.get(name, "flag")


@dataclass(frozen=True)
class Experiment:
    """One (suite, method with its configuration, model, seed).

    Attributes:
        suite: The suite, overrides applied.
        method: The method's name; of stacked ones all names with a + between them.
        config: Its validated options; of stacked ones each `name.option`.
        label: The name with the options that differ from the suite's, for people.
        seed: Of training and sampling.
        max_items: The most prompts and documents of each task, or None.
        origins: Where each option's value comes from: `flag`, `environment`, `config file`, `suite` or `default`; and
            where the suite's overrides do.
        trials: By how many trials of a search its options were chosen; None where that is not known.
    """

    suite: SuiteSpec
    method: str
    config: Spec
    label: str
    seed: int
    max_items: int | None
    origins: dict[str, str] = field(default_factory=dict)
    trials: int | None = None

    def build(self) -> Method[Any]:
        """The method, configured."""
        return method_of(self.method)(self.config)

    @property
    def stacked(self) -> "list[Experiment]":
        """Each of its methods as an experiment of its own, where several are stacked."""
        method = self.build()
        if not isinstance(method, Stack):
            return []
        return [replace(self, method=name, config=one.config) for name, one in method.methods.items()]

    def tasks(self) -> list[Task[Any]]:
        """The suite's tasks, configured."""
        return build_tasks(self.suite)


def build_tasks(suite: SuiteSpec) -> list[Task[Any]]:
    """The tasks of a suite, in its order.

    Raises:
        UsageError: a task is unknown, its options are not valid, its name is none of a file, or two have one name.
    """
    tasks: list[Task[Any]] = []
    for place, entry in enumerate(suite.tasks, 1):
        where = f"suite '{suite.name}', task {place}"
        if "task" not in entry:
            raise UsageError(f"{where}: 'task' is missing", mend=f"known: {', '.join(registry.names('tasks'))}")
        kind = registry.load("tasks", str(entry["task"]))
        whole = kind.completed(entry, suite.sets)
        tasks.extend(kind.from_config(validate(kind.Config, whole, f"{where} ({entry['task']})")))
    names = [task.name for task in tasks]
    for place, task in enumerate(tasks):
        for needed in task.needs:
            if needed not in names[:place]:
                raise UsageError(
                    f"suite '{suite.name}': task '{task.name}' reads the samples of '{needed}'",
                    mend=f"put '{needed}' before it",
                )
        if not _FILE_NAME.fullmatch(task.name.encode("utf-8", "surrogatepass")):
            what = f"suite '{suite.name}': a task is called {task.name[:_SHOWN]!r}, and its files cannot be"
            raise UsageError(what, mend="give it a name of letters, digits, - and _")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"suite '{suite.name}' has task '{twice[0]}' twice", mend="take one of them out")
    return tasks


def make_experiments(request: Request) -> list[Experiment]:
    """All experiments of a request: for each seed the base, then the methods.

    Raises:
        UsageError: anything in the request is not valid; nothing has been done then.
    """
    settings = [parse_setting(text) for text in request.settings]
    suite, suite_origins = suite_of(request, settings)
    tasks = build_tasks(suite)
    texts = list(request.methods)
    asked = [parse_method(text) for text in texts]
    if not asked:
        raise UsageError("no method is named", mend=f"known: {', '.join(registry.names('methods'))}")
    _check_names(asked)
    if request.base and BASE not in [name for name, _ in asked]:
        texts, asked = [BASE, *texts], [(BASE, {}), *asked]
    refuse_unmeasurable(suite, tasks, [name for name, _ in asked])
    refuse_beside_groups(suite, tasks)
    check_settings(settings, [name for name, _ in asked])
    trials = trials_of(request.searched, [(text, name) for text, (name, _) in zip(texts, asked, strict=True)])
    kinds = []
    for name, own in asked:
        refuse_unfit(name, suite)
        config, origins = _configure(name, own, suite, settings, request)
        label = _label(name, config, own, settings, suite)
        kinds.append((name, config, label, {**suite_origins, **origins}))
    for place, (name, config, label, _) in enumerate(kinds):
        if any((name, config) == (other, same) for other, same, _, _ in kinds[:place]):
            raise UsageError(f"'{label}' is asked for twice", mend="name it once, or give it other options")
    return [
        Experiment(suite, name, config, label, seed, request.max_items, origins, count)
        for seed in request.seeds
        for (name, config, label, origins), count in zip(kinds, trials, strict=True)
    ]


def _check_names(asked: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Refuse an unknown method; one that may be the rest of a value with a comma in it gets the remedy for that."""
    known = registry.names("methods")
    before: tuple[str, dict[str, Any]] = ("", {})
    for stack, options in asked:
        for place, name in enumerate(names_of(stack)):
            if name not in known:
                mend = did_you_mean(name, known)
                if before[1]:
                    separator, what = (JOINT, "plus") if place else (",", "comma")
                    *_, (key, value) = before[1].items()
                    rest = f"{key}='{value}{separator}{name}'"
                    mend += f"; a value with a {what} stands in quotes ({rest}) or in --set {before[0]}.{key}=VALUE"
                raise UsageError(f"unknown method '{name}'", mend=mend)
            before = (name, _of_part(stack, name, options))
        method_of(stack)


def split(text: str) -> list[str]:
    """The pieces of a text between its commas, but for those within the brackets of a list or a value's quotes."""
    return [piece.strip() for piece in _BETWEEN_COMMAS.findall(text) if piece.strip()]


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value:key=value` to the name and its options; a value with a colon or a comma stands in quotes.

    Of stacked methods, `first:key=value+second`, an option is called `first.key`.
    """
    parsed = [_parse_single(piece) for piece in _BETWEEN_METHODS.findall(text.strip()) or [""]]
    if len(parsed) == 1:
        return parsed[0]
    names = [name for name, _ in parsed]
    return JOINT.join(names), {
        key if key.partition(".")[0] in names else f"{name}.{key}": value
        for name, options in parsed
        for key, value in options.items()
    }


def _of_part(stack: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options of stacked methods belongs to one of them; of a single method all."""
    if stack == name:
        return dict(options)
    return {key.removeprefix(f"{name}."): value for key, value in options.items() if key.startswith(f"{name}.")}


def _parse_single(text: str) -> tuple[str, dict[str, Any]]:
    name, *options = _BETWEEN_COLONS.findall(text.strip()) or [""]
    for option, before in zip(options, [None, *options], strict=False):
        if "=" not in option and before is not None:
            key, _, value = before.partition("=")
            raise UsageError(
                f"'{option:.{_SHOWN}}' in '{text:.{_SHOWN}}' is not KEY=VALUE",
                mend=f"put a value with : or , in quotes ({key}='{value}:{option}'), or say --set {name}.{key}=VALUE",
            )
    return name, dict(parse_setting(option) for option in options)


def parse_setting(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` to the key and the value, read as YAML (so `1e-4` and `1.0e-4` are numbers, `[a, b]` a list)."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"'{text}' is not KEY=VALUE")
    try:
        parsed = parse_value(value)
    except ValueError as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise UsageError(f"the value of '{shown}' cannot be read ({error})") from None
    return key.strip(), parsed


def parse_seeds(text: str) -> list[int]:
    """`0-2` or `0,3,5` or both to the seeds, each once, in order."""
    seeds: list[int] = []
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(re.fullmatch(r"[0-9]+", end) for end in ends):
            raise UsageError(f"seeds '{text:.{_SHOWN}}' are not numbers and ranges", mend="write them as 0-2 or 0,3,5")
        if large := next((end for end in ends if len(end.lstrip("0")) > _SEED_DIGITS), None):
            raise UsageError(f"seed {large:.{_SHOWN}} is too large", mend=f"seeds are 0 to {10**_SEED_DIGITS - 1:,}")
        if dash and int(last) < int(first):
            raise UsageError(f"the range of seeds {first}-{last} ends before it begins", mend=f"say {last}-{first}")
        if int(last or first) - int(first) + len(seeds) >= _MOST_SEEDS:
            raise UsageError(
                f"seeds '{text:.{_SHOWN}}' are more than {_MOST_SEEDS:,}", mend="each is a run: name fewer"
            )
        seeds.extend(range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(seeds))


def suite_of(request: Request, settings: list[tuple[str, Any]]) -> tuple[SuiteSpec, dict[str, str]]:
    """The suite of a request with its overrides, and where these come from.

    Raises:
        UsageError: it is not valid.
    """
    raw, where = read_suite(request.suite, request.content)
    origins: dict[str, str] = {}
    if request.model:
        name, at, revision = request.model.rpartition("@")
        if not at or expanded(request.model).is_dir():  # a folder may have an @ in its name
            name, at, revision = request.model, "", ""
        if isinstance(own := raw.get("model", {}), dict):  # another value is refused below
            raw["model"] = {**own, "id": name, "revision": revision if at else None}
        origins["suite.model"] = request.origin("model")
    for key, value in settings:
        if key.startswith("suite."):
            put(raw, key.removeprefix("suite.").split("."), value, key)
            origins[key] = request.origin("settings")
    suite = validate(SuiteSpec, raw, where)
    for name in suite.methods:
        if name not in registry.names("methods"):
            mend = did_you_mean(name, registry.names("methods"))
            raise UsageError(f"{where}: 'methods' sets options of an unknown method '{name}'", mend=mend)
    check_scorers(suite)
    return suite, origins


def put(raw: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    """Set a value deep in a mapping; `key` is what the user wrote.

    Raises:
        UsageError: the way leads through something that is no mapping.
    """
    for part in path[:-1]:
        inner = raw.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"'{key}' goes through '{part}', which is not a mapping")
        raw = inner
    raw[path[-1]] = value


def check_settings(settings: Sequence[tuple[str, Any]], names: Sequence[str]) -> None:
    """Refuse a setting that would go nowhere in a run of these methods.

    Raises:
        UsageError: it names another method, or an option that none of them has.
    """
    names = [part for name in names for part in names_of(name)]
    edited = [name for name in names if name != BASE]
    options = {option for name in edited for option in method_of(name).Config.model_fields}
    for key, _ in settings:
        head, dot, _rest = key.partition(".")
        if dot and head not in ("suite", *names):
            raise UsageError(f"'{key}' names no method of this run", mend=f"it has {', '.join(names)}")
        if not dot and key not in options:
            mend = did_you_mean(key, options) if options else f"the method '{BASE}' has no options"
            raise UsageError(f"no method of this run has the option '{key}'", mend=mend)


def fitting(settings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Of settings, those that go somewhere in a run of these methods."""
    found = []
    for text in settings:
        with suppress(UsageError):
            check_settings([parse_setting(text)], names)
            found.append(text)
    return found


def said_of(name: str, settings: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What settings say of a method's options: by its name, or by a bare KEY that it has; the last counts."""
    fields, said = method_of(name).Config.model_fields, {}
    for key, value in settings:
        head, dot, rest = key.partition(".")
        if dot and head == name:
            said[rest] = value
        elif not dot and key in fields:
            said[key] = value
    return said


def _configure(
    name: str, own: dict[str, Any], suite: SuiteSpec, settings: list[tuple[str, Any]], request: Request
) -> tuple[Spec, dict[str, str]]:
    """A method's options: flag > suite > default. A bare KEY goes to every method that has it."""
    kind = method_of(name)
    if issubclass(kind, Stack):
        parts = {part: _configure(part, _of_part(name, part, own), suite, settings, request) for part in kind.kinds}
        values = {f"{part}.{key}": value for part, (config, _) in parts.items() for key, value in config}
        told = {f"{part}.{key}": where for part, (_, origins) in parts.items() for key, where in origins.items()}
        return kind.Config(**values), told
    from_suite = suite.methods.get(name, {})
    from_flags = {**said_of(name, settings), **own}
    layers = {**from_suite, **outranked(kind, from_suite), **from_flags, **outranked(kind, from_flags)}
    config = validate(kind.Config, layers, f"method '{name}'")
    origins = dict.fromkeys(kind.Config.model_fields, "default")
    origins |= dict.fromkeys(from_suite, "suite")
    origins |= dict.fromkeys(from_flags, request.origin("settings"))
    origins |= dict.fromkeys(own, request.origin("methods"))
    refuse_off_topic(kind, suite, {*from_suite, *from_flags})
    return config, origins


def _label(name: str, config: Spec, own: dict[str, Any], settings: list[tuple[str, Any]], suite: SuiteSpec) -> str:
    """The name with its form, the options that are set, and by which of the reporting scorers it chooses its texts."""
    shown = dict(own)
    names = names_of(name)
    for part in names if name != BASE else []:
        for option, value in said_of(part, settings).items():
            shown.setdefault(option if len(names) == 1 else f"{part}.{option}", value)
    variant = variant_of(name, config)
    told = [*map(str, variant.values()), *(f"{key}={value}" for key, value in shown.items() if key not in variant)]
    if any(method_of(part).info.chooses for part in names):
        seen = suite.labelling
        told.append(SEES_REPORT if seen == suite.scorer else SEES_FURTHER.format(seen.key))
    return name + (f" ({', '.join(told)})" if told else "")
