"""`bench du`, `bench rm` and `bench gc`: what is kept takes place, and is removed."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, CacheDir, Json, RunsDir
from bench.cli.output import print_json
from bench.cli.selection import LAST, refuse_missing
from bench.printed import echo, plain

if TYPE_CHECKING:
    from bench.store.upkeep import Kept

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")]
Also = Annotated[
    list[Path] | None,
    typer.Option("--also", help="Another folder of records whose runs use this cache. Repeatable."),
]


def du(
    runs_dir: RunsDir = RUNS,
    also: Also = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Say what runs and the cache take on the disk, and how much of it no run uses."""
    from bench.store.upkeep import everything

    roots = [runs_dir, *(also or [])]
    for root in roots:
        refuse_missing(root)
    kept = everything(_cache(cache_dir), roots)
    kinds = {kind: [one for one in kept if one.kind == kind] for kind in dict.fromkeys(one.kind for one in kept)}
    if json:
        print_json({kind: _counted(ones) for kind, ones in kinds.items()})
        return
    width = max(map(len, ("total", *kinds)))
    for kind, ones in {**kinds, "total": kept}.items():
        counted, idle = _counted(ones), sum(one.size for one in ones if one.used is False)
        more = f"  {size_in_words(idle)} of it used by no run in {', '.join(map(str, roots))}" if idle else ""
        echo(f"{plain(kind):<{width}}  {counted['items']:>5}  {size_in_words(counted['bytes']):>8}{more}")


def rm(
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs: ids, beginnings of ids, or folders.", metavar="RUN…")
    ] = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="All runs without a result, too.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Remove runs with their samples. What they were made with stays in the cache until `bench gc`."""
    from bench.errors import UsageError
    from bench.store.runs import find_folder, folders
    from bench.store.upkeep import Kept, is_finished, size_of

    if not run and not unfinished:
        raise UsageError("say which runs", mend="name them, or give --unfinished")
    if LAST in (run or []):
        raise UsageError("'last' changes with each request, so it names no run to remove", mend=_by_id(runs_dir))
    named = [find_folder(runs_dir, text) for text in run or []]
    begun = [path for path in folders(runs_dir) if not is_finished(path)] if unfinished else []
    _remove(
        [Kept("runs", path, size_of(path)) for path in dict.fromkeys([*named, *begun])],
        lambda path: path in named or not is_finished(path),
        dry_run=dry_run,
        yes=yes,
        json=json,
    )


def _by_id(runs_dir: Path) -> str:
    from bench.store.latest import latest

    found = [folder.name for folder in latest(runs_dir)]
    return f"name them: {' '.join(found)}" if found else "'bench runs' lists what there is"


def gc(
    dry_run: DryRun = False,
    yes: Yes = False,
    runs_dir: RunsDir = RUNS,
    also: Also = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Remove from the cache what no run uses: artifacts and sets whose key no manifest names.

    A run that needs one of them again makes it again. Other folders of records that use the cache are named by --also.
    Models and data of an earlier version of this program go too, and logs of errors that are older than 30 days.
    """
    from bench.assets.stale import stale
    from bench.store.upkeep import Kept, size_of, unused

    roots, cache = [runs_dir, *(also or [])], _cache(cache_dir)
    _say_where(roots)

    def found() -> "list[Kept]":
        old = [Kept(path.parent.name, path, size_of(path), used=False) for path in stale(cache)]
        return [*unused(cache, roots), *old]

    @functools.cache
    def still() -> set[Path]:
        """What is found after the question: a run that begins later than that makes anew what it misses."""
        return {one.path for one in found()}

    _remove(found(), lambda path: path in still(), dry_run=dry_run, yes=yes, json=json)


def _say_where(roots: Sequence[Path]) -> None:
    """Say how many runs count: with a folder forgotten or mistyped, its runs' artifacts would be lost."""
    from bench.store.runs import folders

    for root in roots:
        refuse_missing(root, is_needed=True)
        count = len(folders(root))
        echo(f"{count} run{'' if count == 1 else 's'} in {root} count{'s' if count == 1 else ''}", err=True)


def _remove(kept: "Sequence[Kept]", may_go: Callable[[Path], bool], *, dry_run: bool, yes: bool, json: bool) -> None:
    from bench.errors import UsageError
    from bench.store.upkeep import remove

    total = size_in_words(sum(one.size for one in kept))
    if not json:
        for one in kept:
            echo(f"{size_in_words(one.size):>8}  {plain(str(one.path))}")
    if kept and not dry_run and not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"nothing is removed ({total}): nobody can be asked", mend="give --yes")
        if not typer.confirm(f"Remove {total}?", err=True):
            raise UsageError("nothing is removed")
    if not dry_run:
        removed = remove([one.path for one in kept], may_go)
        for one in kept:
            if one.path not in removed:
                echo(f"{plain(str(one.path))} stays: it was finished, or a run has come to use it, meanwhile", err=True)
        kept = [one for one in kept if one.path in removed]
        total = size_in_words(sum(one.size for one in kept))
    if json:
        print_json({"removed": not dry_run, **_counted(kept), "paths": [str(one.path) for one in kept]})
    else:
        echo(f"{len(kept)} {'would be ' if dry_run else ''}removed, {total}" if kept else "nothing to remove")


def _counted(kept: "Sequence[Kept]") -> dict[str, int]:
    return {
        "items": len(kept),
        "bytes": sum(one.size for one in kept),
        "unused_bytes": sum(one.size for one in kept if one.used is False),
    }


def _cache(asked: Path | None) -> Path:
    from bench.assets.catalogue import AssetCatalogue

    return AssetCatalogue(asked, offline=True).cache


def size_in_words(size: int) -> str:
    """Bytes as people write them: 3 kB, 41 MB, 1.2 GB."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            amount = size / step
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"  # noqa: PLR2004 - two digits
    return f"{size} B"
