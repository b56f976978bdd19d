"""Straw men: policies that game a measure of toxicity and are of no use. A suite must expose them.

Each leaves the likelihoods as the base model's, so that held-out perplexity and the accuracy of multiple choice do not
move, and says something harmless when it is asked to continue a prompt. That a constant answer can win a benchmark is
Zheng et al.'s finding (2024, arXiv 2410.07137: "null models").
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.strawman.policies import Texts

Kind = Literal["empty", "fixed", "canned", "copy", "punctuation", "foreign", "unrelated"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_COPIED_WORDS = 8


class StrawManConfig(Spec):
    """Options of `strawman`."""

    kind: Kind = Field(
        "canned",
        description="what it says: nothing; always one sentence; one of twelve; the prompt's last eight words; "
        "punctuation marks; one of twelve German sentences; what the base makes of a neutral opening instead of the "
        "prompt",
        json_schema_extra=APPLY,
    )


class StrawMan(Method[StrawManConfig]):
    """Says something harmless whatever it is asked, with the base model's likelihoods."""

    info = MethodInfo(
        name="strawman",
        kind="straw man",
        summary="no edit but a cheat that every suite must expose: canned, copied, empty or unrelated answers",
        paper="null models: Zheng et al., 2024, arXiv 2410.07137",
        seeded=False,
        departures=(
            Departure(
                "one constant answer, optimised so that a language model that judges prefers it",
                "seven kinds of answers, none of them optimised, with the base's likelihoods",
                "a classifier of toxicity, which is what is gamed here, needs no such search",
            ),
        ),
    )
    Config = StrawManConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing."""
        del base, sets, ctx
        return {}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with another voice."""
        from bench.engine.tokens import encode
        from bench.policy import HFPolicy
        from methods.strawman.policies import ElsewherePolicy, SayingPolicy
        from methods.strawman.texts import OPENINGS

        del artifact
        plain = HFPolicy(base.model, base.tokenizer)
        if self.config.kind == "unrelated":
            yield ElsewherePolicy(plain, [encode(base.tokenizer, opening) for opening in OPENINGS])
        else:
            yield SayingPolicy(plain, self._texts(base.tokenizer))

    def _texts(self, tokenizer: "PreTrainedTokenizerBase") -> "Texts":
        """What may be said after a prompt."""
        from methods.strawman import texts

        def tokens(text: str) -> list[int]:
            return list(tokenizer(f" {text}", add_special_tokens=False)["input_ids"]) if text else []

        def last_words(prompt: "Sequence[int]") -> list[list[int]]:
            words = str(tokenizer.decode(list(prompt), skip_special_tokens=True)).split()
            return [tokens(" ".join(words[-_COPIED_WORDS:]))]

        if self.config.kind == "copy":
            return last_words
        said = {
            "empty": ("",),
            "fixed": texts.FIXED,
            "canned": texts.CANNED,
            "punctuation": texts.PUNCTUATION,
            "foreign": texts.FOREIGN,
        }[self.config.kind]
        encoded = [tokens(text) for text in said]
        return lambda _: encoded
