"""What a model takes of a GPU's memory is known from its files; batches follow from that and from the card alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from families import FAMILIES, Family
from transformers import MistralConfig

from bench.assets.catalogue import AssetCatalogue
from bench.cli import workers
from bench.engine import memory
from bench.engine.architecture import config_of
from bench.engine.batching import BATCH_BUDGET, BATCH_TOKENS
from bench.engine.likelihood import loglikelihood
from bench.engine.memory import DeviceMemory, Footprint, footprint, refuse_too_large
from bench.engine.processes import GPU_SHARERS
from bench.errors import MissingError
from bench.progress import SILENT
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.spec import ModelSpec
from bench.store.runs import load_run
from methods.contrastive import ContrastiveConfig, ContrastivePerplexity
from methods.decoding.mixture import weighted
from methods.decoding.prefix import PrefixPolicy

GIB = 1 << 30
SPEC = ModelSpec(id="x", dtype="bfloat16")


@pytest.fixture
def mistral_7b(monkeypatch, tmp_path) -> Footprint:
    """Of the shape of Mistral 7B in bfloat16; the files are not there, their shapes are."""
    config = MistralConfig(vocab_size=32_000, head_dim=128)
    monkeypatch.setattr(memory, "_shapes", lambda _: iter([("all", 7_241_732_096)]))
    found = footprint(tmp_path, config, SPEC)
    assert found
    return found


@pytest.mark.parametrize("family", [one for one in FAMILIES if not one.keeps_state], ids=lambda family: family.title)
def test_weights_and_states_are_those_of_the_loaded_model(family: Family, tmp_path):
    """Of every family: bytes of its parameters, and of the keys and values of a token."""
    model = family.make()
    model.save_pretrained(tmp_path)
    config = config_of(tmp_path)
    if "num_key_value_heads" not in type(config)().to_dict():
        del config.num_key_value_heads  # it was given to all families alike
    found = footprint(tmp_path, config, ModelSpec(id="x"))
    assert found
    assert found.weights == sum({part.data_ptr(): part.numel() * 4 for part in model.state_dict().values()}.values())
    with torch.no_grad():
        cache = model(torch.tensor([[5, 6, 7, 8]]), use_cache=True).past_key_values
    held = sum(part.numel() * 4 for layer in cache.layers for part in (layer.keys, layer.values))
    assert held == 4 * found.state


def test_numbers_of_half_the_size_take_half(tiny_model):
    config = config_of(tiny_model)
    whole, half = (footprint(tiny_model, config, ModelSpec(id="x", dtype=dtype)) for dtype in ("float32", "bfloat16"))
    assert whole and half
    assert (whole.weights, whole.state, whole.kept) == (2 * half.weights, 2 * half.state, 2 * half.kept)
    four = footprint(tiny_model, config, ModelSpec(id="x", dtype="bfloat16", quantization="4bit"))
    assert four and four.weights < half.weights


def test_what_the_files_do_not_say_is_not_guessed(tiny_model, tmp_path):
    assert footprint(tmp_path, config_of(tiny_model), SPEC) is None
    (tmp_path / "model.safetensors").write_bytes(b"no header")
    assert footprint(tmp_path, config_of(tiny_model), SPEC) is None
    config = config_of(tiny_model)
    config.quantization_config = {"quant_method": "gptq"}
    assert footprint(tiny_model, config, SPEC) is None


# --- batches ---


@pytest.mark.parametrize("size", [16, 24, 40, 80, 141])
def test_weights_and_batches_stay_within_the_card(mistral_7b, size):
    tokens = mistral_7b.room_for(size * GIB)
    assert tokens % 1024 == 0
    assert 1024 <= tokens <= 65_536
    if size > 16:
        assert mistral_7b.weights + mistral_7b.batch(tokens) <= 0.85 * size * GIB
        assert tokens >= 4096
    if tokens < 65_536:
        assert mistral_7b.weights + mistral_7b.batch(tokens + 1024) > 0.85 * size * GIB - 2 * GIB


def test_more_memory_never_makes_smaller_batches(mistral_7b):
    found = [mistral_7b.room_for(size * GIB) for size in range(8, 160, 4)]
    assert found == sorted(found)
    assert found[0] == 1024
    assert found[-1] == 65_536


def test_cards_of_a_kind_have_the_same_batches(mistral_7b):
    """Some bytes more or less of a driver's make no difference."""
    assert mistral_7b.room_for(24 * GIB) == mistral_7b.room_for(24 * GIB + 900_000_000)


def test_models_that_read_the_same_tokens_share_the_room(tiny_policy, monkeypatch):
    """Each has keys and values of its own; what was asked for, or is a constant, stays as it is."""
    two = weighted([(1.0, tiny_policy), (1.0, tiny_policy)])
    three = weighted([(1.0, two), (1.0, PrefixPolicy(tiny_policy, [5]))])
    assert [one.readings for one in (tiny_policy, two, three)] == [1, 2, 3]
    made: list[int] = []
    real = two.forward
    monkeypatch.setattr(two, "forward", lambda ids, *a, **o: made.append(ids.numel()) or real(ids, *a, **o))
    for rule, most in (("memory", 30), ("asked", 60)):
        monkeypatch.setattr(BATCH_BUDGET, "tokens", 60)
        monkeypatch.setattr(BATCH_BUDGET, "rule", rule)
        made.clear()
        loglikelihood(two, [([n, 6, 7, 8, 9], [5]) for n in range(5, 50)])
        assert most / 2 < max(made) <= most


def test_processes_that_share_a_card_share_its_memory(monkeypatch):
    """What is free is not divided: the others may have what they need already."""
    card = SimpleNamespace(
        is_available=lambda: True,
        mem_get_info=lambda: (30 * GIB, 80 * GIB),
        memory_reserved=lambda: 3 * GIB,
        memory_allocated=lambda: GIB,
    )
    monkeypatch.setattr(memory, "torch", SimpleNamespace(cuda=card))
    assert memory.device_memory() == DeviceMemory(80 * GIB, 32 * GIB)
    for count, gpus, share in ((3, ["0", "1"], 40), (2, ["0", "1"], 80), (2, [], 80), (4, ["0"], 20)):
        monkeypatch.delenv(GPU_SHARERS, raising=False)
        for name, said in workers._sharing(count, gpus).items():
            monkeypatch.setenv(name, said)
        assert memory.device_memory() == DeviceMemory(share * GIB, 32 * GIB)


# --- refusals ---


def test_nothing_that_fits_is_refused(mistral_7b):
    refuse_too_large("model 'x'", mistral_7b, DeviceMemory(24 * GIB, mistral_7b.weights), {})
    with pytest.raises(MissingError, match=r"^model 'x' does not fit: its weights take 14\.5 GB, and 14\.5 GB of the"):
        refuse_too_large("model 'x'", mistral_7b, DeviceMemory(24 * GIB, mistral_7b.weights - 1), {})


def test_it_says_what_would_fit(mistral_7b):
    smaller = {
        "suite.model.dtype=bfloat16": replace(mistral_7b, weights=15 * GIB),
        "suite.model.quantization=4bit": replace(mistral_7b, weights=4 * GIB),
    }
    needed = replace(mistral_7b, weights=29 * GIB)
    with pytest.raises(MissingError, match=r"--set suite.model.dtype=bfloat16 \(16.1 GB\) or --set suite.model.quant"):
        refuse_too_large("model 'x'", needed, DeviceMemory(24 * GIB, 20 * GIB), smaller)
    with pytest.raises(MissingError) as told:
        refuse_too_large("model 'x'", needed, DeviceMemory(12 * GIB, 11 * GIB), smaller)
    assert "bfloat16" not in str(told.value)
    assert "4bit" in str(told.value)


def test_a_training_step_takes_less_when_states_are_computed_anew(mistral_7b):
    """And grows with its texts."""
    method = ContrastivePerplexity(ContrastiveConfig())
    plain = method.memory(mistral_7b)
    assert plain > mistral_7b.layers * 8 * 48 * mistral_7b.kept
    assert ContrastivePerplexity(ContrastiveConfig(anchors_per_step=4)).memory(mistral_7b) > 1.5 * plain
    assert ContrastivePerplexity(ContrastiveConfig(gradient_checkpointing=True)).memory(mistral_7b) < 0.5 * plain


# --- runs ---


class Notes:
    """A progress that keeps the notes."""

    def __init__(self) -> None:
        self.bar, self.notes = SILENT.bar, list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def card(monkeypatch) -> Iterator[Any]:
    """Say what the device has."""
    monkeypatch.setattr(BATCH_BUDGET, "tokens", BATCH_TOKENS)
    monkeypatch.setattr(BATCH_BUDGET, "rule", "constant")
    return lambda total, free: monkeypatch.setattr(memory, "device_memory", lambda: DeviceMemory(total, free))


def go(suite: Path, home: Path, *, fresh: bool = False, **options: Any) -> tuple[Any, list[str]]:
    (experiment,) = make_experiments(Request(("none",), str(suite)))
    notes = Notes()
    env = Environment(experiment.suite, AssetCatalogue(home / "cache", offline=True), notes, **options)
    (outcome,) = run_experiments([experiment], env, home / "runs", fresh=fresh)
    return outcome, notes.notes


def test_the_record_says_where_the_size_of_batches_comes_from(tiny_suite, tmp_path, card):
    """It is the same whatever is free when the run is begun, or begun anew."""
    (first, notes), sizes = go(tiny_suite(), tmp_path), []
    assert load_run(first.folder).manifest.engine["batch_rule"] == "constant"
    assert not [note for note in notes if "memory of" in note]
    for free in (70 * GIB, 9 * GIB):
        card(80 * GIB, free)
        outcome, notes = go(tiny_suite(), tmp_path, fresh=True)
        engine = load_run(outcome.folder).manifest.engine
        assert engine["batch_rule"] == "memory"
        sizes.append(engine["batch_tokens"])
        (note,) = (note for note in notes if "memory of" in note)
        assert note.startswith("memory of 'none': about ")
        assert "of the card's 85.9 GB" in note
    assert sizes == [65_536] * 2
    engine = load_run(go(tiny_suite(), tmp_path, fresh=True, batch_tokens=300)[0].folder).manifest.engine
    assert (engine["batch_rule"], engine["batch_tokens"]) == ("asked", 300)


def test_a_model_that_does_not_fit_is_refused_before_any_work(tiny_suite, tmp_path, card):
    card(GIB, 1000)
    with pytest.raises(MissingError, match=r"model '.*' does not fit: its weights take .* or --device cpu"):
        go(tiny_suite(), tmp_path)
    assert not (tmp_path / "runs").exists()
