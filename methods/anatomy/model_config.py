"""What a model's folder says of it before anything is loaded."""

from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from bench.errors import MissingError


def config_of(folder: Path) -> PreTrainedConfig:
    """The configuration of a model's folder.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        what = f"the configuration of {folder} cannot be read ({' '.join(str(error).split())[:120]})"
        raise MissingError(what, mend="name a causal LM") from error
    return config
