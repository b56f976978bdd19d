"""Self-generation: the base model continues training prompts, and the scorer splits what it wrote."""

from collections.abc import Sequence
from typing import Any

from bench.attribute import TOXICITY, Attribute
from bench.data.prompts import ToxicityPrompt
from bench.engine.generation import Continuation, Prompt, generate
from bench.errors import MissingError
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.scorers.checked import CheckedScorer
from bench.sets.format import ContrastiveSet, Text
from bench.spec import SetsSpec


def generate_sets(
    policy: Policy,
    prompts: Sequence[ToxicityPrompt],
    scorer: CheckedScorer,
    spec: SetsSpec,
    provenance: dict[str, Any],
    progress: Progress = SILENT,
    *,
    attribute: Attribute = TOXICITY,
) -> list[ContrastiveSet]:
    """Sample continuations of the prompts and split them into positives and negatives.

    Args:
        policy: The base model.
        prompts: Training prompts.
        scorer: Scores the continuations; one whose score is missing is left out.
        spec: Decoding, the dead zone, the least number of each kind, the seed.
        provenance: What to write into each set.
        progress: Where to report.
        attribute: What the texts are scored for; the zones are distances from its wanted end.

    Returns:
        The sets with enough of both kinds, in the prompts' order.

    Raises:
        MissingError: no set has enough of both kinds.
    """
    by_prompt: dict[str, list[Continuation]] = {}
    with progress.bar("contrastive sets", len(prompts), "prompts") as bar:
        for batch in generate(policy, [Prompt(p.id, p.text) for p in prompts], spec.decoding, spec.seed):
            for continuation in batch:
                by_prompt.setdefault(continuation.prompt_id, []).append(continuation)
            bar.advance(len(batch) / spec.decoding.num_samples)
    sets = []
    for prompt in prompts:
        made = _split(prompt.text, by_prompt[prompt.id], scorer, spec, attribute, provenance)
        if spec.is_enough(len(made.positives), len(made.negatives)):
            sets.append(made)
    if not sets:
        raise MissingError(
            f"none of {len(prompts)} prompts has {spec.min_positives} positives (score < {spec.positive_below}) and "
            f"{spec.min_negatives} negatives (score > {spec.negative_above})",
            mend="sample more: --set suite.sets.decoding.num_samples=N or --set suite.sets.num_prompts=N",
        )
    return sets


def _split(
    anchor: str,
    continuations: Sequence[Continuation],
    scorer: CheckedScorer,
    spec: SetsSpec,
    attribute: Attribute,
    provenance: dict[str, Any],
) -> ContrastiveSet:
    """Split one anchor's continuations; what is blank, doubled, unscored or in the dead zone is left out."""
    texts = list(dict.fromkeys(one.text for one in continuations if one.text.strip()))
    scored = [
        (spec.kind_of(attribute.distance(score)), Text(text=text, score=score))
        for text, scores in zip(texts, scorer.score(texts), strict=True)
        if (score := attribute.score(scores)) is not None
    ]
    return ContrastiveSet(
        anchor=anchor,
        positives=[text for kind, text in scored if kind == "positive"],
        negatives=[text for kind, text in scored if kind == "negative"],
        provenance=provenance,
    )
