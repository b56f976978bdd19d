"""Examples in the prompt (Brown et al., 2020, arXiv 2005.14165), those like it (Liu et al., 2022, arXiv 2101.06804).

Good texts of the sets stand before every prompt, one a line, and no weight changes. The edited logits are
z + s (z_examples - z), where z_examples are the model's after the examples: s = 1 is plain prompting.

Similar are texts that share words, the rarer the more: the cosine of their TF-IDF vectors,

    tf(w) * (1 + ln((1 + N) / (1 + n_w)))        N texts, n_w of them with the word w

A likelihood and a continuation must see the same examples, and a policy is not told where a prompt ends. So the first
tokens of a row choose: until there are `opening` of them, the examples are those that were drawn first.
"""

import math
import re
from collections import Counter
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.errors import UsageError
from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec
from bench.words import bare_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

EXAMPLES = "examples.json"
"""The texts that may be shown, under `examples`, in the order in which they were drawn."""


class FewShotConfig(Spec):
    """Options of `few_shot`."""

    shots: int = Field(4, ge=1, le=10_000, description="examples before a prompt")
    opening: int = Field(
        8,
        ge=2,
        le=100_000,
        description="first tokens of a prompt that choose the examples; until there are so many, they are those drawn "
        "first",
        json_schema_extra=APPLY,
    )
    line: str = Field(
        "{prompt}{text}",
        pattern=r"\{text\}",
        description="how an example is shown, on a line of its own; {prompt} is the anchor and {text} a positive of it",
    )
    strength: float = Field(
        1.0, description="strength: 0 is the base, 1 the prompted model, more goes beyond it", json_schema_extra=APPLY
    )


class FewShot(Method[FewShotConfig]):
    """Puts good texts before every prompt, those that are most like it."""

    info = MethodInfo(
        name="few_shot",
        kind="prompt",
        prefixes=True,
        summary="examples in the prompt: good texts of the sets that share words with it, one a line",
        paper="Brown et al., 2020, arXiv 2005.14165; chosen by similarity: Liu et al., 2022, arXiv 2101.06804",
        needs_sets=True,
        strength="strength",
        strengths=(1.0, 2.0, 0.5, 1.5, 3.0),
        search={"shots": Range(1, 16, log=True, whole=True), "strength": Range(0.5, 3)},
        departures=(
            Departure(
                "similar by the embeddings of a sentence encoder",
                "similar by the words in common (TF-IDF)",
                "it needs no further model",
            ),
            Departure(
                "an example looks as the prompt does",
                "it stands on one line, its line breaks as spaces: a question and its answer, too",
                "lines tell examples from each other, and from the prompt",
            ),
            Departure(
                "the whole prompt chooses the examples",
                "its first tokens do (`opening`); those of a chat template, and with them the examples, are the same "
                "for all",
                "a policy is not told where a prompt ends, and a likelihood must see the examples that a continuation "
                "sees",
            ),
            Departure(
                "up to 100 labelled examples of a task, as many as the model reads",
                "4 good continuations, one an anchor",
                "sets hold texts and no task; the number was not searched",
            ),
        ),
    )
    Config = FewShotConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Draw one positive of each anchor; examples that are too long for the model are found here."""
        from bench.store.files import write_json
        from methods.learning.batches import draw_items, required_sets
        from methods.learning.options import Budget

        sets = required_sets(sets, self.info.name)
        budget = Budget(positives=1, negatives=0, epochs=1, anchors_per_step=1)
        items = draw_items(sets, budget, ctx.seed)
        texts = list(dict.fromkeys(self._line(one.anchor, one.positives[0]) for one in items))
        write_json(ctx.folder / EXAMPLES, {"examples": texts})
        return {"examples": len(texts), "prefix_tokens": self._longest(base, texts)}

    def _line(self, anchor: str, text: str) -> str:
        parts = {"prompt": anchor, "text": text}
        shown = re.sub(r"\{(prompt|text)\}", lambda found: parts[found[1]], self.config.line)
        return " ".join(shown.split())

    def _longest(self, base: "LoadedModel", texts: "Sequence[str]") -> int:
        """The most tokens that the examples before a prompt can have.

        Raises:
            UsageError: they take more than half of what the model reads.
        """
        from bench.engine.tokens import context_length, encode

        lengths = sorted((len(encode(base.tokenizer, f"{text}\n")) for text in texts), reverse=True)
        longest, limit = sum(lengths[: self.config.shots]), context_length(base.model)
        if longest > limit // 2:
            raise UsageError(
                f"{self.config.shots} examples before the prompt have up to {longest} tokens and '{base.id}' reads "
                f"{limit}",
                mend="lower shots",
            )
        return longest

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the examples before every prompt."""
        from bench.engine.tokens import encode
        from bench.policy import HFPolicy
        from bench.store.files import read_json
        from methods.decoding.chosen import ChosenPrefixPolicy
        from methods.decoding.mixture import guided

        texts: list[str] = read_json(artifact.path / EXAMPLES)["examples"]
        similar, tokenizer = Similar(texts), base.tokenizer

        @cache
        def prefix(numbers: tuple[int, ...]) -> list[int]:
            return encode(tokenizer, "".join(f"{texts[number]}\n" for number in numbers))

        def choose(tokens: tuple[int, ...]) -> list[int]:
            opening = str(tokenizer.decode(list(tokens), skip_special_tokens=True))
            nearest = similar.nearest(opening, self.config.shots)
            return prefix(tuple(reversed(nearest)))  # the most similar right before the prompt

        plain = HFPolicy(base.model, tokenizer)
        longest = self._longest(base, texts)
        shown = ChosenPrefixPolicy(plain, choose, self.config.opening, longest)
        yield guided(plain, shown, self.config.strength)


class Similar:
    """Texts that are found by the words that they share with another."""

    def __init__(self, texts: "Sequence[str]") -> None:
        """Count the texts' words."""
        counts = [_words(text) for text in texts]
        spread = Counter(word for found in counts for word in found)
        self._weight = {word: 1 + math.log((1 + len(texts)) / (1 + number)) for word, number in spread.items()}
        self._vectors = [self._vector(found) for found in counts]

    def nearest(self, text: str, count: int) -> list[int]:
        """Numbers of the texts most similar to this one, most similar first; equal ones stay in their order."""
        scores = self.cosines(text)
        return sorted(range(len(scores)), key=lambda number: -scores[number])[:count]

    def cosines(self, text: str) -> list[float]:
        """How similar each of the texts is to this one, in [0, 1]."""
        own = self._vector(_words(text))
        return [sum(value * other.get(word, 0.0) for word, value in own.items()) for other in self._vectors]

    def _vector(self, counts: "Counter[str]") -> dict[str, float]:
        """Unit vector by word; words that no text has are left out."""
        weighed = {word: number * self._weight[word] for word, number in counts.items() if word in self._weight}
        length = math.sqrt(sum(value * value for value in weighed.values())) or 1.0
        return {word: value / length for word, value in weighed.items()}


def _words(text: str) -> "Counter[str]":
    return Counter(bare_words(text.lower()))
