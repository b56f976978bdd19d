"""GeDi: a generative discriminator guides decoding (Krause et al., Findings of EMNLP 2021, arXiv 2009.06367).

One adapter is trained to write both kinds of text, each after a control code of its own, by a generative and a
discriminative loss. While decoding, it says by Bayes' rule, from the mean log-likelihood of the whole text so far after
either code, how probable each next token makes the desired class, and the base model's distribution is multiplied with
that:

    p'(x_t) ~ p(x_t) * p(desired | x_1..t) ** omega

The whole text is the prompt and what follows it. The adapter is trained on what it is asked about: an anchor with one
of its texts, all of it after a code.
"""

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from bench.method import APPLY, TOXIC, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.learning.options import RATES, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Likelihoods


class GediConfig(TrainingConfig):
    """Options of `gedi`; half of the steps of `contrastive`, as each text is read after either code."""

    positives: int = Field(
        4, ge=1, le=100_000, description="positives drawn for an anchor, |P| (fewer where it has fewer)"
    )
    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor, |N|")
    steps: int = Field(
        20, ge=1, le=1_000_000, description="optimiser steps; each text is read twice, once after each code"
    )
    desired_code: str = Field("clean", min_length=1, description="what stands before positives, on a line of its own")
    undesired_code: str = Field("dirty", min_length=1, description="what stands before negatives")
    generative: float = Field(
        0.8, ge=0, le=1, description="share of the generative loss; the rest is the discriminative one's"
    )
    logit_scale: float = Field(
        1.0,
        gt=0,
        description="factor on the mean log-likelihoods that the class is told by (the authors learn it, from 1)",
    )
    omega: float = Field(
        5.0, description="strength: power of the class probability, 0 is the base", json_schema_extra=APPLY
    )
    class_bias: float = Field(
        0.0,
        description="added to the log-odds of the desired class (the authors' demonstration has 2 for detoxification)",
        json_schema_extra=APPLY,
    )
    filter_p: float = Field(
        0.8,
        ge=0,
        lt=1,
        description="when sampling, tokens that make the desired class least probable are left out, up to this mass; "
        "the suite's top_p and top_k are then not applied on top, but for top_k=1; 0: as the suite decodes",
        json_schema_extra=APPLY,
    )
    target_p: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="tokens that make the desired class more probable than this (before class_bias) are never left out",
        json_schema_extra=APPLY,
    )

    @model_validator(mode="after")
    def _two_codes(self) -> "GediConfig":
        if self.desired_code == self.undesired_code:
            raise ValueError("desired_code and undesired_code are the same")
        return self


class Gedi(Method[GediConfig]):
    """Towards tokens after which the text so far is rather of the desired class."""

    info = MethodInfo(
        name="gedi",
        kind="decoding-time",
        summary="weigh tokens by how probable they make the class of positives under a class-conditional adapter",
        paper="Krause et al., 2021, arXiv 2009.06367",
        speaks_of=TOXIC,
        texts=("desired_code", "undesired_code"),
        needs_sets=True,
        strength="omega",
        strengths=(5.0, 10.0, 2.0, 20.0, 30.0),
        search={"lr": RATES, "omega": Range(1, 30, log=True), "class_bias": Range(0, 2)},
        departures=(
            Departure(
                "GPT-2 medium, all weights trained on Jigsaw's comments for an epoch",
                "an adapter of the base model, trained on the sets",
                "every method learns from the same texts within the same budget",
            ),
            Departure(
                "a control code is one token before the text",
                "a word on a line of its own",
                "any tokenizer can write it",
            ),
            Departure(
                "logit_scale is learned, and a bias for each class may be",
                "logit_scale is fixed, there is no learned bias",
                "few steps: the trainer learns the adapter alone",
            ),
            Departure(
                "omega 30, class_bias 2 for detoxification",
                "omega 5, class_bias 0",
                "chosen on `tune`; class_bias was not searched",
            ),
            Departure(
                "repetition penalty 1.2 on the base model's logits",
                "none",
                "all methods of a table decode alike: a penalty would be an edit of its own",
            ),
        ),
    )
    Config = GediConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Train the class-conditional adapter."""
        from methods.learning.batches import Asks
        from methods.learning.trainer import train_adapter

        desired, undesired = (tuple(code) for code in self._codes(base))
        return train_adapter(
            base, sets, self.config, self.loss, ctx, "train gedi", asks=Asks(prefixes=(desired, undesired), whole=True)
        )

    def _codes(self, base: "LoadedModel") -> tuple[list[int], list[int]]:
        from methods.decoding.prefix import plain_prefix

        return plain_prefix(base, self.config.desired_code), plain_prefix(base, self.config.undesired_code)

    def loss(self, likelihoods: "Likelihoods") -> "torch.Tensor":
        """The generative and the discriminative loss of texts that were read after both codes.

        Args:
            likelihoods: All texts, each with its anchor, after the desired code, then all of them after the other.

        Returns:
            0-d tensor: `generative` times the mean log-perplexity of the texts after their own code, plus
            1 - `generative` times the mean negative log-probability of their own class.
        """
        import torch

        desired, undesired = likelihoods.phi.chunk(2)
        positive = likelihoods.positive.chunk(2)[0]
        own = torch.where(positive, desired, undesired)
        odds = self.config.logit_scale * (undesired - desired)  # log-odds of the desired class
        told = torch.nn.functional.logsigmoid(torch.where(positive, odds, -odds))
        return self.config.generative * own.mean() - (1 - self.config.generative) * told.mean()

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model, guided by the adapter after either code."""
        from bench.policy import HFPolicy
        from methods.decoding.experts import expert
        from methods.decoding.prefix import PrefixPolicy
        from methods.gedi.policy import GediPolicy, Guidance

        config, plain = self.config, HFPolicy(base.model, base.tokenizer)
        if not config.omega:
            yield plain
            return
        target = math.log(config.target_p / (1 - config.target_p)) + config.class_bias
        guidance = Guidance(config.omega, config.logit_scale, config.class_bias, config.filter_p, target)
        with expert(base, artifact.path) as conditional:
            desired, undesired = (PrefixPolicy(conditional, code) for code in self._codes(base))
            yield GediPolicy(plain, desired, undesired, guidance)
