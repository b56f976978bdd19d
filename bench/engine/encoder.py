"""Sentence embeddings: how alike two texts are in meaning (Reimers & Gurevych, 2019, arXiv 1908.10084)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.local import POOLING
from bench.engine.loading import length_limit, loading, pick_device, quiet, refuse_larger_tokenizer, refuse_unfit
from bench.errors import UsageError
from bench.store.files import read_json

if TYPE_CHECKING:
    import torch

    from bench.assets.resolved import Resolved

_BATCH = 64
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
"""The parts of an encoder of sentence-transformers that are read here."""


class SentenceEncoder:
    """An encoder whose sentence embedding is the mean of its tokens' last states, as in sentence-transformers.

    Attributes:
        id: As asked for.
        sha256: Hash of its content.
        licence: What its source declares, where it does.
    """

    def __init__(self, resolved: "Resolved", device: str | None = None) -> None:
        """Load it.

        Args:
            resolved: Its folder.
            device: Where it runs; by default CUDA where there is one.

        Raises:
            MissingError: the folder holds no encoder, or one that does not fit its weights or its tokenizer.
            UsageError: it is known to pool in another way than by the mean, or to have further layers after it.
        """
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.id, self.sha256, self.licence = resolved.id, resolved.sha256, resolved.licence
        place = pick_device(device)
        with loading(f"{self.id} cannot be loaded as an encoder", "name another"), quiet():
            _refuse_other_modules(resolved.path, self.id)
            _refuse_other_pooling(resolved.path, self.id)
            loaded: Any = AutoModel.from_pretrained(
                resolved.path,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            self._tokenizer = AutoTokenizer.from_pretrained(resolved.path, trust_remote_code=False)
        self._model: Any = loaded[0]
        refuse_unfit(f"encoder '{self.id}'", self._model, loaded[1], unused="pooler.")  # the mean needs no pooler
        refuse_larger_tokenizer(f"encoder '{self.id}'", self._model, self._tokenizer)
        self._model.to(place).eval()
        limit = length_limit(self._tokenizer, self._model.config, self._model)
        self._limit = min(_told_limit(resolved.path), limit)

    def encode(self, texts: Sequence[str]) -> "torch.Tensor":
        """Unit vectors of the texts, float32 [texts, size]; what is beyond the model's length is cut off."""
        import torch

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        by_place: list[Any] = [None] * len(texts)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            inputs = self._tokenizer(
                [texts[place] for place in batch],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=self._limit,
            ).to(self._model.device)
            with torch.inference_mode():
                states = self._model(**inputs).last_hidden_state.float()
            weights = inputs["attention_mask"][..., None].float()
            pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
            vectors = torch.nn.functional.normalize(pooled, dim=-1).cpu()
            for place, vector in zip(batch, vectors, strict=True):
                by_place[place] = vector
        return torch.stack(by_place) if by_place else torch.zeros(0, int(self._model.config.hidden_size))

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> list[float]:
        """Cosine of each text on the left with its partner on the right, in [-1, 1]."""
        texts = list(dict.fromkeys([*left, *right]))
        vectors = dict(zip(texts, self.encode(texts), strict=True))
        return [float(vectors[one] @ vectors[other]) for one, other in zip(left, right, strict=True)]


def _refuse_other_modules(folder: Path, name: str) -> None:
    path = folder / "modules.json"
    kinds = [str(one["type"]).rpartition(".")[2] for one in read_json(path)] if path.exists() else []
    if others := [kind for kind in kinds if kind not in _MODULES]:
        known = ", ".join(sorted(_MODULES))
        raise UsageError(f"{name} has a module '{others[0]}', and read are {known}", mend="name another encoder")


def _refuse_other_pooling(folder: Path, name: str) -> None:
    path = folder / POOLING
    if not path.exists():  # plain encoders say nothing: the mean is what most of them use
        return
    pooling = read_json(path)
    if not pooling.get("pooling_mode_mean_tokens", pooling.get("pooling_mode") == "mean"):
        raise UsageError(f"{name} does not pool its tokens by their mean", mend="name an encoder that does")


def _told_limit(folder: Path) -> int:
    path = folder / "sentence_bert_config.json"
    limit = read_json(path).get("max_seq_length") if path.exists() else None
    return int(limit) if limit else 512
