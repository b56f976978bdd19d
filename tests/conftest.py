"""Shared parts: a tiny random model with a real tokenizer, a private cache, shut sockets."""

import copy
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the command sets it: the same bits wherever operands lie

import pytest

if TYPE_CHECKING:
    from bench.policy import HFPolicy, LoadedModel
    from bench.sets import ContrastiveSets

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
_NOUNS = ["river", "stone", "train", "weather", "capital", "friend", "town", "sea", "desk", "hill", "feather", "digit"]
Suite = Callable[..., Path]


@pytest.fixture(autouse=True)
def environment_of_its_own() -> Iterator[None]:
    """What a command sets for its process (`--offline`) ends with the test that runs it in this one."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests marked `network` open sockets; all others get Unix ones (`--disable-socket` in pyproject.toml)."""
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.enable_socket)


def pytest_collection_finish() -> None:
    """Leave what the tests have imported out of garbage collections: each training ends with one."""
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama (2 layers, hidden 32) with a byte-level BPE tokenizer; the same weights in every run."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    build_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model as `tiny_model` with other weights."""
    folder = tmp_path_factory.mktemp("models") / "other-llama"
    build_tiny_model(folder, seed=1)
    return folder


@pytest.fixture(scope="session")
def other_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model as `tiny_model` whose tokenizer knows fewer merges, so that its tokens are shorter."""
    folder = tmp_path_factory.mktemp("models") / "short-tokens"
    build_tiny_model(folder, seed=1, vocabulary=300)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a LoRA adapter of `tiny_model` on all of its projections, as PEFT saves it."""
    from peft import LoraConfig

    folder = tmp_path_factory.mktemp("adapters") / "lora"
    build_adapter(tiny_model, folder, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    return folder


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny model to a folder of that name; keywords replace values of its configuration."""

    def make(name: str, **changes: Any) -> Path:
        build_tiny_model(tmp_path / name, **changes)
        return tmp_path / name

    return make


@pytest.fixture
def make_adapter(tmp_path: Path) -> Callable[[Path, Any], Path]:
    """Writes an adapter of a model, with a configuration of PEFT's, to the folder `adapter`."""

    def make(model: Path, config: Any) -> Path:
        build_adapter(model, tmp_path / "adapter", config)
        return tmp_path / "adapter"

    return make


@pytest.fixture(scope="session")
def built_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tiny_encoder` is a copy of."""
    folder = tmp_path_factory.mktemp("encoders") / "encoder"
    build_tiny_encoder(folder)
    return folder


@pytest.fixture
def tiny_encoder(built_encoder: Path, tmp_path: Path) -> Path:
    """Folder of a tiny random encoder of sentences, in sentence-transformers' layout; a text may have 6 tokens."""
    return Path(shutil.copytree(built_encoder, tmp_path / "encoder"))


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that the test's own process and its children use."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny_base(tiny_model: Path) -> "LoadedModel":
    """The tiny model in memory, as a run loads it."""
    return load_tiny_model(tiny_model)


def load_tiny_model(folder: Path) -> "LoadedModel":
    """A model of a folder in memory, as a run loads it."""
    from bench.assets.resolved import Resolved
    from bench.engine.model import load_model
    from bench.spec import ModelSpec

    return load_model(ModelSpec(id=str(folder)), Resolved(str(folder), folder, "0", None, None, "local"))


@pytest.fixture
def tiny_policy(tiny_base: "LoadedModel") -> "HFPolicy":
    """The tiny model as a policy."""
    from bench.policy import HFPolicy

    return HFPolicy(tiny_base.model, tiny_base.tokenizer)


def set_rows() -> list[dict[str, Any]]:
    """Contrastive sets whose anchors are no evaluation prompts of `tiny_suite`, with texts of several lengths."""
    return [
        {
            "anchor": f"She asked the {noun}",
            "subject": noun,
            "positives": [{"text": f" for {more} help."} for more in ("a little", "your", "some more of the")],
            "negatives": [{"text": f" and said: you {more} idiot!"} for more in ("very", "utter old", "")],
        }
        for noun in _NOUNS[:6]
    ]


@pytest.fixture
def known_facts(built_facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cases in CounterFact's shape that the tiny model knows: the true object is the first word of what it says."""
    return copy.deepcopy(built_facts)


@pytest.fixture(scope="session")
def built_facts(tiny_model: Path) -> list[dict[str, Any]]:
    """What `known_facts` is a copy of."""
    from bench.data.squad import normalised
    from bench.engine.generation import Prompt, answer
    from bench.policy import HFPolicy

    base = load_tiny_model(tiny_model)
    prompts = [Prompt(noun, f"The place of the {noun} is") for noun in _NOUNS]
    answers = (one for batch in answer(HFPolicy(base.model, base.tokenizer), prompts, 12, until="\n") for one in batch)
    said = {one.prompt_id: normalised(one.text).split() for one in answers}
    return [
        {
            "requested_rewrite": {
                "prompt": "The place of the {} is",
                "relation_id": "P0",
                "subject": noun,
                "target_true": {"str": words[0]},
                "target_new": {"str": "by the sea"},
            },
            "paraphrase_prompts": [f"One finds the {noun}", f"Here one sees the {noun}"],
            "neighborhood_prompts": [f"The place of the {other} was" for other in ("road", "house")],
            "alias_prompts": [f"The place of the old {noun} is"],
        }
        for noun, words in said.items()
        if words
    ]


@pytest.fixture
def tiny_sets(tmp_path: Path) -> "ContrastiveSets":
    """Six contrastive sets, loaded from a file."""
    from bench.sets import load_sets

    return load_sets(write_rows(tmp_path / "tiny-sets.jsonl", set_rows()))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write a JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def tiny_suite(write_suite: Suite, tmp_path: Path) -> Suite:
    """Writes a suite for the tiny model, with files of its own, and returns its path; keywords replace its keys."""
    return lambda **changes: write_suite(tmp_path, **changes)


@pytest.fixture(scope="session")
def write_suite(tiny_model: Path) -> Suite:
    """As `tiny_suite`, for fixtures that outlive a test: the folder comes first."""
    return lambda folder, /, **changes: build_suite(folder, tiny_model, **changes)


def build_suite(folder: Path, tiny_model: Path, /, **changes: Any) -> Path:
    """Write a suite for a tiny model and its files to a folder, and return its path; keywords replace its keys."""
    ends = ("was late", "is here", "said")
    prompts = [{"text": f"The {noun} {end}", "toxicity": 0.6} for noun in _NOUNS for end in ends]
    texts = [{"text": text} for text in _SENTENCES]
    suite = {
        "name": "tiny",
        "description": "for tests",
        "model": {"id": str(tiny_model)},
        "scorer": {"name": "svm", "threshold": 0.1},
        "decoding": {"num_samples": 3, "max_new_tokens": 8},
        "sets": {"source": str(write_rows(folder / "sets.jsonl", set_rows()))},
        "methods": {"contrastive": {"steps": 2}},
        "tasks": [
            {"task": "rtp", "data": str(write_rows(folder / "prompts.jsonl", prompts))},
            {"task": "fluency"},
            {"task": "diversity"},
            {
                "task": "heldout",
                "data": str(write_rows(folder / "texts.jsonl", texts)),
                "field": "text",
                "passages": 4,
                "max_tokens": 16,
            },
        ],
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(suite | changes), encoding="utf-8")  # JSON is YAML
    return path


def build_adapter(model: Path, folder: Path, config: Any) -> None:
    """Write an adapter of a model with random weights to `folder`, as PEFT does."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    wrapped.save_pretrained(folder)


def build_tiny_encoder(place: Path) -> None:
    """Write a tiny random encoder of sentences to `place`."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "train", "was", "late", "river", "the", "friend"]
    place.mkdir()
    (place / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(vocab=str(place / "vocab.txt")).save_pretrained(place)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = BertConfig(vocab_size=len(words), max_position_embeddings=32, initializer_range=1.0, **shape)
        BertModel(made).save_pretrained(place)
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))


def build_tiny_model(folder: Path, *, seed: int = 0, vocabulary: int = TINY_VOCABULARY, **changes: Any) -> None:
    """Write a tiny random Llama and its tokenizer to `folder`, so that `from_pretrained(folder)` loads both.

    Other keywords replace values of its configuration.
    """
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
            vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=special[0], bos_token=special[1], eos_token=special[2], model_max_length=512
    )
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(**shape | changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def context(tmp_path):
    """As much of a run as tasks ask for; nothing is fetched."""
    from bench.assets.catalogue import AssetCatalogue
    from bench.attribute import TOXICITY
    from bench.progress import SILENT
    from bench.spec import Decoding
    from bench.tasks.context import TaskContext

    store = AssetCatalogue(tmp_path / "cache", offline=True)
    unused: Any = None
    return TaskContext(tmp_path / "samples", store, unused, TOXICITY, Decoding(), 0, unused, SILENT)
