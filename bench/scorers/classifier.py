"""Any sequence classifier, from the hub or a folder, as a scorer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.engine.loading import length_limit, loading, pick_device, quiet, refuse_larger_tokenizer, refuse_unfit
from bench.errors import MissingError, UsageError
from bench.hashing import hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec, Word

_TOXIC = ("toxic", "toxicity", "hate", "hateful", "offensive")
"""Names that say that a label is the toxic one, the plainest first. LABEL_1 says nothing: it has to be told."""


class ClassifierConfig(Spec):
    """Options of `classifier`."""

    model: str = Field(description="a folder, or a hub id")
    label: Word | None = Field(
        None,
        description="the label whose probability is the attribute; null: found by itself where it is called"
        f" {', '.join(_TOXIC[:-1])} or {_TOXIC[-1]}, unless more than two exclude each other",
    )
    several: bool | None = Field(
        None,
        description="whether several labels may hold for one text (a sigmoid each), or they exclude each other (a "
        "softmax); null: as its configuration says",
    )
    attribute: str = Field(
        "toxicity",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="what that probability is called in suites",
    )
    revision: str | None = Field(None, description="the hub's commit, branch or tag")
    device: str | None = Field(None, description="where it runs; null: CUDA where there is one")


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
            UsageError: no label is known to be the toxic one, what the model gives is not known to be a probability, or
                the model or device is none.
            MissingError: the model is not available, or is no trained classifier.
        """
        model = self.config.model
        place = pick_device(self.config.device)
        resolved = AssetCatalogue(ctx.cache_dir, offline=ctx.offline, progress=ctx.progress).model(
            model, self.config.revision
        )
        network, tokenizer = _build(resolved.path, model)
        labels = {int(index): str(name) for index, name in network.config.id2label.items()}
        self._several = _several(network.config, self.config.several, model)
        main = _pick(labels, self.config.label, model, ctx, exclusive=not self._several)
        columns = {self.config.attribute: main}
        if self._several:
            columns |= {name: index for index, name in labels.items() if index != main and name not in columns}
        self._model, self._tokenizer, self._columns = network.to(place), tokenizer, columns
        self._limit = length_limit(tokenizer, network.config, network)
        self._always_begins = bool(tokenizer("")["input_ids"])
        decides: dict[str, Any] = {"model": resolved.sha256, "columns": columns}
        decides |= {} if self.config.several is None else {"several": self._several}
        decides |= {} if self._always_begins else {"empty": "alone"}  # such texts were scored otherwise before
        revision = f"@{resolved.revision[:12]}" if resolved.revision else ""
        return ScorerIdentity(
            name=f"classifier:{model}{revision}",
            label=f"{labels[main]} ({model})",
            hash=hash_json(decides),
            attributes=tuple(columns),
            licence=resolved.licence or "unknown",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts; one without a token is read as the token that texts begin or end with, by itself.

        Beside others it would be padding alone, and its score theirs.
        """
        import torch

        from bench.engine.tokens import first_token

        empty = [not (self._always_begins or self._tokenizer(text)["input_ids"]) for text in texts]
        read = [text for text, is_empty in zip(texts, empty, strict=True) if not is_empty]
        many = {"return_tensors": "pt", "padding": True, "truncation": True, "max_length": self._limit}
        scores = iter(self._read(self._tokenizer(read, **many)) if read else [])
        alone = self._read({"input_ids": torch.tensor([[first_token(self._tokenizer)]])}) if any(empty) else []
        return [alone[0] if is_empty else next(scores) for is_empty in empty]

    def _read(self, inputs: Mapping[str, Any]) -> list[Scores]:
        import torch

        placed = {name: rows.to(self._model.device) for name, rows in inputs.items()}
        with torch.inference_mode():
            logits = self._model(**placed).logits.float()
        scores = logits.sigmoid() if self._several else logits.softmax(dim=-1)
        return [{name: row[column] for name, column in self._columns.items()} for row in scores.cpu().tolist()]


def _several(config: Any, told: bool | None, model: str) -> bool:
    """Whether several labels may hold for one text.

    Raises:
        UsageError: what the network gives is not known to be a probability.
    """
    is_one, kind = len(config.id2label) == 1, config.problem_type
    if told is not None and not (is_one and not told):
        return told
    if kind == "regression" or (is_one and kind != "multi_label_classification"):
        raise UsageError(
            f"{model} gives {'one number' if is_one else 'numbers'}, not known to be of a probability",
            mend="name another model, or set the scorer's option 'several' to true where a sigmoid makes it one",
        )
    return bool(kind == "multi_label_classification")


def _pick(labels: Mapping[int, str], told: str | None, model: str, ctx: ScorerContext, *, exclusive: bool) -> int:
    """The index of the toxic label. Of three that exclude each other, a second may be toxic too, by any name."""
    by_name = {name.casefold(): index for index, name in labels.items()}
    found = [by_name[name] for name in (_TOXIC if told is None else (told.casefold(),)) if name in by_name]
    if found and (told is not None or not exclusive or len(labels) - len(found) == len(found) == 1):
        return found[0]
    what = f"which label of {model} is the toxic one is not known" if told is None else f"{model} has no label '{told}'"
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
