"""Facts in the prompt, as in-context knowledge editing (Zheng et al., EMNLP 2023, arXiv 2305.12740).

All new facts stand before every prompt, one a line, and no weight changes. The edited logits are
z + s (z_facts - z), where z_facts are the model's after the facts: s = 1 is plain prompting.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

FACTS = "new-facts.json"
"""The text that stands before every prompt, under `text`."""


class InContextConfig(Spec):
    """Options of `in_context`."""

    line: str = Field(
        "New fact: {fact}.", pattern=r"\{fact\}", description="how a fact is told; {fact} is its prompt and object"
    )
    strength: float = Field(
        1.0, description="strength: 0 is the base, 1 the prompted model, more goes beyond it", json_schema_extra=APPLY
    )


class InContext(Method[InContextConfig]):
    """Puts the new facts before every prompt."""

    info = MethodInfo(
        name="in_context",
        kind="prompt",
        prefixes=True,
        summary="facts in the prompt: all new facts, one a line, before every prompt",
        paper="Zheng et al., EMNLP 2023, arXiv 2305.12740",
        needs_sets=True,
        edits_facts=True,
        seeded=False,
        strength="strength",
        search={"strength": Range(0.5, 2)},
        departures=(
            Departure(
                "demonstrations that copy, paraphrase and retain facts, found for each prompt by similarity",
                "the new facts alone, the same before every prompt",
                "a policy reads tokens and no cases, so that nothing may be chosen by the question",
            ),
        ),
    )
    Config = InContextConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Write the facts down; too many for the model are found here."""
        from bench.store.files import write_json
        from methods.decoding.prefix import plain_prefix
        from methods.editing.facts import facts_of
        from methods.learning.batches import required_sets

        facts = facts_of(required_sets(sets, self.info.name), self.info.name)
        lines = [self.config.line.replace("{fact}", (one.prompt + one.target).removesuffix(".")) for one in facts]
        text = "\n".join(lines)
        write_json(ctx.folder / FACTS, {"text": text})
        return {"facts": len(facts), "prefix_tokens": len(plain_prefix(base, text))}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the facts before every prompt."""
        from bench.policy import HFPolicy
        from bench.store.files import read_json
        from methods.decoding.mixture import guided
        from methods.decoding.prefix import PrefixPolicy, plain_prefix

        plain = HFPolicy(base.model, base.tokenizer)
        prompted = PrefixPolicy(plain, plain_prefix(base, read_json(artifact.path / FACTS)["text"]))
        yield guided(plain, prompted, self.config.strength)
