"""ROME's rule on a small GPT-2 that knows facts: what it writes is what the model then finds likelier.

GPT-2 keeps its matrices transposed (`Conv1D`), and an update written the wrong way round would leave every fact. The
model is trained here, in seconds, on facts whose prompts end with their subject. Such small models read what stands
after a subject by their first layer's attention, before any feed-forward block: where words follow the subject, an
edit of its place reaches few facts, whatever the method (docs/edits.md).
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode_after
from bench.method import Method, RunContext
from bench.policy import HFPolicy, LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.sets import ContrastiveSets
from bench.sets.format import ContrastiveSet, Text
from methods.memit import MEMIT, MEMITConfig
from methods.rome import ROME, ROMEConfig

PROMPT = "The colour of {}"
OBJECTS = (" red", " green", " blue")
SUBJECTS = {
    f"{name} {place}": OBJECTS[(i * j) % 3]
    for i, name in enumerate(("Ada", "Ben", "Eve", "Hal"))
    for j, place in enumerate(("Dale", "Elm", "Glen", "Heath"))
}
EDITED = sorted(SUBJECTS)[::2]
TEXTS: dict[str, Any] = {"contexts": 0, "texts": 30, "text_tokens": 12}


def new(subject: str) -> str:
    return OBJECTS[(OBJECTS.index(SUBJECTS[subject]) + 1) % 3]


@pytest.fixture(scope="module")
def base() -> LoadedModel:
    """A GPT-2 of two layers, trained until it knows the facts."""
    facts = [PROMPT.format(subject) + true for subject, true in SUBJECTS.items()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(facts, BpeTrainer(special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=special[0], eos_token=special[1])
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=48, n_layer=2, n_head=4, n_positions=64, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()  # without dropout
    texts = [before + text + special[1] for text in facts for before in ("", special[1])]
    ids = tokenizer(texts, return_tensors="pt", padding=True)
    labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        model(**ids, labels=labels).loss.backward()
        optimizer.step()
    return LoadedModel(model.requires_grad_(False), tokenizer, "small-gpt2", "0")


def says(base: LoadedModel, subjects: list[str], objects: dict[str, str], others: dict[str, str]) -> float:
    """The share of subjects whose object is likelier than the other one."""
    policy = HFPolicy(base.model, base.tokenizer)
    pairs = [(PROMPT.format(one), text) for one in subjects for text in (objects[one], others[one])]
    found = [one.logprob for one in loglikelihood(policy, [encode_after(base.tokenizer, *pair) for pair in pairs])]
    return sum(a > b for a, b in zip(found[::2], found[1::2], strict=True)) / len(subjects)


def sets_of(subjects: list[str]) -> ContrastiveSets:
    rows = [
        ContrastiveSet(
            anchor=PROMPT.format(one),
            subject=one,
            positives=[Text(text=new(one))],
            negatives=[Text(text=SUBJECTS[one])],
            provenance={},
        )
        for one in subjects
    ]
    return ContrastiveSets(rows, "0", "a test")


@pytest.mark.parametrize("at_once", [1, len(EDITED)])
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(ROME(ROMEConfig(**TEXTS)), id="rome"),
        pytest.param(MEMIT(MEMITConfig(layers=(0, 1), preserved=1, **TEXTS)), id="memit"),
    ],
)
def test_what_is_written_is_likelier_than_what_was_true(
    method: Method[Any], at_once: int, base: LoadedModel, tmp_path: Path
):
    changed = {one: new(one) for one in SUBJECTS}
    assert says(base, list(SUBJECTS), SUBJECTS, changed) == 1, "the model knows all facts"
    shares = []
    for start in range(0, len(EDITED), at_once):
        some = EDITED[start : start + at_once]
        folder = tmp_path / str(start)
        folder.mkdir()
        make_artifact(method, base, sets_of(some), RunContext(folder))
        with method.applied(base, load_artifact(folder)):
            shares.append(says(base, some, changed, SUBJECTS))
    assert sum(shares) / len(shares) >= 0.9
    assert says(base, list(SUBJECTS), SUBJECTS, changed) == 1, "the base is the base again"
