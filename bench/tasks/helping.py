"""Help with what another process shares of the tasks of an experiment that it carries out."""

from typing import TYPE_CHECKING, Any

from bench.store.parts import SUFFIX, Parts
from bench.tasks.context import TaskContext
from bench.tasks.likelihoods import Reading
from bench.tasks.sampled import Sampling
from bench.tasks.together import Work, work_off

if TYPE_CHECKING:
    from bench.policy import Policy

_KINDS: dict[str, type[Work[Any]]] = {one.kind: one for one in (Sampling, Reading)}


def help_with(parts: Parts, policy: "Policy", ctx: TaskContext) -> None:
    """Do parts that the owner of the experiment has published, until nobody lacks one.

    Args:
        parts: The parts.
        policy: The model that they ask.
        ctx: A context as the owner's.
    """
    work = _KINDS[parts.facts["kind"]](policy, parts.facts, ctx)
    with ctx.progress.bar(f"help with {parts.folder.name.removesuffix(SUFFIX)}", unit=work.unit) as bar:
        for result in work_off(parts, work, first=False):
            bar.advance(work.size(result))
