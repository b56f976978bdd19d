"""All tasks of one experiment: first those that ask the edited policy, then those that read samples."""

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.run.damage import finished_task
from bench.store.files import write_json
from bench.store.lock import pauses
from bench.store.parts import Parts
from bench.store.record import Metric, TaskResult
from bench.tasks.base import Task
from bench.tasks.context import FurtherScorer, TaskContext
from bench.tasks.helping import help_with
from bench.tasks.together import EDITED

# Bundles of inputs, for the type checker alone: figures do not follow from the code of these, and keys follow imports.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.assets.resolved import Resolved
    from bench.method import Artifact, Method
    from bench.policy import Policy
    from bench.run.environment import Environment
    from bench.run.phases import Phases
    from bench.run.plan import Experiment

_PAUSES = 0.2, 1.0  # seconds between two looks for more to help with: the first, and the longest


@dataclass
class Measuring:
    """The tasks of an experiment, carried out one after another.

    Attributes:
        experiment: What to measure.
        env: What it shares with others.
        method: The experiment's method.
        folder: The run's folder.
        phases: Where the time of each task is noted.
    """

    experiment: "Experiment"
    env: "Environment"
    method: "Method[Any]"
    folder: Path
    phases: "Phases"

    def measure(self, artifact: "Artifact", inputs: "Iterable[Resolved]") -> list[Metric]:
        """The metrics of all tasks, in the suite's order; a task that an interrupted run finished is read.

        Args:
            artifact: The method's.
            inputs: The models and adapters that the method reads.

        Raises:
            ChangedError: these or the data were changed since they were hashed.
        """
        tasks = self.experiment.tasks()
        context = self._context(tasks)
        results = self._finished(tasks)
        asking = [task for task in tasks if task.info.measures != "samples" and task.name not in results]
        if asking:
            with contextlib.ExitStack() as held:
                self._look_at_base(asking, context, held)
                context.holders = [(one.prompts, partial(self._holding, one.artifact)) for one in artifact.groups]
                policy = self.env.base_policy if artifact.groups else self._edited(artifact, held)
                for task in asking:
                    results[task.name] = self._task(task, policy, context, inputs)
        base = self.env.base_policy
        for task in tasks:
            if task.name not in results:
                results[task.name] = self._task(task, base, context, inputs)
        return [metric for task in tasks for metric in results[task.name].metrics]

    def help(self, artifact: "Artifact", is_idle: "Callable[[], bool]") -> None:
        """Do parts of what another process, which carries the experiment out, asks of a model.

        To edit the model takes seconds, or as long as a part: it stays edited while there may be more.

        Args:
            artifact: The method's.
            is_idle: Says whether to wait for more, where there is none at the moment.
        """
        context = self._context(self.experiment.tasks())
        policy, is_edited = self.env.base_policy, False
        waits = pauses(*_PAUSES)
        with contextlib.ExitStack() as held:
            while True:
                for parts in Parts.all_in(context.folder):
                    if parts.facts[EDITED] != is_edited:
                        held.close()
                        is_edited = parts.facts[EDITED]
                        policy = self._edited(artifact, held) if is_edited else self.env.base_policy
                    help_with(parts, policy, context)
                    waits = pauses(*_PAUSES)
                if not is_idle():
                    return
                time.sleep(next(waits))

    def _context(self, tasks: "Sequence[Task[Any]]") -> TaskContext:
        return TaskContext(
            folder=self.folder / "samples",
            assets=self.env.assets,
            scorer=self.env.scorer,
            attribute=self.experiment.suite.scored_by(self.experiment.suite.scorer),
            decoding=self.experiment.suite.decoding,
            chat=self.experiment.suite.chat,
            seed=self.experiment.seed,
            base=None if self.experiment.suite.model.endpoint else self.env.base,
            progress=self.env.progress,
            max_items=self.experiment.max_items,
            tasks={task.name: task for task in tasks},
            further={
                key: FurtherScorer(self.env.further[key], self.experiment.suite.scored_by(spec))
                for key, spec in self.experiment.suite.further.items()
            },
            shares=self.env.shares,
            base_results=self.env.base_results,
        )

    def _finished(self, tasks: "Sequence[Task[Any]]") -> dict[str, TaskResult]:
        """What an interrupted run has finished."""
        found = {task.name: finished_task(self._task_file(task), self.env.progress) for task in tasks}
        kept = {name: result for name, result in found.items() if result}
        self.phases.done.extend(result.phase for result in kept.values() if result.phase)
        return kept

    def _look_at_base(self, tasks: "Sequence[Task[Any]]", context: TaskContext, held: contextlib.ExitStack) -> None:
        """Let the unfinished tasks that measure both models look at the base, while it is not edited."""
        for task in tasks:
            if task.info.measures == "both":
                before, saved = context.tokens, context.base_results.seconds_saved
                with self.phases.phase(f"{task.name} of the base", "measure") as noted:
                    context.beside[task.name] = held.enter_context(task.beside(self.env.base_policy, context))
                    noted["tokens"] = context.tokens - before
                phase = self.phases.done[-1]  # what was read counts as if it were computed
                seconds = phase.seconds + context.base_results.seconds_saved - saved
                self.phases.done[-1] = phase.model_copy(update={"seconds": round(seconds, 3)})

    def _edited(self, artifact: "Artifact", held: contextlib.ExitStack) -> "Policy":
        """The edited model, sampling by the suite's engine, while something is held; an endpoint's is what it is."""
        if self.experiment.suite.model.endpoint:
            return self.env.base_policy
        edited = held.enter_context(self.method.applied(self.env.base, artifact))
        return held.enter_context(self._sampler(edited))

    @contextlib.contextmanager
    def _holding(self, artifact: "Artifact") -> "Iterator[Policy]":
        """The model that holds a group of facts."""
        with contextlib.ExitStack() as held:
            yield self._edited(artifact, held)

    def _sampler(self, policy: "Policy") -> "contextlib.AbstractContextManager[Policy]":
        """The policy, sampling by the suite's engine."""
        if self.experiment.suite.engine == "transformers":
            return contextlib.nullcontext(policy)
        from bench.engine.vllm import sampled_by_vllm

        return sampled_by_vllm(policy, self.experiment.suite.model.dtype)

    def _task_file(self, task: Task[Any]) -> Path:
        return self.folder / "tasks" / f"{task.name}.json"

    def _task(
        self, task: Task[Any], policy: "Policy", context: TaskContext, inputs: "Iterable[Resolved]"
    ) -> TaskResult:
        samples = context.folder / f"{task.name}.jsonl"
        begun = samples.exists() and samples.stat().st_size > 0
        before, sampled = context.tokens, context.sampled
        context.helped, context.edited = False, task.info.measures != "samples"
        with self.phases.phase(task.name, "measure") as noted:
            result = task.measure(policy, context)
            noted["tokens"] = context.tokens - before
            if context.sampled > sampled:
                noted["sampled_tokens"] = context.sampled - sampled
        begun = begun or context.helped
        phase = self.phases.done[-1] = self.phases.done[-1].model_copy(update={"partial": begun})
        result = result.model_copy(update={"phase": phase})
        self.env.assert_unchanged(inputs)  # tasks read their files when they begin, and that may be hours later
        write_json(self._task_file(task), result.model_dump())
        return result
