"""What an experiment's method is made from, and its artifact: found in the cache, or made."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.assets.kept import is_kept, kept
from bench.data.splits import assert_disjoint
from bench.errors import MissingError
from bench.hashing import hash_json
from bench.method import Artifact, Method, RunContext, Unwanted
from bench.run.artifact import load_artifact, make_artifact
from bench.run.environment import Environment
from bench.run.groups import groups_in, make_in_groups
from bench.run.identity import Code, Identity
from bench.run.making import make_sets, parts_of, training_prompts, unwanted
from bench.run.phases import Phases
from bench.run.plan import Experiment
from bench.run.stack import joined
from bench.sets import ContrastiveSets, load_sets
from bench.store.leftovers import drop
from bench.store.lock import HeldError, alone, in_use, is_held

if TYPE_CHECKING:
    from collections.abc import Sequence

    import accelerate

    from bench.assets.resolved import Resolved


@dataclass
class Preparation:
    """Prepares the method of an experiment; of stacked methods each by itself, as if it were alone.

    Attributes:
        experiment: The experiment.
        env: What it shares with others.
        phases: Where the time of the work is noted.
        fresh: Reuse nothing: artifact and sets are made anew.
        is_part: Whether its method is one of several that are stacked.
    """

    experiment: Experiment
    env: Environment
    phases: Phases
    fresh: bool = False
    is_part: bool = False

    def __post_init__(self) -> None:
        """Begin with nothing prepared."""
        self.method: Method[Any] = self.experiment.build()
        self.parts = [
            Preparation(part, self.env, self.phases, self.fresh, is_part=True) for part in self.experiment.stacked
        ]

    @property
    def each(self) -> "list[Preparation]":
        """Its parts, or itself."""
        return self.parts or [self]

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
            extras=[
                wanted.name
                for one in self.each
                for wanted in registry.requirements("methods", one.experiment.method, one.method.info.extras)
            ],
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
    def _input_folders(self) -> dict[str, Path]:
        return {option: one.path for option, one in self.inputs.items()}

    @property
    def _unwanted(self) -> Unwanted | None:
        if not self.method.info.needs_scorer:
            return None
        return partial(unwanted, self.env.suite, lambda: self.env.labelling)

    @property
    def keys_of_parts(self) -> dict[str, str]:
        """Of stacked methods, the key of each one's artifact, by its name: the one that it has alone."""
        return {part.experiment.method: part.identity.artifact_key for part in self.parts}

    @property
    def _path(self) -> Path:
        return self.env.assets.cache / "artifacts" / self.identity.artifact_key

    @property
    def _sets_path(self) -> Path:
        return self.env.assets.cache / "sets" / (self.identity.sets_key or "") / "sets.jsonl"

    # --- before any work ----------------------------------------------------------------------------------------

    def places(self) -> list[Path]:
        """What it uses of the cache."""
        sets = self._sets_path.parent
        made = [path for one in self.each for path in (one._path, groups_in(one._path))]
        return made + ([sets, parts_of(sets)] if self.identity.sets_key else [])

    def check(self) -> None:
        """Find out whether the method can be applied here, and its options fit the base model.

        Raises:
            BenchError: it cannot, or they do not.
        """
        for one in self.each:
            registry.check_extras("methods", one.experiment.method, one.method.info.extras)
        self.method.check(self.env.model.path, self._input_folders)
        if self.method.info.needs_sets and self.experiment.suite.sets.source == "self":
            training_prompts(self.env)

    def check_sets(self) -> None:
        """Find out whether the sets that it learns from are valid, where they are there."""
        if self.identity.sets_key and (not self.experiment.suite.sets.is_made or is_kept(self._sets_path.parent)):
            self.sets()

    @property
    def is_held(self) -> bool:
        """Whether another process makes what it needs."""
        paths = [one._path for one in self.each]
        waits_for_sets = any(not one._path.exists() for one in self.each if one.identity.sets_key)
        return any(map(is_held, [*paths, *([self._sets_path.parent] if waits_for_sets else [])]))

    # --- work ---------------------------------------------------------------------------------------------------

    def prepare(self, uses: ExitStack, *, wait: bool = True) -> Artifact:
        """The artifact: found in the cache, or made. Nobody may drop it while `uses` is open.

        Raises:
            HeldError: another process makes it, or the sets that it needs, and we do not `wait`.
        """
        if self.experiment.suite.model.endpoint:
            return self._nothing()
        if self.parts:
            return self._joined([part.prepare(uses, wait=wait) for part in self.parts])
        path = self._path
        with alone(path, self.env.progress, wait=wait):
            parts = groups_in(path)
            if self.fresh and parts.exists() and not self.env.reuse.is_new(parts):
                drop(parts)
            if self._stale(path):
                with kept(path) as made:
                    self._make(made, self.sets(wait=wait), parts)
            if parts.exists():
                drop(parts)
            uses.enter_context(in_use(path))
            return load_artifact(path, self._input_folders, self._unwanted)

    def found(self, uses: ExitStack) -> Artifact | None:
        """The artifact that another process has made; None where it is not there, or is worked on."""
        if self.experiment.suite.model.endpoint:
            return self._nothing()
        if self.parts:
            found = [artifact for part in self.parts if (artifact := part.found(uses)) is not None]
            return self._joined(found) if len(found) == len(self.parts) else None
        try:
            with alone(self._path, wait=False):
                if not is_kept(self._path):
                    return None
                uses.enter_context(in_use(self._path))
        except HeldError:
            return None
        return load_artifact(self._path, self._input_folders, self._unwanted)

    def _nothing(self) -> Artifact:
        """The artifact of a model behind an endpoint, which nothing edits: as that of `none`, and not kept."""
        return Artifact(self._path, hash_json({}))

    def prepare_with(self, processes: "accelerate.PartialState") -> None:
        """Make the artifact with a group of processes, each of which calls this; the first one writes it."""
        from accelerate.utils import broadcast_object_list

        for part in self.parts:
            part.prepare_with(processes)
        if self.parts:
            return
        path = self._path
        told: list[Any] = [False, None]
        with ExitStack() as held:
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

    def _joined(self, artifacts: "Sequence[Artifact]") -> Artifact:
        names = [part.experiment.method for part in self.parts]
        return joined(dict(zip(names, artifacts, strict=True)), self._path.parent)

    def _stale(self, path: Path) -> bool:
        return self.env.reuse.must_make(path, self.env.progress, fresh=self.fresh)

    def _make(self, made: Path, sets: ContrastiveSets | None, parts: Path | None = None) -> None:
        """Make the artifact; that of groups of facts part by part, which `parts` keeps until all are there."""
        phase, at_once = "train" if sets else "prepare", self.experiment.suite.sets.at_once
        with self.phases.phase(f"{phase} {self.experiment.method}" if self.is_part else phase, "prepare") as noted:
            context = RunContext(made, self.experiment.seed, self.env.progress, self._input_folders, self._unwanted)
            if sets and at_once:
                facts = make_in_groups(self.method, self.env.base, sets, context, at_once, parts)
            else:
                facts = make_artifact(self.method, self.env.base, sets, context)
            noted.update({"tokens": facts["trained_tokens"]} if "trained_tokens" in facts else {})

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
        return self.env.as_read(sets)
