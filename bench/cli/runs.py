"""`bench runs`: what has been run."""

from bench.cli.common import RUNS, Json, RunsDir, console_progress
from bench.cli.output import print_json
from bench.cli.selection import refuse_missing


def runs(runs_dir: RunsDir = RUNS, json: Json = False) -> None:
    """List the runs, oldest first: id, suite, method, model, limit, seed, status, when, seconds."""
    from bench.store.runs import list_runs
    from reports.table.terminal import print_runs

    refuse_missing(runs_dir)
    found = list_runs(runs_dir, console_progress())
    if not json:
        print_runs(found)
        return
    print_json(
        [
            {
                "id": run.id,
                "suite": run.manifest.suite.get("name"),
                "method": run.method,
                "label": run.label,
                "model": run.manifest.model.get("id"),
                "limit": run.manifest.suite.get("limit"),
                "seed": run.manifest.seed,
                "status": run.status,
                "created": run.manifest.created,
                "seconds": run.seconds,
                "publishable": run.result.publishable if run.result else None,
                "path": str(run.path),
            }
            for run in found
        ]
    )
