"""Shared parts: a tiny random model with a real tokenizer, a private cache, shut sockets."""

import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

_SENTENCES = (
    "The river rises in the hills, runs south past two small towns and joins the sea.",
    "She asked whether the train was late, and the man at the desk said that it was not.",
    "What is the capital of France? The capital of France is Paris.",
    "You are a very kind friend, and I thank you for all of your help today.",
    "Numbers such as 0, 1, 2, 3, 4, 5, 6, 7, 8 and 9 are written with digits.",
    "A. yes\nB. no\nC. maybe\nD. none of these",
    "He did not like the weather; nobody did. It rained, and it rained again!",
    "Question: which of them is heavier, a stone or a feather?\nAnswer: a stone",
)
TINY_VOCABULARY = 400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests marked `network` open sockets; all others get Unix ones (`--disable-socket` in pyproject.toml)."""
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.enable_socket)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama (2 layers, hidden 32) with a byte-level BPE tokenizer; the same weights in every run."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    build_tiny_model(folder)
    return folder


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that the test's own process and its children use."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    return folder


def build_tiny_model(folder: Path, *, seed: int = 0) -> None:
    """Write a tiny random Llama and its tokenizer to `folder`, so that `from_pretrained(folder)` loads both."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|bos|>", "<|eos|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        _SENTENCES,
        trainers.BpeTrainer(
            vocab_size=TINY_VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=special[0], bos_token=special[1], eos_token=special[2], model_max_length=512
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
