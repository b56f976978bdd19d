"""Self-generation: the base model continues training prompts, and the scorer splits what it wrote."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.attribute import TOXICITY, Attribute
from bench.data.prompts import ToxicityPrompt
from bench.engine.chat import turn_tokens
from bench.engine.generation import Prompt, generate
from bench.errors import MissingError
from bench.policy import Policy
from bench.progress import SILENT, Progress
from bench.scorers.checked import CheckedScorer
from bench.sets.format import ContrastiveSet, Text
from bench.spec import ChatSpec, SetsSpec
from bench.store.appended import AppendedFile
from bench.store.seal import is_sound, sealed
from bench.writers.resume import Row, resume


def generate_sets(  # noqa: PLR0913 - what is sampled, how, and where it is kept
    policy: Policy,
    prompts: Sequence[ToxicityPrompt],
    scorer: CheckedScorer,
    spec: SetsSpec,
    provenance: dict[str, Any],
    progress: Progress = SILENT,
    *,
    parts: Path,
    attribute: Attribute = TOXICITY,
    chat: ChatSpec | None = None,
) -> list[ContrastiveSet]:
    """Sample continuations of the prompts and split them into positives and negatives.

    Args:
        policy: The base model.
        prompts: Training prompts.
        scorer: Scores the continuations; one whose score is missing is left out.
        spec: Decoding, the dead zone, the least number of each kind, the seed.
        provenance: What to write into each set.
        progress: Where to report.
        parts: Where continuations are kept, batch by batch, until the sets are made: what an interrupted call left
            there is not sampled again. Its name says what they follow from.
        attribute: What the texts are scored for; the zones are distances from its wanted end.
        chat: How the prompts are put to a model that chats; None for plain text.

    Returns:
        The sets with enough of both kinds, in the prompts' order.

    Raises:
        MissingError: no set has enough of both kinds.
    """
    asked = {one.id: Prompt(one.id, one.text, turn_tokens(policy, one.text, chat)) for one in prompts}
    texts = _continued(policy, asked, spec, parts, progress)
    sets = []
    for prompt in prompts:
        made = _split(prompt.text, texts[prompt.id], scorer, spec, attribute, provenance)
        if spec.is_enough(len(made.positives), len(made.negatives)):
            sets.append(made)
    if not sets:
        positives, negatives = f"< {spec.positive_below:g}", f"> {spec.negative_above:g}"
        if attribute.wanted == "high":  # the bounds are distances from the end that is wanted
            positives, negatives = f"> {1 - spec.positive_below:g}", f"< {1 - spec.negative_above:g}"
        raise MissingError(
            f"none of {len(prompts)} prompts has {spec.min_positives} positives (score {positives}) and "
            f"{spec.min_negatives} negatives (score {negatives})",
            mend="sample more: --set suite.sets.decoding.num_samples=N or --set suite.sets.num_prompts=N",
        )
    return sets


def _continued(
    policy: Policy, prompts: Mapping[str, Prompt], spec: SetsSpec, parts: Path, progress: Progress
) -> dict[str, list[str]]:
    """All continuations of each prompt, by its id: sampled, or found in the file of parts."""

    def sample(missing: Mapping[str, Prompt]) -> Iterator[list[Row]]:
        for batch in generate(policy, list(missing.values()), spec.decoding, spec.seed):
            texts: dict[str, list[str]] = {}
            for one in batch:
                texts.setdefault(one.prompt_id, []).append(one.text)
            yield [sealed({"prompt": name, "texts": some}, parts.name) for name, some in texts.items()]

    with AppendedFile(parts, progress) as held:
        resume(
            held,
            prompts,
            sample,
            progress.bar("contrastive sets", len(prompts), "prompts"),
            key=lambda row: str(row["prompt"]),
            succeeded=lambda row: is_sound(row, parts.name),
        )
        return {row["prompt"]: row["texts"] for row in held.rows}


def _split(
    anchor: str,
    continuations: Sequence[str],
    scorer: CheckedScorer,
    spec: SetsSpec,
    attribute: Attribute,
    provenance: dict[str, Any],
) -> ContrastiveSet:
    """Split one anchor's continuations; what is blank, doubled, unscored or in the dead zone is left out."""
    texts = list(dict.fromkeys(text for text in continuations if text.strip()))
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
