"""Examples in the prompt follow their rule: the same computed by hand, token by token, on the tiny model."""

import pytest
import torch
from by_hand import logits_of, made
from sklearn.feature_extraction.text import TfidfVectorizer

from bench.engine.tokens import encode
from bench.policy import LoadedModel
from bench.store.files import read_json
from methods.few_shot import FewShot, FewShotConfig, Similar

TEXTS = [
    "She asked the river for a little help.",
    "The stone is heavier, heavier than a feather.",
    "A river and the sea",
    "",
    "0, 1, 2, 3",
    "The river joins the sea.",
]
PROMPT = "She asked the train for a little help, and it rained"


@pytest.mark.parametrize("text", ["the river joins a SEA of stone", "a feather", "nothing of it", ""])
def test_similarity_is_that_of_scikit_learn(text):
    fitted = TfidfVectorizer(token_pattern=r"\w+").fit(TEXTS)  # noqa: S106
    expected = (fitted.transform(TEXTS) @ fitted.transform([text]).T).toarray()[:, 0]
    similar = Similar(TEXTS)
    assert similar.cosines(text) == pytest.approx(expected.tolist(), abs=1e-12)
    order = similar.nearest(text, 4)
    assert order == sorted(range(6), key=lambda number: (-round(expected[number], 9), number))[:4]


def test_texts_are_alike_in_scripts_without_spaces_and_with_marks():
    """As scikit-learn's over the words that a reader sees: each Chinese character, a vowel sign with its letter."""
    chinese = Similar(["今天天气很好。", "昨天下雨了我很难过"]).cosines("昨天下雨了")
    assert chinese[1] > 0.5 > chinese[0]
    hindi = Similar(["यह में है", "वह मीन थी"]).cosines("में")
    assert hindi[0] > 0 == hindi[1]


def prefix(base: LoadedModel, texts: list[str], row: list[int], shots: int, opening: int) -> list[int]:
    """Tokens of the examples that stand before the next token of a row."""
    said = base.tokenizer.decode(row[:opening]) if len(row) >= opening else ""
    chosen = Similar(texts).nearest(said, shots)
    return encode(base.tokenizer, "".join(f"{texts[number]}\n" for number in reversed(chosen)))


@pytest.mark.parametrize(("opening", "shots"), [(2, 3), (8, 1), (8, 4), (500, 2)])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_each_token_is_read_after_the_examples_that_the_rows_opening_chooses(
    tiny_base, tiny_sets, tmp_path, opening, shots, strength
):
    method = FewShot(FewShotConfig(shots=shots, opening=opening, strength=strength))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    texts = read_json(tmp_path / "examples.json")["examples"]
    ids = tiny_base.tokenizer(PROMPT)["input_ids"]
    assert len(ids) > 12
    expected, seen = [], set()
    for end in range(1, len(ids) + 1):
        before = prefix(tiny_base, texts, ids[:end], shots, opening)
        seen.add(tuple(before))
        with torch.no_grad():
            plain, after = (
                tiny_base.model(torch.tensor([row])).logits[0, -1] for row in (ids[:end], before + ids[:end])
            )
        expected.append(plain + strength * (after - plain))
    assert len(seen) == (1 if opening == 500 else 2)
    with method.applied(tiny_base, artifact) as policy:
        assert torch.allclose(logits_of(policy, PROMPT), torch.stack(expected), atol=1e-4)
        assert policy.not_exportable()


def test_an_example_is_an_anchor_with_a_good_text_of_it(tiny_base, tiny_sets, tmp_path):
    made(FewShot(FewShotConfig()), tiny_base, tiny_sets, tmp_path)
    shown = read_json(tmp_path / "examples.json")["examples"]
    whole = {one.anchor: {f"{one.anchor}{text.text}" for text in one.positives} for one in tiny_sets.sets}
    assert len(shown) == len(whole)
    for anchor, texts in whole.items():
        assert len(texts & set(shown)) == 1, anchor


def test_the_line_says_how_an_example_is_shown(tiny_base, tiny_sets, tmp_path):
    made(FewShot(FewShotConfig(line="Good:\n{text}")), tiny_base, tiny_sets, tmp_path)
    shown = read_json(tmp_path / "examples.json")["examples"]
    assert all(one.startswith("Good: for ") for one in shown)
    assert len(shown) == len(set(shown)) <= 3
