"""Adapters that someone else made: what they are, whether they fit the base model, and their normal form.

Only what can be added to the weights, and by how much, is taken. Anything else is refused with the reason; whatever it
is, its author can merge it into its model, and that is then a checkpoint.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from bench.errors import MissingError, UsageError
from bench.store.files import read_json, write_json
from methods.learning.adapter import tied_edit

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WHERE = {"peft_type", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"}
_KINDS: dict[str, set[str]] = {
    "LORA": {"r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"},
    "LOHA": {"r", "alpha", "rank_pattern", "alpha_pattern", "use_effective_conv2d"},
    "LOKR": {
        "r",
        "alpha",
        "decompose_both",
        "decompose_factor",
        "rank_pattern",
        "alpha_pattern",
        "use_effective_conv2d",
    },
    "IA3": {"feedforward_modules"},
}
"""Kinds of adapters that are taken, and the settings of each that say what its weights mean."""
_IDLE = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type"),
    *("lora_dropout", "rank_dropout", "module_dropout", "rank_dropout_scale", "megatron_core", "runtime_config"),
    *("init_weights", "init_ia3_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
    *("qalora_group_size", "ensure_weight_tying"),
}
"""Settings of making and training that mean nothing once the weights are there."""
_KEEPS_BASE = {True, False, "gaussian", "eva", "orthogonal"}
"""Initialisations that leave the base model's own weights alone."""
_MERGE = "merge it into its model (`merge_and_unload`), save that, and name it by the method 'checkpoint'"
_SAVE = "save it with `peft_model.save_pretrained(FOLDER)`"
_SHOWN = 120


def check_adapter(folder: Path, name: str, model: PreTrainedModel) -> dict[str, Any]:
    """Find out whether an adapter is of a kind that is taken and fits a model.

    Args:
        folder: The adapter's folder.
        name: What the user calls it.
        model: The model's modules (see `methods.anatomy.skeleton`); it carries the adapter's afterwards.

    Returns:
        The adapter's configuration in its normal form.

    Raises:
        UsageError: it is not, or does not; the message names what.
        MissingError: a file is damaged.
    """
    config = normal_form(_read(folder / CONFIG, name), name)
    shapes = _shapes(folder / WEIGHTS, name)
    misfit, mend = f"adapter '{name}' does not fit the base model", "name an adapter that was made for this model"
    try:
        wrapped = get_peft_model(model, PeftConfig.from_peft_type(**config))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        absent = f"it has no module {_named(config['target_modules'])}"
        raise UsageError(f"{misfit}: {absent if 'not found' in str(error) else _first(error)}", mend=mend) from error
    needed = {key: list(value.shape) for key, value in _state(wrapped).items()}
    if wrong := _misfit(shapes, needed):
        raise UsageError(f"{misfit}: {wrong}", mend=mend)
    if tied_edit(model):
        what = "it edits the output layer or the input embeddings, and the model ties one to the other"
        raise UsageError(f"{misfit}: {what}", mend="name an adapter of the other layers")
    return config


def normal_form(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What of an adapter's configuration says what its weights mean, sorted; no name of a model, no path.

    Raises:
        UsageError: it is of a kind that cannot be scaled and merged, or has a setting that is not understood.
    """
    kind = str(config.get("peft_type"))
    if kind not in _KINDS:
        is_prompt = "PROMPT" in kind or kind.endswith(("P_TUNING", "PREFIX_TUNING"))
        why = "it is no change of weights" if is_prompt else "it cannot be scaled here"
        mend = f"known: {', '.join(_KINDS)}{'' if is_prompt else f'; {_MERGE}'}"
        raise UsageError(f"adapter '{name}' is of the kind {kind}: {why}", mend=mend)
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        what = (
            "bias" if config.get("bias", "none") != "none" else f"modules_to_save {_named(config['modules_to_save'])}"
        )
        raise UsageError(
            f"adapter '{name}' brings whole parts of the model ({what}): these cannot be scaled", mend=_MERGE
        )
    if (initial := config.get("init_lora_weights", True)) not in _KEEPS_BASE:
        what = f"was started by '{initial}', which changes the base model's own weights"
        raise UsageError(f"adapter '{name}' {what}", mend=f"save it converted to plain LoRA, or {_MERGE}")
    known = _WHERE | _KINDS[kind]
    others = set(config) - known - _IDLE - {"bias", "modules_to_save", "init_lora_weights"}
    if strange := sorted(key for key in others if config[key] not in (None, False, "", [], {})):
        raise UsageError(f"adapter '{name}' has the setting '{strange[0]}', which is not supported", mend=_MERGE)
    if not config.get("target_modules"):
        raise UsageError(f"adapter '{name}' does not say which modules it edits (target_modules)", mend=_MERGE)
    kept = {key: value for key, value in config.items() if key in known and value is not None}
    kept = {key: sorted(value) if isinstance(value, list) else value for key, value in kept.items()}
    return dict(sorted((kept | {"inference_mode": True}).items()))


def copy_adapter(folder: Path, config: Mapping[str, Any], name: str, target: Path) -> dict[str, Any]:
    """Write an adapter in its normal form; the same weights and settings give the same bytes.

    Returns:
        Its kind, rank (where it has one) and number of parameters.

    Raises:
        MissingError: a weight is not a number.
    """
    tensors = {}
    with safe_open(folder / WEIGHTS, "pt") as stream:
        for key in sorted(stream.keys()):
            tensors[key] = stream.get_tensor(key)
            if not torch.isfinite(tensors[key]).all():
                raise MissingError(f"adapter '{name}' has weights that are no numbers ({key})", mend="train it again")
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
    write_json(target / CONFIG, dict(config))
    facts = {"peft_type": config["peft_type"], "adapter_parameters": sum(one.numel() for one in tensors.values())}
    return facts | ({"rank": config["r"]} if "r" in config else {})


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        config = read_json(path)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MissingError(f"{path} cannot be read ({type(error).__name__})", mend="copy the adapter again") from error
    if not isinstance(config, dict) or "peft_type" not in config:
        raise UsageError(f"adapter '{name}' is none of PEFT: its {CONFIG} names no peft_type", mend=_SAVE)
    return config


def _shapes(path: Path, name: str) -> dict[str, list[int]]:
    """Shape of each tensor of a file, from its header."""
    try:
        with safe_open(path, "pt") as stream:
            return {key: list(stream.get_slice(key).get_shape()) for key in stream.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise MissingError(
            f"the weights of adapter '{name}' cannot be read ({_first(error)})", mend="copy it again"
        ) from error


def _state(model: Any) -> dict[str, torch.Tensor]:
    return cast("dict[str, torch.Tensor]", get_peft_model_state_dict(model, save_embedding_layers=False))


def _misfit(found: Mapping[str, list[int]], needed: Mapping[str, list[int]]) -> str | None:
    """What does not fit in words, or None: the tensors an adapter has against those that the model needs."""
    for key in sorted(found.keys() & needed.keys(), key=_natural):
        if found[key] != needed[key]:
            sizes = (" x ".join(map(str, shape)) for shape in (found[key], needed[key]))
            return f"it is of another size: {_module(key)} is {' and not '.join(sizes)}"
    if extra := sorted(found.keys() - needed.keys(), key=_natural):
        if any("base_layer" in key or not re.search("lora_|hada_|lokr_|ia3_", key) for key in extra):
            return f"it brings whole layers of its own ({_module(extra[0])})"
        return f"the model has no {_module(extra[0])}"
    if missing := sorted(needed.keys() - found.keys(), key=_natural):
        return f"it has nothing for {_module(missing[0])} ({len(missing)} of {len(needed)} tensors are missing)"
    return None


def _module(key: str) -> str:
    return key.removeprefix("base_model.model.").removesuffix(".weight")[:_SHOWN]


def _natural(key: str) -> list[Any]:
    """A key to sort by in which layer 2 stands before layer 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in key.split(".")]


def _named(value: Any) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value))[:_SHOWN]


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN]
