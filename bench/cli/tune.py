"""`bench tune`: an equal search of methods' settings, on data that nothing evaluates on."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
from bench.cli.proving import NO_PROOF, may_do_without, proving_command, why_no_proof
from bench.cli.run import (
    SOME_FAILED,
    BatchTokens,
    Limit,
    Model,
    Place,
    Settings,
    SuiteName,
    environment_of,
    methods_option,
    request_of,
    settle_process,
)
from bench.printed import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run.plan import Experiment, Request
    from bench.run.tune.search import Found
    from bench.run.tune.space import Settings as Chosen
    from bench.run.tune.space import Subject
    from bench.store.runs import Run
    from reports.gate.requirements import Requirement
    from reports.tune.build import Tuned

_UNPROVEN = 1
"""The exit code where there is nothing to prove."""
_TRIALS, _SETTINGS, _FRONT = "trials.json", "settings.yaml", "front.svg"

_Methods = Annotated[str, methods_option("or a kind of methods (fine-tuning), or all; no stacks")]
_Prove = Annotated[
    str | None,
    typer.Option(
        "--prove",
        metavar="SUITE",
        help="Then measure what was chosen on this suite, and export the best edit to FOLDER/edit; none: do neither. "
        "With --budget, if left out: the one that the suite of the search declares.",
    ),
]
_Retry = Annotated[bool, typer.Option("--retry", help="Try failed trials again, with the same settings.")]
_ProveSeeds = Annotated[str | None, typer.Option("--prove-seeds", help="Seeds of the proof; the search's if left out.")]


class _Asked(NamedTuple):
    """What is searched, where it goes, what is chosen, and what is measured with that afterwards, if anything.

    `beside` is the suite that the search's declares to measure the same on other data, if any. `is_optional` says that
    the user has asked for no proof by a flag; `again` is the command that goes on to a proof where this one makes none.
    """

    request: "Request"
    place: Place
    output: Path
    limits: "Sequence[Requirement]"
    beside: str | None
    proof: "Request | None" = None
    retry: bool = False
    is_optional: bool = False
    again: str | None = None


def tune(  # noqa: PLR0913, PLR0917 - one parameter a flag
    context: typer.Context,
    method: _Methods,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A folder for the journal, the trials and the chosen settings.")
    ] = Path("tuned"),
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
    prove: _Prove = None,
    prove_seeds: _ProveSeeds = None,
    retry: _Retry = False,
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
    processes with the same command share the trials. With a budget, what is chosen is then measured on other data, and
    the best edit is exported.
    """
    del config, method, suite, seeds, model, settings, limit, scoring_timeout, device  # the context has them
    settle_process(offline=offline)
    from bench.run.tune.apart import refuse_evaluation
    from bench.run.tune.space import base_of
    from reports.gate.requirements import parse_requirement
    from reports.tune.build import refuse_costs

    request, limits = request_of(context), [parse_requirement(text) for text in budget or []]
    refuse_costs(limits)
    _check(request, output)
    base = base_of(request)
    if not force:
        refuse_evaluation(base.suite, base.tasks(), [one.metric for one in limits])
    place = Place(cache_dir, runs_dir, offline, fresh=False, batch_tokens=batch_tokens)
    asked = _Asked(request, place, output, limits, base.suite.proof, retry=retry)
    asked = _with_proof(context, asked, base, prove, prove_seeds, force=force)
    own, found, limits = _search(asked, base, trials)
    return _report(asked._replace(limits=limits), own, found, json=json)


def _check(request: "Request", output: Path) -> None:
    """Refuse what a search cannot be made of, before any work."""
    from bench.engine.processes import processes
    from bench.errors import MissingError, UsageError
    from bench.run.plan import parse_method
    from bench.run.stack import names_of

    for name in [parse_method(text)[0] for text in request.methods]:
        if len(parts := names_of(name)) > 1:
            mend = f"search each method alone: --method {','.join(dict.fromkeys(parts))}"
            raise UsageError(f"'{name}' is a stack, and stacks are not searched", mend=mend)
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


def _with_proof(
    context: typer.Context, asked: _Asked, base: "Experiment", suite: str | None, seeds: str | None, *, force: bool
) -> _Asked:
    """The same with its proof: on the suite that is named, else on the one that is declared, where that can be."""
    request, limits = asked.request, asked.limits
    beside, has_choice = base.suite.proof, bool(limits) and not force
    lacking = why_no_proof(request, limits, base, beside) if has_choice and suite in (None, NO_PROOF) else None
    by_default = has_choice and suite is None and lacking is None
    is_optional = by_default and seeds is None
    with may_do_without(is_optional):
        proof = _proving(request, beside if by_default else suite, seeds, asked.output, limits, force=force)
    if suite is None and lacking:
        console_progress().note(f"this search ends without a proof: {lacking}; --prove SUITE names one")
    goes_on = has_choice and proof is None and (beside is None or lacking is None)
    again = proving_command(context, beside) if goes_on else None
    return asked._replace(proof=proof, is_optional=is_optional, again=again)


def _proving(
    request: "Request",
    suite: str | None,
    seeds: str | None,
    output: Path,
    limits: "Sequence[Requirement]",
    *,
    force: bool,
) -> "Request | None":
    """What is measured after the search; None where nothing is."""
    from bench.cli.proof import proving
    from bench.errors import UsageError

    if suite is None or suite == NO_PROOF:
        if seeds is not None:
            what = "--prove-seeds says nothing where nothing is proven"
            raise UsageError(what, mend="name a --budget, and a suite: --prove mini")
        return None
    if not limits:
        what = "--prove needs a --budget: without one, all of a front is chosen, and none of it is the best"
        raise UsageError(what, mend="add one: --budget 'heldout/perplexity <= base + 5 %'")
    if force:
        raise UsageError("--force lets the search see what methods are evaluated on, and --prove would prove nothing")
    return proving(request, suite, seeds, output, [one.metric for one in limits])


def _search(asked: _Asked, base: "Experiment", trials: int) -> "tuple[Run, list[Found], list[Requirement]]":
    """The base's record, the trials of each method, and the budget, each limit with the key of its metric."""
    from bench.cli.proof import check_bases
    from bench.errors import UsageError
    from bench.run.tune.search import Search, check_all, measured
    from bench.run.tune.space import layers_of, subjects_of
    from bench.store.runs import load_run
    from reports.tune.build import check_budget, figures

    place, runs_dir = asked.place, asked.place.runs_dir
    env = environment_of(base.suite, place, console_progress())
    subjects = subjects_of(asked.request, layers_of(env.model.path))
    if not subjects:
        raise UsageError("no method is named whose settings could be searched", mend="name one beside the base")
    check_all([base, *(one.default for one in subjects)], env, runs_dir)
    for one in subjects:
        if not one.space:
            env.progress.note(f"{one.text} has nothing to search: one trial, its default settings")
    if asked.proof:
        check_bases(base, asked.proof, place, asked.limits, is_optional=asked.is_optional)
    own = load_run(measured(base, env, runs_dir))
    limits = check_budget(own, asked.limits)
    count = len(figures(own, own))
    if count == 1:
        env.progress.note("the base has no figure of perplexity: trials are compared by what the suite controls alone")
    search = Search(
        subjects,
        asked.output,
        env,
        runs_dir,
        trials,
        lambda folder: figures(own, load_run(folder)),
        count,
        asked.retry,
    )
    return own, search.run(), limits


def _report(asked: _Asked, base: "Run", found: "Sequence[Found]", *, json: bool) -> int:
    """Write and print what was found, and prove it where that is asked for; the exit code says whether all is in it."""
    from bench.cli import proof
    from bench.run.tune.space import place_of
    from bench.store.latest import remember
    from bench.store.runs import load_run
    from reports.tune.build import best_of, build, to_json
    from reports.tune.terminal import print_tuned

    request, output, runs_dir = asked.request, asked.output, asked.place.runs_dir
    names = [trial.run_id for one in found for trial in one.trials if trial.run_id]
    runs = {name: load_run(runs_dir / name) for name in names}
    tuned = build(base, found, runs, asked.limits)
    remember(runs_dir, [base.path, *(runs_dir / name for name in names)])
    chosen = _chosen(found, tuned)
    suite = _measuring_suite(asked)
    config = _write_settings(asked, found, chosen, tuned, suite)
    command = _command(asked) if config else None
    told = to_json(tuned) | {"seed": request.seeds[0], "limit": request.max_items, "next": command}
    write_output(output / _TRIALS, as_json(told))
    if not json:
        print_tuned(tuned)
        echo(f"  {command}" if command else "  nothing was chosen")
    has_figure = _draw([base, *runs.values()], output / _FRONT)  # what was found is kept and shown by now
    if not json:
        figure = f"; drawn: {output / _FRONT}" if has_figure else ""
        echo(f"all trials: {output / _TRIALS}{figure}; as runs: bench table, bench plot tradeoff")
        if config and asked.again:
            echo(f"the same, then the best edit in {output / proof.EDIT}:\n  {asked.again}")
    taken = [one.run_id for method in tuned.methods for one in method.trials if one.chosen and one.run_id]
    keys = [runs[name].manifest.key for name in taken]
    best, proven = best_of(tuned), None
    proof.clear(output, keys if best else [])
    if asked.proof and config and best:
        method = place_of(found[best[0]].subject, best[1].settings, chosen)
        choice = proof.Choice(config, method, keys)
        proven = proof.prove(asked.proof, choice, asked.limits, output, asked.place)
    if asked.proof:
        told["proof"] = proof.to_json(asked.proof, proven) if proven else None
    if json:
        print_json(told)
    elif asked.proof and proven:
        proof.show(asked.proof, proven)
    code = proof.exit_code(proven) if proven else _tell_unproven(asked, has_chosen=bool(config))
    if _tell_failed(found):
        return SOME_FAILED if names else 1
    return code


def _tell_unproven(asked: _Asked, *, has_chosen: bool) -> int:
    """Say on stderr why nothing is proven where a proof belongs to the search; the exit code says it too."""
    if not asked.proof:
        return 0
    why = "no chosen trial is nearer to the wanted end than the base" if has_chosen else "no trial keeps the budget"
    mend = "search longer (--trials), or allow more (--budget)"
    echo(f"bench: error: nothing is proven or exported: {why}; {mend}", err=True)
    return _UNPROVEN


def _draw(runs: "Sequence[Run]", path: Path) -> bool:
    """Draw the trials and their Pareto front; return whether there is a figure of them."""
    from bench.errors import MissingError, UsageError
    from reports.plots import draw, save

    try:
        save(draw("tradeoff", runs, wide=True), path)
    except MissingError:  # no utility was measured, or no trial is whole
        if path.is_file():
            path.unlink()
        return False
    except UsageError as error:  # the search is whole without its figure
        console_progress().note(f"no figure: {error}; 'bench plot tradeoff -o FILE' draws it")
        return False
    return True


def _tell_failed(found: "Sequence[Found]") -> bool:
    """Say on stderr why trials failed, and what may be done; whether some did."""
    failed = [(one.subject, trial) for one in found for trial in one.trials if trial.status == "failed"]
    for subject, trial in failed:
        mend = f"; {trial.mend}" if trial.mend else ""
        echo(f"bench: error: {trial.why} (trial {trial.number} of {subject.text}){mend}", err=True)
    if failed:
        echo("failed trials count among the trials; the same command with --retry tries them again", err=True)
    return bool(failed)


def _chosen(found: "Sequence[Found]", tuned: "Tuned") -> "Sequence[tuple[Subject, Chosen]]":
    """What the search proposes: methods with their settings."""
    return [
        (one.subject, trial.settings)
        for one, method in zip(found, tuned.methods, strict=True)
        for trial in method.trials
        if trial.chosen
    ]


def _write_settings(
    asked: _Asked,
    found: "Sequence[Found]",
    chosen: "Sequence[tuple[Subject, Chosen]]",
    tuned: "Tuned",
    suite: str | None,
) -> "dict[str, Any] | None":
    """Write the chosen settings for `bench run --config`, and return what it takes; None where none is chosen."""
    import yaml

    from bench.run.tune.space import config_of_run, options_of

    path = asked.output / _SETTINGS
    if not chosen:
        path.unlink(missing_ok=True)
        return None
    count = sum(len(one.trials) for one in found)
    searched = {one.subject.text: len(one.trials) for one in found}
    config = config_of_run(chosen, asked.request.model, searched, options_of(suite) if suite else None)
    rule = f"within {' and '.join(tuned.budget)}" if tuned.budget else "on each method's Pareto front"
    says = f"# Chosen by bench tune among {count} trials on suite {tuned.caption.suite}: {rule}, by point estimates."
    write_output(path, f"{says}\n" + yaml.safe_dump(config, sort_keys=False, width=1_000))
    return config


def _measuring_suite(asked: _Asked) -> str | None:
    """The suite that measures what is chosen on other data; None where the user has to name it."""
    return asked.proof.suite if asked.proof else asked.beside


def _command(asked: _Asked) -> str:
    """The command that measures the chosen settings on other data."""
    suite = shlex.quote(_measuring_suite(asked) or "SUITE")
    run = f"bench run --config {shlex.quote(str(asked.output / _SETTINGS))} --suite {suite}"
    if asked.proof is None:
        return run
    seeds, limit = ",".join(map(str, asked.proof.seeds)), asked.proof.max_items
    return f"{run}{'' if seeds == '0' else f' --seeds {seeds}'}{'' if limit is None else f' --limit {limit}'}"
