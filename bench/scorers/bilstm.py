"""The second embedded scorer: a bidirectional LSTM over word embeddings, out of the package toxic-comment-classifier.

A text's last 100 known words are numbered, with zeros before them, embedded, and read in both directions; each state's
largest value over the 100 places goes through a hidden layer (ReLU) to six labels, a sigmoid each. The zeros are read
like words, as in training: a text cannot be shortened to the words that it has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.assets import bilstm as files
from bench.assets.catalogue import AssetCatalogue
from bench.engine.loading import pick_device
from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.parsing import parse_json
from bench.paths import expanded
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec

if TYPE_CHECKING:
    import torch

_ASSET = "toxic-bilstm"
_MEND = f"run `bench data fetch {_ASSET}`, or name another folder"
_NAMES = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}
"""The attributes' usual names, as `detoxify` has them."""
_BREAKS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))
"""Keras's filters: what is none of a word."""


class BiLSTMConfig(Spec):
    """Options of `bilstm`."""

    weights: str | None = Field(
        None, description=f"a folder of yours with {files.WEIGHTS} and {files.VOCABULARY}; null: the embedded one"
    )
    device: str | None = Field(None, description="where it runs; null: CUDA where there is one")


class BiLSTM(Scorer[BiLSTMConfig]):
    """Bidirectional LSTM trained on the Jigsaw Toxic Comment Classification Challenge: 159,571 Wikipedia comments.

    It reads words in their order, and knows the 19,999 most frequent ones. Its data are in part the linear SVM's too:
    another architecture, not another world.
    """

    Config = BiLSTMConfig
    info = ScorerInfo(
        name="bilstm",
        summary="a bidirectional LSTM over word embeddings, fetched once (8 MB)",
        measures="explicit toxicity and its kinds (insult, threat, ...)",
        source="toxic-comment-classifier (trained on Jigsaw)",
    )
    batch_size = 128

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Load the network, fetching and converting it once.

        Raises:
            UsageError: no such device.
            MissingError: it is neither here nor available, or is damaged.
        """
        place = pick_device(self.config.device)
        if self.config.weights is None:
            assets = AssetCatalogue(ctx.cache_dir, offline=ctx.offline, progress=ctx.progress)
            found = assets.scorer(_ASSET)
            folder, name, licence = found.path, "bilstm", found.licence
        else:
            folder = expanded(self.config.weights)
            name, licence = f"bilstm:{folder.name}", None
        self._network = _Network(folder, place)
        hashes = {file: hash_file(folder / file) for file in (files.WEIGHTS, files.VOCABULARY)}
        return ScorerIdentity(
            name=name,
            label="explicit toxicity (BiLSTM)" if licence else f"toxicity (BiLSTM, {folder.name})",
            hash=hash_json(hashes),
            attributes=tuple(sorted(self._network.attributes, key=lambda name: name != "toxicity")),
            licence=licence or "unknown",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts on all attributes; some thousand a second on one core."""
        if not texts:
            return []
        return [dict(zip(self._network.attributes, row, strict=True)) for row in self._network.score(texts)]


class _Network:
    """The network on its device, and the words that it knows."""

    def __init__(self, folder: Path, device: str) -> None:
        """Read a folder in the format of `bench.assets.bilstm`.

        Raises:
            MissingError: a file is missing, or is not what it should be.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            facts = parse_json((folder / files.VOCABULARY).read_text(encoding="utf-8"))
            self.attributes = tuple(_NAMES.get(label, label) for label in facts["labels"])
            self._length = int(facts["length"])
            self._numbers = {word: number for number, word in enumerate(facts["words"], 1)}
            self._weights = load_file(folder / files.WEIGHTS, device=device)
            own = {name[5:]: one for name, one in self._weights.items() if name.startswith("lstm.")}
            width = self._weights["embedding.weight"].shape[1]
            self._lstm = torch.nn.LSTM(width, own["weight_hh_l0"].shape[1], batch_first=True, bidirectional=True)
            self._lstm.load_state_dict(own)
            self._lstm.to(device).eval()
            sound = len(self._weights["output.weight"]) == len(set(self.attributes)) == len(self.attributes)
            sound &= "toxicity" in self.attributes and len(facts["words"]) < len(self._weights["embedding.weight"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise MissingError(
                f"{folder} holds no BiLSTM that can be read ({type(error).__name__})", mend=_MEND
            ) from error
        if not sound:
            raise MissingError(f"{folder} has no label for toxicity, or more words than weights", mend=_MEND)

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        """The labels' probabilities for each text (texts x labels)."""
        import torch
        from torch.nn.functional import linear

        weights = self._weights
        with torch.inference_mode():
            words = weights["embedding.weight"][self._rows(texts)]  # texts x places x width
            states, _ = self._lstm(words)
            hidden = linear(states.amax(dim=1), weights["hidden.weight"], weights["hidden.bias"]).relu()
            scores: Any = linear(hidden, weights["output.weight"], weights["output.bias"]).sigmoid()
        return [[float(one) for one in row] for row in scores.cpu().tolist()]

    def _rows(self, texts: Sequence[str]) -> "torch.Tensor":
        """The numbers of each text's last words, zeros before them (texts x places)."""
        import torch

        rows = torch.zeros(len(texts), self._length, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            known = [n for word in text.lower().translate(_BREAKS).split(" ") if (n := self._numbers.get(word))]
            if last := known[-self._length :]:
                row[-len(last) :] = torch.tensor(last)
        return rows.to(self._weights["embedding.weight"].device)
