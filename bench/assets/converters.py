"""From a GGUF file to a folder that `from_pretrained` loads in a second: float32 safetensors and the tokenizer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.errors import MissingError
from bench.parsing import parse_json
from bench.store.files import writing

# What transformers writes about the machine, not about the model: dropped, so that the same GGUF gives the same bytes.
_VOLATILE = ("transformers_version", "name_or_path", "is_local", "local_files_only")
_MEND = "install the exact versions of constraints.txt"


def convert(source: Path, target: Path) -> None:
    """Convert a GGUF file; takes some 25 s and 1.2 GB of memory for 135 M parameters (2 cores).

    Args:
        source: The GGUF file.
        target: An existing empty folder.

    Raises:
        MissingError: The file cannot be read as a model.
    """
    try:
        with writing(target), _quiet():
            _convert(source, target)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A damaged header ends in whatever its reader stumbles on (struct.error, KeyError, ...).
        cause = " ".join(str(error).split())[:200]
        raise MissingError(f"{source.name} cannot be converted ({cause})", mend=_MEND) from error
    for path in target.iterdir():
        if path.suffix == ".json":
            _settle(path)


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        local_files_only=True,
        dtype=torch.float32,
        # without it the weights stay in GGUF's blocks, which save_pretrained refuses
        quantization_config=GgufConfig(dequantize=True),
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    for config in (model.config, model.generation_config):
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _settle(path: Path) -> None:
    values = parse_json(path.read_text(encoding="utf-8"))
    if dropped := [key for key in _VOLATILE if key in values]:
        for key in dropped:
            del values[key]
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' own bars and warnings off the terminal; afterwards they are as before."""
    from transformers import modeling_gguf_pytorch_utils, utils

    logging: Any = utils.logging  # untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # the GGUF reader's own bar knows no switch
        with patch.object(modeling_gguf_pytorch_utils, "tqdm", lambda items, **_: items, create=True):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
