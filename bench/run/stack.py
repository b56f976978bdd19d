"""Several methods as one, `first+second`: the artifact of each is the one that it has alone, and the edits are stacked.

An edit lies on what those before it have made of the base model: first weights, then hidden states, and at last a
method that decodes, which reads the edited model where it would read the base.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import create_model, model_validator

from bench import registry
from bench.errors import UsageError
from bench.hashing import hash_json
from bench.method import Artifact, Group, Method, MethodInfo, RunContext
from bench.run.artifact import totals
from bench.spec import Spec

if TYPE_CHECKING:
    from bench.engine.memory import Footprint
    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

JOINT = "+"
"""What stands between the names of stacked methods."""
_WEIGHTS, _STATES, _DECODING = "changes weights", "changes hidden states", "decodes"
_EDITS = {
    "fine-tuning": _WEIGHTS,
    "weights": _WEIGHTS,
    "representation": _STATES,
    "decoding-time": _DECODING,
    "prompt": _DECODING,
}
"""What a kind of methods edits; the others edit nothing and are in no stack."""
_ORDER = (_WEIGHTS, _STATES, _DECODING)
_TOTALS = ("steps", "trained_tokens", "trainable_parameters", "seconds")
"""Facts of artifacts that add up."""


class Stack(Method[Spec]):
    """Methods whose edits lie on one another; `method_of` makes a class for each combination.

    Attributes:
        kinds: The methods by name, in order. An option `key` of one is the option `name.key` of the stack.
        methods: The same, configured.
    """

    kinds: ClassVar[Mapping[str, type[Method[Any]]]]

    def __init__(self, config: Spec) -> None:
        """Take a configuration of all of them."""
        super().__init__(config)
        self.methods = {name: kind(_own(name, kind, config)) for name, kind in self.kinds.items()}

    def check(self, base: Path, inputs: Mapping[str, Path]) -> None:
        """Find out whether the options of each fit the base model."""
        for name, method in self.methods.items():
            method.check(base, inputs_of(name, inputs))

    def not_exportable(self, base: Path) -> str | None:
        """Why the edited model is not one set of weights: as one of them says, or as hidden states change twice."""
        if reason := next(filter(None, (method.not_exportable(base) for method in self.methods.values())), None):
            return reason
        states = [name for name, kind in self.kinds.items() if _EDITS[kind.info.kind] == _STATES]
        return f"{' and '.join(states)} both change hidden states" if len(states) > 1 else None

    def memory(self, base: "Footprint") -> int:
        """What preparing the largest takes: they are prepared one after another."""
        return max(method.memory(base) for method in self.methods.values())

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Refused: each method is prepared by itself, so that others share its artifact."""
        raise TypeError(f"the methods of {self.info.name} are prepared each by itself")

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the model with all edits, each applied to what those before it have left."""
        from bench.engine.twin import twin
        from bench.policy import one_model

        *below, (last, _) = self.methods.items()
        is_decoded = _EDITS[self.kinds[last].info.kind] == _DECODING
        base = replace(base, unedited=twin(base.model) if is_decoded else None)
        with ExitStack() as stack:
            for name, method in below:
                policy = stack.enter_context(method.applied(base, artifact.parts[name]))
                model = one_model(policy)
                if model is None:  # another package's method that says otherwise (see `lies_below`)
                    what = f"method '{name}' leaves no single model that another edit could lie on"
                    raise UsageError(what, mend="run it alone")
                base = replace(base, model=model)
            yield stack.enter_context(self.methods[last].applied(base, artifact.parts[last]))


@cache
def method_of(name: str) -> type[Method[Any]]:
    """The method's class by its name, or that of a stack by the names in it.

    Raises:
        UsageError: there is no such method, or they cannot be stacked; the message says why.
        MissingError: its package cannot be imported.
    """
    kinds = {part: registry.load("methods", part) for part in name.split(JOINT)}
    if len(kinds) == 1 and JOINT not in name:
        single: type[Method[Any]] = kinds[name]
        return single
    _refuse(name, kinds)
    made: dict[str, Any] = {
        "__doc__": f"{name.replace(JOINT, ', then ')}.",
        "__module__": __name__,
        "kinds": kinds,
        "info": _info(name, kinds),
        "Config": _config(name, kinds),
    }
    return type("Stack", (Stack,), made)


def names_of(name: str) -> list[str]:
    """The names of the methods in a stack; of a single method its own."""
    return name.split(JOINT)


def strengths_of(name: str) -> list[str]:
    """The strengths of the methods in a stack, as options of the stack; of a single method none."""
    kind = method_of(name)
    kinds = kind.kinds.items() if issubclass(kind, Stack) else ()
    return [f"{part}.{one.info.strength}" for part, one in kinds if one.info.strength]


def variant_of(name: str, config: Spec) -> dict[str, Any]:
    """The options that name the form of a method, or of those in a stack that declare one, and their values."""
    infos = [method_of(part).info for part in names_of(name)]
    stem = "{0}.{1}" if JOINT in name else "{1}"
    options = [stem.format(info.name, info.variant) for info in infos if info.variant is not None]
    return {option: getattr(config, option) for option in options}


def modules_of(name: str) -> list[str]:
    """The modules whose code makes and applies a method: its own, or those of a stack."""
    kind = method_of(name)
    parts = [part.__module__ for part in kind.kinds.values()] if issubclass(kind, Stack) else []
    return [kind.__module__, *parts]


def inputs_of(name: str, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Of the models and adapters that the options of stacked methods name, those of one, by its own options."""
    return {option.removeprefix(f"{name}."): path for option, path in inputs.items() if option.startswith(f"{name}.")}


def joined(parts: Mapping[str, Artifact], folder: Path) -> Artifact:
    """The artifacts of stacked methods as one; each stays where it is, in `folder`.

    Where facts are edited in groups, what learns nothing from them is the same for each group.
    """
    facts: dict[str, Any] = {name: part.facts for name, part in parts.items()}
    facts |= totals([part.facts for part in parts.values()], _TOTALS)
    facts |= next(({"sets": part.facts["sets"]} for part in parts.values() if "sets" in part.facts), {})
    groups = [
        Group(group.prompts, joined({name: _of_group(part, number) for name, part in parts.items()}, folder))
        for number, group in enumerate(next((part.groups for part in parts.values() if part.groups), ()))
    ]
    content = hash_json({name: part.hash for name, part in parts.items()})
    return Artifact(folder, content, facts, parts=parts, groups=groups)


def _of_group(artifact: Artifact, number: int) -> Artifact:
    return artifact.groups[number].artifact if artifact.groups else artifact


def _refuse(name: str, kinds: Mapping[str, type[Method[Any]]]) -> None:
    """Refuse what cannot be stacked, with the reason."""
    names = names_of(name)
    if twice := next((part for part in names if names.count(part) > 1), None):
        raise UsageError(f"'{name}' has {twice} twice", mend="name it once")
    infos = [kind.info for kind in kinds.values()]
    for info in infos:
        if info.kind not in _EDITS:
            raise UsageError(f"'{name}': {info.name} is no edit that another could lie on", mend="leave it out")
        if not info.stacks:
            raise UsageError(f"'{name}': {info.name} puts another model in the base's place", mend="run it alone")
    # Each computes its change on the base, which holds no fact yet: two of them would write every fact twice.
    writing = [info.name for info in infos if info.edits_facts and _EDITS[info.kind] == _WEIGHTS]
    if len(writing) > 1:
        what = f"'{name}': {writing[0]} and {writing[1]} both write the facts into weights, each of them twice"
        raise UsageError(what, mend="take one of them")
    last = [info.name for info in infos if _is_last(info)]
    if len(last) > 1:
        what = f"'{name}': {last[0]} and {last[1]} both leave no single model that the other could lie on"
        raise UsageError(what, mend="take one of them")
    for first, second in pairwise(infos):
        if _place(first) > _place(second):
            ordered = JOINT.join(info.name for info in sorted(infos, key=_place))
            why = _EDITS[first.kind] if first.lies_below else "leaves no single model"
            what = f"'{name}': {second.name} {_EDITS[second.kind]} and cannot lie on {first.name}, which {why}"
            raise UsageError(what, mend=f"say {ordered}")


def _is_last(info: MethodInfo) -> bool:
    """Whether nothing can lie on a method's edit."""
    return _EDITS[info.kind] == _DECODING or not info.lies_below


def _place(info: MethodInfo) -> tuple[bool, int]:
    """What the methods of a stack are ordered by."""
    return _is_last(info), _ORDER.index(_EDITS[info.kind])


def _info(name: str, kinds: Mapping[str, type[Method[Any]]]) -> MethodInfo:
    """What a stack says of itself. It has no strength: one of 0 leaves the others' edits."""
    infos = [kind.info for kind in kinds.values()]
    weights = [info for info in infos if _EDITS[info.kind] == _WEIGHTS]
    return MethodInfo(
        name=name,
        kind=infos[-1].kind,
        summary="; then ".join(info.summary for info in infos),
        paper="; ".join(dict.fromkeys(info.paper for info in infos)),
        needs_sets=any(info.needs_sets for info in infos),
        prefixes=any(info.prefixes for info in infos),
        edits_facts=any(info.edits_facts for info in infos),
        needs_scorer=any(info.needs_scorer for info in infos),
        chooses=all(info.chooses for info in infos),
        inputs={f"{info.name}.{option}": sort for info in infos for option, sort in info.inputs.items()},
        # A quantised model wears an adapter instead of merging it, and can wear one.
        quantised=all(info.quantised for info in infos) and len(weights) < 2,  # noqa: PLR2004
        extras=tuple(dict.fromkeys(extra for info in infos for extra in info.extras)),
        seeded=any(info.seeded for info in infos),
        departures=tuple(departure for info in infos for departure in info.departures),
    )


def _config(name: str, kinds: Mapping[str, type[Method[Any]]]) -> type[Spec]:
    """The options of all of them, each under its method's name."""

    def each_valid(self: Spec) -> Spec:
        for part, kind in kinds.items():
            _own(part, kind, self)
        return self

    options: dict[str, Any] = {
        f"{part}.{option}": (field.annotation, copy.copy(field))
        for part, kind in kinds.items()
        for option, field in kind.Config.model_fields.items()
    }
    validators: dict[str, Any] = {"each_valid": model_validator(mode="after")(each_valid)}
    made: type[Spec] = create_model(name, __base__=Spec, __validators__=validators, **options)
    return made


def _own(name: str, kind: type[Method[Any]], config: Spec) -> Spec:
    """The options of one of the stacked methods, as it takes them alone."""
    return kind.Config(**{option: getattr(config, f"{name}.{option}") for option in kind.Config.model_fields})
