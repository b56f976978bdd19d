"""Whether a search ends with a proof where nobody says so, and the command that goes on to one."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.run.plan import Experiment, Request
    from reports.gate.requirements import Requirement

NO_PROOF = "none"
"""What `--prove` takes where nothing is to be proven."""


def why_no_proof(
    request: "Request", limits: "Sequence[Requirement]", search: "Experiment", suite: str | None
) -> str | None:
    """Why a suite cannot prove what a search chooses; None where it can.

    Args:
        request: Of the search.
        limits: The budget.
        search: The base's experiment on the suite of the search.
        suite: The suite of the proof; None where that of the search declares none.
    """
    from bench.errors import UsageError
    from bench.run.tune.apart import refuse_seen
    from bench.run.tune.space import base_of, of_setup

    if suite is None:
        return f"suite '{search.suite.name}' declares none ('proof: SUITE')"
    try:
        proof = base_of(replace(request, suite=suite, settings=of_setup(request.settings)))
        refuse_seen(search, proof, [one.metric for one in limits])
    except UsageError as error:
        return error.what.removeprefix("--prove: ")
    return None


@contextmanager
def may_do_without(is_optional: bool) -> Iterator[None]:
    """Where a proof is refused that the user has not asked for, the remedy says how to search without one."""
    from bench.errors import BenchError

    try:
        yield
    except BenchError as error:
        if is_optional:
            without = f"search without a proof: --prove {NO_PROOF}"
            error.mend = f"{error.mend}; or {without}" if error.mend else without
        raise


def proving_command(context: typer.Context, suite: str | None) -> str:
    """The command that was given, with `--prove`, and SUITE where the user has to name it."""
    return f"bench tune {shlex.join(_given(context))} --prove {shlex.quote(suite or 'SUITE')}"


def _given(context: typer.Context) -> Iterator[str]:
    """The flags that were typed, each with its value, but for `--prove`."""
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        # a variable's or a file's value is there the next time too
        if name == "prove" or source is None or source.name != "COMMANDLINE":
            continue
        flag, value = max(parameter.opts, key=len), context.params[name]
        if isinstance(value, bool):
            yield flag
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                yield from (flag, str(one))
