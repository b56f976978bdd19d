"""`bench data`: the embedded models and data, fetched once and checked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import CacheDir, Commands, Json, Offline, console_progress
from bench.cli.data_convert import convert
from bench.cli.data_generate import generate
from bench.cli.data_stats import stats
from bench.cli.output import print_json
from bench.errors import MissingError
from bench.printed import echo

if TYPE_CHECKING:
    from pathlib import Path

    from bench.assets.catalogue import AssetCatalogue

Names = Annotated[list[str] | None, typer.Argument(help="Names of assets; none is all of them.", show_default=False)]
Facts = dict[str, Any]

app = Commands(name="data", help="Models and data: list, fetch and verify them.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, json: Json = False, cache: CacheDir = None) -> None:
    """Models and data: list, fetch and verify them. Alone: the list."""
    if context.invoked_subcommand is None:
        ls(json=json, cache=cache)


@app.command("ls")
def ls(json: Json = False, cache: CacheDir = None) -> None:
    """List the embedded assets and whether they are in the cache."""
    store = _store(cache, offline=True)
    rows = [_facts(store, name) for name in store.catalog]
    if json:
        print_json(rows)
    else:
        _print_list(rows, store.cache)


@app.command("fetch")
def fetch(names: Names = None, json: Json = False, offline: Offline = False, cache: CacheDir = None) -> None:
    """Bring assets into the cache, also in place of damaged ones."""
    store = _store(cache, offline=offline)
    store.sweep()
    for name in _chosen(store, names):
        store.fetch(name)
    _report(store, _chosen(store, names), "ready", json=json)


@app.command("verify")
def verify(names: Names = None, json: Json = False, offline: Offline = False, cache: CacheDir = None) -> None:
    """Read every byte of the cached assets again; exit 3 if any is missing or broken."""
    del offline  # taken everywhere, and never needs the network here
    store = _store(cache, offline=True)
    chosen, bad = _chosen(store, names), {}
    for name in chosen:
        try:
            store.verify(name)
        except MissingError as error:
            bad[name] = error
    if not bad:
        _report(store, chosen, "verified", json=json)
        return
    for name, cause in bad.items():
        echo(f"{name}: {cause.what}", err=True)
    what = f"{len(bad)} of {len(chosen)} assets missing or broken: {', '.join(bad)}"
    raise MissingError(what, mend=f"run `bench data fetch {' '.join(bad)}`")


app.command("convert")(convert)
app.command("generate")(generate)
app.command("stats")(stats)


def _store(cache: "Path | None", *, offline: bool) -> "AssetCatalogue":
    # Imported here: it is slow to load, and --help does not need it.
    from bench.assets.catalogue import AssetCatalogue

    return AssetCatalogue(cache, offline=offline, progress=console_progress())


def _chosen(store: "AssetCatalogue", names: list[str] | None) -> list[str]:
    """The names asked for, each once and all of them known, or all that there are."""
    from bench.assets.embedded import find

    return list(dict.fromkeys(find(store.catalog, name).name for name in names or store.catalog))


def _facts(store: "AssetCatalogue", name: str) -> Facts:
    asset = store.catalog[name]
    return {
        "name": name,
        "kind": asset.kind,
        "package": f"{asset.wheel.package}=={asset.wheel.version}",
        "size": asset.disk or asset.size,
        "licence": asset.wheel.licence,
        "state": store.state(name),
        "about": asset.about,
    }


def _print_list(rows: list[Facts], cache: "Path") -> None:
    """A table on stdout, and where it all lies."""
    # Imported here: rich is slow to load.
    from reports.table.terminal import print_list

    cells = [
        {
            "name": row["name"],
            "kind": row["kind"],
            "package": row["package"].partition("==")[0],  # the version is for JSON: a line has little room
            "size": _size(row["size"]),
            "licence": row["licence"],
            "state": row["state"],
        }
        for row in rows
    ]
    colours = {"cached": "green", "missing": "yellow", "broken": "red"}
    print_list(cells, ("package", "licence", "kind", "size"), right=("size",), styles=colours)
    echo(f"cache: {cache}")


def _report(store: "AssetCatalogue", names: list[str], word: str, *, json: bool) -> None:
    """What was asked for is here: where, and with which hash."""
    found = [store.fetch(name) for name in names]
    if json:
        print_json([vars(each) | {"path": str(each.path)} for each in found])
        return
    for each in found:
        echo(f"{each.id}: {word}, sha256 {each.sha256[:12]}, {each.path}")


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
