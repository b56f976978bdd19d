"""A user's own model folder (or the hub's snapshot, which is the same thing): which files count, and their hash."""

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.assets.stamp import content_hash, hashes_of
from bench.errors import MissingError, UsageError
from bench.hashing import hash_file, hash_json
from bench.store.files import read_json

WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
"""Weights, configuration, tokenizer. Pickles (`*.bin`, `*.pt`) run code when they are loaded: never."""
UNWANTED = ["*/*", "consolidated*", "trainer_state.json", "bench-stamp.json"]
"""Other folders, the same weights a second time, a trainer's and our own notes."""
ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]
"""What an adapter of PEFT is; a trainer leaves tokenizers and its own state beside it, which are no part of it."""
POOLING = "1_Pooling/config.json"
"""Where an encoder of sentence-transformers says how it pools."""
_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
_PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"]


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what the model is, by name.

    Raises:
        MissingError: Weights are missing, or there are only pickles.
        UsageError: It is no model folder.
    """
    # macOS puts `._NAME` beside what it copies
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if "config.json" not in names:
        mend = "an adapter goes by the method 'adapter'" if ADAPTER[0] in names else "name the folder it is in"
        raise UsageError(f"{folder} is no model folder: it has no config.json", mend=mend)
    if not fnmatch.filter(names, "*.safetensors"):
        pickles = [name for pattern in _PICKLES for name in fnmatch.filter(names, pattern)]
        raise _without_weights(folder, "safetensors weights", pickles, saver="model")
    for index in fnmatch.filter(names, "*.safetensors.index.json"):
        for shard in _shards(folder / index):
            if shard not in names:
                raise MissingError(f"{folder / shard} is missing, {index} names it", mend="copy the model again")
    chosen = [name for pattern in WANTED for name in fnmatch.filter(names, pattern)]
    return [folder / n for n in sorted(set(chosen)) if not any(fnmatch.fnmatch(n, bad) for bad in UNWANTED)]


def _shards(index: Path) -> list[str]:
    """The files that an index of weights names."""
    try:
        return sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MissingError(f"{index} is damaged", mend="copy the model again") from None


def tokenizer_hash(folder: Path) -> str | None:
    """Hash of what cuts texts into tokens, by the first of a tokenizer's forms that a folder has; None without one."""
    found = ([folder / name for name in names] for names in _TOKENIZERS)
    files = next((files for files in found if all(file.is_file() for file in files)), None)
    return None if files is None else hash_json([hash_file(file) for file in files])


def adapter_files(folder: Path) -> list[Path]:
    """The files of a PEFT adapter's folder that decide what the adapter is: its configuration and its weights.

    Raises:
        MissingError: Weights are missing, or there are only pickles.
        UsageError: It is no adapter's folder.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    config, weights = ADAPTER
    if config not in names:
        mend = "a whole model goes by the method 'checkpoint'" if "config.json" in names else "name the folder it is in"
        raise UsageError(f"{folder} is no adapter folder: it has no {config}", mend=mend)
    if weights not in names:
        pickles = sorted(name for pattern in _PICKLES for name in fnmatch.filter(names, f"adapter{pattern}"))
        raise _without_weights(folder, weights, pickles, saver="peft_model")
    return [folder / name for name in ADAPTER]


def _without_weights(folder: Path, wanted: str, pickles: Sequence[str], saver: str) -> MissingError:
    """The error for a folder that lacks weights, or has them in a form that can run code."""
    state = f"has only pickled weights ({pickles[0]}), which can run code when loaded" if pickles else ""
    what = f"{folder} {state or f'has no {wanted}'}"
    return MissingError(what, mend=f"save it with `{saver}.save_pretrained(FOLDER)` as safetensors")


def hash_folder(folder: Path, memory: Path, kind: Literal["model", "adapter"] = "model") -> str:
    """Hash a model's or an adapter's folder by content; unchanged files are not read again (see `bench.assets.stamp`).

    Raises:
        MissingError: Weights are missing or damaged.
        UsageError: It is no such folder.
    """
    files = model_files(folder) if kind == "model" else adapter_files(folder)
    hashes = hashes_of(files, memory)
    for path in files:
        # the hub's cache links to blobs, and a large one is named by its own sha256
        blob = path.resolve().name
        if path.is_symlink() and re.fullmatch("[0-9a-f]{64}", blob) and blob != hashes[path.name]:
            raise MissingError(f"{path} is damaged: its sha256 is not its name", mend=f"delete {path.resolve()}")
    return content_hash(hashes)
