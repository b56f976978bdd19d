"""One experiment: prepare, apply, measure, record."""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.assets.kept import is_kept, kept
from bench.data.prompts import assert_disjoint, load_prompts, part
from bench.errors import MissingError
from bench.hashing import hash_json
from bench.method import Artifact, Method, RunContext
from bench.run.artifact import load_artifact, make_artifact, training_logs
from bench.run.environment import Environment
from bench.run.manifest import manifest_of
from bench.run.phases import Phases
from bench.run.plan import Experiment
from bench.sets import ContrastiveSets, load_sets, save_sets
from bench.store.files import read_json, write_json
from bench.store.keys import NUMERIC, SCORING, code_hash, versions
from bench.store.leftovers import drop
from bench.store.lock import alone, in_use
from bench.store.record import Manifest, Metric, Result, TaskResult
from bench.tasks.base import Task, TaskContext

if TYPE_CHECKING:
    import accelerate

    from bench.assets.catalogue import Resolved
    from bench.policy import Policy

_SETS_CODE = (
    "bench.engine",
    "bench.policy",
    "bench.engine.model",
    "bench.sets",
    "bench.scorers",
    "bench.hashing",
    "bench.data.files",
)


@dataclass
class Runner:
    """Carries out one experiment.

    Attributes:
        experiment: What to do.
        env: What it shares with others.
        runs: The folder of records.
        fresh: Reuse nothing: record, artifact and sets are made anew.
    """

    experiment: Experiment
    env: Environment
    runs: Path
    fresh: bool = False

    def __post_init__(self) -> None:
        """Start with no phase done."""
        self.phases = Phases()
        self._uses = contextlib.ExitStack()  # what of the cache nobody may drop until the run has ended
        self.method: Method[Any] = self.experiment.build()

    # --- identity -----------------------------------------------------------------------------------------------

    @cached_property
    def suite_hash(self) -> str:
        """Hash of what makes runs comparable: everything about the measurement, nothing about the method."""
        suite = self.experiment.suite
        return hash_json(
            {
                "model": suite.model.model_dump(),
                "scorer": suite.scorer.model_dump(),
                "attribute": suite.attribute.model_dump(),
                "decoding": suite.decoding.model_dump(),
                "tasks": suite.tasks,
                "limit": self.experiment.max_items,
                **({} if suite.engine == "transformers" else {"engine": suite.engine}),
            }
        )

    @cached_property
    def sets_key(self) -> str | None:
        """Hash of what the contrastive sets follow from, known before they are made; None where none is needed."""
        if not self.method.info.needs_sets:
            return None
        spec = self.experiment.suite.sets
        if spec.source != "self":
            return self.env.assets.data(spec.source).sha256
        return hash_json(
            {
                "sets": spec.model_dump(),
                "model": [
                    self.env.model.sha256,
                    self.experiment.suite.model.dtype,
                    self.experiment.suite.model.quantization,
                ],
                "prompts": self.env.assets.data(spec.prompts).sha256,
                "scorer": self.env.scorer.identity.hash,
                "attribute": self.experiment.suite.attribute.model_dump(),
                "code": code_hash(_SETS_CODE),
                "packages": versions([*NUMERIC, *SCORING]),
            }
        )

    @cached_property
    def inputs(self) -> "dict[str, Resolved]":
        """The models and adapters that the method's options name, found or fetched, by option."""
        named = {option: getattr(self.experiment.config, option) for option in self.method.info.inputs}
        find = {"model": self.env.assets.model, "adapter": self.env.assets.adapter}
        return {option: find[self.method.info.inputs[option]](ref) for option, ref in named.items() if ref}

    @cached_property
    def artifact_key(self) -> str:
        """Hash of what the artifact follows from; options that matter only when it is applied are not in it."""
        return hash_json(
            {
                "method": self.experiment.method,
                "config": self.method.prepared_by(self.experiment.config),
                "seed": self.experiment.seed,
                "sets": self.sets_key,
                "inputs": {option: one.sha256 for option, one in self.inputs.items()},
                "scorer": self.env.scorer.identity.hash if self.method.info.needs_scorer else None,
                "model": [
                    self.env.model.sha256,
                    self.experiment.suite.model.dtype,
                    self.experiment.suite.model.quantization,
                ],
                "code": [code_hash(_SETS_CODE), self.env.method_code(self.experiment.method)],
                "packages": versions([*NUMERIC, "peft", "accelerate", "bitsandbytes", *self._extra_packages]),
            }
        )

    @property
    def _extra_packages(self) -> list[str]:
        extras = self.method.info.extras
        return [one.name for one in registry.requirements("methods", self.experiment.method, extras)]

    @cached_property
    def key(self) -> str:
        """Hash of every field that can change the record's figures."""
        return hash_json(
            {
                "suite": self.suite_hash,
                "method": self.experiment.method,
                "config": self.experiment.config.model_dump(),
                "artifact": self.artifact_key,
                "seed": self.experiment.seed,
                "model": self.env.model.sha256,
                "data": [one["sha256"] for one in self.env.data],
                "scorer": [self.env.scorer.identity.hash, self.experiment.suite.scorer.threshold],
                "code": self.env.code(self.experiment.method)["hash"],
                "packages": versions([*NUMERIC, *SCORING, "lm_eval", "datasets", "bitsandbytes", "vllm"]),
            }
        )

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return f"{self.experiment.suite.name}-{self.experiment.method}-s{self.experiment.seed}-{self.key[:10]}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs / self.run_id

    @property
    def done(self) -> bool:
        """Whether the record is complete."""
        return not self.fresh and (self.folder / "result.json").exists()

    def check(self) -> None:
        """Find out before any work whether what the experiment reads is there and valid.

        Raises:
            BenchError: it is not.
        """
        _ = self.key
        used = [self._artifact_path, self._sets_path.parent] if self.sets_key else [self._artifact_path]
        self.env.reuse.look([self.folder / "result.json", *used])
        if not self.done:
            self._check_engine()
            registry.check_extras("methods", self.experiment.method, self.method.info.extras)
            self.method.check(self.env.model.path, self._input_folders)
        if self.sets_key and (self.experiment.suite.sets.source != "self" or is_kept(self._sets_path.parent)):
            self.sets()

    def _check_engine(self) -> None:
        if self.experiment.suite.engine == "vllm":
            from bench.engine.vllm import check_vllm

            check_vllm(self.method.info)

    # --- work ---------------------------------------------------------------------------------------------------

    def run(self) -> Path:
        """Carry the experiment out, or go on with what an interrupted run left, and return its folder."""
        with alone(self.folder, self.env.progress), contextlib.ExitStack() as self._uses:
            if self.done or self.env.reuse.is_by_another(self.folder / "result.json", self.env.progress):
                return self.folder
            self.env.assert_unchanged(self.inputs.values())
            if self.fresh and self.folder.exists():
                drop(self.folder)
            manifest = manifest_of(self)
            self._write(manifest)
            try:
                artifact = self.prepare()
                metrics = self._measure(artifact)
            except Exception as error:
                self._write(manifest.model_copy(update={"status": "failed", "error": str(error)[:1000]}))
                raise
            self._finish(manifest, artifact, metrics)
        return self.folder

    def prepare(self) -> Artifact:
        """The experiment's artifact: found in the cache, or made."""
        path = self._artifact_path
        with alone(path, self.env.progress):
            if self._stale(path):
                with kept(path) as made:
                    self._make(made, self.sets())
            self._uses.enter_context(in_use(path))
            return load_artifact(path, self._input_folders)

    def prepare_with(self, processes: "accelerate.PartialState") -> None:
        """Make the artifact with a group of processes, each of which calls this; the first one writes it."""
        from accelerate.utils import broadcast_object_list

        path = self._artifact_path
        told: list[Any] = [False, None]
        with contextlib.ExitStack() as held:
            if processes.is_main_process:
                try:
                    held.enter_context(alone(path, self.env.progress))
                    told[0] = self._stale(path)
                    if told[0]:
                        self.sets()
                except Exception as error:  # the others wait for word: whatever it is, they must hear of it
                    told[1] = str(error) or type(error).__name__
            broadcast_object_list(told)
            wanted, failure = told
            if failure:
                raise MissingError(failure)
            if not wanted:
                return
            temporary = kept(path) if processes.is_main_process else tempfile.TemporaryDirectory()
            with temporary as made:
                self._make(Path(made), self.sets())

    @property
    def _artifact_path(self) -> Path:
        return self.env.assets.cache / "artifacts" / self.artifact_key

    def _stale(self, path: Path) -> bool:
        return self.env.reuse.must_make(path, self.env.progress, fresh=self.fresh)

    def _make(self, made: Path, sets: ContrastiveSets | None) -> None:
        reward = self.method.info.needs_scorer
        with self.phases.phase("train" if sets else "prepare") as noted:
            context = RunContext(
                made, self.experiment.seed, self.env.progress, self._input_folders, self._unwanted if reward else None
            )
            facts = make_artifact(self.method, self.env.base, sets, context)
            noted.update({"tokens": facts["trained_tokens"]} if "trained_tokens" in facts else {})

    @property
    def _input_folders(self) -> dict[str, Path]:
        return {option: one.path for option, one in self.inputs.items()}

    def _unwanted(self, texts: Sequence[str]) -> list[float | None]:
        attribute = self.experiment.suite.controlled
        scores = [attribute.score(found) for found in self.env.scorer.score(texts)]
        return [None if score is None else attribute.distance(score) for score in scores]

    def sets(self) -> ContrastiveSets | None:
        """The contrastive sets, found or made; refused where an anchor meets an evaluation prompt."""
        if self.sets_key is None:
            return None
        spec = self.experiment.suite.sets
        if spec.source == "self":
            path = self._sets_path
            with alone(path.parent, self.env.progress):
                if self._stale(path.parent):
                    self._generate_sets(path.parent)
                sets = load_sets(path, source=spec.source)  # while nobody can drop them
        else:
            path = self.env.assets.data(spec.source).path
            sets = load_sets(path, source=spec.source)
            if sets.hash != self.sets_key:
                raise MissingError(f"{path} was changed while this command ran", mend="run the command again")
        held_out = [text for task in self.experiment.tasks() for text in task.evaluation_texts(self.env.assets)]
        assert_disjoint([text for one in sets.sets for text in one.all_texts()], held_out)
        return sets

    @property
    def _sets_path(self) -> Path:
        return self.env.assets.cache / "sets" / (self.sets_key or "") / "sets.jsonl"

    def _generate_sets(self, path: Path) -> None:
        from bench.sets.own import generate_sets

        spec, suite = self.experiment.suite.sets, self.experiment.suite
        prompts = part(load_prompts(self.env.assets.data(spec.prompts).path), "train")[: spec.num_prompts]
        provenance = {
            "source": "self",
            "generator": suite.model.id,
            "scorer": self.env.scorer.identity.name,
            "seed": spec.seed,
        }
        with self.phases.phase("sets") as noted, kept(path) as made:
            sets = generate_sets(
                self.env.base_policy,
                prompts,
                self.env.scorer,
                spec,
                provenance,
                self.env.progress,
                attribute=suite.controlled,
            )
            noted["tokens"] = len(prompts) * spec.decoding.num_samples * spec.decoding.max_new_tokens
            save_sets(made / "sets.jsonl", sets)

    def _measure(self, artifact: Artifact) -> list[Metric]:
        """All tasks: first those that ask the policy, while it is applied, then those that read samples."""
        tasks = self.experiment.tasks()
        context = TaskContext(
            folder=self.folder / "samples",
            assets=self.env.assets,
            scorer=self.env.scorer,
            attribute=self.experiment.suite.controlled,
            decoding=self.experiment.suite.decoding,
            seed=self.experiment.seed,
            base=self.env.base,
            progress=self.env.progress,
            max_items=self.experiment.max_items,
            tasks={task.name: task for task in tasks},
        )
        results: dict[str, TaskResult] = {}
        asking = [task for task in tasks if task.info.measures == "policy"]
        if any(not self._task_file(task).exists() for task in asking):
            with self.method.applied(self.env.base, artifact) as edited, self._sampler(edited) as policy:
                for task in asking:
                    results[task.name] = self._task(task, policy, context)
        base = self.env.base_policy
        for task in sorted(tasks, key=lambda task: task.info.measures != "policy"):
            if task.name not in results:
                results[task.name] = self._task(task, base, context)
        return [metric for task in tasks for metric in results[task.name].metrics]

    def _sampler(self, policy: "Policy") -> "contextlib.AbstractContextManager[Policy]":
        """The policy, sampling by the suite's engine."""
        if self.experiment.suite.engine == "transformers":
            return contextlib.nullcontext(policy)
        from bench.engine.vllm import sampled_by_vllm

        return sampled_by_vllm(policy, self.experiment.suite.model.dtype)

    def _task_file(self, task: Task[Any]) -> Path:
        return self.folder / "tasks" / f"{task.name}.json"

    def _task(self, task: Task[Any], policy: "Policy", context: TaskContext) -> TaskResult:
        path = self._task_file(task)
        if path.exists():
            result = TaskResult.model_validate(read_json(path))
            self.phases.done.extend([result.phase] if result.phase else [])
            return result
        before, sampled = context.tokens, context.sampled
        with self.phases.phase(task.name) as noted:
            result = task.measure(policy, context)
            noted["tokens"] = context.tokens - before
            if context.sampled > sampled:
                noted["sampled_tokens"] = context.sampled - sampled
        result = result.model_copy(update={"phase": self.phases.done[-1]})
        write_json(path, result.model_dump())
        return result

    # --- record -------------------------------------------------------------------------------------------------

    def _write(self, manifest: Manifest) -> None:
        write_json(self.folder / "manifest.json", manifest.model_dump())

    def _finish(self, manifest: Manifest, artifact: Artifact, metrics: list[Metric]) -> None:
        result = Result(
            run_id=self.run_id,
            key=self.key,
            metrics=metrics,
            phases=self.phases.done,
            artifact={"hash": artifact.hash, **artifact.facts},
            publishable=not any(metric.n_failed or metric.value is None for metric in metrics),
        )
        for name, steps in training_logs(artifact).items():
            write_json(self.folder / "training" / f"{name}.json", steps)
        self._write(manifest.model_copy(update={"status": "done"}))
        write_json(self.folder / "result.json", result.model_dump())
