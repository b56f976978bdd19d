"""One experiment: prepare, apply, measure, record."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.resolved import ChangedError
from bench.method import Artifact, Method
from bench.progress import note_once
from bench.run.artifact import training_logs
from bench.run.damage import is_whole, set_damage_aside
from bench.run.ending import fail, finish
from bench.run.environment import Environment
from bench.run.identity import Identity
from bench.run.manifest import manifest_of
from bench.run.measuring import Measuring
from bench.run.phases import Phases
from bench.run.plan import Experiment
from bench.run.preparation import Preparation
from bench.run.resumed import drop_measured, drop_measured_on_another
from bench.store.files import read_json, write_json
from bench.store.lease import LostError
from bench.store.leftovers import drop
from bench.store.lock import HeldError, alone, is_held
from bench.store.parts import Parts
from bench.store.record import Manifest, Metric

if TYPE_CHECKING:
    from bench.assets.resolved import Resolved


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
        self.preparation = Preparation(self.experiment, self.env, self.phases, self.fresh)
        self.method: Method[Any] = self.preparation.method
        self.can_help = self.env.shares

    # --- identity -----------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """The keys of the experiment; what they hash is found or fetched first."""
        return self.preparation.identity

    @property
    def inputs(self) -> "dict[str, Resolved]":
        """The models and adapters that the method's options name, found or fetched, by option."""
        return self.preparation.inputs

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
        self.env.reuse.look([self.folder / "result.json", self._manifest_path, *self.preparation.places()])
        if not self.done:
            for task in self.experiment.tasks():
                task.check(self.env.assets)
            self.env.check_model(self.method.info)
            self.env.check_chat()
            if outside := self.outside_turns:
                what = f"{self.experiment.method}: its text stands before the conversation, outside of any turn"
                note_once(self.env.progress, f"{what}, in {', '.join(outside)}")
            self._check_engine()
            self.preparation.check()
            self.env.check_memory(self.method)
        self.preparation.check_sets()

    @property
    def outside_turns(self) -> list[str]:
        """The tasks that ask by a user's message, before which a text of the method's stands, in nobody's turn."""
        asking = [task.name for task in self.experiment.tasks() if task.info.as_message]
        return asking if asking and self.method.info.prefixes and self.env.tokenizer.chat_template else []

    def _check_engine(self) -> None:
        if self.experiment.suite.engine == "vllm":
            from bench.engine.vllm import check_vllm

            check_vllm(self.method, self.env.model.path, self.experiment.suite.decoding)

    # --- work ---------------------------------------------------------------------------------------------------

    @property
    def is_held(self) -> bool:
        """Whether another process works on the experiment, or makes what it needs first."""
        return is_held(self.folder) or self.preparation.is_held

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
            write_json(self._manifest_path, manifest.model_dump())
            try:
                artifact = self.prepare(wait=wait)
                drop_measured_on_another(self.folder, artifact.hash, self.env.progress)
                measuring = Measuring(self.experiment, self.env, self.method, self.folder, self.phases)
                metrics = measuring.measure(artifact, self.inputs.values())
            except HeldError:  # it is begun again, and what it has made of a stack by now is found then
                raise
            except LostError:
                self.phases.done.clear()  # it is begun again, or another's
                raise
            except (Exception, SystemExit) as error:
                if isinstance(error, ChangedError):  # some of the samples are of the file as it is now
                    drop_measured(self.folder)
                fail(self.folder, manifest, error)
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
        with contextlib.ExitStack() as held:
            artifact = self.preparation.found(held)
            if artifact is None:
                return False
            Measuring(self.experiment, self.env, self.method, self.folder, Phases()).help(artifact, is_idle)
        return True

    def prepare(self, *, wait: bool = True) -> Artifact:
        """The experiment's artifact: found in the cache, or made.

        Raises:
            HeldError: another process makes it, or the sets that it needs, and we do not `wait`.
        """
        return self.preparation.prepare(self._uses, wait=wait)

    # --- record -------------------------------------------------------------------------------------------------

    @property
    def _manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    def _finish(self, manifest: Manifest, artifact: Artifact, metrics: list[Metric]) -> None:
        for name, steps in training_logs(artifact).items():
            write_json(self.folder / "training" / f"{name}.json", steps)
        finish(self.folder, manifest, metrics, self.phases.done, {"hash": artifact.hash, **artifact.facts})
