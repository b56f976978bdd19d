"""Texts as tokens, whatever the tokenizer: a text after a prompt, the tokens that begin and end texts, their room."""

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.errors import UsageError

NO_LIMIT = 1 << 20
"""Tokens that a model without a limit reads."""
_PROBES = ("\n", ".", ",", "-", "0", "a", "e", "o", "t", "s", "x", "I", "A", "\t")
"""What a text is read after where reading it after nothing would begin a word."""


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a text that goes on: what the tokenizer gives, without what it puts after the text (an end token)."""
    ids = list(tokenizer(text)["input_ids"])
    return ids[: len(ids) - _closing(tokenizer)]


def encode_after(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> tuple[list[int], list[int]]:
    """Tokens of a prompt and of the text after it.

    The prompt's are always those that it has on its own, as it was read when the text was sampled. The text's are those
    that it has in both together, where the tokenizer keeps the seam; else those that it has on its own, if the two then
    say the same as both together; else (SentencePiece and WordPiece begin a word there) those that it has after another
    text. So `decode(before + after) == prompt + text` wherever the tokenizer can say the text at all: as far as
    it gives a text back that it has read in one piece. No token of the template stands between the two. Special tokens
    that a text spells out are read as such.
    """
    before = encode(tokenizer, prompt) or [first_token(tokenizer)]
    whole = encode(tokenizer, prompt + text)
    if whole[: len(before)] == before and len(whole) > len(before):
        return before, whole[len(before) :]
    said = {_decode(tokenizer, whole), _decode(tokenizer, before) + text}
    alone = _plain(tokenizer, text)
    if not text or _decode(tokenizer, [*before, *alone]) in said:
        return before, alone
    after = (ids for ids in _read_after(tokenizer, text) if _decode(tokenizer, [*before, *ids]) in said)
    return before, next(after, alone)


def _read_after(tokenizer: PreTrainedTokenizerBase, text: str) -> Iterator[list[int]]:
    """Tokens of a text as it is read after each of several others, where these keep their own."""
    for probe in _PROBES:
        own, both = _plain(tokenizer, probe), _plain(tokenizer, probe + text)
        if both[: len(own)] == own and len(both) > len(own):
            yield both[len(own) :]


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _closing(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the tokenizer puts after a text."""
    whole, own = list(tokenizer("a")["input_ids"]), _plain(tokenizer, "a")
    if not own:  # a tokenizer that does not know the letter
        return len(whole) - whole.index(tokenizer.bos_token_id) - 1 if tokenizer.bos_token_id in whole else len(whole)
    return next(
        (n for n in range(len(whole) - len(own) + 1) if whole[len(whole) - n - len(own) :][: len(own)] == own), 0
    )


def opening(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the tokenizer puts before a text (a begin token)."""
    return len(encode(tokenizer, "a")) - len(_plain(tokenizer, "a"))


def first_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands before a text with nothing before it.

    It is the one that the tokenizer itself puts there, which need not be its begin token (XGLM). Where it puts none, or
    several, it is begin, or end where there is none.
    """
    if opening(tokenizer) == 1:
        return encode(tokenizer, "a")[0]
    token: Any = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if token is None else token)


def end_tokens(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> frozenset[int]:
    """The tokens that end a text: the tokenizer's, and all that the model's configurations name.

    A number that is but the default of the class, which an incomplete config.json leaves standing, counts where
    the tokenizer knows it as a special token.
    """
    named = _listed(tokenizer.eos_token_id)
    if model is None:
        return frozenset(named)
    text_config: Any = model.config.get_text_config()
    default = _listed(getattr(type(text_config), "eos_token_id", None)) - set(tokenizer.all_special_ids)
    for config in (model.generation_config, model.config, text_config):
        told = _listed(getattr(config, "eos_token_id", None))
        named |= told if told != default else set()
    rows = getattr(model.get_input_embeddings(), "num_embeddings", NO_LIMIT)
    return frozenset(token for token in named if 0 <= token < rows)


def _listed(tokens: Any) -> set[int]:
    """One token, several or none as a set."""
    return set() if tokens is None else {int(tokens)} if isinstance(tokens, int) else {int(token) for token in tokens}


def context_length(model: PreTrainedModel) -> int:
    """The longest sequence in tokens that a model was made for; a large number where it names none.

    LongRoPE has other factors beyond its original length, for all positions of a batch by its longest row: a row would
    be read otherwise beside a longer one, and after keys that were read before. So it ends there.
    """
    config: Any = model.config.get_text_config()
    told = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len"))
    limit = next((int(number) for number in told if number), NO_LIMIT)
    rope = getattr(config, "rope_parameters", None) or {}
    return min(limit, int(rope["original_max_position_embeddings"])) if rope.get("rope_type") == "longrope" else limit


def refuse_beyond(room: int, tokens: int, what: str, mend: str) -> None:
    """Refuse a text that is longer than what the model reads: beyond it are no positions, or none that it has learned.

    Raises:
        UsageError: it is.
    """
    if tokens > room:
        raise UsageError(f"{what} has {tokens} tokens, and the model reads {room}", mend=mend)
