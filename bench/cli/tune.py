"""`bench tune`: an equal search of methods' settings, on data that nothing evaluates on."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import (
    RUNS,
    SCORING_TIMEOUT,
    CacheDir,
    Config,
    Json,
    Offline,
    RunsDir,
    ScoringTimeout,
    console_progress,
)
from bench.cli.devices import AUTO, Device
from bench.cli.output import as_json, print_json, write_output
from bench.cli.run import (
    SOME_FAILED,
    BatchTokens,
    Limit,
    Methods,
    Model,
    Place,
    Settings,
    SuiteName,
    environment_of,
    request_of,
    settle_process,
)
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run.environment import Environment
    from bench.run.plan import Request
    from bench.run.tune.search import Found
    from bench.store.runs import Run
    from reports.gate.requirements import Requirement
    from reports.tune.build import Tuned

_TRIALS, _SETTINGS = "trials.json", "settings.yaml"


def tune(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    method: Methods,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A folder for the journal, the trials and the chosen settings.")
    ],
    suite: SuiteName = "tune",
    trials: Annotated[int, typer.Option("--trials", min=1, max=10_000, help="Trials of each method.")] = 12,
    seeds: Annotated[str, typer.Option("--seed", help="Of the search, of training and of sampling.")] = "0",
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="LIMIT",
            help="What a chosen trial keeps, by point estimate: 'heldout/perplexity <= base + 5 %'. Repeatable.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Search even on data that methods are evaluated on.")] = False,
    model: Model = None,
    settings: Settings = None,
    limit: Limit = None,
    batch_tokens: BatchTokens = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    device: Device = AUTO,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
    config: Config = None,
) -> int:
    """Search the settings of each method with as many trials, and show its Pareto front of effect and cost.

    Every trial is an ordinary run, and its record is kept. The same command resumes an interrupted search. Several
    processes with the same command share the trials.
    """
    del config, method, suite, seeds, model, settings, limit, scoring_timeout, device  # the context has them
    settle_process(offline=offline)
    from bench.run.tune.space import base_of, refuse_evaluation
    from reports.gate.requirements import parse_requirement

    request, limits = request_of(context), [parse_requirement(text) for text in budget or []]
    _check(request, output)
    base = base_of(request)
    if not force:
        refuse_evaluation(base.suite, base.tasks())
    env = environment_of(
        base.suite, Place(cache_dir, runs_dir, offline, fresh=False, batch_tokens=batch_tokens), console_progress()
    )
    own, found = _search(request, env, runs_dir, output, trials, limits)
    return _report(request, own, found, limits, output, runs_dir, json=json)


def _check(request: "Request", output: Path) -> None:
    """Refuse what a search cannot be made of, before any work."""
    from bench.engine.processes import processes
    from bench.errors import MissingError, UsageError

    if len(request.seeds) > 1:
        what = f"a search has one seed, and --seed says {len(request.seeds)}"
        raise UsageError(what, mend="measure what it finds with several: bench run --seeds")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is no folder", mend="name another with -o")
    if processes() > 1:
        what = f"a launcher has started {processes()} processes, and each trial of a search is made by one"
        raise UsageError(what, mend="leave out the launcher; the same command, started again, shares the trials")
    if find_spec("optuna") is None:
        raise MissingError("bench tune needs optuna", mend="pip install 'contrastive-bench[tune]'")


def _search(
    request: "Request", env: "Environment", runs_dir: Path, output: Path, trials: int, limits: "Sequence[Requirement]"
) -> "tuple[Run, list[Found]]":
    """The base's record, and the trials of each method."""
    from bench.errors import UsageError
    from bench.run.tune.search import Search, check_all, measured
    from bench.run.tune.space import base_of, layers_of, subjects_of
    from bench.store.runs import load_run
    from reports.tune.build import check_budget, figures

    base, subjects = base_of(request), subjects_of(request, layers_of(env.model.path))
    if not subjects:
        raise UsageError("no method is named whose settings could be searched", mend="name one beside the base")
    check_all([base, *(one.default for one in subjects)], env, runs_dir)
    for one in subjects:
        if not one.space:
            env.progress.note(f"{one.text} has nothing to search: one trial, its default settings")
    own = load_run(measured(base, env, runs_dir))
    check_budget(own, limits)
    objectives = len(figures(own, own))
    search = Search(subjects, output, env, runs_dir, trials, lambda folder: figures(own, load_run(folder)), objectives)
    return own, search.run()


def _report(
    request: "Request",
    base: "Run",
    found: "Sequence[Found]",
    limits: "Sequence[Requirement]",
    output: Path,
    runs_dir: Path,
    *,
    json: bool,
) -> int:
    """Write and print what was found; the exit code says whether all trials are in it."""
    from bench.store.latest import remember
    from bench.store.runs import load_run
    from reports.tune.build import build, to_json
    from reports.tune.terminal import print_tuned

    names = [trial.run_id for one in found for trial in one.trials if trial.run_id]
    tuned = build(base, found, {name: load_run(runs_dir / name) for name in names}, limits)
    remember(runs_dir, [base.path, *(runs_dir / name for name in names)])
    command = _write_settings(request, found, tuned, output)
    told = to_json(tuned) | {"seed": request.seeds[0], "limit": request.max_items, "next": command}
    write_output(output / _TRIALS, as_json(told))
    if json:
        print_json(told)
    else:
        print_tuned(tuned)
        echo(f"  {command}" if command else "  nothing was chosen")
        echo(f"all trials: {output / _TRIALS}; as runs: bench table, bench plot tradeoff")
    failed = [(one.subject, trial) for one in found for trial in one.trials if trial.status == "failed"]
    for subject, trial in failed:
        echo(f"bench: error: {trial.why} (trial {trial.number} of {subject.text})", err=True)
    return 0 if not failed else SOME_FAILED if names else 1


def _write_settings(request: "Request", found: "Sequence[Found]", tuned: "Tuned", output: Path) -> str | None:
    """Write the chosen settings for `bench run --config`; the command that measures them, or None where none is."""
    import yaml

    from bench.run.tune.space import config_of_run
    from bench.suites import names

    chosen = [
        (one.subject, trial.settings)
        for one, method in zip(found, tuned.methods, strict=True)
        for trial in method.trials
        if trial.chosen
    ]
    path = output / _SETTINGS
    if not chosen:
        path.unlink(missing_ok=True)
        return None
    suite = request.suite.replace("tune", "mini")
    count = sum(len(one.trials) for one in found)
    searched = {subject.default.method: 0 for subject, _ in chosen}
    for one in found:
        if one.subject.default.method in searched:
            searched[one.subject.default.method] += len(one.trials)
    config = config_of_run(chosen, request.model, searched)
    rule = f"within {' and '.join(tuned.budget)}" if tuned.budget else "on each method's Pareto front"
    says = f"# Chosen by bench tune among {count} trials on suite {tuned.caption.suite}: {rule}, by point estimates."
    write_output(path, f"{says}\n" + yaml.safe_dump(config, sort_keys=False, width=1_000))
    return f"bench run --config {path} --suite {suite if suite in names() and suite != request.suite else 'SUITE'}"
