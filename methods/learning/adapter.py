"""Adapters on disk, and the base model wearing one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel, PeftType, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from transformers import PreTrainedModel

from bench.engine.profile import profile_of
from bench.errors import MissingError, UsageError
from bench.progress import Progress, note_once
from bench.store.files import read_json, write_json
from methods.anatomy.experts import matrices


def save_adapter(model: PeftModel, base_id: str, folder: Path) -> None:
    """Write the adapter; sets of names are sorted, so that the same seed gives the same bytes."""
    # The whole output layer is not part of an adapter, even where an adapter is part of the output layer.
    model.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=["default"])
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = read_json(path)
    config["base_model_name_or_path"] = base_id
    config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    write_json(path, dict(sorted(config.items())))


def tied_edit(model: PreTrainedModel) -> str | None:
    """The name of the input embeddings or the output layer that an adapter edits, where the model ties the two.

    Merged into their common weight, an edit of one changes both: the model is another than the one that was trained.
    """
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not model.config.get_text_config().tie_word_embeddings:
        return None
    edited = (name for name, part in model.named_modules() if isinstance(part, BaseTunerLayer) and part in ends)
    return next(edited, None)


def note_left_out(model: PeftModel, base_id: str, progress: Progress) -> dict[str, int]:
    """Say that a new adapter on all linear layers leaves out routed experts, where it does: they are no linear layers.

    Returns:
        For the record: how many parameters of the base it leaves out; nothing where there are none.
    """
    stacked = {name: part for name, part in model.named_parameters() if matrices(part) > 1}
    left = sum(part.numel() for name, part in stacked.items() if ".base_layer." not in name)
    if not left:
        return {}
    trained, total = model.get_nb_trainable_parameters()
    what = f"{left:,} of {total - trained:,} parameters stay as they are"
    note_once(progress, f"the adapter does not reach the routed experts of '{base_id}': {what}")
    return {"unreached_parameters": left}


@contextmanager
def adapted(model: PreTrainedModel, folder: Path, scale: float, *, merged: bool = True) -> Iterator[None]:
    """Give a model the weights that an adapter, scaled, makes of them; on exit it holds its own again, bit for bit.

    The merged weights are new tensors, so that the edited model is as fast as the base. The base's own, of the layers
    that the adapter changes, are kept: as they are, or, where the device's memory is what lacks, in the processor's
    (see `bench.engine.profile`); subtracting the change would not give them back. A quantised model wears the adapter
    instead: merging would round the edit to a few bits.

    LoRA is scaled by its own factor. Any other kind, whose weights may enter in other ways, is merged as it is, and the
    difference that this made to the model's weights is scaled.

    Args:
        model: The model.
        folder: The adapter's.
        scale: What its change is multiplied with.
        merged: Whether to merge it. Else the model wears it: slower, and no memory but the adapter's own.

    Raises:
        UsageError: the model wears the adapter, which is none that can be scaled while it is worn.
        MissingError: the adapter is damaged, or it, or what it makes of the weights, holds numbers that are not finite.
    """
    own, device = [(parameter, parameter.data) for parameter in model.parameters()], model.device
    merged = merged and not getattr(model, "is_quantized", False)
    with restored(model), _holding(own, device):
        try:
            wrapped = PeftModel.from_pretrained(model, str(folder))
        except SafetensorError as error:
            what = f"the adapter in {folder} is damaged ({error})"
            raise MissingError(what, mend="delete the folder: it is made anew") from error
        _refuse_broken(wrapped)
        config = wrapped.peft_config["default"]
        has_factor = config.peft_type == PeftType.LORA and not getattr(config, "use_dora", False)
        if has_factor:
            _scale(wrapped, scale)
        if merged:
            if profile_of(device).keeps_aside:
                _put_aside(own, wrapped)
            _merge(wrapped, scale)
            if not has_factor and scale != 1:
                _scale_change(own, scale)
        elif not has_factor and scale != 1:
            raise UsageError("only plain LoRA can be scaled while a model wears it", mend="set scale=1")
        yield


@contextmanager
def _holding(own: list[tuple[torch.nn.Parameter, torch.Tensor]], device: torch.device) -> Iterator[None]:
    """Give parameters their own data back when the block ends."""
    try:
        yield
    finally:
        for parameter, data in own:
            parameter.data = data.to(device)


def _put_aside(own: list[tuple[torch.nn.Parameter, torch.Tensor]], model: PeftModel) -> None:
    """Copy the weights that merging replaces to the processor's memory, and keep nothing else of them."""
    layers = [module.get_base_layer() for module in model.modules() if isinstance(module, BaseTunerLayer)]
    replaced = {id(parameter) for layer in layers for parameter in layer.parameters()}
    for place, (parameter, _) in enumerate(own):
        if id(parameter) in replaced:
            own[place] = (parameter, parameter.data.to("cpu", copy=True))


def _scale_change(own: list[tuple[torch.nn.Parameter, torch.Tensor]], scale: float) -> None:
    """Scale what has become of the weights beside what they were."""
    for parameter, data in own:
        if parameter.data_ptr() != data.data_ptr():
            before = data.to(parameter.device)
            parameter.data = before + scale * (parameter.data - before)


def unwrap(model: PreTrainedModel) -> None:
    """Take every adapter out of a model, in whatever state it was left, and freeze the model for evaluation."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
    for name in ("peft_config", "_hf_peft_config_loaded"):
        vars(model).pop(name, None)
    model.disable_input_require_grads()
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = False  # type: ignore[assignment]  # a plain flag of a layer's
    model.requires_grad_(False)
    model.eval()


@contextmanager
def restored(model: PreTrainedModel) -> Iterator[None]:
    """Give a model back, when the block ends, without adapters and with the attributes and configurations it had."""
    parts = [model, model.config, *([model.generation_config] if model.generation_config else [])]
    own = [(part, dict(vars(part))) for part in parts]
    try:
        yield
    finally:
        unwrap(model)
        for part, before in own:
            vars(part).clear()
            vars(part).update(before)


def _refuse_broken(model: PeftModel) -> None:
    # Without `save_embedding_layers`, PEFT would ask the hub for the base model's configuration.
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False).values()
    if not all(bool(one.isfinite().all()) for one in tensors):
        raise MissingError("the adapter holds numbers that are not finite", mend="lower the learning rate (lr)")


def _merge(model: PeftModel, scale: float) -> None:
    try:
        model.merge_and_unload(safe_merge=True)
    except ValueError as error:  # how PEFT says that a merged weight is not finite
        raise MissingError(
            f"the adapter, scaled by {scale:g}, makes weights that are not finite", mend="lower the strength"
        ) from error


def _scale(model: torch.nn.Module, scale: float) -> None:
    for module in model.modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            for adapter in scaling:
                scaling[adapter] *= scale
