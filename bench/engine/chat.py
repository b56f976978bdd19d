"""A prompt as a user's turn, through the tokenizer's own chat template."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from transformers import PreTrainedTokenizerBase

from bench.engine.tokens import encode
from bench.errors import MissingError
from bench.policy import Policy
from bench.spec import ChatSpec

_PROBE = "A text."
_DAY = datetime(2024, 7, 26, tzinfo=UTC)
"""What a template that writes today's date writes: else each day would have prompts of its own. Llama 3.2's default."""
_CODES = (*"aAbBcdeHIjmMpSxXyY", "-d", "-m")
_NOW = (
    "{%- macro strftime_now(format) %}{{ format"
    + "".join(f"""|replace('%{code}', '{_DAY.strftime("%" + code)}')""" for code in _CODES)
    + " }}{% endmacro %}\n"  # the line break is left out, so that the template begins a line, as it does alone
)


def chat_tokens(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> tuple[int, ...]:
    """Tokens of a text as a user's message, up to where the answer begins; the tokenizer has a chat template.

    A template that knows `enable_thinking` is told not to have the model think first. One that writes today's date
    (`strftime_now`) writes the same one on every day.

    Args:
        tokenizer: The tokenizer.
        text: What the user says.
        system: What stands before it as the system's message, or None.
    """
    return tuple(_applied(tokenizer, text, system, tokenize=True))


def chat_text(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> str:
    """The same as a text: what `bench.engine.tokens.encode` reads as these very tokens.

    So whatever continues, scores or learns from texts reads a user's turn as one. A token that the tokenizer itself
    puts before a text is left out of it.

    Raises:
        MissingError: no text is read as the template's tokens.
    """
    tokens = list(chat_tokens(tokenizer, text, system))
    whole = str(_applied(tokenizer, text, system, tokenize=False))
    first = str(tokenizer.bos_token or "")
    for said in (whole, whole.removeprefix(first)):
        if encode(tokenizer, said) == tokens:
            return said
    raise MissingError(
        "the tokenizer does not read its chat template's text as the template's tokens",
        mend="take chat_template out of the suite, or another model",
    )


def turn_tokens(policy: Policy, text: str, chat: ChatSpec | None) -> tuple[int, ...] | None:
    """Tokens of a prompt as a user's turn where `chat` says so; None for plain text, which needs no tokenizer here."""
    return None if chat is None else chat_tokens(policy.tokenizer, text, chat.system)


def as_read(prompt: str, tokenizer: PreTrainedTokenizerBase, chat: ChatSpec | None) -> str:
    """A prompt, or an anchor, as the model reads it: as a user's turn where `chat` says so."""
    return prompt if chat is None else chat_text(tokenizer, prompt, chat.system)


def conversation_text(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], *, opens: bool = True
) -> str:
    """A conversation as its template writes it, special tokens included; it is told not to have the model think first.

    Args:
        tokenizer: The tokenizer, which has a chat template.
        messages: Each with its `role` and `content`.
        opens: Whether the answer's beginning follows (the template's generation prompt).
    """
    return str(_rendered(tokenizer, messages, opens=opens, tokenize=False))


def refuse_without_template(name: str, tokenizer: PreTrainedTokenizerBase, system: str | None) -> None:
    """Refuse a tokenizer that cannot put a prompt into a user's turn.

    Raises:
        MissingError: it has no chat template, or takes no system message, or leaves it out, where there is one.
    """
    if not tokenizer.chat_template:
        what = f"the tokenizer of {name} has no chat template, and the suite has chat_template"
        raise MissingError(what, mend="take chat_template out of the suite, or a model that chats")
    try:
        turn = chat_text(tokenizer, _PROBE, system)
    except MissingError:
        raise
    except Exception as error:  # whatever a template raises: it is a program of the model's maker
        what = f"the chat template of {name} cannot be applied ({type(error).__name__})"
        mend = "take system out of the suite: some templates know no system message" if system else None
        raise MissingError(what, mend=mend or "take another model, or chat_template out of the suite") from None
    if system and system.strip() not in turn:
        raise MissingError(
            f"the chat template of {name} leaves the system's message out", mend="take system out of the suite"
        )


def _applied(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None, *, tokenize: bool) -> Any:
    messages = [{"role": "system", "content": system}] if system is not None else []
    return _rendered(tokenizer, [*messages, {"role": "user", "content": text}], opens=True, tokenize=tokenize)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], *, opens: bool, tokenize: bool
) -> Any:
    return tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        chat_template=_NOW + tokenizer.get_chat_template(),
        add_generation_prompt=opens,
        tokenize=tokenize,
        return_dict=False,
        enable_thinking=False,
    )
