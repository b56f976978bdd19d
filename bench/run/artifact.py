"""Artifacts on disk: made by a method in a folder of their own, identified by their content."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.assets.stamp import members
from bench.errors import MissingError, UsageError
from bench.hashing import hash_file, hash_json
from bench.method import TRAINING_LOG, Artifact, Group, Leave, Method, RunContext, Unwanted
from bench.store.files import read_json, refuse_unreadable, write_json

if TYPE_CHECKING:
    from bench.policy import LoadedModel
    from bench.sets import ContrastiveSets

FACTS = "facts.json"
"""Figures about the making: beside the artifact's content and not part of its hash (they hold its seconds)."""
Opened = Callable[[], AbstractContextManager[Path]]
"""Opens an empty folder; what is left there is kept when it is closed without an error."""
GROUPS = "facts-in-groups.json"
"""Of facts that are edited in groups, the prompts of those in each, by the group's number."""


def make_artifact(
    method: Method[Any],
    base: "LoadedModel",
    sets: "ContrastiveSets | None",
    ctx: RunContext,
    points: Mapping[int, Opened] = MappingProxyType({}),
) -> dict[str, Any]:
    """Let a method make its artifact in `ctx.folder`, and write the facts of it beside the content.

    Args:
        method: The method.
        base: The base model.
        sets: Contrastive sets for a method that declares that it learns from them, None for any other.
        ctx: Folder, seed, progress.
        points: Where its artifact goes as it is after steps of the training before the last.

    Returns:
        The facts.

    Raises:
        MissingError: the method needs sets, or a scorer, and there are none.
        UsageError: the method is given sets that it did not declare.
    """
    name = method.info.name
    if method.info.needs_sets and sets is None:
        raise MissingError(f"method '{name}' learns from contrastive sets and got none", mend="give the suite 'sets'")
    if sets is not None and not method.info.needs_sets:
        raise UsageError(f"method '{name}' did not declare that it learns from contrastive sets, and got some")
    if method.info.needs_scorer and ctx.unwanted is None:
        raise MissingError(f"method '{name}' needs a scorer and got none", mend="give the suite 'scorer'")
    results = ctx.base_results
    begin = time.perf_counter() + results.seconds_saved  # what is read of them counts as if it were computed

    def told(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
        if sets is not None:
            facts["sets"] = sets_facts(sets)
        facts["seconds"] = round(time.perf_counter() + results.seconds_saved - begin, 3)
        write_json(folder / FACTS, facts)
        return facts

    def point(opened: Opened) -> Callable[[Leave], None]:
        def keep(leave: Leave) -> None:
            with opened() as folder:
                told(leave(folder), folder)

        return keep

    ctx = replace(ctx, points={step: point(opened) for step, opened in points.items()})
    return told(method.prepare(base, sets, ctx), ctx.folder)


def sets_facts(sets: "ContrastiveSets") -> dict[str, Any]:
    """What the record says of contrastive sets."""
    told = {"hash": sets.hash, "source": sets.source, "anchors": len(sets)}
    return told | ({"taken": sets.taken} if sets.taken else {})


def totals(parts: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Sums of these facts over the parts of an artifact that have them; what no part has is left out."""
    every = list(parts)
    found = {name: [facts[name] for facts in every if name in facts] for name in names}
    return {name: round(sum(some), 3) for name, some in found.items() if some}


def group_folder(number: int) -> str:
    """Where the artifact of a group lies in that of all."""
    return f"group-{number}"


def load_artifact(path: Path, inputs: Mapping[str, Path] | None = None, unwanted: Unwanted | None = None) -> Artifact:
    """An artifact by its folder; its hash is over the names and bytes of what the method left there.

    Args:
        path: The folder.
        inputs: Folder of each model or adapter that the method's options name, by option.
        unwanted: The scorer, for a method that declares that it needs it.

    Raises:
        MissingError: its facts are missing or broken.
    """
    try:
        facts = read_json(path / FACTS)
        listed = read_json(path / GROUPS) if (path / GROUPS).is_file() else []
    except (OSError, ValueError) as error:
        refuse_unreadable(path, error)
        raise MissingError(f"artifact {path} is broken ({error})", mend="delete the folder: it is made anew") from None
    content = hash_json({one: hash_file(path / one) for one in members(path) if Path(one).name != FACTS})
    groups = [
        Group(tuple(prompts), load_artifact(path / group_folder(number), inputs, unwanted))
        for number, prompts in enumerate(listed)
    ]
    return Artifact(path, content, facts, inputs or {}, unwanted, groups=groups)


def training_logs(artifact: Artifact) -> dict[str, Any]:
    """What the training of each part of the artifact logged, by the part's folder; of a whole, by `train`.

    Of stacked methods, the method's name stands before each.
    """
    if artifact.parts:
        logs = ((name, training_logs(part)) for name, part in artifact.parts.items())
        return {f"{name}-{own}": log for name, found in logs for own, log in found.items()}
    paths = sorted(artifact.path.rglob(TRAINING_LOG))
    return {"-".join(path.parent.relative_to(artifact.path).parts) or "train": read_json(path) for path in paths}
