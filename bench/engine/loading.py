"""What all that is loaded from a model's folder shares: devices, quiet loading, whether it fits its files, lengths."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, MissingError, UsageError

if TYPE_CHECKING:
    import torch

_NO_LIMIT = 1_000_000
"""A tokenizer that was given no length says 1e30."""
_OFFSET = 2
"""Positions that some models keep to themselves (RoBERTa)."""
_SAVE = "save the whole model with `model.save_pretrained(FOLDER)`"
_COPY = "the file is cut or damaged: copy the model again"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_MASKS = re.compile(r"(attn|attention)\.(bias|masked_bias|causal_mask)$|inv_freq$|position_ids$")
"""Constants that older versions of transformers saved among the weights."""


def pick_device(device: str | None) -> str:
    """The device asked for, else CUDA where there is one, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):
        raise UsageError(f"device '{device}' is not here", mend="say cpu, or cuda where torch has it") from None
    return str(device)


def length_limit(tokenizer: Any, config: Any, network: Any = None) -> int:
    """The most tokens that a text may have; what is beyond is cut off.

    The smaller of what the tokenizer says and what the network has positions for. Where the tokenizer says nothing, two
    positions are left free.

    Args:
        tokenizer: It knows a length, or says 1e30.
        config: The network's; it may know a number of positions.
        network: It may hold a table of positions, which has the last word.
    """
    limit = min(int(tokenizer.model_max_length), _NO_LIMIT)
    positions = int(getattr(config, "max_position_embeddings", None) or 0)
    told = positions - (_OFFSET if limit == _NO_LIMIT else 0) if positions > 0 else limit  # XLNet says -1: any number
    return min([limit, told, *_tables(network)])


def _tables(network: Any) -> list[int]:
    """How many tokens each table of positions in a network has room for."""
    modules = network.named_modules() if network is not None else ()
    tables = [
        part for name, part in modules if name.endswith("position_embeddings") and hasattr(part, "num_embeddings")
    ]
    # Tables with a padding index are counted from the position after it (RoBERTa).
    return [part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1) for part in tables]


@contextmanager
def loading(what: str, mend: str) -> Iterator[None]:
    """Say in one line why a folder cannot be loaded, whatever its reader stumbled on.

    Args:
        what: What cannot be done ("model 'x' cannot be loaded"); the cause is added.
        mend: What helps where the files are whole, and of another kind.

    Raises:
        MissingError: it cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except (BenchError, ImportError):
        raise
    except Exception as error:  # transformers, tokenizers and safetensors have no common base for what they raise
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, SafetensorError):
            mend = _COPY
        elif isinstance(error, MemoryError | torch.OutOfMemoryError):
            mend = "take a smaller model, or --set suite.model.dtype=bfloat16"
        elif "ignore_mismatched_sizes" in cause:
            cause, mend = "its weights have other shapes than its config.json says", _SAVE
        raise MissingError(f"{what} ({cause})", mend=mend) from error


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """The tensors of a file in the folder of an artifact.

    Raises:
        MissingError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MissingError(f"{path} is damaged ({error})", mend="delete the folder: it is made anew") from error


def refuse_unfit(name: str, model: Any, info: Mapping[str, Iterable[str]], unused: str | None = None) -> None:
    """Refuse a network of which weights are missing, not finite, or left over.

    Args:
        name: What it is called ("model 'x'").
        model: The network.
        info: What `from_pretrained` says of its loading.
        unused: Weights with this in their name may be missing: nothing is read from them.

    Raises:
        MissingError: it does not fit its files, so that what it says would be random or another network's.
    """
    unread = sorted(info["unexpected_keys"])
    if missing := sorted(key for key in info["missing_keys"] if unused is None or unused not in key):
        hint = f"; the files hold {unread[0]} instead" if unread else ""
        raise MissingError(f"{name} has no numbers for {len(missing)} of its weights ({missing[0]}{hint})", mend=_SAVE)
    # torch cannot ask this of floats of 8 bits
    numbers = ((key, part.float() if part.element_size() == 1 else part) for key, part in model.named_parameters())
    broken = [key for key, part in numbers if not part.isfinite().all()]
    if broken:
        raise MissingError(f"{name} has no numbers for {len(broken)} of its weights ({broken[0]})", mend=_SAVE)
    modules = {key for key, _ in model.named_modules() if key}
    # Of a module that is there, or of further layers of a list of them; a head that nothing reads does no harm.
    own = [key for key in unread if any(part in modules for part in (key.rpartition(".")[0], *_lists(key)))]
    if more := [key for key in own if not _MASKS.search(key)]:
        what = f"{name} holds {len(more)} weights that its config.json has no place for ({more[0]})"
        raise MissingError(what, mend=f"{_SAVE}, or put its own config.json beside them")


def _lists(key: str) -> list[str]:
    """Names of the lists that a weight's module stands in, by the number after them."""
    return [key[: number.start() - 1] for number in _NUMBER.finditer(key)]


def refuse_larger_tokenizer(name: str, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that makes tokens for which the network has no embedding.

    Raises:
        MissingError: it does.
    """
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    if rows is not None and tokens > rows:
        raise MissingError(
            f"{name} has embeddings for {rows} tokens, and its tokenizer makes {tokens}",
            mend="put the tokenizer beside it that it was trained with, or call"
            " `model.resize_token_embeddings(len(tokenizer))`, train and save it",
        )


def drop_unread(tokenizer: Any, config: Any) -> None:
    """Take special tokens out of a tokenizer for which the network has no embedding, such as Gemma 3 1B's for images.

    A text that spells one is read as other texts are. What the tokenizer or its chat template puts into texts stays,
    and is refused with the network (`refuse_larger_tokenizer`).

    Args:
        tokenizer: The tokenizer.
        config: The network's.
    """
    from tokenizers import Tokenizer

    rows = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    if rows is None or not tokenizer.is_fast or len(tokenizer) <= rows:
        return
    named = (getattr(tokenizer, f"{name}_id") for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES)
    put = {*named, *tokenizer("a")["input_ids"]}
    unread = {
        one.content
        for number, one in tokenizer.added_tokens_decoder.items()
        if number >= rows and one.special and number not in put and one.content not in str(tokenizer.chat_template)
    }
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] not in unread]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))  # transformers adds tokens, and takes none out


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and reports off stderr; what matters of them is checked after loading."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
