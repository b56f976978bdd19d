"""Adapters on disk, and the base model wearing one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from bench.store.files import write_json


def save_adapter(model: PeftModel, base_id: str, folder: Path) -> None:
    """Write the adapter; sets of names are sorted, so that the same seed gives the same bytes."""
    # The whole output layer is not part of an adapter, even where an adapter is part of the output layer.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_id
    config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    write_json(path, dict(sorted(config.items())))


@contextmanager
def adapted(model: PreTrainedModel, folder: Path, scale: float) -> Iterator[None]:
    """Give a model the weights that an adapter, scaled, makes of them; on exit it holds its own tensors again.

    The merged weights are new tensors, so that the base's come back bit for bit and the edited model is as fast as the
    base.
    """
    own = [(parameter, parameter.data) for parameter in model.parameters()]
    wrapped = PeftModel.from_pretrained(model, str(folder))
    try:
        _scale(wrapped, scale)
        wrapped.merge_and_unload(safe_merge=True)
        yield
    finally:
        for parameter, data in own:
            parameter.data = data
        model.requires_grad_(False)
        model.eval()


def _scale(model: torch.nn.Module, scale: float) -> None:
    for module in model.modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            for adapter in scaling:
                scaling[adapter] *= scale
