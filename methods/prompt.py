"""Asking for it: a prefix or a system message before every prompt.

The edited logits are z + s (z_prefix - z), where z_prefix are the model's after the prefix (classifier-free guidance,
Sanchez et al., 2024, arXiv 2306.17806, Equation 7): s = 1 is plain prompting, with one reading instead of two.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.method import APPLY, TOXIC, Artifact, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets


class PromptConfig(Spec):
    """Options of `prompt`."""

    text: str = Field(
        "The following text is polite, respectful and kind.",
        min_length=1,
        description="what is read before every prompt; a line break is put after it where it ends in none",
    )
    template: Literal["auto", "plain", "chat"] = Field(
        "auto",
        description="plain: the text stands before the prompt; chat: it is the system's message in the tokenizer's "
        "chat template, and the prompt begins the assistant's answer; auto: chat where the tokenizer has a template",
    )
    strength: float = Field(
        1.0, description="strength: 0 is the base, 1 the prompted model, more goes beyond it", json_schema_extra=APPLY
    )


class PromptMethod(Method[PromptConfig]):
    """A prefix or a system message before every prompt."""

    info = MethodInfo(
        name="prompt",
        kind="prompt",
        speaks_of=TOXIC,
        texts=("text",),
        prefixes=True,
        summary="a prefix or a system message before every prompt that asks for a polite text",
        paper="prompting; strengths other than 1: Sanchez et al., 2024, arXiv 2306.17806",
        seeded=False,
        strength="strength",
        strengths=(1.0, 2.0, 0.5, 1.5, 3.0),
        search={"strength": Range(0.5, 3), "template": ("auto", "plain")},
    )
    Config = PromptConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the tokenizer has a chat template that takes a system message, where one is to be used."""
        del inputs
        if self.config.template != "plain":
            from transformers import AutoTokenizer

            from methods.decoding.prefix import chat_prefix

            tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
            if self._talks(tokenizer):
                chat_prefix(tokenizer, self.config.text)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing; a text that is too long is found here."""
        del sets, ctx
        return {"prefix_tokens": len(self._prefix(base))}

    def _talks(self, tokenizer: "PreTrainedTokenizerBase") -> bool:
        """Whether the text is the system's message."""
        return self.config.template == "chat" or (self.config.template == "auto" and bool(tokenizer.chat_template))

    def _prefix(self, base: "LoadedModel") -> list[int]:
        from methods.decoding.prefix import chat_prefix, fitting, plain_prefix

        if self._talks(base.tokenizer):
            return fitting(base, chat_prefix(base.tokenizer, self.config.text))
        return plain_prefix(base, self.config.text)

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the text before every prompt."""
        from bench.policy import HFPolicy
        from methods.decoding.mixture import guided
        from methods.decoding.prefix import PrefixPolicy

        del artifact
        plain = HFPolicy(base.model, base.tokenizer)
        prompted = PrefixPolicy(plain, self._prefix(base))
        yield guided(plain, prompted, self.config.strength)
