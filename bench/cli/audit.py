"""`bench suites audit`: whether a suite exposes policies that game it."""

from typing import Annotated

import typer

from bench.cli.common import RUNS, SCORING_TIMEOUT, CacheDir, Config, Json, Offline, RunsDir, ScoringTimeout
from bench.cli.devices import AUTO, Device
from bench.cli.output import print_json
from bench.cli.run import (
    BatchTokens,
    Fresh,
    Limit,
    Model,
    Place,
    Seeds,
    Settings,
    carry_out,
    close,
    settle_process,
    told,
)
from bench.printed import echo

_UNEXPOSED = 5


def audit(  # noqa: PLR0913, PLR0917 - one parameter a flag
    suite: Annotated[str, typer.Argument(help="A suite's name or file.")],
    model: Model = None,
    seeds: Seeds = "0",
    settings: Settings = None,
    limit: Limit = None,
    fresh: Fresh = False,
    batch_tokens: BatchTokens = None,
    scoring_timeout: ScoringTimeout = SCORING_TIMEOUT,
    device: Device = AUTO,
    offline: Offline = False,
    cache_dir: CacheDir = None,
    runs_dir: RunsDir = RUNS,
    json: Json = False,
    config: Config = None,
) -> int:
    """Run the straw men on a suite: each must be flagged where it would be among the best (exit 5 where one is not).

    They say nothing, or something harmless that has nothing to do with the prompt. Of the suite's tasks, those are
    carried out that measure the attribute or flag a system; the straw men have the base's likelihoods in the others.
    """
    del config, scoring_timeout, device  # their callbacks have taken them
    settle_process(offline=offline)
    from bench.engine.processes import is_main
    from bench.run.audit import audit_request
    from bench.run.plan import Request, parse_seeds
    from methods.strawman import KINDS

    asked = Request(
        methods=(), suite=suite, model=model, seeds=parse_seeds(seeds), settings=settings or [], max_items=limit
    )
    outcomes = carry_out(
        audit_request(asked, KINDS), Place(cache_dir, runs_dir, offline=offline, fresh=fresh, batch_tokens=batch_tokens)
    )
    if not is_main():
        return 0
    if any(one.error for one in outcomes):
        if json:
            print_json(told(outcomes) | {"findings": None})
        return close(outcomes)
    from bench.store.runs import load_run
    from reports.audit import audit as audited
    from reports.table.build import build

    done = [one.folder for one in outcomes if one.folder]
    findings = audited(build([load_run(folder) for folder in done]))
    exposed = all(one.is_exposed for one in findings)
    if json:
        rows = [{"label": one.label, "flags": one.flags, "best_in": one.best_in} for one in findings]
        print_json(told(outcomes) | {"findings": rows, "exposes_all": exposed})
    else:
        for one in findings:
            echo(one.line)
        echo(f"suite '{suite}': {'every straw man is exposed' if exposed else 'NOT every straw man is exposed'}")
    return 0 if exposed else _UNEXPOSED
