"""`bench export`: the edited model of a run, for use without this project, or its recipe for use with it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bench.cli.common import RUNS, CacheDir, Json, Offline, RunsDir, console_progress
from bench.cli.output import print_json
from bench.cli.selection import OneRun, the_one
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.assets.catalogue import AssetCatalogue
    from bench.policy import HFPolicy
    from bench.run.edited import Edited
    from bench.store.runs import Run

_SUITE = "suite.yaml"
_OTHERS = "--recipe writes what this project needs to apply it"


def export(  # noqa: PLR0913, PLR0917 - one parameter a flag
    run: OneRun,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", metavar="DIR")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="The PEFT adapter alone, where the method leaves one.")
    ] = False,
    recipe: Annotated[
        bool,
        typer.Option("--recipe", help="The record and what the method left, for 'bench chat' and 'bench generate'."),
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="OWNER/NAME", help="Send the folder to the hub as well, to a private repository there."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    cache_dir: CacheDir = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Write the edited model of a run for transformers or PEFT, with a model card: what was measured, how it was made.

    Methods that decode with several models, or steer a model while it runs, are no single set of weights: of these
    there is a recipe. --push takes the token that 'hf auth login' keeps, or HF_TOKEN.
    """
    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.pushing import check_push, pushed
    from bench.cli.run import settle_process
    from bench.errors import UsageError

    settle_process(offline=offline)
    if adapter and recipe:
        raise UsageError("--adapter and --recipe exclude each other", mend="say one")
    if push is not None:
        check_push(push, offline=offline)
    if output.name in ("", ".."):
        raise UsageError(f"{output} has no name of its own", mend="name a new folder by --output")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists", mend="name a new folder by --output")
    if output.resolve().is_mount():  # the whole folder could not be put in its place
        raise UsageError(f"{output} is a mount point", mend=f"name a new folder in it: --output {output / 'edit'}")
    record = the_one(runs_dir, run)
    what = "recipe" if recipe else "adapter" if adapter else "model"
    write_edit(record, output, what, AssetCatalogue(cache_dir, offline=offline, progress=console_progress()), runs_dir)
    files = sorted(path.name for path in output.iterdir())
    address = None if push is None else pushed(output, push, f"{what} of {record.id}")
    if json:
        print_json({"run": record.id, "what": what, "path": str(output), "files": files, "pushed": address})
    else:
        echo(f"{output}: {what} of {record.id}; its README.md says what was measured, and how it is loaded")
        if address:
            echo(f"sent to {address}")


def write_edit(record: "Run", output: Path, what: str, assets: "AssetCatalogue", runs_dir: Path) -> None:
    """Write the edited model of a run, its adapter or its recipe to a new folder, with a model card.

    Raises:
        UsageError: the method leaves no such thing.
        MissingError: what the run was measured with is not there any more.
    """
    from bench.run.edited import edited
    from bench.store.runs import list_runs
    from reports.card import Exported, card

    found = edited(record, assets)
    info, suite = found.method.info, own_suite(record)
    exported = Exported(what, info.summary, info.paper, _SUITE if suite else None)
    texts = {"README.md": card(record, _beside(record, list_runs(runs_dir)), exported)}
    _write(output, what, record, found, texts | ({_SUITE: suite} if suite else {}))


def own_suite(record: "Run") -> str | None:
    """A run's suite as a file, with all that was changed of it; None where a suite of that name gives the same."""
    import yaml

    from bench.errors import UsageError
    from bench.run.plan import put
    from bench.spec import SuiteSpec, validate
    from bench.suites import names, read_suite
    from reports.card import inside

    suite = {key: value for key, value in record.manifest.suite.items() if key in SuiteSpec.model_fields}
    where = f"the suite of {record.id}"
    if suite.get("name") in names():
        raw, _ = read_suite(str(suite["name"]))
        try:
            for key in (key for key in record.manifest.method.get("origins") or {} if key.startswith("suite.")):
                path = key.split(".")[1:]
                put(raw, path, inside(suite, path), key)
            if validate(SuiteSpec, raw, where) == validate(SuiteSpec, suite, where):
                return None
        except UsageError:  # a suite of another version, which this one does not know
            pass
    return str(yaml.safe_dump(suite, sort_keys=False, allow_unicode=True, width=100_000))


def _write(output: Path, what: str, record: "Run", found: "Edited", texts: "dict[str, str]") -> None:
    """Write the whole folder or nothing of it, `texts` by their names; where a link leads to an empty folder, there."""
    from bench.store.files import write_text
    from bench.store.leftovers import sweep_beside
    from bench.store.temporary import beside

    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(output)
    made = beside(output)
    made.mkdir()
    try:
        _WRITERS[what](record, found, made)
        for name, text in texts.items():
            write_text(made / name, text)
        if output.is_dir():
            output.rmdir()
        made.rename(output)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _beside(record: "Run", runs: "list[Run]") -> "list[Run]":
    """The runs that the card's table shows: the base's and the method's, measured alike, over their seeds."""
    from reports.gate.runs import differing_methods, method_of
    from reports.table.columns import BASE
    from reports.table.comparable import differing, facts

    own, method = facts(record), method_of(record)
    like = [one for one in runs if one.result and one.id != record.id and not differing(own, facts(one))]
    return [one for one in like if one.method == BASE or not differing_methods(method, method_of(one))] + [record]


def _write_model(_: "Run", found: "Edited", folder: Path) -> None:
    from bench.engine.export import export as write
    from bench.engine.export import not_writable
    from bench.errors import UsageError

    reason = found.method.not_exportable(found.model.path)
    if reason is None:
        with found.worn() as policy:
            reason = not_writable(policy)
            if reason is None:
                write(cast("HFPolicy", policy), folder)
                return
    raise UsageError(f"{found.method.info.name} cannot be exported: {reason}", mend=_OTHERS)


def _write_adapter(_: "Run", found: "Edited", folder: Path) -> None:
    from bench.errors import UsageError
    from bench.store.files import read_json, write_json
    from methods.learning.method import AdaptedMethod

    path = found.artifact.path / "adapter_config.json"
    reason = found.method.not_exportable(found.model.path)
    if reason or not path.is_file():
        what = f"{found.method.info.name} leaves no adapter that says all of it"
        raise UsageError(what, mend="leave --adapter out" if reason is None else _OTHERS)
    factor = found.method.factor() if isinstance(found.method, AdaptedMethod) else 1.0
    config = read_json(path)
    if factor != 1.0 and (config.get("peft_type") != "LORA" or config.get("use_dora")):
        raise UsageError("only plain LoRA has a factor that can be scaled", mend="leave --adapter out: the model is")
    if factor != 1.0:
        config["lora_alpha"] = factor * config["lora_alpha"]
        config["alpha_pattern"] = {name: factor * one for name, one in (config.get("alpha_pattern") or {}).items()}
    shutil.copy(path.with_name("adapter_model.safetensors"), folder)
    write_json(folder / path.name, config)


def _write_recipe(record: "Run", found: "Edited", folder: Path) -> None:
    """The record without its samples, and beside it the artifact of each method."""
    from bench.assets.stamp import STAMP
    from bench.run.edited import BESIDE

    for part in ("manifest.json", "result.json"):
        shutil.copy(record.path / part, folder)
    shutil.copytree(record.path / "tasks", folder / "tasks")
    parts = found.artifact.parts or {record.method: found.artifact}
    for name, one in parts.items():
        shutil.copytree(one.path, folder / BESIDE / name, ignore=shutil.ignore_patterns(STAMP))


_WRITERS: "dict[str, Callable[[Run, Edited, Path], None]]" = {
    "model": _write_model,
    "adapter": _write_adapter,
    "recipe": _write_recipe,
}
