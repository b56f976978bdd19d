"""The scorer bilstm: Keras's files become safetensors without running a pickle, and score as Keras would."""

import collections
import json
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from checkpoints import tiny_bilstm

from bench.assets import bilstm as files
from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError
from bench.scorers import load_scorer
from bench.scorers.base import ScorerContext
from bench.scorers.bilstm import BiLSTM, BiLSTMConfig
from bench.spec import ScorerSpec

TEXTS = [
    "you IDIOT!",
    "kind-friend",
    "",
    "a, you; idiot a kind\tfriend unknown",
    "idiot you " * 80,
    "?! .",
    "İdiot you",
]
_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODULE = "keras.src.legacy.preprocessing.text"


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def keras_scores(weights: dict[str, Any], words: list[str], text: str) -> Any:
    """The network as Keras has it, place by place over all 100, in float64."""
    for sign in _FILTERS:
        text = text.replace(sign, " ") if sign != text else " "
    known = [words.index(word) + 1 for word in text.lower().split() if word in words][-100:]
    places = weights["embedding"][[0] * (100 - len(known)) + known]

    def read(cell: tuple[Any, Any, Any], some: Any) -> Any:
        kernel, recurrent, bias = cell
        h = c = np.zeros(recurrent.shape[0])
        states = []
        for x in some:
            i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        return np.array(states)

    both = np.concatenate([read(weights["forward"], places), read(weights["backward"], places[::-1])[::-1]], axis=1)
    hidden = np.maximum(0, both.max(axis=0) @ weights["dense"][0] + weights["dense"][1])
    return sigmoid(hidden @ weights["dense_1"][0] + weights["dense_1"][1])


@pytest.fixture
def keras_files(tmp_path: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Small random files in the package's format, with their content."""
    import h5py

    draw = np.random.default_rng(0)
    words = ["you", "idiot", "kind", "friend", "a"]

    def drawn(*shape: int) -> Any:
        return draw.normal(0, 1, shape).astype(np.float32)

    weights: dict[str, Any] = {"embedding": drawn(6, 3)}
    for direction in ("forward", "backward"):
        weights[direction] = (drawn(3, 16), drawn(4, 16), drawn(16))
    weights |= {"dense": (drawn(8, 5), drawn(5)), "dense_1": (drawn(5, 6), drawn(6))}
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file["layers/embedding/vars/0"] = weights["embedding"]
        for direction in ("forward", "backward"):
            for place, one in enumerate(weights[direction]):
                file[f"layers/bidirectional/{direction}_layer/cell/vars/{place}"] = one
        for layer in ("dense", "dense_1"):
            for place, one in enumerate(weights[layer]):
                file[f"layers/{layer}/vars/{place}"] = one
    write_tokenizer(tmp_path / "tokenizer.pickle", [*words, "rare"], num_words=6)
    return tmp_path, weights, words


def write_tokenizer(path: Path, words: list[str], **changes: Any) -> None:
    """A tokenizer as Keras pickles it."""
    kind = type("Tokenizer", (), {"__module__": _MODULE})
    module: Any = ModuleType(_MODULE)
    module.Tokenizer = kind
    tokenizer: Any = kind()
    state = {"filters": _FILTERS, "split": " ", "lower": True, "char_level": False, "oov_token": None}
    state["word_index"] = {word: number for number, word in enumerate(words, 1)}
    state["word_counts"] = collections.OrderedDict.fromkeys(words, 2)
    state["word_docs"] = collections.defaultdict(int, dict.fromkeys(words, 1))
    tokenizer.__dict__.update(state | changes)
    with pytest.MonkeyPatch.context() as patch:
        parts = _MODULE.split(".")
        for count in range(1, len(parts) + 1):
            patch.setitem(sys.modules, ".".join(parts[:count]), module)
        path.write_bytes(pickle.dumps(tokenizer))


def converted(folder: Path) -> Path:
    target = folder / "made"
    target.mkdir()
    files.convert(folder / "model.weights.h5", target)
    return target


def test_it_scores_as_the_padded_network_does_place_by_place(keras_files: Any) -> None:
    folder, weights, words = keras_files
    scorer = BiLSTM(BiLSTMConfig(weights=str(converted(folder)), device="cpu"), ScorerContext(offline=True))
    names = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
    for text, scores in zip(TEXTS, scorer.score(TEXTS), strict=True):
        assert scores is not None
        assert [scores[name] for name in names] == pytest.approx(keras_scores(weights, words, text), abs=1e-6)


def test_only_words_below_the_limit_are_kept_in_the_order_of_their_numbers(keras_files: Any) -> None:
    folder, _, words = keras_files
    facts = json.loads((converted(folder) / files.VOCABULARY).read_text(encoding="utf-8"))
    assert facts["words"] == words
    assert sorted(path.name for path in (folder / "made").iterdir()) == [files.WEIGHTS, files.VOCABULARY]


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_names_anything_else_is_refused_and_runs_nothing(keras_files: Any) -> None:
    folder, _, _ = keras_files
    bomb = folder / "bomb"
    (folder / "tokenizer.pickle").write_bytes(pickle.dumps({"word_index": Bomb(bomb)}))
    with pytest.raises(MissingError, match=r"cannot be converted.*it names pathlib"):
        converted(folder)
    assert not bomb.exists()


@pytest.mark.parametrize("change", [{"filters": "!"}, {"lower": False}, {"oov_token": "?"}, {"num_words": 5}])
def test_a_tokenizer_that_reads_otherwise_is_refused(keras_files: Any, change: dict[str, Any]) -> None:
    folder, _, words = keras_files
    write_tokenizer(folder / "tokenizer.pickle", words, **{"num_words": 6, **change})
    with pytest.raises(MissingError, match="takes words otherwise"):
        converted(folder)


@pytest.mark.parametrize("name", ["model.weights.h5", "tokenizer.pickle"])
def test_a_damaged_file_of_kerass_is_told_in_one_line(keras_files: Any, name: str) -> None:
    folder, _, _ = keras_files
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises((MissingError, OSError)) as caught:
        converted(folder)
    assert isinstance(caught.value, MissingError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [files.WEIGHTS, files.VOCABULARY])
def test_a_folder_that_lacks_a_file_or_has_a_damaged_one_is_missing(tmp_path: Path, name: str) -> None:
    options = tiny_bilstm(tmp_path)
    spec = ScorerSpec(name="bilstm", options=options)
    path = Path(options["weights"]) / name
    for content in (path.read_bytes()[:50], b"", b"[]"):
        path.write_bytes(content)
        with pytest.raises(MissingError, match="holds no BiLSTM that can be read"):
            load_scorer(spec, None)
    path.unlink()
    with pytest.raises(MissingError, match="holds no BiLSTM that can be read"):
        load_scorer(spec, None)


@pytest.mark.network
def test_the_embedded_one_is_the_expected_network() -> None:
    """In the cache that all tests share: fetched on a machine that has it not yet."""
    try:
        AssetCatalogue().fetch("toxic-bilstm")
    except MissingError as error:
        pytest.skip(str(error))
    scorer = load_scorer(ScorerSpec(name="bilstm", options={"device": "cpu"}), None, offline=True)
    found = [one["toxicity"] for one in scorer.score(["you idiot", "kind friend", ""]) if one]
    assert found == pytest.approx([0.995093, 0.045145, 0.067534], abs=1e-5)
    assert scorer.identity.attributes[0] == "toxicity"
    assert scorer.identity.licence == "MIT"
