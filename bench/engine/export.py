"""A policy as files that transformers, and whatever reads the same files, loads without this project."""

import copy
from pathlib import Path
from typing import Any, cast

from bench.engine.twin import twin
from bench.policy import HFPolicy, Policy


def export(policy: HFPolicy, folder: Path) -> None:
    """Write a policy's model, an adapter that it wears merged into its weights, and its tokenizer."""
    from peft import PeftModel

    model: Any = policy.plain()
    # Saving writes into the configuration, which is the worn model's own.
    model = copy.deepcopy(model).merge_and_unload() if isinstance(model, PeftModel) else twin(model)
    _untie(model)
    model.save_pretrained(str(folder))
    policy.tokenizer.save_pretrained(str(folder))


def not_writable(policy: Policy) -> str | None:
    """Why a policy cannot be written as plain weights, or None where it is an `HFPolicy` that can."""
    reason = policy.not_exportable()
    if reason is None and not isinstance(policy, HFPolicy):
        return "it is no model of transformers"
    if reason is None and getattr(cast("HFPolicy", policy).model, "is_quantized", False):
        return "its weights are quantised"  # what an edit adds to them would be rounded to their whole numbers
    return reason


def _untie(model: Any) -> None:
    """Have the configuration say two weights where an edit has left the output layer without the embeddings' one."""
    output = model.get_output_embeddings()
    if output is not None and output.weight is not model.get_input_embeddings().weight:
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False
