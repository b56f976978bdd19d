"""Facts that are edited in groups, as in single edits: each group on the base model, which is then restored.

An artifact of groups is a folder with that of each group in it, and a list of the facts in each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.kept import is_kept_or_set_aside, kept
from bench.method import Method, RunContext
from bench.progress import notes_only
from bench.run.artifact import FACTS, GROUPS, group_folder, make_artifact, sets_facts, totals
from bench.store.files import read_json, write_json

if TYPE_CHECKING:
    from bench.policy import LoadedModel
    from bench.sets import ContrastiveSets

_TOTALS = ("trained_tokens", "seconds")
"""Figures of the groups that add up."""


def groups_in(path: Path) -> Path:
    """The folder beside an artifact that keeps those of its groups until all are made."""
    return path.with_name(f"{path.name}.parts")


def has_groups(parts: Path | None) -> bool:
    """Whether an interrupted run has left groups there."""
    return parts is not None and any(parts.glob("[!.]*"))


def make_in_groups(
    method: Method[Any],
    base: "LoadedModel",
    sets: "ContrastiveSets",
    ctx: RunContext,
    at_once: int,
    parts: Path | None = None,
) -> dict[str, Any]:
    """Let a method make an artifact of each group of facts in `ctx.folder`, and write the facts of all beside them.

    Args:
        method: The method.
        base: The base model: each group is edited on it.
        sets: All facts.
        ctx: Folder, seed, progress.
        at_once: Facts in a group; the last one may have fewer.
        parts: Where groups are kept until all are made, and those that an interrupted run has made are found; None to
            make all of them anew.

    Returns:
        The facts of all: totals, and those of each group.

    Raises:
        BenchError: as `make_artifact`.
    """
    groups = [sets.sets[start : start + at_once] for start in range(0, len(sets), at_once)]
    inner = replace(ctx, progress=notes_only(ctx.progress), shared={})
    places = [(parts or ctx.folder) / group_folder(number) for number in range(len(groups))]
    with ctx.progress.bar(f"{method.info.name}, group by group", len(groups), "groups") as bar:
        for place, some in zip(places, groups, strict=True):
            if not is_kept_or_set_aside(place, ctx.progress):
                with kept(place) as made:
                    make_artifact(method, base, replace(sets, sets=some), replace(inner, folder=made))
            bar.advance()
    for place in places:
        place.rename(ctx.folder / place.name)
    found = [read_json(ctx.folder / place.name / FACTS) for place in places]
    write_json(ctx.folder / GROUPS, [[one.anchor for one in some] for some in groups])
    facts = _of_all(found) | {"sets": sets_facts(sets)}
    write_json(ctx.folder / FACTS, facts)
    return facts


def _of_all(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = [{key: value for key, value in facts.items() if key != "sets"} for facts in found]
    once = {key: own[0][key] for key in ("trainable_parameters",) if key in own[0]}
    return {**totals(own, _TOTALS), **once, "groups": own}
