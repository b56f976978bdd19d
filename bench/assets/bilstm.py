"""From Keras's files of a bidirectional LSTM to safetensors and JSON, once: no pickle is read when texts are scored.

Keras keeps a weight as [in, out] and torch as [out, in]; both order the LSTM's gates input, forget, cell, output.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError

if TYPE_CHECKING:
    import numpy as np

WEIGHTS, VOCABULARY = "model.safetensors", "vocabulary.json"
"""The converted files."""
_TOKENIZER = "tokenizer.pickle"
_LENGTH = 100
_LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
"""What the package's own code says and its files do not: tokens that are read of a text, and the outputs' order."""
_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""Keras's usual filters, which `bench.scorers.bilstm` knows; a tokenizer with others is another one."""
_CLASSES = {
    ("keras.src.legacy.preprocessing.text", "Tokenizer"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("builtins", "int"),  # what the defaultdict's missing entries would be made by
}
_MEND = "install the exact versions of constraints.txt"


def convert(source: Path, target: Path) -> None:
    """Convert the two files of Keras's.

    Args:
        source: The weights (HDF5); `tokenizer.pickle` lies beside them.
        target: An existing empty folder; it gets `model.safetensors` (float32, under torch's names) and
            `vocabulary.json`: the labels, how many tokens are read, and the words by number, from 1.

    Raises:
        MissingError: A file cannot be read as what it should be.
    """
    try:
        tensors = _tensors(source)
        words = _words(source.with_name(_TOKENIZER), len(tensors["embedding.weight"]))
    except MemoryError:
        raise
    except Exception as error:  # a damaged file ends in whatever its reader stumbles on
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise MissingError(f"the BiLSTM's files cannot be converted ({cause})", mend=_MEND) from error
    write(target, tensors, {"labels": list(_LABELS), "length": _LENGTH, "words": words})


def write(target: Path, tensors: "Mapping[str, np.ndarray[Any, Any]]", facts: Mapping[str, Any]) -> None:
    """Write a network as the scorer reads it."""
    from safetensors.numpy import save

    (target / WEIGHTS).write_bytes(save(dict(tensors)))
    (target / VOCABULARY).write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")


def _tensors(path: Path) -> "dict[str, np.ndarray[Any, Any]]":
    """The weights, under torch's names and in its layout."""
    import h5py
    import numpy as np

    with h5py.File(path, "r") as file:

        def read(name: str) -> "np.ndarray[Any, Any]":
            return np.asarray(file[f"layers/{name}"], dtype=np.float32)

        found = {"embedding.weight": read("embedding/vars/0")}
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            cell = f"bidirectional/{direction}_layer/cell/vars"
            found[f"lstm.weight_ih_l0{suffix}"] = read(f"{cell}/0").T
            found[f"lstm.weight_hh_l0{suffix}"] = read(f"{cell}/1").T
            found[f"lstm.bias_ih_l0{suffix}"] = read(f"{cell}/2")
            found[f"lstm.bias_hh_l0{suffix}"] = np.zeros_like(found[f"lstm.bias_ih_l0{suffix}"])
        for ours, theirs in (("hidden", "dense"), ("output", "dense_1")):
            found[f"{ours}.weight"], found[f"{ours}.bias"] = read(f"{theirs}/vars/0").T, read(f"{theirs}/vars/1")
    return {name: np.ascontiguousarray(tensor) for name, tensor in found.items()}


class _Plain(dict[Any, Any]):
    """Stands for every class that the pickle names: it keeps entries and attributes, and runs nothing."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Unpickler(pickle.Unpickler):
    """Knows no class and no function: the few names that a Keras tokenizer has become `_Plain`, others are refused."""

    def find_class(self, module: str, name: str) -> type[_Plain]:
        if (module, name) not in _CLASSES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Plain


def _words(path: Path, count: int) -> list[str]:
    """The words with a number below `count`, in the order of their numbers, from 1."""
    with path.open("rb") as stream:
        tokenizer = _Unpickler(stream).load()
    told = {name: tokenizer[name] for name in ("filters", "split", "lower", "char_level", "oov_token", "num_words")}
    if told != {
        "filters": _FILTERS,
        "split": " ",
        "lower": True,
        "char_level": False,
        "oov_token": None,
        "num_words": count,
    }:
        raise ValueError("the tokenizer takes words otherwise")
    by_number = {number: word for word, number in tokenizer["word_index"].items()}
    return [by_number[number] for number in range(1, count)]
