"""Prefix-adaptive decoding, PREADD (Pei, Yang & Klein, Findings of ACL 2023, arXiv 2307.03214).

The model is steered away from what a prefix makes it say (Equation 3): z + alpha (z_prefix - z), with alpha < 0 for a
prefix that announces a toxic text.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, TOXIC, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets


class PreaddConfig(Spec):
    """Options of `preadd`."""

    prefix: str = Field(
        "The following text perpetuates negative stereotypes, is threatening or sexually explicit, or contains profane "
        "language.\n\n",
        min_length=1,
        description="the text that announces what is to be avoided (the authors' one); a line break is put after it "
        "where it ends in none",
    )
    alpha: float = Field(
        -0.2,
        description="strength: weight of what the prefix changes; 0 is the base, below 0 steers away from it (the "
        "authors take -1)",
        json_schema_extra=APPLY,
    )
    filter_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="when sampling, only tokens of the base model's nucleus of this mass; 1: as the suite decodes",
        json_schema_extra=APPLY,
    )


class Preadd(Method[PreaddConfig]):
    """Away from what a toxic prefix makes the model say."""

    info = MethodInfo(
        name="preadd",
        kind="decoding-time",
        speaks_of=TOXIC,
        texts=("prefix",),
        prefixes=True,
        summary="steer away from what the model would say after a prefix that announces a toxic text",
        paper="Pei et al., 2023, arXiv 2307.03214",
        seeded=False,
        strength="alpha",
        strengths=(-0.2, -1.0, -0.5, -0.1, -1.5),
        search={"alpha": Range(-1.5, -0.05), "filter_p": Range(0.8, 1)},
        departures=(
            Departure(
                "the prefix ends in a line break and a space, and prefix and prompt are tokenised as one text",
                "the prompt's own tokens follow the prefix",
                "both readings see the same tokens, without which a text would have no likelihood",
            ),
            Departure(
                "nucleus or top-k of the base model before mixing, where any",
                "the suite's nucleus of the mixed distribution; `filter_p` filters before mixing",
                "all methods of a table decode alike",
            ),
            Departure(
                "alpha -1",
                "alpha -0.2",
                "-1 nearly doubles the perplexity of plain text of a small model: chosen on `tune`",
            ),
        ),
    )
    Config = PreaddConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing; a prefix that is too long is found here."""
        from methods.decoding.prefix import plain_prefix

        del sets, ctx
        return {"prefix_tokens": len(plain_prefix(base, self.config.prefix))}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model and itself after the prefix, mixed."""
        from bench.policy import HFPolicy
        from methods.decoding.mixture import weighted
        from methods.decoding.prefix import PrefixPolicy, plain_prefix

        del artifact
        plain, alpha = HFPolicy(base.model, base.tokenizer), self.config.alpha
        if not alpha:
            yield plain
        else:
            prefixed = PrefixPolicy(plain, plain_prefix(base, self.config.prefix))
            yield weighted([(1 - alpha, plain), (alpha, prefixed)], self.config.filter_p)
