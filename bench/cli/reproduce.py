"""`bench reproduce`: a paper's tables and figures made anew, beside what the paper printed."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, CacheDir, Json, Offline, RunsDir, console_progress
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_json
from bench.cli.run import SOME_FAILED, Limit, Place, Seeds, Settings, carry_out, close, remember_last, settle_process
from bench.errors import MissingError, UsageError, did_you_mean
from bench.printed import echo

if TYPE_CHECKING:
    from bench.run.launch.local import ExperimentOutcome
    from bench.run.plan import Request
    from bench.store.runs import Run
    from reports.reproduce.drawing import MapPanel
    from reports.reproduce.page import Made
    from reports.reproduce.spec import Part

_MINUTE = 60


@dataclass
class _Measured:
    """What came of a suite: the outcomes of the base (`none`) and of each method as it was asked for."""

    by_method: "dict[str, list[ExperimentOutcome]]" = field(default_factory=dict)
    lacking: str | None = None

    def runs(self, part: "Part") -> "list[Run]":
        """The finished runs that a part shows."""
        from bench.store.runs import load_run

        outcomes = [one for method in ("none", *part.methods) for one in self.by_method.get(method, [])]
        return [load_run(one.folder) for one in outcomes if one.folder]

    def failed(self, part: "Part") -> list[str]:
        """What of a part could not be measured, and why."""
        from bench.cli.explaining import explain

        told = [] if self.lacking is None else [self.lacking]
        for method in ("none", *part.methods):
            for one in self.by_method.get(method, []):
                if one.error:
                    told.append(f"{one.experiment.label}, seed {one.experiment.seed}: {explain(one.error).what}")
        return told


def reproduce(  # noqa: PLR0913, PLR0917 - one parameter a flag
    paper: Annotated[str, typer.Argument(help="The paper: klein-nabi-2025.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that gets the page and its figures.")],
    scale: Annotated[
        str, typer.Option("--scale", help="mini: embedded model and data; full: the paper's models.")
    ] = "mini",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A part alone, such as 'Table 1'. Repeatable.", metavar="PART")
    ] = None,
    seeds: Seeds = "0",
    settings: Settings = None,
    limit: Limit = None,
    device: Device = AUTO,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Make a paper's tables and figures anew, each beside the published figures and what differs, as one page.

    What is finished is reused, what was interrupted is resumed: the same command goes on.
    """
    del device  # its callback has taken it
    settle_process(offline=offline)
    from bench.run.plan import make_experiments, parse_seeds
    from reports.reproduce.page import replaced, write
    from reports.reproduce.spec import load_paper

    found = load_paper(paper)
    if scale not in found.scales:
        raise UsageError(f"no scale '{scale:.60}'", mend=did_you_mean(scale, list(found.scales)))
    parts = found.chosen(only or [])
    _check_folder(out)
    if lost := replaced(found, scale, parts, out):
        console_progress().note(f"this replaces the page in {out}, which {lost}; --out names another folder")
    asked = _requests(parts, scale, parse_seeds(seeds), settings or [], limit)
    count = sum(len(make_experiments(request)) for request in asked.values())
    echo(f"{len(parts)} parts take {count} experiments on {', '.join(asked)}; what is finished is reused", err=True)
    begin = time.monotonic()
    place = Place(cache_dir, runs_dir, offline=offline, fresh=False, batch_tokens=None)
    measured = {suite: _measure(request, place) for suite, request in asked.items()}
    made = [_make(part, {suite: measured[suite] for suite in part.suites[scale]}, out, place) for part in parts]
    written = write(found, scale, made, out)
    minutes = (time.monotonic() - begin) / _MINUTE
    outcomes = [one for suite in measured.values() for some in suite.by_method.values() for one in some]
    remember_last(outcomes, runs_dir)
    if json:
        told = {one.part.name: list(dict.fromkeys(one.lacking)) for one in made}
        print_json({"written": [str(path) for path in written], "lacking": told, "minutes": minutes})
    else:
        for one in made:
            echo(f"{one.part.name}: {one.part.title}" + (f" ({len(set(one.lacking))} not made)" if one.lacking else ""))
        echo(f"written: {written[0]}, {written[1].name} ({minutes:.1f} min)")
    return _code(outcomes, measured)


def _check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written into, before hours of experiments are carried out for it.

    Raises:
        UsageError: it, or what it would lie in, is a file or is not to be written to.
    """
    there = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    if not there.is_dir():
        raise UsageError(f"--out {out}: {there} is a file", mend="name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: no right to write into {there}", mend="name another folder")


def _make(part: "Part", measured: Mapping[str, _Measured], out: Path, place: Place) -> "Made":
    """A part, from what each of its suites has measured."""
    from reports.reproduce.page import Behind, make

    runs = {suite: one.runs(part) for suite, one in measured.items()}
    failed = [f"{suite}: {line}" for suite, one in measured.items() for line in one.failed(part)]
    maps, lacking = _maps(runs, out, place) if part.drawing == "map" else ({}, [])
    return make(part, Behind(runs, [*failed, *lacking], maps))


def _code(outcomes: "Sequence[ExperimentOutcome]", measured: Mapping[str, _Measured]) -> int:
    """The exit code: some experiments, or whole suites, are lacking."""
    code = close(outcomes)
    return code or (SOME_FAILED if any(one.lacking for one in measured.values()) else 0)


def _requests(
    parts: "Sequence[Part]", scale: str, seeds: "Sequence[int]", settings: "Sequence[str]", limit: int | None
) -> "dict[str, Request]":
    """What each suite measures, with the settings that go somewhere there: suites have different methods.

    Raises:
        UsageError: a setting goes nowhere in any of them.
    """
    from bench.run.plan import BASE, Request, check_settings, fitting, parse_method, parse_setting

    methods = _methods(parts, scale)
    names = {suite: [BASE, *(parse_method(text)[0] for text in some)] for suite, some in methods.items()}
    every = list(dict.fromkeys(name for some in names.values() for name in some))
    check_settings([parse_setting(text) for text in settings], every)
    return {
        suite: Request(some, suite, None, seeds, fitting(settings, names[suite]), limit)
        for suite, some in methods.items()
    }


def _methods(parts: "Sequence[Part]", scale: str) -> dict[str, list[str]]:
    """The methods that each suite measures, for all parts together, each once."""
    found: dict[str, list[str]] = {}
    for part in parts:
        for suite in part.suites[scale]:
            known = found.setdefault(suite, [])
            known.extend(method for method in part.methods if method not in known)
    return found


def _measure(request: "Request", place: Place) -> _Measured:
    """Measure a suite. Where its model or data is missing, say so: the other suites are measured all the same."""
    try:
        outcomes = carry_out(request, place)
    except MissingError as error:
        echo(f"bench: error: {request.suite}: {error}", err=True)
        return _Measured(lacking=error.what)
    names = ["none", *request.methods]
    found: dict[str, list[ExperimentOutcome]] = {name: [] for name in names}
    for number, outcome in enumerate(outcomes):  # for each seed the base, then the methods
        found[names[number % len(names)]].append(outcome)
    return _Measured(found)


def _maps(
    runs: "Mapping[str, Sequence[Run]]", out: Path, place: Place
) -> "tuple[dict[str, list[MapPanel]], list[str]]":
    """The maps of each suite's systems at their first seed, found in the folder or made; and what has none, and why."""
    maps, lacking = {}, []
    for suite, some in runs.items():
        first = [run for run in some if run.manifest.seed == some[0].manifest.seed]
        try:
            maps[suite] = [_panel(run, out / "maps", place) for run in first]
        except (MissingError, UsageError) as error:
            lacking.append(f"{suite}: {error.what}")
    return maps, lacking


def _panel(run: "Run", folder: Path, place: Place) -> "MapPanel":
    """Where a run's model puts the sentences that it continued and the built-in harmless ones."""
    from bench.assets.catalogue import AssetCatalogue
    from bench.data.harmless import benign_sentences
    from bench.hashing import hash_json
    from bench.run.edited import edited
    from bench.run.embeddings import POOLING, embed, flat_map
    from bench.spec import validate
    from bench.store.files import read_json, write_json
    from reports.reproduce.drawing import MapPanel

    harmless = [one.text for one in benign_sentences()]
    toxic = sorted({sample.prompt for sample in run.samples("continuation")})[: len(harmless)]
    if not toxic:
        raise MissingError(f"{run.id} has continued no sentences", mend="take a suite with the task continuation")
    path = folder / f"{hash_json([POOLING, run.manifest.key, toxic, harmless])[:20]}.json"
    if not path.exists():
        progress = console_progress()
        found = edited(run, AssetCatalogue(place.cache_dir, offline=place.offline, progress=progress))
        kinds = [True] * len(toxic) + [False] * len(harmless)
        with found.worn() as policy:
            points, silhouette = flat_map(embed(policy, [*toxic, *harmless]), kinds)
        rounded = [(float(x), float(y)) for x, y in points]
        panel = MapPanel(system=run.label, points=rounded, toxic=kinds, silhouette=silhouette)
        write_json(path, panel.model_dump())
    return validate(MapPanel, read_json(path), str(path), show_values=False)
