"""Detoxify (Hanu & Unitary team 2020): BERT-like classifiers of the three Jigsaw challenges."""

import pickle
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from bench.assets.catalogue import default_cache
from bench.engine.loading import length_limit, pick_device, quiet, refuse_larger_tokenizer
from bench.errors import MissingError, UsageError, did_you_mean
from bench.hashing import hash_file, hash_json
from bench.paths import expanded
from bench.progress import Progress
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec
from bench.store import lease
from bench.store.lock import locked

_RELEASES = "https://github.com/unitaryai/detoxify/releases/download/"
_FILES = {
    "original": "v0.1-alpha/toxic_original-c1212f89.ckpt",
    "unbiased": "v0.3-alpha/toxic_debiased-c7548aa0.ckpt",
    "multilingual": "v0.4-alpha/multilingual_debiased-0b549669.ckpt",
    "original-small": "v0.1.2/original-albert-0e1d6498.ckpt",
    "unbiased-small": "v0.1.2/unbiased-albert-c8519128.ckpt",
}
_NAMES = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}
"""Detoxify's own normalised names: the challenges differ in theirs."""
_TOKENIZER = ["*.json", "*.txt", "*.model"]
_OWNERS = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "albert-base-v1": "albert/albert-base-v1",
    "albert-base-v2": "albert/albert-base-v2",
}
_LICENCE = "Apache-2.0"
_OFFLINE_MEND = "give scorer.options.checkpoint and scorer.options.config_path (files that you have)"


class DetoxifyConfig(Spec):
    """Options of `detoxify`."""

    variant: Literal["original", "unbiased", "multilingual", "original-small", "unbiased-small"] = Field(
        "original", description="which of its models"
    )
    checkpoint: str | None = Field(
        None, description="a checkpoint file of yours in detoxify's format; null: the variant's, from its release page"
    )
    config_path: str | None = Field(
        None, description="a folder with the base model's configuration and tokenizer; null: the hub's"
    )
    device: str | None = Field(None, description="where it runs; null: CUDA where there is one")

    @field_validator("variant", mode="before")
    @classmethod
    def _known(cls, variant: object) -> object:
        """An unknown variant comes with a suggestion."""
        if isinstance(variant, str) and variant not in _FILES:
            raise UsageError(f"detoxify has no variant '{variant}'", mend=did_you_mean(variant, _FILES))
        return variant


class DetoxifyScorer(Scorer[DetoxifyConfig]):
    """Detoxify's own prediction over a checkpoint that was loaded without running code from it.

    Texts beyond the model's length (512 tokens) are cut off.
    """

    Config = DetoxifyConfig
    info = ScorerInfo(
        name="detoxify",
        summary="BERT-like classifiers of the Jigsaw challenges",
        measures="toxicity and its kinds (insult, threat, ...)",
        source="Hanu & Unitary team, 2020, Detoxify",
    )

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Load a variant of detoxify, fetching its checkpoint once.

        Raises:
            UsageError: no such device.
            MissingError: detoxify, the checkpoint or the configuration is neither here nor available, or is damaged.
        """
        variant, checkpoint = self.config.variant, self.config.checkpoint
        try:
            package = version("detoxify")
        except PackageNotFoundError:
            raise MissingError("scorer 'detoxify' needs the package detoxify", mend="pip install detoxify") from None
        place = pick_device(self.config.device)
        if checkpoint is None:
            cache = ctx.cache_dir or default_cache()
            path = _fetch(variant, cache, offline=ctx.offline, progress=ctx.progress)
        else:
            path = expanded(checkpoint)
        weights, classes, arch = _read(path)
        folder = _folder(self.config.config_path, arch, offline=ctx.offline, progress=ctx.progress)
        self._names = {name: _NAMES.get(name, name) for name in classes}
        self._detoxify = _build(path, weights, classes, arch, folder, place)
        hashes = {file.name: hash_file(file) for pattern in _TOKENIZER for file in folder.glob(pattern)}
        return ScorerIdentity(
            name=f"detoxify:{variant}" if checkpoint is None else f"detoxify:{path.name}",
            label=f"toxicity (detoxify {variant})" if checkpoint is None else f"toxicity (detoxify, {path.name})",
            hash=hash_json({"package": package, "checkpoint": hash_file(path), "folder": hashes}),
            attributes=tuple(sorted(self._names.values(), key=lambda name: name != "toxicity")),
            licence=_LICENCE if checkpoint is None else "unknown",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts on all attributes."""
        if not texts:
            return []
        predicted = self._detoxify.predict(list(texts))
        columns = {
            self._names[name]: scores if isinstance(scores, list) else [scores]  # a batch of one comes back bare
            for name, scores in predicted.items()
        }
        return [{name: column[index] for name, column in columns.items()} for index in range(len(texts))]


def _fetch(variant: str, cache: Path, *, offline: bool, progress: Progress) -> Path:
    """The variant's checkpoint in the cache, its bytes checked against the hash in its name."""
    import torch

    url = _RELEASES + _FILES[variant]
    path = cache / "scorers" / Path(_FILES[variant]).name
    prefix = path.stem.rpartition("-")[2]
    if not path.exists():
        if offline:
            raise MissingError(f"detoxify's checkpoint {path} is not here and --offline is set", mend=_OFFLINE_MEND)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held, waiting = path.with_name(f"{path.name}{lease.SUFFIX}"), f"another process fetches {path.name}"
            with locked(held, waiting, progress), progress.bar(f"fetch {path.name}"):
                if not path.exists():
                    torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError, HTTPException) as error:  # no network, no page, no space; RuntimeError: bad hash
            cause = " ".join(str(error).split())[:200]
            raise MissingError(f"{url} cannot be fetched ({cause})", mend=_OFFLINE_MEND) from None
    if not hash_file(path).startswith(prefix):
        raise MissingError(f"{path} is damaged", mend="delete it: it is fetched again")
    return path


def _read(path: Path) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """Weights, class names and architecture of a checkpoint; nothing in it is run.

    Detoxify itself unpickles it whole (`weights_only=False`), which would run whatever it holds.
    """
    import torch

    mend = "give a checkpoint in detoxify's format"
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MissingError(f"no such checkpoint: {path}", mend=mend) from None
    except pickle.UnpicklingError:
        raise MissingError(f"{path} holds more than weights, which is not loaded", mend=mend) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise MissingError(f"{path} cannot be read ({type(error).__name__})", mend=mend) from None
    try:
        config = loaded["config"]
        classes, arch = list(config["dataset"]["args"]["classes"]), dict(config["arch"]["args"])
        weights = dict(loaded["state_dict"])
        names = [_NAMES.get(name, name) for name in classes]
    except (KeyError, TypeError, ValueError):
        raise MissingError(f"{path} is no checkpoint of detoxify's", mend=mend) from None
    needed = {"model_type", "model_name", "tokenizer_name", "num_classes"}
    # `unbiased` has more outputs than classes: those behind are identities that are mentioned, which are no attributes
    sound = len(set(names)) == len(names) <= int(arch.get("num_classes", 0))
    if set(arch) != needed or "toxicity" not in names or not sound:
        raise MissingError(f"{path} does not say its architecture, or has no class for toxicity", mend=mend)
    return weights, classes, arch


def _folder(config_path: str | None, arch: Mapping[str, Any], *, offline: bool, progress: Progress) -> Path:
    """The folder with the base model's configuration and tokenizer (no weights)."""
    if config_path is not None:
        folder = expanded(config_path)
        if not (folder / "config.json").is_file():
            raise MissingError(f"{folder} has no config.json", mend="give a folder with configuration and tokenizer")
        return folder
    from huggingface_hub import snapshot_download

    base = str(arch["model_type"])
    if not offline:
        progress.note(f"looking up {base} on the hub")
    try:
        repo = _OWNERS.get(base, base)
        return Path(snapshot_download(repo, allow_patterns=_TOKENIZER, local_files_only=offline))
    except Exception as error:  # the hub's client has no common base for what it raises without a network
        what = f"configuration and tokenizer of {base} are not here and cannot be fetched ({type(error).__name__})"
        raise MissingError(what, mend=_OFFLINE_MEND) from None


def _build(
    path: Path, weights: Mapping[str, Any], classes: list[str], arch: Mapping[str, Any], folder: Path, device: str
) -> Any:
    """A `Detoxify` around the weights, made by its own code; one whose weights are not all there is refused."""
    import torch

    module = import_module("detoxify.detoxify")
    try:
        with quiet():
            model, tokenizer = module.get_model_and_tokenizer(
                **{**arch, "model_type": str(folder)}, state_dict=dict(weights)
            )
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        cause = (str(error).splitlines() or [""])[0][:120]
        raise MissingError(f"{path} does not fit {folder} ({cause})", mend=_OFFLINE_MEND) from None
    for name, parameter in model.named_parameters():  # what the checkpoint lacks would be random
        known = weights.get(name, weights.get(f"model.{name}"))
        if known is None or not torch.equal(parameter.detach().float().cpu(), known.float()):
            raise MissingError(f"{path} has no sound weights for {name}", mend="delete it: it is fetched again")
    refuse_larger_tokenizer(f"detoxify checkpoint {path}", model, tokenizer)
    tokenizer.model_max_length = length_limit(tokenizer, model.config, model)
    detoxify = module.Detoxify.__new__(module.Detoxify)  # its constructor would unpickle the checkpoint
    detoxify.model, detoxify.tokenizer, detoxify.class_names = model.float().to(device), tokenizer, classes
    detoxify.device = device
    return detoxify
