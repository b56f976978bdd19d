"""Runs on the disk: reading a record, listing a folder of them, finding one by what the user types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.attribute import TOXICITY, Attribute
from bench.errors import MissingError, UsageError, did_you_mean
from bench.paths import expanded
from bench.progress import SILENT, Progress
from bench.store.files import files_in, read_json, refuse_unreadable
from bench.store.record import READ_VERSIONS, SCHEMA_VERSION, Evidence, Manifest, Result, TaskResult
from bench.store.samples import Sample, read_samples

_M = TypeVar("_M")
_TRAINING = TypeAdapter(list[dict[str, float]])
_SHOWN = 3


@dataclass(frozen=True)
class Run:
    """A run's record.

    Attributes:
        path: The run's folder, from the root on: files are read when asked for, wherever the program is by then.
        manifest: What was asked for.
        result: The figures, or None where the run did not finish.
    """

    path: Path
    manifest: Manifest
    result: Result | None

    @property
    def id(self) -> str:
        """The run's name."""
        return self.manifest.run_id

    @property
    def method(self) -> str:
        """The method's name; the base is `none`."""
        return str(self.manifest.method.get("name", "?"))

    @property
    def label(self) -> str:
        """The method's name for people, with what sets its configuration apart."""
        return str(self.manifest.method.get("label") or self.method)

    @property
    def variant(self) -> dict[str, Any]:
        """The options that name the method's form, as it declares, and their values; the label says these."""
        return dict(self.manifest.method.get("variant") or {})

    def setting(self, option: str) -> Any:
        """The value of an option of its method; of the one that ends the training early and does not, the last step."""
        method = self.manifest.method
        value = (method.get("config") or {}).get(option)
        if value is None and self.result and option == method.get("along"):
            return self.result.artifact.get("steps")
        return value

    @property
    def is_seeded(self) -> bool:
        """Whether another seed would prepare another artifact, as the method declares."""
        return bool(self.manifest.method.get("seeded", True))

    @property
    def outside_turns(self) -> list[str]:
        """The tasks in which a text of the method's stands before a conversation, outside of any turn."""
        return list(self.manifest.method.get("outside_turns") or [])

    @property
    def is_elsewhere(self) -> bool:
        """Whether another programme made its continuations: which model made them, and how, is not known here."""
        return bool(self.manifest.method.get("elsewhere", False))

    @property
    def is_behind(self) -> bool:
        """Whether its model was behind an endpoint: how it computes, and what that costs, is not known here."""
        return self.manifest.engine.get("name") == "endpoint"

    @property
    def attribute(self) -> str:
        """What its suite controls."""
        return str((self.manifest.suite.get("attribute") or {}).get("name", "toxicity"))

    @property
    def adjective(self) -> str:
        """What has much of what its suite controls."""
        return str((self.manifest.suite.get("attribute") or {}).get("adjective", "toxic"))

    @property
    def scored(self) -> Attribute:
        """What its scorers score: what its suite controls, unless that says otherwise."""
        told = self.manifest.suite.get("scored")
        if not told:
            name, adjective, is_low = self.attribute, self.adjective, self.lower_is_wanted
        else:
            name, adjective = str(told.get("name", "?")), str(told.get("adjective", "?"))
            is_low = told.get("wanted", "low") == "low"
        return Attribute(
            name,
            "low" if is_low else "high",
            adjective,
            float(self.manifest.scorer.get("threshold") or TOXICITY.threshold),
            None if name == self.attribute else self.attribute,
        )

    @property
    def lower_is_wanted(self) -> bool:
        """Whether its suite wants little of what it controls."""
        return bool((self.manifest.suite.get("attribute") or {}).get("wanted", "low") == "low")

    @property
    def status(self) -> str:
        """`done`, `failed` or `started`; a run without a result is never done."""
        if self.result is not None:
            return "done"
        return self.manifest.status if self.manifest.status != "done" else "started"

    @property
    def seconds(self) -> float | None:
        """Wall seconds of all phases; None where it did not finish, was resumed amid a phase, or made no texts."""
        if self.result is None or self.is_elsewhere or any(phase.partial for phase in self.result.phases):
            return None
        return sum(phase.seconds for phase in self.result.phases)

    @cached_property
    def tasks(self) -> dict[str, TaskResult]:
        """Finished tasks by the name of their file, read when first asked for.

        Raises:
            MissingError: a file is damaged.
        """
        paths = files_in(self.path / "tasks", ".json")
        return {path.stem: _read(path, TaskResult.model_validate) for path in paths}

    @cached_property
    def training(self) -> dict[str, list[dict[str, float]]]:
        """Logs of what was trained, by the part of the artifact (`train` where there is one): one entry a step.

        An entry has `loss` and, where the method learned from the sets' texts, their mean log-perplexity as
        `phi_positives` and `phi_negatives`. Empty where nothing was trained.

        Raises:
            MissingError: a file is damaged.
        """
        paths = files_in(self.path / "training", ".json")
        return {path.stem: _read(path, _TRAINING.validate_python) for path in paths}

    def samples(self, task: str) -> list[Sample]:
        """The continuations that a task left, read anew at each call; none where they are not kept.

        Raises:
            MissingError: the file is damaged.
        """
        path = self.path / "samples" / f"{task}.jsonl"
        return [sample for sample in read_samples(path) if isinstance(sample, Sample)] if path.exists() else []

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """The observations behind each metric, by the metric's key."""
        return {key: evidence for task in self.tasks.values() for key, evidence in task.evidence.items()}


def load_run(path: Path) -> Run:
    """Read a run's folder.

    Raises:
        MissingError: it holds no record, the record is damaged, or another version wrote it.
    """
    if not _has_manifest(path):
        raise MissingError(f"{path} holds no run (there is no manifest.json)", mend="'bench runs' lists what there is")
    manifest = _read(path / "manifest.json", Manifest.model_validate)
    result = _read(path / "result.json", Result.model_validate) if (path / "result.json").is_file() else None
    return Run(path.absolute(), manifest, result)


def list_runs(root: Path, progress: Progress = SILENT) -> list[Run]:
    """Read all runs in a folder, oldest first; one that cannot be read is told of and left out."""
    found = []
    for path in folders(root):
        try:
            found.append(load_run(path))
        except MissingError as error:
            progress.note(f"left out: {error}")
    return sorted(found, key=lambda run: (run.manifest.created, run.id))


def find_run(root: Path, text: str) -> Run:
    """Read the run that `find_folder` finds.

    Raises:
        UsageError: there is none, or more than one.
        MissingError: its record cannot be read.
    """
    return load_run(find_folder(root, text))


def find_folder(root: Path, text: str) -> Path:
    """Find a run's folder by its path, its name in `root`, or the beginning of its name where no other begins so.

    Raises:
        UsageError: there is none, or more than one.
    """
    path = expanded(text)
    if _has_manifest(path):
        return path.resolve() if path.name in ("", "..") else path  # "." has no name to put a lock beside
    names = [folder.name for folder in folders(root)]
    if text in names:
        return root / text
    if not text or path.is_dir() or len(path.parts) > 1:
        raise UsageError(f"'{text}' holds no run", mend="'bench runs' lists what there is")
    return root / _by_prefix(root, names, text)


def _by_prefix(root: Path, names: Sequence[str], text: str) -> str:
    matches = [name for name in names if name.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        mend = did_you_mean(text, names) if len(names) else "run 'bench run' first"
        raise UsageError(f"no run '{text}' in {root}", mend=mend)
    shown = ", ".join(matches[:_SHOWN]) + (", …" if len(matches) > _SHOWN else "")
    raise UsageError(f"{len(matches)} runs begin with '{text}'", mend=f"say which: {shown}")


def folders(root: Path) -> list[Path]:
    """The folders of runs in a folder, by name, and those that may hold one and cannot be looked into."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if not path.name.startswith(".") and _may_be_run(path))


def _may_be_run(path: Path) -> bool:
    try:
        return _has_manifest(path)
    except MissingError:
        return True


def _has_manifest(path: Path) -> bool:
    try:
        return (path / "manifest.json").is_file()
    except OSError as error:
        raise MissingError(f"{path} cannot be looked into ({error.strerror})") from None


def _read(path: Path, validate: Callable[[Any], _M]) -> _M:
    try:
        data = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        refuse_unreadable(path, error)
        raise MissingError(
            f"{path} cannot be read ({type(error).__name__})", mend="run that experiment again"
        ) from None
    version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else None
    if isinstance(data, dict) and version not in READ_VERSIONS:
        mend = f"this bench reads versions {READ_VERSIONS[0]} to {READ_VERSIONS[-1]}: use the one that wrote it"
        raise MissingError(f"{path} is a record of version {version}", mend=mend)
    try:
        return validate(data)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "the whole"
        raise MissingError(f"{path} is damaged (at '{where}')", mend="run that experiment again") from None
