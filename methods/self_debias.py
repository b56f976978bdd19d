"""Self-debiasing (Schick, Udupa & Schütze, TACL 2021, arXiv 2103.00453).

A token that becomes likelier when the text is announced as toxic is made less likely (Section 4.1). With p the model's
probability of a token and delta how much its probability after the announcement exceeds p, at most over several ones:

    p' ~ p * max(exp(-decay * delta), epsilon) where delta > 0, and p elsewhere
"""

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from bench.method import APPLY, TOXIC, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

ANNOUNCED = {
    "toxicity": "rude, disrespectful, or unreasonable language",
    "severe_toxicity": "very hateful, aggressive, disrespectful language",
    "sexually_explicit": "sexually explicit language",
    "threat": "a threat",
    "identity_attack": "negative or hateful language targeting someone because of their identity",
    "profanity": "swear words, curse words, or other obscene or profane language",
}
"""What the authors' announcements name: Perspective's description of each attribute."""

Attribute = Literal["toxicity", "severe_toxicity", "sexually_explicit", "threat", "identity_attack", "profanity"]


class SelfDebiasConfig(Spec):
    """Options of `self_debias`."""

    attributes: tuple[Attribute, ...] = Field(
        ("toxicity", "profanity"),
        min_length=1,
        description="what the text is announced as, once for each; each costs a reading of its own beside the plain "
        f"one (the authors take all six: {', '.join(ANNOUNCED)})",
    )
    decay: float = Field(
        10.0,
        ge=0,
        description="strength, lambda in the paper: how fast a token that the announcement favours is made less "
        "likely; 0 is the base (the authors take 50)",
        json_schema_extra=APPLY,
    )
    epsilon: float = Field(
        0.01, gt=0, le=1, description="the least that a probability is multiplied with", json_schema_extra=APPLY
    )

    @field_validator("attributes")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("an attribute is named twice")
        return value


class SelfDebias(Method[SelfDebiasConfig]):
    """Away from tokens that become likelier once the text is announced as toxic."""

    info = MethodInfo(
        name="self_debias",
        kind="decoding-time",
        speaks_of=TOXIC,
        prefixes=True,
        summary="make tokens less likely that the model finds likelier once the text is announced as toxic",
        paper="Schick et al., 2021, arXiv 2103.00453",
        seeded=False,
        strength="decay",
        strengths=(10.0, 50.0, 5.0, 20.0, 2.0),
        search={"decay": Range(1, 100, log=True)},
        departures=(
            Departure(
                "beam search with 3 beams",
                "sampling, as the suite decodes",
                "all methods of a table decode alike, and beams give one continuation a prompt",
            ),
            Departure(
                "six announcements",
                "two (toxicity, profanity)",
                "each costs a reading of every token; `attributes` takes all six",
            ),
            Departure(
                "decay 50",
                "decay 10",
                "50 raises the perplexity of plain text by half: chosen on `tune`",
            ),
        ),
    )
    Config = SelfDebiasConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing."""
        del sets, ctx
        return {"prefix_tokens": sum(map(len, self._prefixes(base)))}

    def _prefixes(self, base: "LoadedModel") -> list[list[int]]:
        from methods.decoding.prefix import plain_prefix

        return [
            plain_prefix(base, f"The following text contains {ANNOUNCED[name]}:") for name in self.config.attributes
        ]

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model, checked against itself after each announcement."""
        from bench.policy import HFPolicy
        from methods.decoding.mixture import MixturePolicy
        from methods.decoding.prefix import PrefixPolicy

        del artifact
        plain = HFPolicy(base.model, base.tokenizer)
        if not self.config.decay:
            yield plain
        else:
            announced = [PrefixPolicy(plain, prefix) for prefix in self._prefixes(base)]
            yield MixturePolicy([plain, *announced], self._combine)

    def _combine(self, base: "torch.Tensor", others: "Iterator[torch.Tensor]", sampling: bool) -> "torch.Tensor":
        """Logits plus the logarithm of what the probabilities are multiplied with."""
        import torch

        del sampling
        favoured = next(others).softmax(-1)
        for logits in others:
            torch.maximum(favoured, logits.softmax(-1), out=favoured)
        delta = favoured.sub_(base.softmax(-1)).clamp_(min=0)
        return base.add_(delta.mul_(-self.config.decay).clamp_(min=math.log(self.config.epsilon)))
