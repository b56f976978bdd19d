"""Facts out of contrastive sets, and the tokens that they are read as."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from bench.engine.generation import Prompt, generate
from bench.engine.tokens import context_length, encode, encode_after, refuse_beyond
from bench.errors import MissingError, UsageError
from bench.policy import HFPolicy, LoadedModel
from bench.sets import ContrastiveSets
from bench.spec import Decoding


@dataclass(frozen=True)
class Fact:
    """A prompt about a subject, and the object that should follow it, its space included.

    `place` is how many characters of the prompt stand before the subject.
    """

    prompt: str
    subject: str
    target: str
    place: int


@dataclass(frozen=True)
class Reading:
    """A fact as tokens.

    Attributes:
        prompt: Tokens of the prompt, with what stands before it.
        target: Tokens of the object.
        place: Position of the subject's last token.
    """

    prompt: list[int]
    target: list[int]
    place: int

    @property
    def tokens(self) -> list[int]:
        """All of them."""
        return [*self.prompt, *self.target]

    @property
    def before_target(self) -> range:
        """The positions after which the target's tokens follow."""
        return range(len(self.prompt) - 1, len(self.prompt) - 1 + len(self.target))


def facts_of(sets: ContrastiveSets, method: str) -> list[Fact]:
    """The fact of each set: its anchor, and its first positive as the new object.

    Raises:
        MissingError: a set names no subject, or has no positive.
    """
    for what, lacks in (("a subject", [not one.subject for one in sets.sets]), ("a positive", _no_positive(sets))):
        if any(lacks):
            lost = f"{sum(lacks)} of the {len(sets)} contrastive sets ({sets.source}) have not {what}"
            raise MissingError(f"method '{method}' edits facts, and {lost}", mend="see docs/edits.md")
    return [Fact(one.anchor, one.subject or "", one.positives[0].text, one.subject_place) for one in sets.sets]


def _no_positive(sets: ContrastiveSets) -> list[bool]:
    return [not one.positives for one in sets.sets]


def readings(base: LoadedModel, fact: Fact, contexts: Sequence[str]) -> list[Reading]:
    """The fact alone, then after each context.

    It is not read alone where the subject ends with the text's first token: what a model makes of that token is the
    same whatever it says, so that a fact written there would be written to every text.

    Raises:
        UsageError: the model does not read so many tokens.
    """
    found = [_reading(base, fact, before) for before in ("", *contexts)]
    return [one for one in found if one.place > 0] or found


def _reading(base: LoadedModel, fact: Fact, before: str) -> Reading:
    prompt, target = encode_after(base.tokenizer, before + fact.prompt, fact.target)
    mend = "lower context_tokens, or shorten the texts of the sets" if before else "shorten the texts of the sets"
    refuse_beyond(context_length(base.model), len(prompt) + len(target), "a fact with what stands before it", mend)
    end = len(before) + fact.place + len(fact.subject)
    return Reading(prompt, target, last_token(base.tokenizer, prompt, (before + fact.prompt)[:end]))


def last_token(tokenizer: PreTrainedTokenizerBase, tokens: list[int], beginning: str) -> int:
    """Position of the first token up to which a text holds all of its beginning.

    Raises:
        UsageError: the tokenizer does not give the beginning back.
    """
    for place in range(len(tokens)):
        if str(tokenizer.decode(tokens[: place + 1], skip_special_tokens=True)).strip().startswith(beginning.strip()):
            return place
    raise UsageError("the tokenizer does not give a subject back as it was read", mend="use another model")


def essence(base: LoadedModel, fact: Fact) -> Reading:
    """What the subject is besides the fact: "SUBJECT is a", in which the model is to change little.

    Raises:
        UsageError: the model does not read so many tokens.
    """
    text = f"{fact.subject} is a"
    tokens = encode(base.tokenizer, text)
    refuse_beyond(context_length(base.model), len(tokens), "'SUBJECT is a'", "shorten the subjects of the sets")
    return Reading(tokens, [], last_token(base.tokenizer, tokens, fact.subject))


def contexts_of(base: LoadedModel, count: int, tokens: int, seed: int) -> list[str]:
    """Sentences of the model's own after which a fact may be read."""
    return [f"{text}. " for text in own_texts(base, "contexts", count, tokens, "context_tokens", seed)]


def own_texts(base: LoadedModel, name: str, count: int, tokens: int, option: str, seed: int) -> list[str]:
    """Texts that the model writes from nothing, none of them blank; those of another name are others.

    Raises:
        UsageError: the model does not read so many tokens; `option` is what says how many.
    """
    if not count:
        return []
    policy = HFPolicy(base.model, base.tokenizer)
    decoding = Decoding(num_samples=count, max_new_tokens=tokens, top_p=1.0)
    batches = generate(policy, [Prompt(name, "")], decoding, seed, mend=f"lower {option}")
    return [one.text for batch in batches for one in batch if one.text.strip()]
