"""The edited model of a record: its base, its method and its artifact, each held against what the record says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.hub import is_id
from bench.errors import MissingError, UsageError
from bench.method import Artifact, Method, Unwanted
from bench.paths import expanded
from bench.run.artifact import load_artifact
from bench.run.making import unwanted
from bench.run.stack import inputs_of, joined, method_of, names_of
from bench.spec import ChatSpec, Decoding, ModelSpec, SuiteSpec, validate
from bench.store.lock import in_use

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue
    from bench.assets.resolved import Resolved
    from bench.policy import LoadedModel, Policy
    from bench.scorers.checked import CheckedScorer
    from bench.store.runs import Run

BESIDE = "artifact"
"""The folder beside an exported record that holds its artifact, by method."""


@dataclass(frozen=True)
class Edited:
    """What a record was measured on.

    Attributes:
        method: Its method, configured.
        spec: How the base model is loaded.
        model: The base model's files.
        decoding: How continuations were sampled.
        artifact: What the method has left.
        chat: How prompts were put to the model; None for plain text.
    """

    method: Method[Any]
    spec: ModelSpec
    model: "Resolved"
    decoding: Decoding
    artifact: Artifact
    chat: ChatSpec | None = None

    def load(self) -> "LoadedModel":
        """The base model."""
        from bench.engine.model import load_model

        return load_model(self.spec, self.model)

    @contextmanager
    def on(self, base: "LoadedModel") -> Iterator["Policy"]:
        """Yield the base model edited; afterwards it is what it was."""
        with ExitStack() as uses:
            for one in self.artifact.each:
                uses.enter_context(in_use(one.path))
            yield uses.enter_context(self.method.applied(base, self.artifact))

    @contextmanager
    def worn(self) -> Iterator["Policy"]:
        """Load the base model and yield it edited."""
        with self.on(self.load()) as policy:
            yield policy


def edited(run: "Run", assets: "AssetCatalogue") -> Edited:
    """Find what a run was measured on; nothing is loaded.

    Args:
        run: The run, finished.
        assets: Where models are, and the cache that holds the artifact.

    Raises:
        MissingError: the run has not finished; the model, an adapter or the artifact is not there or is another.
        UsageError: the record is of a method that is not installed, or that had other options; or it was measured on
            several models.
    """
    if run.result is None:
        raise MissingError(f"{run.id} has not finished ({run.status})", mend="the command that began it resumes it")
    if run.is_elsewhere:
        what = f"{run.id} has no model here: another programme made its continuations"
        raise MissingError(what, mend="name a run of 'bench run'")
    recorded = run.manifest.method
    kind = method_of(run.method)
    method: Method[Any] = kind(validate(kind.Config, recorded.get("config") or {}, f"the method of {run.id}"))
    spec = validate(ModelSpec, run.manifest.suite.get("model"), f"the model of {run.id}")
    if spec.endpoint:
        what = f"{run.id} was measured behind an endpoint ({spec.endpoint}): no weights of it are here"
        raise MissingError(what, mend="name a run of a model that was loaded here")
    decoding = validate(Decoding, run.manifest.decoding, f"the decoding of {run.id}")
    model = _found(assets.model, spec.id, spec.revision, run.manifest.model)
    _refuse_other(run, f"model '{spec.id}'", model.sha256, run.manifest.model.get("sha256"))
    find = {"model": assets.model, "adapter": assets.adapter}
    inputs: dict[str, Path] = {}
    for option, sort in method.info.inputs.items():
        if ref := getattr(method.config, option):
            told = (recorded.get("inputs") or {}).get(option) or {}
            found = _found(find[sort], ref, None, told)
            _refuse_other(run, f"{sort} '{ref}'", found.sha256, told.get("sha256"))
            inputs[option] = found.path
    scorer = _unwanted(run, assets) if method.info.needs_scorer else None
    artifact = _artifact(run, assets.cache, inputs, scorer)
    if artifact.groups:
        what = f"{run.id} was measured on {len(artifact.groups)} models, one for each group of facts (sets.at_once)"
        raise UsageError(what, mend="name a run of a suite without sets.at_once: one model has all its facts")
    return Edited(method, spec, model, decoding, artifact, _chat(run))


def _found(
    find: Callable[[str, str | None], "Resolved"], ref: str, revision: str | None, recorded: Mapping[str, Any]
) -> "Resolved":
    """What a record names; of the hub at the commit that it had then: its branch may lead elsewhere by now."""
    name, commit = str(recorded.get("id")).partition("@")[0], recorded.get("revision")
    if commit and not expanded(ref).exists() and is_id(name):
        return find(name, str(commit))
    return find(ref, revision)


def _chat(run: "Run") -> ChatSpec | None:
    suite = run.manifest.suite
    if not suite.get("chat_template"):
        return None
    return validate(ChatSpec, {"system": suite.get("system")}, f"the suite of {run.id}")


def _unwanted(run: "Run", assets: "AssetCatalogue") -> Unwanted:
    """The suite's scorer that training saw, for a method that looks at it while it decodes."""
    from bench.scorers import load_scorer

    asked = {key: value for key, value in run.manifest.suite.items() if key in SuiteSpec.model_fields}
    suite = validate(SuiteSpec, asked, f"the suite of {run.id}")
    spec = suite.labelling

    @cache
    def scorer() -> "CheckedScorer":
        found = load_scorer(spec, assets.cache, offline=assets.offline)
        recorded = run.manifest.scorer if spec is suite.scorer else run.manifest.further.get(spec.key, {})
        _refuse_other(run, f"scorer '{spec.key}'", found.identity.hash, recorded.get("hash"))
        return found

    return partial(unwanted, suite, scorer)


def artifact_folders(run: "Run", cache: Path) -> dict[str, Path]:
    """Where the artifact of each of its methods lies: beside the record where it was exported, else in the cache."""
    method = run.manifest.method
    recorded, names = method.get("artifact_keys"), names_of(run.method)
    keys = recorded if isinstance(recorded, dict) else {run.method: method.get("artifact_key")}
    if (run.path / BESIDE).is_dir():
        return {name: run.path / BESIDE / name for name in names}
    return {name: cache / "artifacts" / str(keys.get(name)) for name in names}


def _artifact(run: "Run", cache: Path, inputs: dict[str, Path], scorer: Unwanted | None) -> Artifact:
    paths = artifact_folders(run, cache)
    again = "run the same experiment with --fresh: it is made again, the same"
    if not all(path.is_dir() for path in paths.values()):
        raise MissingError(f"the cache {cache} no longer holds what {run.id} was measured with", mend=again)
    if len(paths) == 1:
        artifact = load_artifact(paths[run.method], inputs, scorer)
    else:
        parts = {name: load_artifact(path, inputs_of(name, inputs), scorer) for name, path in paths.items()}
        artifact = joined(parts, cache / "artifacts")
    if run.result is None or artifact.hash != run.result.artifact.get("hash"):
        named = ", ".join(map(str, paths.values()))
        raise MissingError(f"{named} is not what {run.id} was measured with: its content has another hash", mend=again)
    return artifact


def _refuse_other(run: "Run", what: str, found: str, recorded: object) -> None:
    if found != recorded:
        mend = "bring back the files that it had then, or run the same experiment again"
        raise MissingError(f"{what} is not what {run.id} was measured with: its files have another hash", mend=mend)
