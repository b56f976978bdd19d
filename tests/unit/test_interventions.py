"""Ablation, ITI, CAST and examples: what they refuse, and when; several architectures."""

from typing import Any

import pytest
import torch
from families import FAMILIES, Family
from transformers import AutoTokenizer

from bench.errors import MissingError, UsageError
from bench.method import Method, RunContext
from bench.policy import HFPolicy, LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.sets import ContrastiveSet, ContrastiveSets, Text
from bench.spec import validate
from methods.ablation import Ablation, AblationConfig
from methods.anatomy.attention import attention_outputs, heads_of
from methods.anatomy.writers import check_writers, writers
from methods.cast import CAST, CASTConfig
from methods.few_shot import FewShot, FewShotConfig
from methods.iti import ITI, ITIConfig, held_out
from methods.learning.batches import Item

READ = [one for one in FAMILIES if not one.keeps_state]


@pytest.fixture(params=READ, ids=lambda family: family.title)
def family(request) -> Family:
    return request.param


@pytest.fixture
def base(family, tiny_model) -> LoadedModel:
    return LoadedModel(family.make(), AutoTokenizer.from_pretrained(tiny_model), family.title, "hash")


def test_heads_are_found(base):
    outputs = attention_outputs(base.model, base.id, "iti")
    assert len(outputs) == 2
    assert heads_of(base.model, outputs, base.id) == 4


def test_all_that_writes_is_found_or_refused(base, family, tmp_path):
    """Before any work, by the configuration alone; what is found is all of it."""
    base.model.config.save_pretrained(tmp_path)
    method = Ablation(AblationConfig())
    if not family.tells_writers:
        with pytest.raises(
            UsageError, match=r"output matrices of a feed-forward block|changes what its matrices write"
        ):
            method.check(tmp_path, {})
        return
    method.check(tmp_path, {})
    check_writers(base, writers(base.model, base.id, "ablation"), "ablation")


def test_another_writer_is_noticed(tiny_base):
    found = writers(tiny_base.model, "it", "ablation")
    for missing in range(len(found)):
        with pytest.raises(UsageError, match="writes into its residual stream in a way that ablation does not know"):
            check_writers(tiny_base, [one for number, one in enumerate(found) if number != missing], "ablation")


def test_an_attention_without_one_output_is_refused(tiny_base):
    tiny_base.model.model.layers[1].self_attn.add_module("out_proj", torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"layer 1 of it has 2 output projections of attention, and iti needs the one"):
        attention_outputs(tiny_base.model, "it", "iti")


def test_heads_that_cannot_be_told_are_refused(make_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make_model("m"))
    outputs = attention_outputs(model, "it", "iti")
    model.config.num_attention_heads = 5
    with pytest.raises(UsageError, match=r"the attention heads of it \(LlamaForCausalLM\) cannot be told"):
        heads_of(model, outputs, "it")


# --- options ---


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Ablation, {"layer": -1}),
        (Ablation, {"position": "first"}),
        (ITI, {"heads": 0}),
        (ITI, {"negatives": 0}),
        (CAST, {"condition_layer": -1}),
        (CAST, {"condition_layer": 2, "layer": 1}),
        (FewShot, {"shots": 0}),
        (FewShot, {"opening": 1}),
        (FewShot, {"line": "{prompt}"}),
    ],
)
def test_bad_values_are_refused(kind, options):
    with pytest.raises(UsageError, match="|".join(options)):
        validate(kind.Config, options, "method")


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Ablation(AblationConfig(layer=2)), "has 2 layers and no layer 2; layer = 0 to 1"),
        (CAST(CASTConfig(layer=2)), "has 2 layers and no layer 2; layer = 0 to 1"),
        (
            CAST(CASTConfig(condition_layer=2)),
            "after layer 2, and the vector added after layer 1; condition_layer = 0 to 1",
        ),
        (ITI(ITIConfig(heads=9)), "has 8 attention heads and not 9; heads = 1 to 8"),
    ],
    ids=lambda one: one.info.name if isinstance(one, Method) else "",
)
def test_what_the_model_lacks_is_refused_before_any_work(tiny_model, method, reason):
    with pytest.raises(UsageError, match=reason):
        method.check(tiny_model, {})


# --- what is missing ---


def test_probes_need_two_anchors(tiny_base, tmp_path):
    one = ContrastiveSet(anchor="a", positives=[Text(text=" b")], negatives=[Text(text=" c")])
    with pytest.raises(MissingError, match="holds out, and got a single one"):
        make_artifact(ITI(ITIConfig()), tiny_base, ContrastiveSets([one], "0", "a test"), RunContext(tmp_path))


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        (Ablation(AblationConfig()), "negatives"),
        (ITI(ITIConfig()), "negatives"),
        (CAST(CASTConfig()), "negatives"),
        (FewShot(FewShotConfig()), "positives"),
    ],
    ids=lambda one: one.info.name if isinstance(one, Method) else "",
)
def test_sets_that_lack_a_kind_of_text_are_refused(tiny_base, tmp_path, method, missing):
    texts: dict[str, Any] = {"positives": [Text(text=" b")], "negatives": [Text(text=" c")], missing: []}
    sets = ContrastiveSets([ContrastiveSet(anchor="a", **texts)], "0", "a test")
    with pytest.raises(MissingError, match=rf"none of the 1 contrastive sets .* has .*{missing}"):
        make_artifact(method, tiny_base, sets, RunContext(tmp_path))


def test_ablation_refuses_a_quantised_model(tiny_base, tiny_sets, tmp_path, monkeypatch):
    method = Ablation(AblationConfig())
    make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    monkeypatch.setattr(tiny_base.model, "is_quantized", True, raising=False)
    with pytest.raises(UsageError, match="are quantised"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    with pytest.raises(UsageError, match="are quantised"), method.applied(tiny_base, load_artifact(tmp_path)):
        pytest.fail("it was applied")


def test_examples_that_leave_no_room_are_refused(tiny_base, tiny_sets, tmp_path):
    tiny_base.model.config.max_position_embeddings = 60
    method = FewShot(FewShotConfig())
    with pytest.raises(UsageError, match=r"4 examples before the prompt have up to \d+ tokens and .* reads 60; lower"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))


def test_examples_take_from_what_the_model_reads(tiny_base, tiny_sets, tmp_path):
    method = FewShot(FewShotConfig(shots=2))
    facts = make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    with method.applied(tiny_base, load_artifact(tmp_path)) as policy:
        plain = HFPolicy(tiny_base.model, tiny_base.tokenizer)
        assert policy.max_length == plain.max_length - facts["prefix_tokens"]
        assert policy.end_tokens == plain.end_tokens


def test_probes_need_anchors_to_hold_out():
    with pytest.raises(MissingError, match=r"got a single one; give it more sets"):
        held_out([Item("He said", ("a",), ("b",))] * 3)
    with pytest.raises(MissingError, match=r"are all empty; give each set its anchor \(in a recipe .*anchor: sentence"):
        held_out([Item("", ("a",), ("b",))] * 3)
    assert held_out([Item("one", ("a",), ("b",)), Item("two", ("a",), ("b",))]) == {"two"}
