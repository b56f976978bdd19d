"""Someone else's model: a published detoxified model, or any other with the same tokenizer, gets its row.

Between the two models lies the straight line in weight space, theta + scale (theta' - theta) (WiSE-FT, Wortsman et al.,
CVPR 2022, arXiv 2109.01903, Equation 1; there alpha). For a model of another architecture there are only its ends.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.errors import UsageError
from bench.method import APPLY, Artifact, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

IDENTITY = "model.json"
_PROBES = (
    "The river rises in the hills, runs south past two towns, and joins the sea in 1984.",
    "  Two spaces,\ttabs\n\nand lines;\r\nEND-of-it: isn't 'quoted' \"text\"?",
    "naïve façade, Ünïcode: 東京, Привет, \N{GRINNING FACE}, ½ of 3.14 = €1,57",
    "",
)
"""Texts that tokenizers of one vocabulary may still cut differently: spaces, case, digits, accents, other scripts."""
_UNLIKE = {
    *("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache", "auto_map"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "id2label", "label2id", "problem_type", "return_dict"),
    *("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range"),
    *("output_hidden_states", "output_attentions", "is_encoder_decoder", "chunk_size_feed_forward", "pretraining_tp"),
}
"""What of two configurations may differ between two models whose weights can be mixed."""


class CheckpointConfig(Spec):
    """Options of `checkpoint`."""

    path: str = Field(
        min_length=1, description="the other model: a folder, OWNER/NAME[@REVISION] on the hub, or an embedded one"
    )
    scale: float = Field(
        1.0,
        description="strength: 0 is the base, 1 the other model, between and beyond them their weights' straight line",
        json_schema_extra=APPLY,
    )


class Checkpoint(Method[CheckpointConfig]):
    """Another causal language model with the same tokenizer."""

    info = MethodInfo(
        name="checkpoint",
        kind="weights",
        summary="any other model with the same tokenizer: a published detoxified model gets its row without training",
        paper="mixed with the base as in Wortsman et al., CVPR 2022, arXiv 2109.01903",
        stacks=False,
        seeded=False,
        inputs={"path": "model"},
        strength="scale",
        search={"scale": Range(0.25, 2)},
    )
    Config = CheckpointConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the other can be read, as what the base reads, and mixed with it where that is asked for."""
        from bench.engine.architecture import config_of, refuse_unreadable

        other = inputs["path"]
        self._same_tokenizer(_tokenizer(base), other)
        config = config_of(other)
        refuse_unreadable(f"checkpoint '{self.config.path}'", config)
        self._mixable(config_of(base), config)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Note which model it is; its weights stay where they are."""
        from bench.engine.architecture import config_of
        from bench.hashing import hash_file
        from bench.store.files import write_json

        del sets
        folder = ctx.inputs["path"]
        self._same_tokenizer(base.tokenizer, folder)
        files = sorted([folder / "config.json", *folder.glob("*.safetensors")])
        write_json(ctx.folder / IDENTITY, {"files": {path.name: hash_file(path) for path in files}})
        return {"architecture": config_of(folder).model_type}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model at 0, the other one at 1, else the base model with mixed weights."""
        from bench.engine.architecture import config_of
        from bench.policy import HFPolicy

        folder, scale = artifact.inputs["path"], self.config.scale
        if scale == 0:
            yield HFPolicy(base.model, base.tokenizer)
            return
        self._mixable(base.model.config, config_of(folder))
        other = self._load(base, folder)
        if scale == 1:
            yield HFPolicy(other, base.tokenizer)
            return
        own = [(parameter, parameter.data) for parameter in base.model.parameters()]
        try:
            theirs = dict(other.named_parameters())
            for name, parameter in base.model.named_parameters():
                parameter.data = _mixed(parameter.data, theirs.pop(name).data, scale)
            del other, theirs
            yield HFPolicy(base.model, base.tokenizer)
        finally:
            for parameter, data in own:
                parameter.data = data

    def _same_tokenizer(self, tokenizer: "PreTrainedTokenizerBase", folder: "Path") -> None:
        """Refuse a model that reads other tokens: its likelihoods would be of something else."""
        theirs, why = _tokenizer(folder), None
        if (vocabulary := tokenizer.get_vocab()) != (other := theirs.get_vocab()):
            apart = len(vocabulary.items() ^ other.items())
            why = f"their vocabularies of {len(vocabulary)} and {len(other)} tokens differ in {apart} entries"
        elif differing := [text for text in _PROBES if tokenizer(text)["input_ids"] != theirs(text)["input_ids"]]:
            why = f"they cut {differing[0][:24]!r} into different tokens"
        if why:
            what = f"checkpoint '{self.config.path}' has another tokenizer than the base model: {why}"
            mend = f"measure it by itself (--method none --model {self.config.path}), then put both runs into one table"
            raise UsageError(what, mend=f"{mend} (`bench table RUN RUN`); or name a model of the same family")

    def _mixable(self, base: "PreTrainedConfig", other: "PreTrainedConfig") -> None:
        """Refuse to mix the weights of models that compute different things with them."""
        if self.config.scale in (0, 1):
            return
        if getattr(base, "quantization_config", None):
            raise UsageError("a quantised model's weights cannot be mixed with another's", mend="set scale to 0 or 1")
        one, two = ({key: _plain(value) for key, value in config.to_dict().items()} for config in (base, other))
        differing = sorted(
            key for key in one.keys() | two.keys() if key not in _UNLIKE and one.get(key) != two.get(key)
        )
        if base.model_type != other.model_type:
            differing = ["model_type"]
        if differing:
            key = differing[0]
            what = f"its {key} is {two.get(key)!r:.40} and the base model's {one.get(key)!r:.40}"
            raise UsageError(
                f"checkpoint '{self.config.path}' is of another architecture ({what}): nothing lies between",
                mend="set scale to 0 or 1",
            )

    def _load(self, base: "LoadedModel", folder: "Path") -> "PreTrainedModel":
        """The other model, in the base's dtype and on its device, frozen."""
        from transformers import AutoModelForCausalLM

        from bench.engine.loading import loading, quiet, refuse_unfit

        model = base.model
        options: dict[str, Any] = {}
        if getattr(model, "is_quantized", False):
            options = {"quantization_config": model.config.quantization_config, "device_map": model.device}
        options |= {"dtype": model.dtype, "use_safetensors": True, "trust_remote_code": False}
        name = f"checkpoint '{self.config.path}'"
        with loading(f"{name} cannot be loaded", "name a causal LM"), quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(str(folder), output_loading_info=True, **options)
        other: PreTrainedModel = loaded[0]
        refuse_unfit(name, other, loaded[1])
        if (outputs := other.get_output_embeddings().weight.shape[0]) < len(base.tokenizer):
            what = f"{name} has logits for {outputs} tokens, and the tokenizer has more"
            raise UsageError(f"{what} ({len(base.tokenizer)})", mend="name a model of the same family")
        if "device_map" not in options:
            other.to(model.device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
        other.requires_grad_(False)
        other.eval()
        return other


def _mixed(own: Any, theirs: Any, scale: float) -> Any:
    """The point theta + scale (theta' - theta), computed in single precision at least."""
    import torch

    wide = torch.promote_types(own.dtype, torch.float32)
    return (own.to(wide) + scale * (theirs.to(wide) - own.to(wide))).to(own.dtype)


def _plain(value: Any) -> Any:
    """A value of a configuration in a form in which equal ones are equal."""
    return list(value) if isinstance(value, tuple) else value


def _tokenizer(folder: "Path") -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    from bench.engine.architecture import config_of
    from bench.engine.loading import drop_unread, loading

    mend = "save it there with `tokenizer.save_pretrained(FOLDER)`"
    with loading(f"the tokenizer of {folder} cannot be read", mend):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        drop_unread(tokenizer, config_of(folder))
    return tokenizer
