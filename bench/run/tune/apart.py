"""What a search may look at, and what may prove what it has chosen: nothing is chosen by what methods are evaluated on.

Both are asked of the tasks that a choice follows from: those that measure what the suite controls or its perplexity,
those that a budget speaks of, and those whose samples these read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.errors import UsageError
from bench.paths import expanded
from bench.run.plan import Experiment, build_tasks
from bench.spec import SuiteSpec
from bench.suites import load_suite, names
from bench.tasks.base import Task
from bench.tasks.heldout import HeldOutConfig

Tasks = Sequence[Task[Any]]


def refuse_evaluation(suite: SuiteSpec, tasks: Tasks, budget: Sequence[str] = ()) -> None:
    """Refuse a suite that would choose settings by data that is kept for evaluation.

    The rule: each task that a choice follows from takes the training half of its data (`half: train`); one that has no
    halves, and does not measure what the suite controls, takes no text that a suite of the package evaluates on.

    Args:
        suite: The suite of the search.
        tasks: Its tasks.
        budget: The metrics that a budget speaks of, as a user names them.

    Raises:
        UsageError: one does not, or none measures what the suite controls.
    """
    measuring = _measuring(suite, tasks)
    if not measuring:
        raise UsageError(f"no task of suite '{suite.name}' measures {suite.attribute.name}, which it controls")
    why = "settings would be chosen on what methods are evaluated on"
    for task in _deciding(suite, tasks, budget):
        what = f"task '{task.name}' of suite '{suite.name}'"
        if (_has_halves(task) or task in measuring) and not _is_training(task):
            raise UsageError(f"{what} does not say 'half: train': {why}", mend=_other_suite(suite))
        if not _has_halves(task) and (met := [found for found in _evaluated(suite) if _meet(task, found[1])]):
            mend = _further([one for _, one in met]) or _other_suite(suite)
            raise UsageError(f"{what} takes what suite '{met[0][0]}' evaluates on: {why}", mend=mend)


def refuse_seen(search: Experiment, proof: Experiment, budget: Sequence[str] = ()) -> None:
    """Refuse a suite that cannot prove what another one has chosen: its data may have been seen, or it asks for more.

    The rule for data: each task that the proof follows from takes the evaluation half alone (`half: eval`); one that
    has no halves takes no text that the search has looked at.

    Args:
        search: The base's experiment on the suite of the search.
        proof: One on the suite of the proof.
        budget: The metrics that a budget speaks of, as a user names them.

    Raises:
        UsageError: it is of another model, controls another attribute or measures none, lacks a metric of the budget,
            may have been searched on, or leaves no one edit.
    """
    suite, tasks, name = proof.suite, proof.tasks(), f"suite '{proof.suite.name}'"
    if suite.attribute.name != search.suite.attribute.name:
        what = f"{name} controls {suite.attribute.name}, and suite '{search.suite.name}' {search.suite.attribute.name}"
        raise UsageError(f"--prove: {what}", mend="take a suite for the same")
    if (suite.model.id, suite.model.revision) != (search.suite.model.id, search.suite.model.revision):
        what = f"{name} is for the model {suite.model.id}, and the search is on {search.suite.model.id}"
        raise UsageError(f"--prove: {what}", mend="name one for both: --model ID")
    if suite.sets.at_once:
        what = f"{name} edits facts in groups (sets.at_once), each on a model of its own: no one edit could be exported"
        raise UsageError(f"--prove: {what}", mend="leave sets.at_once out, or take a suite without it")
    if not _measuring(suite, tasks):
        raise UsageError(f"--prove: no task of {name} measures {suite.attribute.name}, which it controls")
    if lacking := [one for one in budget if not _has(suite, tasks, one)]:
        what = f"--prove: no task of {name} measures {lacking[0]}, which the budget speaks of"
        raise UsageError(what, mend="take a suite with a task that does, or leave this --budget out")
    looked_at = _deciding(search.suite, search.tasks(), budget)
    why = "settings may have been chosen on it"
    for task in _deciding(suite, tasks, budget):
        what = f"--prove: task '{task.name}' of {name}"
        if getattr(task.config, "half", "eval") != "eval":
            what += " does not take the evaluation half alone (its option half)"
            raise UsageError(f"{what}: {why}", mend=_proving(search.suite))
        if not _has_halves(task) and (met := [one for one in looked_at if _meet(task, one)]):
            mend = _further(met) or _proving(search.suite)
            raise UsageError(f"{what} takes what the search looks at: {why}", mend=mend)


def _measuring(suite: SuiteSpec, tasks: Tasks) -> list[Task[Any]]:
    attribute = suite.scored_by(suite.scorer)
    return [task for task in tasks if task.measures_controlled(attribute)]


def _deciding(suite: SuiteSpec, tasks: Tasks, budget: Sequence[str]) -> list[Task[Any]]:
    """The tasks that a choice follows from, and those whose samples they read."""
    own = _measuring(suite, tasks)
    own += [task for task in tasks if any(one.primary and one.role == "fluency" for one in task.info.metrics)]
    own += [task for task in tasks if any(_speaks_of(metric, task, suite) for metric in budget)]
    read = {name for task in own for name in task.needs}
    return [task for task in tasks if task in own or task.name in read]


def _speaks_of(metric: str, task: Task[Any], suite: SuiteSpec) -> bool:
    """Whether a name of a metric is that of one of a task's: `task/name`, or `name` alone."""
    head, slash, _ = metric.partition("/")
    return head == task.name if slash else metric.partition("@")[0] in _metrics(suite, task)


def _metrics(suite: SuiteSpec, task: Task[Any]) -> list[str]:
    attribute = suite.scored_by(suite.scorer)
    return [one.of(attribute).name for one in task.info.metrics]


def _has(suite: SuiteSpec, tasks: Tasks, metric: str) -> bool:
    """Whether a suite may measure a metric; what only a task's data names may be called anything."""
    of_data = "/" not in metric and any(not task.info.metrics for task in tasks)
    return of_data or any(_speaks_of(metric, task, suite) for task in tasks)


def _has_halves(task: Task[Any]) -> bool:
    return hasattr(task.config, "half")


def _is_training(task: Task[Any]) -> bool:
    return getattr(task.config, "half", None) == "train"


def _meet(one: Task[Any], other: Task[Any]) -> bool:
    """Whether two tasks may take the same texts."""
    if isinstance(one.config, HeldOutConfig) and isinstance(other.config, HeldOutConfig):
        first = max(one.config.skip, other.config.skip)
        return _data(one) == _data(other) and first < min(_end(one.config), _end(other.config))
    reads = not one.needs  # what reads another task's samples has no data of its own
    return reads and one.name == other.name and _data(one) == _data(other)


def _end(config: HeldOutConfig) -> int:
    return config.skip + config.passages


def _data(task: Task[Any]) -> Any:
    """What a task says of its data; a file is one however its path is written."""
    data = getattr(task.config, "data", None)
    return expanded(data).resolve() if isinstance(data, str) else data


def _further(met: Tasks) -> str | None:
    """How a suite takes other texts than those that are met, where the task can pass over some."""
    ends = [_end(one.config) for one in met if isinstance(one.config, HeldOutConfig)]
    return f"say 'skip: {max(ends)}' there, or more" if ends else None


def _packaged() -> Iterator[tuple[str, SuiteSpec, Tasks]]:
    for name in names():
        suite = load_suite(name)
        yield name, suite, build_tasks(suite)


def _is_for_choosing(suite: SuiteSpec, tasks: Tasks) -> bool:
    measuring = _measuring(suite, tasks)
    return bool(measuring) and all(map(_is_training, measuring))


def _evaluated(like: SuiteSpec) -> Iterator[tuple[str, Task[Any]]]:
    """The tasks of the suites that methods are evaluated by, those first that control the same as a suite."""
    for name, suite, tasks in sorted(_packaged(), key=lambda one: one[1].attribute.name != like.attribute.name):
        if not _is_for_choosing(suite, tasks):
            yield from ((name, task) for task in tasks)


def _other_suite(suite: SuiteSpec) -> str:
    """The remedy: suites to choose settings by that control the same, or how one is made."""
    found = [
        name
        for name, one, tasks in _packaged()
        if one.attribute.name == suite.attribute.name and _is_for_choosing(one, tasks)
    ]
    if found:
        return f"take a suite made to choose settings of {suite.attribute.name} by ({', '.join(found)}), or say --force"
    own = "a file that 'extends' this one, with a 'name' and with 'tasks' that say 'half: train' (docs/tune.md)"
    return f"none is there to choose settings of {suite.attribute.name} by: write {own}, or say --force"


def _proving(suite: SuiteSpec) -> str:
    """The remedy: suites of the same attribute and model that methods are evaluated by."""
    same = [
        name
        for name, one, tasks in _packaged()
        if (one.attribute.name, one.model.id) == (suite.attribute.name, suite.model.id)
        and not _is_for_choosing(one, tasks)
        and not one.sets.at_once
    ]
    return f"take another suite: {', '.join(same)}" if same else "take a suite that says 'half: eval' there"
