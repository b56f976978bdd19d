"""Texts that a model's tokenizer drops are no texts to learn from: they are left out, told and counted."""

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import PreTrainedTokenizerFast

from bench.run.tokenless import TOKENLESS, with_tokens
from bench.sets.format import ContrastiveSet, ContrastiveSets, Text

WORDS = {word: number for number, word in enumerate(("[UNK]", "[CLS]", "it", "is", "so", "!"))}


@pytest.fixture
def env() -> Any:
    """Of a model whose tokenizer drops blanks, as that of Chinese GPT-2 does."""
    unknown, first = "[UNK]", "[CLS]"
    whole = Tokenizer(WordPiece(WORDS, unk_token=unknown))
    whole.normalizer, whole.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, unk_token=unknown, bos_token=first)
    notes: list[str] = []
    sets = SimpleNamespace(is_made=False)
    return SimpleNamespace(tokenizer=tokenizer, suite=SimpleNamespace(sets=sets), progress=Told(notes), notes=notes)


class Told:
    """Keeps notes."""

    def __init__(self, notes: list[str]) -> None:
        self.note = notes.append


def sets_of(*texts: str, taken: dict[str, Any] | None = None) -> ContrastiveSets:
    sides = [Text(text=text) for text in texts]
    return ContrastiveSets([ContrastiveSet(anchor="it is", positives=sides, negatives=sides[:2])], "0", "mine", taken)


def test_texts_without_a_token_are_left_out_and_counted(env):
    found = with_tokens(sets_of(" ", " so", "\u200b", "\u0301", "!", "\u4e2d", "  \n"), env)
    (one,) = found.sets
    assert [text.text for text in one.positives] == [" so", "!", "\u4e2d"]
    assert [text.text for text in one.negatives] == [" so"]
    assert found.taken == {"data": "texts of mine", "rows": 9, "taken": 4, "left_out": {TOKENLESS: 5}}
    assert env.notes == [f"contrastive sets: 5 texts of mine are left out, {TOKENLESS}"]


def test_what_was_left_out_before_is_counted_beside(env):
    taken = {"data": "texts of mine", "rows": 5, "taken": 3, "left_out": {"that two rows judge": 2}}
    found = with_tokens(sets_of(" so", " ", taken=taken), env)
    assert found.taken == {**taken, "taken": 1, "left_out": {"that two rows judge": 2, TOKENLESS: 2}}


def test_sets_of_texts_with_tokens_are_what_they_were(env):
    sets = sets_of(" so", "!")
    assert with_tokens(sets, env) is sets
    env.suite.sets.is_made = True
    made = with_tokens(sets_of(" so", " "), env)
    assert made.taken is None
    assert len(made.sets[0].positives) == 1
