"""Any sequence classifier, from the hub or a folder, as a scorer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from bench.assets.catalogue import AssetCatalogue
from bench.engine.loading import length_limit, loading, pick_device, quiet, refuse_larger_tokenizer, refuse_unfit
from bench.errors import MissingError, UsageError
from bench.hashing import hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec

_TOXIC = ("toxic", "toxicity", "hate", "hateful", "offensive")
"""Names that say that a label is the toxic one, the plainest first. LABEL_1 says nothing: it has to be told."""


class ClassifierConfig(Spec):
    """Options of `classifier`."""

    model: str = Field(description="a folder, or a hub id")
    label: str | None = Field(
        None,
        description="the label whose probability is the attribute; null: found by itself where it is called"
        f" {', '.join(_TOXIC[:-1])} or {_TOXIC[-1]}",
    )
    attribute: str = Field(
        "toxicity",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="what that probability is called in suites",
    )
    revision: str | None = Field(None, description="the hub's commit, branch or tag")
    device: str | None = Field(None, description="where it runs; null: CUDA where there is one")

    @field_validator("label", mode="before")
    @classmethod
    def _any_name(cls, label: object) -> object:
        """YAML reads some labels (`1`, `yes`) as other things than text."""
        return label if label is None else str(label)


class SequenceClassifier(Scorer[ClassifierConfig]):
    """A transformers sequence classifier: softmax over exclusive labels, sigmoid where several may hold.

    Texts beyond the model's length are cut off.
    """

    Config = ClassifierConfig
    info = ScorerInfo(
        name="classifier",
        summary="any sequence classifier with safetensors weights",
        measures="what its labels say",
        source="a classifier of yours, or the hub's",
    )

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Load the classifier: safetensors weights only, and none of its own code.

        Raises:
            UsageError: no label is known to be the toxic one, or the model or device is none.
            MissingError: the model is not available, or is no trained classifier.
        """
        model = self.config.model
        place = pick_device(self.config.device)
        resolved = AssetCatalogue(ctx.cache_dir, offline=ctx.offline, progress=ctx.progress).model(
            model, self.config.revision
        )
        network, tokenizer = _build(resolved.path, model)
        labels = {int(index): str(name) for index, name in network.config.id2label.items()}
        main, attribute = _pick(labels, self.config.label, model, ctx), self.config.attribute
        columns = {attribute: main}
        if _several(network.config):
            columns |= {name: index for index, name in labels.items() if index != main and name != attribute}
        self._model, self._tokenizer, self._columns = network.to(place), tokenizer, columns
        self._limit = length_limit(tokenizer, network.config, network)
        revision = f"@{resolved.revision[:12]}" if resolved.revision else ""
        return ScorerIdentity(
            name=f"classifier:{model}{revision}",
            label=f"{labels[main]} ({model})",
            hash=hash_json({"model": resolved.sha256, "columns": columns}),
            attributes=tuple(columns),
            licence=resolved.licence or "unknown",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts."""
        import torch

        if not texts:
            return []
        inputs = self._tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self._limit
        ).to(self._model.device)
        with torch.inference_mode():
            logits = self._model(**inputs).logits.float()
        scores = logits.sigmoid() if _several(self._model.config) else logits.softmax(dim=-1)
        rows = scores.cpu().tolist()
        return [{name: row[column] for name, column in self._columns.items()} for row in rows]


def _several(config: Any) -> bool:
    """Whether several labels may hold for one text (or there is only one)."""
    return bool(config.problem_type == "multi_label_classification" or len(config.id2label) == 1)


def _pick(labels: Mapping[int, str], told: str | None, model: str, ctx: ScorerContext) -> int:
    """The index of the toxic label."""
    by_name = {name.casefold(): index for index, name in labels.items()}
    for name in _TOXIC if told is None else (told.casefold(),):
        if name in by_name:
            return by_name[name]
    what = f"{model} has no label '{told}'" if told is not None else f"no label of {model} is known to be the toxic one"
    raise UsageError(what, mend=f"{ctx.setting('label', 'LABEL')}, one of {', '.join(labels.values())}")


def _build(folder: Path, model: str) -> tuple[Any, Any]:
    """The network in evaluation mode and its tokenizer; one whose head was never trained is refused."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with loading(f"{model} cannot be loaded as a classifier", "name another model"), quiet():
        network, info = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    missing = sorted(info["missing_keys"])
    if missing:  # they would be random
        raise MissingError(f"{model} is no trained classifier: it has no {missing[0]}", mend="name another model")
    refuse_unfit(f"classifier '{model}'", network, info)
    refuse_larger_tokenizer(f"classifier '{model}'", network, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id
    return network.eval(), tokenizer
