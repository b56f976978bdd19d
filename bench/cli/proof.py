"""The end of `bench tune --budget`: what the search chose on data that it has not seen, and the best edit."""

import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.cli.common import console_progress
from bench.cli.export import write_edit
from bench.cli.output import as_json, write_output
from bench.cli.proving import may_do_without
from bench.cli.run import Place, close, in_this_process, print_records, told
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run.launch.local import ExperimentOutcome
    from bench.run.plan import Experiment, Request
    from bench.store.runs import Run
    from reports.gate.requirements import Requirement, RequirementDecision

EDIT, PROOF = "edit", "proof.json"
"""In the search's folder: the exported edit, and what was found."""


class Choice(NamedTuple):
    """What a search has chosen.

    Attributes:
        config: As `bench run --config` takes it.
        best: Which of the methods in it the search found best, from 0.
        keys: Those of the records of the chosen trials, by which another choice is told.
    """

    config: dict[str, Any]
    best: int
    keys: "Sequence[str]"


class Exported(NamedTuple):
    """The training that lies in the folder `edit`: its own figures, where those of the proof are of all trainings.

    Attributes:
        run: Its record.
        seed: Its seed.
        figures: Each metric with its 95 % interval.
        budget: Whether it keeps each limit, held against the base of its seed.
        over_trainings: Whether its method does so over all trainings.
    """

    run: str
    seed: int
    figures: "dict[str, dict[str, float | None]]"
    budget: "list[RequirementDecision]"
    over_trainings: "list[RequirementDecision]"


class Proof(NamedTuple):
    """What the chosen settings came to on the suite of the proof.

    Attributes:
        outcomes: What became of each experiment.
        decisions: Of each method, whether it keeps each limit of the budget, by its interval.
        best: The method whose chosen trial was the best of the search, as it is run.
        edit: What lies in the folder `edit`; None where the best method has no record.
        exported: The training that lies there; None where there is none.
        choice: What was chosen (`Choice.keys`).
    """

    outcomes: "list[ExperimentOutcome]"
    decisions: "list[RequirementDecision]"
    best: str
    edit: dict[str, Any] | None
    exported: Exported | None = None
    choice: "Sequence[str]" = ()


def proving(request: "Request", suite: str, seeds: str | None, output: Path, budget: "Sequence[str]" = ()) -> "Request":
    """What measures the methods of a search on another suite, checked before any work.

    Args:
        request: The request of the search.
        suite: The suite of the proof.
        seeds: Its seeds; None for those of the search.
        output: The search's folder.
        budget: The metrics that the budget speaks of, as the user names them.

    Raises:
        UsageError: it cannot prove anything, is not valid, or what lies in its place is no edit of an earlier search.
    """
    from bench.errors import UsageError
    from bench.run.plan import make_experiments, parse_seeds
    from bench.run.tune.apart import refuse_seen
    from bench.run.tune.space import base_of, of_search, of_setup, unlike

    own = [text for text in request.settings if not text.strip().startswith("suite.")] + of_setup(request.settings)
    asked = replace(request, suite=suite, settings=own, seeds=parse_seeds(seeds) if seeds else request.seeds)
    search, proof = base_of(request), make_experiments(asked)[0]
    refuse_seen(search, proof, budget)
    if alone := of_search(request.settings):
        console_progress().note(f"--prove: settings of the search alone: {', '.join(alone)}")
    if other := unlike(search.suite, proof.suite):
        what = f"suite '{proof.suite.name}' has another {', '.join(other)} than the search"
        console_progress().note(f"--prove: {what}; say one for both: --set suite.{other[0]}=VALUE")
    if (output / EDIT).exists() and not (output / PROOF).is_file():
        raise UsageError(f"{output / EDIT} is there, and is of no earlier search", mend="name another folder with -o")
    return asked


def check_bases(
    base: "Experiment", asked: "Request", place: Place, limits: "Sequence[Requirement]", *, is_optional: bool
) -> None:
    """Measure the base on both suites, and find out whether both have what the budget speaks of.

    Args:
        base: Its experiment on the suite of the search.
        asked: What `proving` gave.
        place: Where experiments are carried out.
        limits: The budget.
        is_optional: Whether the user has asked for no proof by a flag, and may do without one.

    Raises:
        UsageError: one has not.
        Exception: what measuring it failed at.
    """
    from bench.errors import MissingError
    from bench.run.plan import BASE, make_experiments
    from bench.store.runs import load_run
    from reports.tune.build import check_budget

    proof = next(one for one in make_experiments(asked) if one.method == BASE)
    for experiment in (base, proof):
        with may_do_without(is_optional and experiment is proof):
            (outcome,) = in_this_process([experiment], place, console_progress())
            if outcome.folder is None:
                raise outcome.error or MissingError("the base has no record")
            limits = check_budget(load_run(outcome.folder), limits)


def prove(asked: "Request", choice: Choice, limits: "Sequence[Requirement]", output: Path, place: Place) -> Proof:
    """Measure what a search has chosen, hold it against the budget, and export the edit that the search found best.

    Args:
        asked: What `proving` gave.
        choice: What is chosen.
        limits: The budget, each limit with the key of its metric.
        output: The search's folder.
        place: Where experiments are carried out.
    """
    from bench.run.plan import make_experiments, split
    from bench.store.runs import load_run

    config = choice.config
    settled = {"settings": config.get("set", ()), "searched": config["searched"]}
    experiments = make_experiments(replace(asked, methods=split(config["method"]), **settled))
    outcomes = in_this_process(experiments, place, console_progress())
    runs = [load_run(one.folder) for one in outcomes if one.folder]
    of_best = outcomes[1 + choice.best :: len(outcomes) // len(asked.seeds)]  # the base is the first of each seed
    records = [load_run(one.folder) for one in of_best if one.folder]
    if not records:
        clear(output)
    edit = _export(records[0], output, place, choice) if records else None
    alone = _alone(records, runs, limits) if records else None
    proof = Proof(outcomes, _held(runs, limits), of_best[0].experiment.label, edit, alone, choice.keys)
    write_output(output / PROOF, as_json(to_json(asked, proof)))
    return proof


def clear(output: Path, keys: "Sequence[str]" = ()) -> None:
    """Drop what an earlier search in the folder has proven and exported, and say so, where it has chosen otherwise.

    Args:
        output: The search's folder.
        keys: What this one has chosen (`Choice.keys`); none where it has chosen nothing.
    """
    from bench.store.files import read_json
    from bench.store.lock import alone

    earlier = None
    with alone(output / EDIT, console_progress()):
        with suppress(OSError, ValueError, RecursionError):  # none, or somebody else's
            earlier = read_json(output / PROOF)
        if isinstance(earlier, dict) and "edit" in earlier and not (keys and earlier.get("choice") == list(keys)):
            console_progress().note(f"removed from {output}: {EDIT} and {PROOF}, which are of another choice")
            shutil.rmtree(output / EDIT, ignore_errors=True)  # first: without a proof, it is taken for somebody else's
            (output / PROOF).unlink()


def to_json(asked: "Request", proof: Proof) -> dict[str, Any]:
    """What was proven, as JSON values; what is absent is null."""
    return {
        "suite": asked.suite,
        "seeds": list(asked.seeds),
        **told(proof.outcomes),
        "budget": [asdict(one) for one in proof.decisions],
        "choice": list(proof.choice),
        "best": proof.best,
        "edit": proof.edit,
        "exported": _exported_json(proof.exported) if proof.exported else None,
    }


def _exported_json(one: Exported) -> dict[str, Any]:
    return one._asdict() | {
        name: [asdict(decision) for decision in decisions]
        for name, decisions in (("budget", one.budget), ("over_trainings", one.over_trainings))
    }


def show(asked: "Request", proof: Proof) -> None:
    """Print the table of the chosen settings, whether they keep the budget, and where the best edit lies."""
    from rich.console import Group
    from rich.text import Text

    from bench.store.runs import load_run
    from reports.gate.terminal import held_in_short, held_lines
    from reports.table.opening import arranged
    from reports.table.terminal import print_drawn, print_sheet

    done = [one.folder for one in proof.outcomes if one.folder]
    if not done:
        return
    seeds = ", ".join(map(str, asked.seeds))
    echo(f"\nproof on suite {asked.suite}, seed{'s' if len(asked.seeds) > 1 else ''} {seeds}:\n")
    print_sheet(arranged([load_run(folder) for folder in done])[1])
    lines = [line for one in proof.decisions for line in held_lines(one)]
    closing = "the budget on these data: ok within the 95 % interval, FAIL beyond it, ?? undecided,"
    legend = [Text(line, style="dim") for line in (closing, "MISS no figure, or none with an interval")]
    print_drawn(lambda _: Group(Text(), *lines, *legend, Text()), sys.stdout)
    if proof.edit:
        why = f" ({proof.edit['why']})" if proof.edit["why"] else ""
        echo(f"best by the search: {proof.best}")
        echo(f"its {proof.edit['what']}: {proof.edit['path']}; its README.md says how it is loaded{why}")
    if len(asked.seeds) > 1 and (own := proof.exported) and own.budget:
        lines = [line for one in own.budget for line in held_lines(one)]
        print_drawn(lambda _: Group(Text(f"of the exported training (seed {own.seed}) alone:"), *lines), sys.stdout)
        mean, alone = held_in_short(own.over_trainings), held_in_short(own.budget)
        echo(f"its budget: {mean} over the {len(asked.seeds)} trainings, {alone} in the exported one")
    print_records(done)


def exit_code(proof: Proof) -> int:
    """As of `bench run`; what failed is told on stderr."""
    return close(proof.outcomes)


def _held(runs: "Sequence[Run]", limits: "Sequence[Requirement]") -> "list[RequirementDecision]":
    """Every method held against every limit; nothing where the base or every method lacks."""
    from bench.run.plan import BASE
    from reports.gate.requirements import hold
    from reports.table.build import build

    has_base = any(run.method == BASE for run in runs)
    return hold(build(runs), limits) if has_base and any(run.method != BASE for run in runs) else []


def _alone(records: "Sequence[Run]", runs: "Sequence[Run]", limits: "Sequence[Requirement]") -> Exported:
    """The first of a method's trainings by itself, beside what all of them come to."""
    from bench.run.plan import BASE

    first, bases = records[0], [run for run in runs if run.method == BASE]
    metrics = first.result.metrics if first.result else ()
    return Exported(
        first.id,
        first.manifest.seed,
        {one.key: {"value": one.value, "low": one.ci_low, "high": one.ci_high} for one in metrics},
        _held([*(run for run in bases if run.manifest.seed == first.manifest.seed), first], limits),
        _held([*bases, *records], limits),
    )


def _export(record: "Run", output: Path, place: Place, choice: Choice) -> dict[str, Any]:
    """Export a run's edited model, or its recipe where it is none; what is there of the same run stays."""
    from bench.assets.catalogue import AssetCatalogue
    from bench.errors import UsageError
    from bench.store.files import read_json
    from bench.store.lock import alone

    folder, progress = output / EDIT, console_progress()
    assets = AssetCatalogue(place.cache_dir, offline=place.offline, progress=progress)
    edit: dict[str, Any] = {"run": record.id, "path": str(folder), "what": None, "why": None}
    with alone(folder, progress):
        with suppress(OSError, ValueError, KeyError, TypeError):  # none, or a damaged one: it is exported anew
            earlier: dict[str, Any] = read_json(output / PROOF)["edit"]
            if earlier["run"] == record.id and earlier["what"] and folder.is_dir():
                return earlier | {"path": str(folder)}
        _note_edit(output, edit, choice)  # so that a folder that a kill leaves is known for ours
        shutil.rmtree(folder, ignore_errors=True)
        progress.note(f"exporting {record.id} to {folder}")
        try:
            write_edit(record, folder, "model", assets, place.runs_dir)
            edit["what"] = "model"
        except UsageError as error:
            write_edit(record, folder, "recipe", assets, place.runs_dir)
            edit |= {"what": "recipe", "why": error.what}
        _note_edit(output, edit, choice)
    return edit


def _note_edit(output: Path, edit: dict[str, Any], choice: Choice) -> None:
    """Write of the proof what is exported, and of which choice, until all of it is there."""
    write_output(output / PROOF, as_json({"edit": edit, "choice": list(choice.keys)}))
