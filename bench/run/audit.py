"""What a suite's audit carries out: the base and every straw man, on the tasks that they could win or be exposed by."""

import json
from collections.abc import Sequence
from dataclasses import replace

from bench import registry
from bench.errors import UsageError
from bench.run.plan import Request, make_experiments
from bench.spec import SuiteSpec, validate


def audit_request(request: Request, kinds: Sequence[str]) -> Request:
    """A request for a suite, made one for its audit.

    A straw man's likelihoods are the base's. So tasks that neither measure the attribute nor flag anybody are left out:
    they can tell nobody from the base.

    Args:
        request: With the suite, the model, the seeds and the settings; its methods are replaced.
        kinds: The straw men.

    Raises:
        UsageError: the suite is not valid, or has no such task.
    """
    methods = [f"strawman:kind={kind}" for kind in kinds]
    suite = make_experiments(replace(request, methods=methods))[0].suite
    kept = _telling(suite)
    if not kept:
        what = f"suite '{suite.name}' measures nothing that a straw man could win"
        raise UsageError(what, mend="give it a task such as 'rtp' or 'continuation'")
    return replace(request, methods=methods, settings=[*request.settings, f"suite.tasks={json.dumps(kept)}"])


def _telling(suite: SuiteSpec) -> list[dict[str, object]]:
    """The entries of a suite whose tasks measure the attribute or flag, and those that they need."""
    attribute, tasks = suite.scored_by(suite.scorer), []
    for entry in suite.tasks:
        kind = registry.load("tasks", str(entry["task"]))
        tasks.append((entry, kind.from_config(validate(kind.Config, entry, str(entry["task"])))))
    needed = {
        name
        for _, some in tasks
        for task in some
        for name in task.needs
        if any(metric.flag for metric in task.info.metrics)
    }
    return [
        dict(entry)
        for entry, some in tasks
        if any(
            task.name in needed or task.measures_controlled(attribute) or any(one.flag for one in task.info.metrics)
            for task in some
        )
    ]
