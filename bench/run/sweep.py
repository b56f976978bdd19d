"""From methods to points along an option of theirs: each point is an ordinary experiment."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from bench import registry
from bench.errors import MissingError, UsageError, did_you_mean
from bench.run.plan import BASE, Experiment, Request, make_experiments, parse_method
from bench.run.stack import JOINT, method_of

STRENGTH = "strength"
"""What to sweep: each method's own strength option."""
_FACTORS = (1.0, 0.5, 2.0, 0.25, 1.5, 0.75, 4.0, 0.125, 3.0, 8.0)
_DIGITS = 12  # of a factor times a value, so that 0.75 x 0.3 is 0.225


@dataclass(frozen=True)
class Sweep:
    """A request whose methods are points.

    Attributes:
        request: What to carry out; the base is in it.
        over: For each method the option that its points differ in, or None where it has one point only.
    """

    request: Request
    over: dict[str, str | None]


def make_sweep(request: Request, over: str, values: Sequence[str] | None, count: int) -> Sweep:
    """Put points in the place of a request's methods.

    Args:
        request: Methods with options of their own, as for a plain run. One that names a value of the option itself has
            that one point; the points of the others lie around the value of a plain run.
        over: `strength`, or the name of an option.
        values: The option's values as a user writes them; None to choose `count` of them (see `choose`).
        count: The most points of a method, the value of the plain run among them.

    Raises:
        UsageError: something of the request is not valid, no method has the option, or it has no values to choose.
    """
    plain = _plain(request)
    options = {experiment.method: _option(experiment, over) for experiment in plain}
    if over != STRENGTH and not any(options.values()):
        known = [name for experiment in plain for name in type(experiment.config).model_fields]
        mend = did_you_mean(over, [STRENGTH, *known])
        raise UsageError(f"none of {', '.join(options)} has the option '{over}' (--over)", mend=mend)
    methods: list[str] = []
    for text, experiment in zip(request.methods, plain, strict=True):
        option = options[experiment.method]
        if option is None or option in parse_method(text)[1]:
            methods.append(text)
        elif values is not None:
            methods.extend(f"{text}:{option}={value}" for value in values)
        else:
            own = getattr(experiment.config, option)
            methods.extend(
                text if one == own else f"{text}:{option}={_written(one)}" for one in choose(experiment, option, count)
            )
    return Sweep(replace(request, methods=methods, base=True), options)


def make_along(request: Request, count: int) -> Sweep:
    """Put points of one training in the place of a request's methods, evenly spaced; the last is the plain run.

    Args:
        request: Methods with options of their own, as for a plain run. One that says itself where its training ends has
            that one point.
        count: The points of a method.

    Raises:
        UsageError: something of the request is not valid, or a method cannot be measured so.
    """
    plain = _plain(request)
    methods: list[str] = []
    options: dict[str, str | None] = {}
    for text, experiment in zip(request.methods, plain, strict=True):
        option = options[experiment.method] = None if experiment.method == BASE else _along(experiment)
        own = option is None or option in parse_method(text)[1]
        ends = [] if option is None or own else _ends(experiment, text, option, count)
        methods += [*(f"{text}:{option}={end}" for end in ends), text]
    return Sweep(replace(request, methods=methods, base=True), options)


def choose(experiment: Experiment, option: str, count: int) -> list[float]:
    """Values of an option worth a point, ascending, the experiment's own among them.

    They are the first `count` valid ones of: the experiment's own value; those that the method names
    (`MethodInfo.strengths`, where the option is its strength); the experiment's own times 1/2, 2, 1/4, 3/2, 3/4, 4,
    1/8, 3, 8, 1/16, 16, and so on. So the points of a short sweep are among those of a longer one, and none is the
    base, which is measured anyway.

    Raises:
        UsageError: the experiment's own value is none that can be multiplied.
    """
    info, own = method_of(experiment.method).info, getattr(experiment.config, option)
    named = info.strengths if option == info.strength else ()
    if isinstance(own, bool) or not isinstance(own, int | float) or not (own or named):
        raise UsageError(f"'{experiment.method}' has {option} = {own}: no points can be chosen", mend="give --values")
    found = [own] if own else []
    for value in itertools.chain(named, (round(own * factor, _DIGITS) for factor in _factors() if own)):
        if len(found) == count:
            break
        if value and value not in found and _is_valid(experiment, option, value):
            found.append(int(value) if isinstance(own, int) else value)
    return sorted(found)


def _plain(request: Request) -> list[Experiment]:
    """The methods of a request as a plain run has them; there is something to trade for a cost."""
    plain = make_experiments(replace(request, base=False, seeds=request.seeds[:1]))
    suite = plain[0].suite
    if not any(task.measures_controlled(suite.scored_by(suite.scorer)) for task in plain[0].tasks()):
        what = f"no task of suite '{suite.name}' measures {suite.attribute.name}, which it controls"
        raise UsageError(f"{what}: there is nothing to trade for a cost")
    return plain


def _along(experiment: Experiment) -> str:
    """The option that ends a method's training early."""
    name = experiment.method
    if JOINT in name:
        raise UsageError(f"--along: '{name}' are stacked methods, not one training", mend="name one of them")
    option = method_of(name).along
    if option is None:
        what = f"--along: method '{name}' has no training that it can be taken from at several steps"
        raise UsageError(what, mend=f"those that have: {', '.join(_with_along())}")
    return option


def _with_along() -> Iterator[str]:
    """The methods that can be measured along their training."""
    for name in registry.names("methods"):
        with contextlib.suppress(MissingError):  # its package cannot be imported
            if registry.load("methods", name).along:
                yield name


def _ends(experiment: Experiment, text: str, option: str, count: int) -> list[int]:
    """The steps of evenly spaced points of a training, without the last; a plain run that ends early has that last.

    Args:
        experiment: The plain run.
        text: The method as it was asked for.
        option: What ends its training early.
        count: The points.
    """
    until = getattr(experiment.config, option)
    steps = until or method_of(experiment.method).steps_of(experiment.config)
    name, own = f"--along {count}: '{experiment.method}'", parse_method(text)[1]
    if steps is None:
        what = f"{name} trains for passes over the sets, and how many steps these are is not known beforehand"
        mend = f"say --set {experiment.method}.epochs=null --set {experiment.method}.steps=N"
        if "epochs" in own:  # which goes before --set
            mend = f"say --method {experiment.method}:epochs=null:steps=N"
        raise UsageError(what, mend=mend)
    if count > steps:
        longer = option if until else "steps"
        mend = f"say --along {steps} or less"
        if steps == 1:
            mend = f"say --set {experiment.method}.{longer}=N"
        if steps == 1 and longer in own:
            mend = f"say --method {experiment.method}:{longer}=N"
        raise UsageError(f"{name} trains for {steps} step{'s' if steps > 1 else ''}", mend=mend)
    return [round(steps * number / count) for number in range(1, count)]


def _option(experiment: Experiment, over: str) -> str | None:
    """The option that a method's points differ in, or None where it has none."""
    if experiment.method == BASE:
        return None
    if over == STRENGTH:
        return method_of(experiment.method).info.strength
    return over if over in type(experiment.config).model_fields else None


def _factors() -> Iterator[float]:
    yield from _FACTORS
    for power in range(4, 10):
        yield 2.0**-power
        yield 2.0**power


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _is_valid(experiment: Experiment, option: str, value: Any) -> bool:
    try:
        type(experiment.config).model_validate({**experiment.config.model_dump(), option: value})
    except ValidationError:
        return False
    return True
