"""Toxification reversal (Leong et al., EMNLP 2023, arXiv 2310.09573).

Of each attention head, z is what it puts out for a token, z_n the same after a prefix that announces a toxic text, and
z_p after one that announces a kind text. What the prefixes change is taken out of z, more of it where it is large and
where z is like what the head put out at the end of the toxic prefix, z_e:

    z' = z - strength * (1 + |z_n - z_p|)^norm_power * (1 + max(0, cos(z, z_e)))^similarity_power * (z_n - z_p)

and the heads of a layer together then get the length back that they had.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, TOXIC, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

_LEAST = 1e-12  # of a length that is divided by


class ToxificationReversalConfig(Spec):
    """Options of `toxification_reversal`."""

    bad_prefix: str = Field(
        "The following text is abusive, harmful, negative, obscene, racist, rude and toxic:",
        min_length=1,
        description="the text that announces what is to be avoided (the authors' one); a line break is put after it "
        "where it ends in none",
    )
    good_prefix: str = Field(
        "The following text is kind, polite, positive, respectful and supportive:",
        min_length=1,
        description="the text that announces what is wanted (the authors' one), in the same way",
    )
    norm_power: float = Field(
        0.4, ge=0, description="how much more is taken out where the change is large", json_schema_extra=APPLY
    )
    similarity_power: float = Field(
        0.6,
        ge=0,
        description="how much more is taken out where a head is as at the end of the bad prefix",
        json_schema_extra=APPLY,
    )
    strength: float = Field(
        1.0,
        description="strength: factor on what is taken out; 0 is the base, 1 as published",
        json_schema_extra=APPLY,
    )


class ToxificationReversal(Method[ToxificationReversalConfig]):
    """Away from what a toxic prefix changes in the attention heads."""

    info = MethodInfo(
        name="toxification_reversal",
        kind="representation",
        speaks_of=TOXIC,
        texts=("bad_prefix", "good_prefix"),
        prefixes=True,
        lies_below=False,
        summary="toxification reversal: take out of each attention head what a toxic prefix changes in it",
        paper="Leong et al., EMNLP 2023, arXiv 2310.09573",
        seeded=False,
        strength="strength",
        strengths=(1.0, 0.5, 0.25, 0.75, 1.5),
        search={"strength": Range(0.1, 1.5)},
        departures=(
            Departure(
                "of a prompt its last token alone is edited, then each token that is generated",
                "every token is edited",
                "a policy is not told where a prompt ends, and a likelihood must see the edit that a continuation sees",
            ),
            Departure(
                "the prefixes end in a colon and a space, and prefix and prompt are tokenised as one text",
                "they end in a colon and a line break, and the prompt's own tokens follow",
                "all readings see the same tokens, without which a text would have no likelihood",
            ),
            Departure(
                "GPT-2 large, powers 0.4 and 0.6 searched on validation prompts",
                "any model, the same powers, not searched",
                "one setting for every model",
            ),
        ),
    )
    Config = ToxificationReversalConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model's heads can be told."""
        from methods.anatomy.attention import attention_outputs, heads_of
        from methods.anatomy.layers import BASE, check_model

        del inputs
        model = check_model(base, None)
        heads_of(model, attention_outputs(model, BASE, self.info.name), BASE)

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing; a prefix that is too long is found here."""
        del sets, ctx
        return {"prefix_tokens": sum(map(len, self._prefixes(base)))}

    def _prefixes(self, base: "LoadedModel") -> tuple[list[int], list[int]]:
        from methods.decoding.prefix import plain_prefix

        return plain_prefix(base, self.config.bad_prefix), plain_prefix(base, self.config.good_prefix)

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model, its heads edited while it reads."""
        from bench.policy import HFPolicy
        from methods.anatomy.attention import attention_outputs, heads_of
        from methods.decoding.reversal import ReversalPolicy

        del artifact
        plain = HFPolicy(base.model, base.tokenizer)
        if not self.config.strength:
            yield plain
            return
        name = f"'{base.id}'"
        outputs = attention_outputs(base.model, name, self.info.name)
        heads = heads_of(base.model, outputs, name)
        yield ReversalPolicy(plain, self._prefixes(base), outputs, heads, self.reversed)

    def reversed(self, state: "torch.Tensor", change: "torch.Tensor", end: "torch.Tensor") -> "torch.Tensor":
        """What takes the place of what heads put out.

        Args:
            state: z, float32 [rows, positions, heads, size].
            change: z_n - z_p, [rows, positions, heads, size].
            end: z_e, [heads, size].
        """
        from torch.nn.functional import cosine_similarity

        config = self.config
        large = (1 + change.norm(dim=-1, keepdim=True)) ** config.norm_power
        alike = cosine_similarity(state, end, dim=-1, eps=_LEAST)[..., None].clamp(min=0)
        edited = state - config.strength * large * (1 + alike) ** config.similarity_power * change
        length, now = (one.norm(dim=(-2, -1), keepdim=True) for one in (state, edited))
        lengthened: torch.Tensor = edited * (length / now.clamp(min=_LEAST))
        return lengthened
