"""Models and data from the Hugging Face hub: a commit, safetensors only, nobody's code."""

import glob
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.assets.local import ADAPTER, POOLING, UNWANTED, WANTED, adapter_files, model_files
from bench.errors import BenchError, MissingError, UsageError
from bench.progress import SILENT, Progress

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DATA = re.compile(rf"hub:(?P<repo>{_ID.pattern}):(?P<file>[^@]+)(?:@(?P<revision>.+))?")
_DATA_KINDS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".gz")


def is_id(ref: str) -> bool:
    """Whether it could be a model on the hub: OWNER/NAME."""
    return bool(_ID.fullmatch(ref)) and ".." not in ref


def snapshot(
    repo: str,
    revision: str | None,
    *,
    offline: bool,
    progress: Progress,
    hint: str,
    kind: Literal["model", "adapter", "encoder"] = "model",
) -> Path:
    """Fetch a model's weights, configuration and tokenizer; return the snapshot folder, named by its commit.

    A hub that cannot be reached is no error where the revision is already in the hub's cache.

    Args:
        repo: OWNER/NAME.
        revision: Branch, tag or commit; None is the main branch.
        offline: Look in the hub's cache only.
        progress: Silent means silent; else the hub's own bars are shown on a terminal.
        hint: What to do where the hub cannot be reached.
        kind: A whole model, an adapter's configuration and weights alone, or a model with what says how it pools.

    Raises:
        MissingError: It does not exist, is gated, cannot be reached, or lacks files.
        UsageError: It is no model, or no adapter.
    """
    if not offline:
        progress.note(f"looking up {kind} {repo} on the hub")
    wanted = ADAPTER if kind == "adapter" else WANTED
    with _explained(repo, revision, offline=offline, hint=hint), _bars(progress):
        folder = _download(repo, "model", revision, wanted, UNWANTED, offline=offline)
        if kind == "encoder":
            _download(repo, "model", folder.name, [POOLING], [], offline=offline)
    try:
        adapter_files(folder) if kind == "adapter" else model_files(folder)
    except BenchError:  # files are missing
        _assert_reached(repo, repo, "model", folder, offline=offline, hint=hint)
        raise
    return folder


def split_data(ref: str, revision: str | None) -> tuple[str, str, str | None]:
    """Take `hub:OWNER/NAME:FILE[@REV]` apart: repository, file, revision.

    Raises:
        UsageError: Not of this form, two revisions, or a file that is not plain data.
    """
    match = _DATA.fullmatch(ref)
    if not match or ".." in ref:
        raise UsageError(f"'{ref}' is not of the form hub:OWNER/NAME:FILE[@REV]")
    if revision and match["revision"] not in (None, revision):
        raise UsageError(f"'{ref}' and the revision '{revision}' disagree")
    if not match["file"].endswith(_DATA_KINDS):
        mend = f"it ends in one of {' '.join(_DATA_KINDS)}; of packed files those by gzip alone are read"
        raise UsageError(f"'{match['file']}' is not a data file", mend=mend)
    return match["repo"], match["file"], match["revision"] or revision


def data_file(repo: str, file: str, revision: str | None, *, offline: bool, progress: Progress) -> tuple[Path, Path]:
    """Fetch one file of a dataset repository; return the snapshot folder, named by its commit, and the file in it.

    Raises:
        MissingError: As `snapshot`.
    """
    if not offline:
        progress.note(f"looking up {file} of dataset {repo} on the hub")
    hint = "give a local file, or an embedded asset (`bench data ls`)"
    with _explained(f"{repo}:{file}", revision, offline=offline, hint=hint), _bars(progress):
        folder = _download(repo, "dataset", revision, [glob.escape(file)], [], offline=offline)
    if not (folder / file).is_file():
        _assert_reached(f"{repo}:{file}", repo, "dataset", folder, offline=offline, hint=hint)
        raise MissingError(f"'{repo}' has no file '{file}' at {folder.name[:12]}", mend="check the file's name")
    return folder, folder / file


def _assert_reached(name: str, repo: str, kind: str, folder: Path, *, offline: bool, hint: str) -> None:
    """Make sure that what a snapshot lacks is not on the hub either: without it, the client hands over what is here.

    Raises:
        MissingError: the hub was not asked, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _explained(name, folder.name[:12], offline=offline, hint=hint):
        if offline:
            raise LocalEntryNotFoundError(name)
        HfApi().repo_info(repo, repo_type=kind, revision=folder.name)


def _download(
    repo: str, kind: str, revision: str | None, wanted: list[str], unwanted: list[str], *, offline: bool
) -> Path:
    from huggingface_hub import snapshot_download

    # the card is wanted for its licence only: where there is no network, do without
    patterns = wanted if offline else [*wanted, "README.md"]
    folder = snapshot_download(
        repo,
        repo_type=kind,
        revision=revision,
        allow_patterns=patterns,
        ignore_patterns=unwanted,
        local_files_only=offline,
    )
    return Path(folder)


def licence(folder: Path) -> str | None:
    """The licence that a snapshot's card declares."""
    from huggingface_hub.repocard import metadata_load

    card = folder / "README.md"
    try:
        declared = (metadata_load(card) or {}).get("license") if card.is_file() else None
    except Exception:  # a card is free text with YAML in front: whatever is wrong with it, the files are fine
        return None
    return declared if isinstance(declared, str) else None


@contextmanager
def _bars(progress: Progress) -> Iterator[None]:
    """Show the hub's own bars on a terminal, nothing elsewhere; afterwards they are as before."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = (progress is SILENT or not sys.stderr.isatty()) and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()


@contextmanager
def _explained(name: str, revision: str | None, *, offline: bool, hint: str) -> Iterator[None]:
    """Turn what the hub's client raises into one line of cause and mend."""
    from huggingface_hub import errors

    where = f"'{name}'" + (f" at revision '{revision}'" if revision else "")
    try:
        yield
    except errors.GatedRepoError as error:
        mend = "accept its terms on its page and log in with `hf auth login`"
        raise MissingError(f"{where} is gated on the hub", mend=mend) from error
    except errors.RepositoryNotFoundError as error:
        mend = f"check the spelling, log in with `hf auth login` if it is private, or {hint}"
        raise MissingError(f"{where} does not exist on the hub", mend=mend) from error
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise MissingError(f"{where} does not exist on the hub", mend="check revision and file name") from error
    except errors.HFValidationError as error:
        raise UsageError(f"{where} is no valid hub id") from error
    except Exception as error:
        # LocalEntryNotFoundError, httpx and socket errors: they share no base class but this one
        if not isinstance(error, (OSError, errors.LocalEntryNotFoundError)) and "httpx" not in type(error).__module__:
            raise
        if "No space left" in str(error):
            raise MissingError("no space left for the hub's cache", mend="free some, or set HF_HOME") from error
        if offline:
            what = f"{where} is not, or in part, in the hub's cache and --offline is on"
            raise MissingError(what, mend=hint) from error
        cause = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise MissingError(
            f"{where} is not here and the hub cannot be reached ({cause[0][:120]})", mend=hint
        ) from error
