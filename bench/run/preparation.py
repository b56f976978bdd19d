"""What an experiment's method is made from, and its artifact: found in the cache, or made."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.assets.base_results import NOTHING_KEPT, BaseResults
from bench.assets.kept import is_kept, kept
from bench.assets.resolved import ChangedError
from bench.data.splits import assert_disjoint
from bench.errors import MissingError
from bench.hashing import hash_json
from bench.method import Artifact, Method, RunContext, Unwanted
from bench.run.anchors import as_read
from bench.run.artifact import load_artifact, make_artifact
from bench.run.environment import Environment
from bench.run.groups import groups_in, has_groups, make_in_groups
from bench.run.identity import Code, Identity
from bench.run.making import make_sets, parts_of, unwanted
from bench.run.phases import Phases
from bench.run.plan import Experiment
from bench.run.seen import refuse_met
from bench.run.stack import joined
from bench.run.tokenless import with_tokens
from bench.sets import ContrastiveSets, load_sets
from bench.store.leftovers import drop
from bench.store.lock import HeldError, alone, in_use, is_held, take

if TYPE_CHECKING:
    import accelerate

    from bench.assets.resolved import Resolved

Opener = Callable[[Path], AbstractContextManager[Path]]
"""Opens an empty folder, which takes a place when it is closed without an error."""


@dataclass
class Preparation:
    """Prepares the method of an experiment; of stacked methods each by itself, as if it were alone.

    Attributes:
        experiment: The experiment.
        env: What it shares with others.
        phases: Where the time of the work is noted.
        fresh: Reuse nothing: artifact and sets are made anew.
        is_part: Whether its method is one of several that are stacked.
        together: Those whose artifacts one training leaves, this one among them (see `share_trainings`).
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
        self.together: list[Preparation] = [self]

    @property
    def each(self) -> "list[Preparation]":
        """Its parts, or itself."""
        return self.parts or [self]

    # --- identity -----------------------------------------------------------------------------------------------

    @cached_property
    def identity(self) -> Identity:
        """The keys of the experiment; what they hash is found or fetched first."""
        experiment, env, info = self.experiment, self.env, self.method.info
        return Identity(
            suite=experiment.suite,
            method=experiment.method,
            config=experiment.config.model_dump(),
            prepared_by=self.method.prepared_by(experiment.config),
            needs_scorer=info.needs_scorer,
            seed=experiment.seed,
            max_items=experiment.max_items,
            sets_data=self._sets_data.sha256 if self._sets_data else None,
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

    @cached_property
    def _sets_data(self) -> "Resolved | None":
        """The file that the contrastive sets are made from or read from; None where none is needed."""
        if not self.method.info.needs_sets:
            return None
        spec = self.experiment.suite.sets
        return self.env.assets.data(spec.prompts if spec.is_made else spec.source)

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
    def _training(self) -> Path:
        """What names, for locks, the training that its artifact is taken from, wherever that ends."""
        whole = {option: value for option, value in self.identity.prepared_by.items() if option != self.method.along}
        return self.env.assets.cache / "artifacts" / replace(self.identity, prepared_by=whole).artifact_key

    @property
    def _end(self) -> float:
        """The step after which its training ends, where that is not the last."""
        end = getattr(self.experiment.config, self.method.along) if self.method.along else None
        return math.inf if end is None else end

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
        if self.method.info.needs_sets and self.experiment.suite.sets.is_made:
            refuse_met(self.env)

    def check_sets(self) -> None:
        """Find out whether the sets that it learns from are valid, where they are there."""
        if self.identity.sets_key and (not self.experiment.suite.sets.is_made or is_kept(self._sets_path.parent)):
            self.sets()

    @property
    def is_held(self) -> bool:
        """Whether another process makes what it needs."""
        paths = [one._path for one in self.each]
        waits_for_sets = any(not one._path.exists() for one in self.each if one.identity.sets_key)
        waits_for_others = len(self.together) > 1 and not self._path.exists()
        paths += [self._sets_path.parent] if waits_for_sets else []
        return any(map(is_held, [*paths, *([self._training] if waits_for_others else [])]))

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
        with ExitStack() as held:
            self._hold(held, wait=wait)
            groups = groups_in(path)
            if self.fresh and groups.exists() and not self.env.reuse.is_new(groups):
                drop(groups)
            if makes := self._wanted(held):
                self._make(makes, self.sets(wait=wait), kept, groups, self.env.base_results)
            if groups.exists():
                drop(groups)
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
        told: list[Any] = [[], None]
        with ExitStack() as held:
            if processes.is_main_process:
                try:
                    self._hold(held, wait=True)
                    told[0] = [self.together.index(one) for one in self._wanted(held)]
                    if told[0]:
                        self.sets()
                except Exception as error:  # the others wait for word: whatever it is, they must hear of it
                    told[1] = str(error) or type(error).__name__
            broadcast_object_list(told)
            numbers, failure = told
            if failure:
                raise MissingError(failure)
            if numbers:
                makes = [self.together[number] for number in numbers]
                self._make(makes, self.sets(), kept if processes.is_main_process else _dropped)

    def _joined(self, artifacts: "Sequence[Artifact]") -> Artifact:
        names = [part.experiment.method for part in self.parts]
        return joined(dict(zip(names, artifacts, strict=True)), self._path.parent)

    def _stale(self, path: Path) -> bool:
        return self.env.reuse.must_make(path, self.env.progress, fresh=self.fresh)

    def _hold(self, held: ExitStack, *, wait: bool) -> None:
        """Be alone with its artifact, and with the training where others are taken from it too."""
        if len(self.together) > 1:
            held.enter_context(alone(self._training, self.env.progress, wait=wait))
        held.enter_context(alone(self._path, self.env.progress, wait=wait))

    def _wanted(self, held: ExitStack) -> "list[Preparation]":
        """What is to be made: nothing where its artifact is there; else it, and of `together` what is missing.

        What other processes hold is left to them. The rest is held for as long as `held` is open.
        """
        if not self._stale(self._path):
            return []
        return [one for one in self.together if one._path == self._path or one._is_wanted(held)]

    def _is_wanted(self, held: ExitStack) -> bool:
        lease = take(self._path)
        if lease is None:
            return False
        if self._stale(self._path):
            held.callback(lease.release)
            return True
        lease.release()
        return False

    def _make(
        self,
        makes: "Sequence[Preparation]",
        sets: ContrastiveSets | None,
        opened: Opener,
        groups: Path | None = None,
        base_results: BaseResults = NOTHING_KEPT,
    ) -> None:
        """Make artifacts by one training: the one that ends last at its end, the others on the way.

        That of facts in groups is made group by group; `groups` keeps these until all are there. Of processes that read
        the model together none may wait for another's `base_results`, so they keep none.

        Raises:
            MissingError: it breaks before its own was left.
        """
        *before, last = sorted(makes, key=lambda one: one._end)
        left: list[Path] = []
        points = {int(one._end): partial(_noting, left, one._path, opened) for one in before}
        phase, begun = "train" if sets else "prepare", has_groups(groups)
        try:
            with (
                self.phases.phase(f"{phase} {self.experiment.method}" if self.is_part else phase, "prepare") as noted,
                opened(last._path) as made,
            ):
                context = RunContext(
                    made,
                    self.experiment.seed,
                    self.env.progress,
                    self._input_folders,
                    self._unwanted,
                    base_results=base_results,
                )
                if sets and (at_once := self.experiment.suite.sets.at_once):
                    facts = make_in_groups(last.method, self.env.base, sets, context, at_once, groups)
                else:
                    facts = make_artifact(last.method, self.env.base, sets, context, points)
                for one in last.inputs.values():
                    self.env.assets.assert_unchanged(one)
                noted.update({"tokens": facts["trained_tokens"]} if "trained_tokens" in facts else {})
            self.phases.done[-1] = self.phases.done[-1].model_copy(update={"partial": begun})
        except MissingError as error:
            if self._path not in left:
                raise
            self.env.progress.note(f"the training broke later: {error.what}")

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
                    assert self._sets_data is not None  # noqa: S101 - there is a key of sets
                    make_sets(path.parent, self.env, self.phases, self._sets_data)
                parts.unlink(missing_ok=True)
                sets = load_sets(path, source=spec.source)  # while nobody can drop them
        else:
            path = self.env.assets.data(spec.source).path
            sets = load_sets(path, source=spec.source)
            if sets.hash != self.identity.sets_key:
                raise ChangedError(path)
        assert_disjoint([text for one in sets.sets for text in one.all_texts()], self.env.held_out)
        return with_tokens(as_read(sets, self.env), self.env)


def share_trainings(preparations: Sequence[Preparation]) -> None:
    """Let those know of one another whose artifacts are of one training, ended after different steps.

    The first of them to be made leaves all. Facts in groups are trained group by group, and share nothing. What their
    keys hash is found or fetched.
    """
    groups: dict[Path, dict[Path, Preparation]] = {}
    sharing = [one for one in preparations if one.method.along and not one.experiment.suite.sets.at_once]
    for one in sharing:
        groups.setdefault(one._training, {}).setdefault(one._path, one)
    for one in sharing:
        one.together = list(groups[one._training].values())


@contextmanager
def _noting(left: list[Path], path: Path, opened: Opener) -> Iterator[Path]:
    """Open a folder, and note that it was left."""
    with opened(path) as made:
        yield made
    left.append(path)


@contextmanager
def _dropped(path: Path) -> Iterator[Path]:
    """A folder that is dropped: another process writes what is kept."""
    del path
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)
