"""The command that goes on from a search to its proof: the one that was given, with `--prove SUITE`."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.run.plan import Experiment
    from reports.gate.requirements import Requirement


def proving_command(
    context: typer.Context, limits: "Sequence[Requirement]", search: "Experiment", suite: str | None
) -> str | None:
    """The command that was given, with `--prove`; None where it would be refused.

    Args:
        context: Of the command that was given.
        limits: The budget.
        search: The base's experiment on the suite of the search.
        suite: The suite of the proof; None where the user has to name it.
    """
    if suite and not _can_prove(context, limits, search, suite):
        return None
    return f"bench tune {shlex.join(_given(context))} --prove {shlex.quote(suite or 'SUITE')}"


def _can_prove(context: typer.Context, limits: "Sequence[Requirement]", search: "Experiment", suite: str) -> bool:
    """Whether a suite measures the same on other data, and what the budget speaks of."""
    from bench.cli.run import request_of
    from bench.errors import UsageError
    from bench.run.tune.apart import refuse_seen
    from bench.run.tune.space import base_of, of_setup

    request = request_of(context)
    try:
        proof = base_of(replace(request, suite=suite, settings=of_setup(request.settings)))
        refuse_seen(search, proof, [one.metric for one in limits])
    except UsageError:
        return False
    return True


def _given(context: typer.Context) -> Iterator[str]:
    """The flags that were typed, each with its value."""
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":  # a variable's or a file's value is there the next time too
            continue
        flag, value = max(parameter.opts, key=len), context.params[name]
        if isinstance(value, bool):
            yield flag
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                yield from (flag, str(one))
