"""One experiment: prepare, apply, measure, record."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.assets.kept import is_kept, kept
from bench.data.splits import assert_disjoint
from bench.errors import MissingError
from bench.method import Artifact, Method, RunContext
from bench.run.artifact import load_artifact, make_artifact, training_logs
from bench.run.damage import is_whole, set_damage_aside
from bench.run.environment import Environment
from bench.run.identity import Code, Identity
from bench.run.making import make_sets, parts_of, unwanted
from bench.run.manifest import manifest_of
from bench.run.measuring import Measuring
from bench.run.phases import Phases
from bench.run.plan import Experiment
from bench.sets import ContrastiveSets, load_sets
from bench.store.files import read_json, write_json
from bench.store.lease import LostError
from bench.store.leftovers import drop
from bench.store.lock import HeldError, alone, in_use, is_held
from bench.store.parts import Parts
from bench.store.record import Manifest, Metric, Result

if TYPE_CHECKING:
    import accelerate

    from bench.assets.catalogue import Resolved


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
        self.can_help = self.env.shares

    # --- identity -----------------------------------------------------------------------------------------------

    @cached_property
    def identity(self) -> Identity:
        """The keys of the experiment; what they hash is found or fetched first."""
        experiment, env, info = self.experiment, self.env, self.method.info
        sets_data = self._sets_data
        return Identity(
            suite=experiment.suite,
            method=experiment.method,
            config=experiment.config.model_dump(),
            prepared_by=self.method.prepared_by(experiment.config),
            needs_scorer=info.needs_scorer,
            seed=experiment.seed,
            max_items=experiment.max_items,
            sets_data=sets_data,
            inputs={option: resolved.sha256 for option, resolved in self.inputs.items()},
            model=env.model.sha256,
            scorer=env.scorer.identity.hash,
            labelling=env.labelling.identity.hash,
            further={key: scorer.identity.hash for key, scorer in env.further.items()},
            data=[entry["sha256"] for entry in env.data],
            code=Code(env.sets_code, env.method_code(experiment.method), env.run_code(experiment.method)),
            extras=[wanted.name for wanted in registry.requirements("methods", experiment.method, info.extras)],
        )

    @property
    def _sets_data(self) -> str | None:
        """Hash of the file that the contrastive sets are made from or read from; None where none is needed."""
        if not self.method.info.needs_sets:
            return None
        spec = self.experiment.suite.sets
        return self.env.assets.data(spec.prompts if spec.is_made else spec.source).sha256

    @cached_property
    def inputs(self) -> "dict[str, Resolved]":
        """The models and adapters that the method's options name, found or fetched, by option."""
        named = {option: getattr(self.experiment.config, option) for option in self.method.info.inputs}
        find = {"model": self.env.assets.model, "adapter": self.env.assets.adapter}
        return {option: find[self.method.info.inputs[option]](ref) for option, ref in named.items() if ref}

    @property
    def artifact_key(self) -> str:
        """Hash of what the artifact follows from."""
        return self.identity.artifact_key

    @property
    def key(self) -> str:
        """Hash of every field that can change the record's figures."""
        return self.identity.key

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return self.identity.run_id

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs / self.run_id

    @property
    def done(self) -> bool:
        """Whether the record is complete."""
        return not self.fresh and is_whole(self.folder)

    def check(self) -> None:
        """Find out before any work whether what the experiment reads is there and valid.

        Raises:
            BenchError: it is not.
        """
        _ = self.key
        sets = self._sets_path.parent
        used = [self._artifact_path, *([sets, parts_of(sets)] if self.identity.sets_key else [])]
        self.env.reuse.look([self.folder / "result.json", self._manifest_path, *used])
        if not self.done:
            for task in self.experiment.tasks():
                task.check(self.env.assets)
            self.env.check_model(self.method.info)
            self._check_engine()
            registry.check_extras("methods", self.experiment.method, self.method.info.extras)
            self.method.check(self.env.model.path, self._input_folders)
            self.env.check_memory(self.method)
        if self.identity.sets_key and (not self.experiment.suite.sets.is_made or is_kept(self._sets_path.parent)):
            self.sets()

    def _check_engine(self) -> None:
        if self.experiment.suite.engine == "vllm":
            from bench.engine.vllm import check_vllm

            check_vllm(self.method, self.env.model.path, self.experiment.suite.decoding)

    # --- work ---------------------------------------------------------------------------------------------------

    @property
    def is_held(self) -> bool:
        """Whether another process works on the experiment, or makes what it needs first."""
        needed = [self.folder, self._artifact_path]
        if self.identity.sets_key and not self._artifact_path.exists():
            needed.append(self._sets_path.parent)
        return any(map(is_held, needed))

    @property
    def failure(self) -> str | None:
        """Why another process failed at the experiment since this invocation began; None where none did."""
        if not self.env.reuse.is_new(self._manifest_path):
            return None
        try:
            manifest = read_json(self._manifest_path)
            return str(manifest["error"]) if manifest["status"] == "failed" else None
        except (OSError, ValueError, KeyError, TypeError):  # damaged: it is written anew
            return None

    def run(self, *, wait: bool = True) -> Path:
        """Carry the experiment out, or go on with what an interrupted run left, and return its folder.

        Raises:
            HeldError: another process works on it, or makes what it needs, and we do not `wait`.
            LostError: another process has taken over what this one was doing.
        """
        with alone(self.folder, self.env.progress, wait=wait), contextlib.ExitStack() as self._uses:
            if self.done or self.env.reuse.is_by_another(self.folder / "result.json", self.env.progress):
                return self.folder
            if not self.fresh:
                set_damage_aside(self.folder, self.env.progress)
            self.env.assert_unchanged(self.inputs.values())
            if self.fresh and self.folder.exists():
                drop(self.folder)
            manifest = manifest_of(self)
            self._write(manifest)
            try:
                artifact = self.prepare(wait=wait)
                measuring = Measuring(self.experiment, self.env, self.method, self.folder, self.phases)
                metrics = measuring.measure(artifact)
            except (HeldError, LostError):
                self.phases = Phases()  # it is begun again, or another's
                raise
            except (Exception, SystemExit) as error:
                self._write(manifest.model_copy(update={"status": "failed", "error": str(error)[:1000]}))
                raise
            self._finish(manifest, artifact, metrics)
        return self.folder

    @property
    def wants_help(self) -> bool:
        """Whether the process that works on the experiment shares what it does, and a part is to be had."""
        return self.can_help and bool(Parts.all_in(self.folder / "samples"))

    def help(self, is_idle: Callable[[], bool]) -> bool:
        """Do parts of what another process does for the experiment; return whether that could be tried.

        Args:
            is_idle: Says whether to wait for more, where there is none at the moment.
        """
        path = self._artifact_path
        with contextlib.ExitStack() as held:
            try:
                with alone(path, wait=False):
                    if not is_kept(path):
                        return False
                    held.enter_context(in_use(path))
            except HeldError:
                return False
            artifact = load_artifact(path, self._input_folders)
            Measuring(self.experiment, self.env, self.method, self.folder, Phases()).help(artifact, is_idle)
        return True

    def prepare(self, *, wait: bool = True) -> Artifact:
        """The experiment's artifact: found in the cache, or made.

        Raises:
            HeldError: another process makes it, or the sets that it needs, and we do not `wait`.
        """
        path = self._artifact_path
        with alone(path, self.env.progress, wait=wait):
            if self._stale(path):
                with kept(path) as made:
                    self._make(made, self.sets(wait=wait))
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
        with self.phases.phase("train" if sets else "prepare", "prepare") as noted:
            distances = partial(unwanted, self.env) if reward else None
            context = RunContext(made, self.experiment.seed, self.env.progress, self._input_folders, distances)
            facts = make_artifact(self.method, self.env.base, sets, context)
            noted.update({"tokens": facts["trained_tokens"]} if "trained_tokens" in facts else {})

    @property
    def _input_folders(self) -> dict[str, Path]:
        return {option: one.path for option, one in self.inputs.items()}

    def sets(self, *, wait: bool = True) -> ContrastiveSets | None:
        """The contrastive sets, found or made; refused where an anchor meets an evaluation prompt.

        Raises:
            HeldError: another process makes them, and we do not `wait`.
        """
        if self.identity.sets_key is None:
            return None
        spec = self.experiment.suite.sets
        if spec.is_made:
            path = self._sets_path
            with alone(path.parent, self.env.progress, wait=wait):
                parts = parts_of(path.parent)
                if self.fresh and not self.env.reuse.is_new(parts):
                    parts.unlink(missing_ok=True)
                if self._stale(path.parent):
                    make_sets(path.parent, self.env, self.phases)
                parts.unlink(missing_ok=True)
                sets = load_sets(path, source=spec.source)  # while nobody can drop them
        else:
            path = self.env.assets.data(spec.source).path
            sets = load_sets(path, source=spec.source)
            if sets.hash != self.identity.sets_key:
                raise MissingError(f"{path} was changed while this command ran", mend="run the command again")
        held_out = [text for task in self.experiment.tasks() for text in task.evaluation_texts(self.env.assets)]
        assert_disjoint([text for one in sets.sets for text in one.all_texts()], held_out)
        return sets

    @property
    def _sets_path(self) -> Path:
        return self.env.assets.cache / "sets" / (self.identity.sets_key or "") / "sets.jsonl"

    # --- record -------------------------------------------------------------------------------------------------

    @property
    def _manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    def _write(self, manifest: Manifest) -> None:
        write_json(self._manifest_path, manifest.model_dump())

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
