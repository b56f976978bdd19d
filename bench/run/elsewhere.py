"""Continuations that another programme made become a run: scored and recorded, without a model."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.data.continuations import Continued, load_continuations, of_prompts
from bench.data.counted import Counted
from bench.data.prompts import ToxicityPrompt
from bench.errors import ForeignExitError, MissingError, UsageError
from bench.hashing import hash_file, hash_json
from bench.progress import note_once
from bench.run.damage import is_whole, set_damage_aside
from bench.run.ending import fail, finish
from bench.run.environment import Environment, data_row
from bench.run.identity import scoring
from bench.run.manifest import scorer_facts
from bench.run.phases import Phases
from bench.run.plan import build_tasks
from bench.run.texts import MeasuringTexts, Texts, of_own_prompts
from bench.store.files import write_json
from bench.store.keys import NUMERIC, SCORING, code_hash, versions, with_imports
from bench.store.lease import LostError
from bench.store.lock import alone
from bench.store.record import Manifest
from bench.tasks.given import ContinuesPrompts, MeasuresTexts

if TYPE_CHECKING:
    from bench.spec import SuiteSpec
    from bench.tasks.base import Task

METHOD = "elsewhere"
"""What stands in the record for the method: it is not known."""
OWN_PROMPTS = "own prompts"
"""What stands in the record for the data where the prompts are the file's."""
_LABEL = 40  # characters of it in the name of a folder
_CODE = ("bench.run.texts", "bench.scorers")


@dataclass(frozen=True)
class Given:
    """A file of continuations.

    Attributes:
        file: The file.
        label: What the system is called that made them.
        seed: Which of the system's files it is.
        origins: Where the suite's overrides come from.
        prompt_field: Where the prompt stands in a row; None for the shapes that are known.
    """

    file: Path
    label: str
    seed: int = 0
    origins: Mapping[str, str] = field(default_factory=dict)
    prompt_field: str | None = None

    @property
    def config(self) -> dict[str, str]:
        """What was said of it, for the record and the key."""
        return {"label": self.label, **({"field": self.prompt_field} if self.prompt_field else {})}


@dataclass(frozen=True)
class Scored:
    """What became of a file of continuations.

    Attributes:
        experiment: The file.
        folder: Its record, or None where it failed.
        error: Why it failed, or None.
    """

    experiment: Given
    folder: Path | None = None
    error: Exception | None = None


@dataclass
class Elsewhere:
    """Scores a file of continuations by a suite's scorers, and records it as a run of that suite.

    Attributes:
        given: The file.
        env: The suite, its scorers, and where its data are. No model is asked for.
        runs: The folder of records.
        max_items: The most prompts, or None.
        own_prompts: Whether the file's prompts are measured, whatever the suite's are.
    """

    given: Given
    env: Environment
    runs: Path
    max_items: int | None = None
    own_prompts: bool = False

    def check(self) -> None:
        """Read the file, and find out whether it has what the suite measures; nothing is scored or written.

        Raises:
            BenchError: it cannot be read, or lacks prompts or continuations, or a scorer cannot be loaded.
        """
        note, name, taken = self.env.progress.note, self.given.file.name, self.taken
        asked = len({prompt.id for prompt, _ in taken})
        whose = "of its own" if self.own_prompts else f"of suite '{self._suite.name}'"
        note(f"{name}: {asked} prompts {whose}, {len(self._found) - asked} others")
        left = ", ".join(f"{count} {why}" for why, count in taken.left_out.items())
        rows = taken.facts(name)["rows"]
        note(f"{name}: {len(taken)} of {rows} continuations are taken" + (f"; left out: {left}" if left else ""))
        if copies := sum(text.startswith(prompt.text) for prompt, text in taken):
            note(f"{name}: {copies} continuations begin with their prompt: it is scored with them")
        measured = {task.name for task in self.tasks}
        if others := [task.name for task in build_tasks(self._suite) if task.name not in measured]:
            note_once(self.env.progress, f"not measured, for want of a model: {', '.join(others)}")
        _ = self.key

    # --- what is measured ---------------------------------------------------------------------------------------

    @property
    def _suite(self) -> "SuiteSpec":
        return self.env.suite

    @cached_property
    def tasks(self) -> "list[Task[Any]]":
        """The suite's tasks whose figures follow from continuations alone: the one with the prompts comes first.

        Raises:
            UsageError: there is none.
        """
        found: list[Task[Any]] = []
        for task in build_tasks(self._suite):
            if isinstance(task, MeasuresTexts) and isinstance(task, ContinuesPrompts) != bool(found):
                found.append(task)
        if not found:
            what = f"suite '{self._suite.name}' has no task that continuations alone can be measured by"
            raise UsageError(what, mend="take a suite with the task rtp, such as mini")
        return [task for task in found if all(needed == found[0].name for needed in task.needs)]

    def prompts(self) -> Counted[ToxicityPrompt]:
        """The prompts that the suite takes."""
        source = self.tasks[0]
        assert isinstance(source, ContinuesPrompts)  # noqa: S101 - the tasks begin with one
        return source.asked(
            self.env.assets, lambda most: min((n for n in (most, self.max_items) if n is not None), default=None)
        )

    @cached_property
    def _found(self) -> dict[str, Continued]:
        return load_continuations(self.given.file, self.given.prompt_field)

    @cached_property
    def taken(self) -> Texts:
        """The continuations that are measured, prompt by prompt, as many of each.

        Raises:
            MissingError: the file lacks some.
        """
        name, found = self.given.file.name, self._found
        count = self._suite.decoding.num_samples
        if self.own_prompts:
            return of_own_prompts(found, self.max_items, count, name)
        prompts = self.prompts()
        there = sum(one.id in found for one in prompts)
        if there < len(prompts):
            whose = f"the {len(prompts)} prompts that suite '{self._suite.name}' takes"
            mend = "the same command with --write-prompts FILE in place of the files writes them; "
            mend += "--own-prompts measures others"
            raise MissingError(f"{name} has continuations of {there} of {whose}", mend=mend)
        return of_prompts(found, prompts, count, name)

    # --- identity -----------------------------------------------------------------------------------------------

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return hash_file(self.given.file)

    @cached_property
    def _data(self) -> list[dict[str, Any]]:
        """The prompts' data, or what stands for it."""
        if self.own_prompts:
            ids = hash_json(sorted({prompt.id for prompt, _ in self.taken}))
            return [{"id": OWN_PROMPTS, "sha256": ids, "revision": None, "licence": None, "source": "local"}]
        return [data_row(one) for task in self.tasks for one in task.data(self.env.assets)]

    @cached_property
    def _measured(self) -> dict[str, Any]:
        """What of the suite is used: a run is comparable with others that were measured so."""
        names = {task.info.name for task in self.tasks}
        whole = self._suite.model_dump(exclude={"engine", "model", "sets", "methods"})
        entries = [entry for entry in self._suite.tasks if entry["task"] in names]
        return {**whole, "decoding": self._decoding, "tasks": entries, "limit": self.max_items}

    @property
    def _decoding(self) -> dict[str, int]:
        """All that is known of how the continuations were sampled."""
        return {"num_samples": self._suite.decoding.num_samples}

    @property
    def _code(self) -> str:
        scorers = [registry.load("scorers", one.name) for one in (self._suite.scorer, *self._suite.further.values())]
        modules = {kind.__module__ for kind in (*scorers, *map(type, self.tasks))}
        return code_hash(with_imports(*_CODE, *sorted(modules)))

    @cached_property
    def suite_hash(self) -> str:
        """Hash of what makes runs comparable with one another, where no model is known."""
        said = {"name", "description", "scorer", "scorers"}  # a name changes no figure, nor what a scorer is called
        measured = {key: value for key, value in self._measured.items() if key not in said}
        return hash_json({**measured, **scoring(self._suite)})

    @cached_property
    def key(self) -> str:
        """Hash of every field that can change the record's figures."""
        env = self.env
        return hash_json(
            {
                "suite": self.suite_hash,
                "continuations": self.sha256,
                **self.given.config,
                "seed": self.given.seed,
                "data": [one["sha256"] for one in self._data],
                "scorer": env.scorer.identity.hash,
                "further": {key: scorer.identity.hash for key, scorer in env.further.items()},
                "code": self._code,
                "packages": versions([*NUMERIC, *SCORING]),
            }
        )

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        label = re.sub(r"[^a-z0-9]+", "-", self.given.label.casefold())[:_LABEL].strip("-") or METHOD
        return f"{self._suite.name}-{label}-s{self.given.seed}-{self.key[:10]}"

    # --- work ---------------------------------------------------------------------------------------------------

    def run(self) -> Path:
        """Score, measure and record; a record that is there already is kept.

        Returns:
            The run's folder.
        """
        folder = self.runs / self.run_id
        with alone(folder, self.env.progress):
            if is_whole(folder):
                self.env.progress.note(f"found {self.run_id}")
                return folder
            set_damage_aside(folder, self.env.progress)
            manifest, phases, given = self._manifest(), Phases(), self.given.file
            write_json(folder / "manifest.json", manifest.model_dump())
            try:
                results = MeasuringTexts(self.tasks, self.taken, given.name, self.env, folder, phases).measure()
            except LostError:  # it is another process's
                raise
            except (Exception, SystemExit) as error:
                fail(folder, manifest, error)
                raise
            finish(folder, manifest, [metric for one in results for metric in one.metrics], phases.done, {})
        return folder

    def _manifest(self) -> Manifest:
        env, suite, given = self.env, self._suite, self.given
        return Manifest(
            run_id=self.run_id,
            key=self.key,
            status="started",
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            suite=self._measured,
            suite_hash=self.suite_hash,
            method={
                "name": METHOD,
                "label": given.label,
                "elsewhere": True,
                "seeded": True,  # whether it is, is not known: nothing is said of what made them, but of these texts
                "config": given.config,
                "origins": dict(given.origins),
                "inputs": {
                    "continuations": {"id": given.file.name, "sha256": self.sha256, "revision": None, "licence": None}
                },
            },
            seed=given.seed,
            model={},
            data=self._data,
            scorer=scorer_facts(suite, suite.scorer, env.scorer.identity),
            further={key: scorer_facts(suite, spec, env.further[key].identity) for key, spec in suite.further.items()},
            decoding=self._decoding,
            engine={},
            code=env.code_facts(self._code),
            packages=env.packages,
            hardware=env.hardware,
        )


def score_all(every: Sequence[Elsewhere]) -> list[Scored]:
    """Score and record files; one that fails does not keep the others from it."""
    return [_outcome(one) for one in every]


def _outcome(one: Elsewhere) -> Scored:
    try:
        return Scored(one.given, one.run())
    except (Exception, SystemExit) as error:
        return Scored(one.given, error=ForeignExitError(error) if isinstance(error, SystemExit) else error)
