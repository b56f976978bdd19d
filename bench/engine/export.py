"""A policy as files that transformers, and whatever reads the same files, loads without this project."""

import copy
from pathlib import Path
from typing import Any

from bench.policy import HFPolicy


def export(policy: HFPolicy, folder: Path) -> None:
    """Write a policy's model, an adapter that it wears merged into its weights, and its tokenizer."""
    from peft import PeftModel

    model: Any = policy.plain()
    if isinstance(model, PeftModel):
        model = copy.deepcopy(model).merge_and_unload()
    model.save_pretrained(str(folder))
    policy.tokenizer.save_pretrained(str(folder))
