"""Shared training: what phi counts, what a run trains on, and how a hopeless run ends."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import get_scheduler

from bench import registry
from bench.errors import MissingError, UsageError
from bench.method import TRAINING_LOG, RunContext
from bench.run.artifact import load_artifact, make_artifact
from bench.sets import ContrastiveSet, ContrastiveSets, Text
from bench.spec import validate
from methods.contrastive import ContrastiveConfig, ContrastivePerplexity
from methods.dpo import DPO, DPOConfig
from methods.learning.adapter import adapted
from methods.learning.batches import Asks, Collator, Item, Likelihoods, draw_items, mismatch, paired, score_batch
from methods.learning.options import TrainingConfig, total_steps
from methods.learning.trainer import train_adapter, training_options

ITEMS = [
    Item("She asked", (" whether the train was late.", " him."), (" what is it",)),
    Item(
        "The river rises in the hills, runs south past two small towns and", (" joins the sea.",), (" x", " 0, 1, 2, 3")
    ),
    Item("", ("He did not like the weather",), ("; nobody did.",)),
]


def sets_of(*counts: tuple[int, int]) -> ContrastiveSets:
    """One anchor a pair, with so many positives and negatives, each text different."""
    made = [
        ContrastiveSet(
            anchor=f"anchor {number}",
            positives=[Text(text=f" good {number}.{i}") for i in range(good)],
            negatives=[Text(text=f" bad {number}.{i}") for i in range(bad)],
        )
        for number, (good, bad) in enumerate(counts)
    ]
    return ContrastiveSets(made, "hash", "a test")


def alone(base: Any, anchor: str, text: str) -> tuple[float, int]:
    """Log-likelihood of a text's tokens after its anchor: one row, no padding, no cache, position by position."""
    prompt = base.tokenizer(anchor)["input_ids"] or [base.tokenizer.bos_token_id]
    own = base.tokenizer(anchor + text)["input_ids"][len(prompt) :] if anchor else base.tokenizer(text)["input_ids"]
    with torch.no_grad():
        logprobs = base.model(torch.tensor([prompt + own])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(own)), len(own)


def test_phi_counts_the_tokens_of_the_text_alone(tiny_base):
    """Neither the anchor's tokens nor padding count, whatever a text is batched with."""
    rows = [(item.anchor, text) for item in ITEMS for text in (*item.positives, *item.negatives)]
    with torch.no_grad():
        scored = score_batch(tiny_base.model, Collator(tiny_base.tokenizer)(ITEMS))
    for (anchor, text), logprob, tokens in zip(rows, scored.logprob, scored.tokens, strict=True):
        expected, count = alone(tiny_base, anchor, text)
        assert int(tokens) == count
        assert float(logprob) == pytest.approx(expected, abs=1e-4)
    assert scored.group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert scored.positive.tolist() == [True, True, False, True, False, False, True, False]
    assert scored.phi.tolist() == pytest.approx((-scored.logprob / scored.tokens).tolist())


def test_gradients_do_not_depend_on_the_batch(tiny_base):
    """The gradient of one item's likelihoods is the same alone and beside longer ones."""
    collate, model = Collator(tiny_base.tokenizer), tiny_base.model
    weight = model.model.layers[0].mlp.up_proj.weight.requires_grad_()

    def gradient(items: list[Item]) -> torch.Tensor:
        scored = score_batch(model, collate(items))
        return torch.autograd.grad(scored.phi[scored.group == 0].sum(), weight)[0]

    both, single = gradient(ITEMS), gradient(ITEMS[:1])
    assert float((both - single).abs().max()) < 1e-5
    assert float(single.abs().max()) > 1e-3


def test_the_anchors_likelihood_is_of_its_tokens_from_the_second_on(tiny_base):
    """And asking for it does not change the texts'."""
    batch = Collator(tiny_base.tokenizer)(ITEMS)
    with torch.no_grad():
        plain = score_batch(tiny_base.model, batch)
        scored = score_batch(tiny_base.model, batch, prompts=True)
    assert plain.prompt_logprob is None
    assert scored.logprob.tolist() == pytest.approx(plain.logprob.tolist(), abs=1e-4)
    assert scored.tokens.tolist() == plain.tokens.tolist()
    for row, number in enumerate(scored.group.tolist()):
        ids = tiny_base.tokenizer(ITEMS[number].anchor)["input_ids"] or [tiny_base.tokenizer.bos_token_id]
        with torch.no_grad():
            logprobs = tiny_base.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(logprobs[place, token]) for place, token in enumerate(ids[1:]))
        assert float(scored.prompt_logprob[row]) == pytest.approx(expected, abs=1e-4)
        assert int(scored.prompt_tokens[row]) == len(ids) - 1


def rows_of(*counts: tuple[int, int]) -> Likelihoods:
    """Rows of so many positives and negatives an anchor, in the collator's order."""
    rows = [
        (number, positive)
        for number, pair in enumerate(counts)
        for positive, count in zip((True, False), pair, strict=True)
        for _ in range(count)
    ]
    none = torch.zeros(len(rows))
    return Likelihoods(none, none, torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows]))


@pytest.mark.parametrize(
    ("counts", "pairs"),
    [
        ([(2, 2)], [(0, 2), (1, 3)]),
        ([(1, 3)], [(0, 1), (0, 2), (0, 3)]),
        ([(3, 2)], [(0, 3), (1, 4), (2, 3)]),
        ([(1, 1), (2, 1)], [(0, 1), (2, 4), (3, 4)]),
        ([(2, 0), (1, 1)], [(2, 3)]),
        ([(2, 0)], []),
    ],
)
def test_pairs_are_of_one_anchor_and_every_text_is_in_one(counts, pairs):
    """The j-th positive with the j-th negative; the fewer are gone through again."""
    chosen, rejected = paired(rows_of(*counts))
    assert list(zip(chosen.tolist(), rejected.tolist(), strict=True)) == pairs


def test_texts_are_mismatched_with_the_next_other_anchor():
    one, two, three = Item("1", ("a", "b"), ("c",)), Item("2", ("d",), ()), Item("3", (), ("e",))
    same = Item("1", ("f",), ())
    assert mismatch([one, two, three]) == [
        ("2", "a", 0, True),
        ("2", "b", 0, True),
        ("2", "c", 0, False),
        ("3", "d", 1, True),
        ("1", "e", 2, False),
    ]
    assert mismatch([one, same, two])[0] == ("2", "a", 0, True)  # not with its own anchor
    assert mismatch([one, same]) == []
    assert mismatch([one]) == []


def test_items_follow_from_the_seed():
    sets = sets_of(*[(6, 6)] * 5)
    config = TrainingConfig(steps=7)
    assert draw_items(sets, config, 3) == draw_items(sets, config, 3)
    assert draw_items(sets, config, 3) != draw_items(sets, config, 4)


def test_each_pass_takes_every_anchor_once():
    items = draw_items(sets_of(*[(6, 6)] * 6), TrainingConfig(steps=9, anchors_per_step=2), 0)
    assert len(items) == 18
    passes = [[item.anchor for item in items[start : start + 6]] for start in (0, 6, 12)]
    assert all(len(set(one)) == 6 for one in passes)
    assert len({tuple(one) for one in passes}) == 3  # shuffled anew


def test_as_many_texts_as_asked_for_and_each_once():
    config = TrainingConfig(steps=20, positives=3, negatives=2)
    items = draw_items(sets_of((5, 7), (1, 2)), config, 0)
    sizes = Counter((item.anchor, len(item.positives), len(item.negatives)) for item in items)
    assert sizes.keys() == {("anchor 0", 3, 2), ("anchor 1", 1, 2)}
    assert all(len(set(item.positives)) == len(item.positives) for item in items)
    assert all(" good" in text for item in items for text in item.positives)
    drawn = {text for item in items if item.anchor == "anchor 0" for text in item.negatives}
    assert len(drawn) == 7  # drawn anew on each pass, so that all of them are seen


@pytest.mark.parametrize(("positives", "negatives"), [(4, 0), (0, 4)])
def test_one_sided_ablations_ask_for_one_side(positives, negatives):
    """A set without the other side will do then."""
    sets = sets_of((2, 0), (0, 2))
    items = draw_items(sets, TrainingConfig(steps=2, positives=positives, negatives=negatives), 0)
    assert {item.anchor for item in items} == {"anchor 0" if positives else "anchor 1"}
    assert all(bool(item.positives) == bool(positives) and bool(item.negatives) == bool(negatives) for item in items)


def test_epochs_take_the_place_of_steps():
    config = TrainingConfig(steps=999, anchors_per_step=2)
    assert total_steps(5, config.model_copy(update={"epochs": 1.0})) == 3
    assert total_steps(5, config.model_copy(update={"epochs": 2.0})) == 5
    assert total_steps(5, config.model_copy(update={"epochs": 0.01})) == 1
    assert len(draw_items(sets_of(*[(1, 1)] * 5), config.model_copy(update={"epochs": 2.0}), 0)) == 10


def test_sets_without_a_kind_are_refused(tiny_base, tmp_path):
    with pytest.raises(MissingError, match=r"none of the 2 contrastive sets \(a test\) has positives and negatives"):
        train_adapter(tiny_base, sets_of((2, 0), (0, 2)), TrainingConfig(), mean_phi, RunContext(tmp_path))
    with pytest.raises(MissingError, match="needs contrastive sets"):
        train_adapter(tiny_base, None, TrainingConfig(), mean_phi, RunContext(tmp_path))


def test_a_method_of_pairs_needs_both_kinds(tiny_base, tmp_path):
    with pytest.raises(MissingError, match=r"none of the 1 contrastive sets .* has positives and negatives"):
        make_artifact(DPO(DPOConfig()), tiny_base, sets_of((2, 0)), RunContext(tmp_path))


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("sft", {"negatives": 4}, "'negatives' = 4: input should be less than or equal to 0"),
        ("sft", {"positives": 0}, "'positives' = 0: input should be greater than or equal to 1"),
        ("dpo", {"positives": 0}, "'positives' = 0: input should be greater than or equal to 1"),
        ("dpo", {"negatives": 0}, "'negatives' = 0: input should be greater than or equal to 1"),
        ("dpo", {"beta": 0}, "'beta' = 0: input should be greater than 0"),
        ("simpo", {"positives": 0}, "'positives' = 0: input should be greater than or equal to 1"),
        ("orpo", {"negatives": 0}, "'negatives' = 0: input should be greater than or equal to 1"),
        ("kto", {"negatives": 0}, "'negatives' = 0: input should be greater than or equal to 1"),
        ("kto", {"accumulation": 2}, "anchors_per_step = 2 with accumulation = 2 leaves a micro-batch without two"),
        ("unlikelihood", {"negatives": 0}, "'negatives' = 0: input should be greater than or equal to 1"),
        ("npo", {"negatives": 0}, "'negatives' = 0: input should be greater than or equal to 1"),
        ("npo", {"positives": 0}, "positives = 0 leaves nothing to retain: set retain = 0 as well"),
        ("simnpo", {"positives": 0}, "positives = 0 leaves nothing to retain: set retain = 0 as well"),
        ("grpo", {"generations": 1}, "'generations' = 1: input should be greater than or equal to 2"),
        ("grpo", {"positives": 4}, "unknown key 'positives'"),
        ("contrastive", {"positives": 0, "negatives": 0}, "positives and negatives cannot both be 0"),
    ],
)
def test_options_that_leave_nothing_to_learn_are_one_clear_line(method, options, said):
    kind = registry.load("methods", method)
    with pytest.raises(UsageError) as error:
        validate(kind.Config, options, f"method '{method}'")
    assert error.value.what.startswith(f"method '{method}': {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["npo", "simnpo"])
def test_what_is_forgotten_alone_needs_no_positives(tiny_base, tmp_path, method):
    kind = registry.load("methods", method)
    forget = kind(kind.Config(steps=1, positives=0, retain=0))
    make_artifact(forget, tiny_base, sets_of((0, 2), (0, 1)), RunContext(tmp_path))
    assert json.loads((tmp_path / TRAINING_LOG).read_text())[0].keys() == {"loss", "phi_negatives"}


def test_anchors_that_cannot_be_shared_are_refused(tiny_base, tiny_sets, tmp_path):
    config = TrainingConfig(anchors_per_step=3, accumulation=2)
    with pytest.raises(UsageError, match="anchors_per_step = 3 cannot be shared by 1 processes with accumulation = 2"):
        train_adapter(tiny_base, tiny_sets, config, mean_phi, RunContext(tmp_path))


def mean_phi(scores: Likelihoods) -> torch.Tensor:
    return scores.phi[scores.positive].mean()


def train(base: Any, sets: ContrastiveSets, folder: Path, loss: Any = mean_phi, **options: Any) -> list[dict[str, Any]]:
    folder.mkdir()
    config = TrainingConfig(**{"steps": 4, "lr": 5e-3, "warmup": 0.0, **options})
    train_adapter(base, sets, config, loss, RunContext(folder))
    log: list[dict[str, Any]] = json.loads((folder / "training.json").read_text())
    return log


def watched(base: Any, sets: ContrastiveSets, folder: Path, asks: Asks, **options: Any) -> list[Likelihoods]:
    """What the loss saw at each step; the model moves from one to the next."""
    seen: list[Likelihoods] = []

    def loss(scores: Likelihoods) -> torch.Tensor:
        seen.append(scores)
        return mean_phi(scores)

    config = TrainingConfig(**{"steps": 3, "lr": 5e-3, "warmup": 0.0, **options})
    train_adapter(base, sets, config, loss, RunContext(folder), asks=asks)
    return seen


def test_the_reference_is_a_plain_pass_of_the_base(tiny_base, tiny_sets, tmp_path):
    """Before the first step the model is the base; later the reference stays where it was."""
    seen = watched(tiny_base, tiny_sets, tmp_path, Asks(reference=True))
    assert seen[0].reference.tolist() == pytest.approx(seen[0].logprob.tolist(), abs=1e-3)
    items = draw_items(tiny_sets, TrainingConfig(steps=3), 0)[4:]
    texts = [(item.anchor, text) for item in items for text in (*item.positives, *item.negatives)]
    assert seen[2].reference.tolist() == pytest.approx([alone(tiny_base, *one)[0] for one in texts], abs=1e-3)
    assert float((seen[2].reference - seen[2].logprob).abs().max()) > 0.01
    assert not seen[2].reference.requires_grad
    assert seen[0].mismatched is None


def test_mismatched_texts_show_how_far_the_model_has_moved(tiny_base, tiny_sets, tmp_path):
    sets = sets_of(*[(4, 4)] * 6)
    seen = watched(tiny_base, sets, tmp_path, Asks(mismatched=True), anchors_per_step=6, accumulation=3)
    assert len(seen) == 9  # micro-batches of two anchors
    assert all(len(one.mismatched) == len(one.logprob) for one in seen)
    assert float(seen[0].mismatched.abs().max()) < 1e-3
    assert float(seen[-1].mismatched.abs().max()) > 0.01
    assert not any(one.mismatched.requires_grad for one in seen)
    assert all(one.logprob.requires_grad for one in seen)


def test_what_cannot_be_mismatched_is_refused(tiny_base, tiny_sets, tmp_path, monkeypatch):
    asks = Asks(mismatched=True)
    with pytest.raises(UsageError, match="raise anchors_per_step, or lower accumulation"):
        watched(tiny_base, tiny_sets, tmp_path, asks, anchors_per_step=2, accumulation=2)
    with pytest.raises(MissingError, match="have only one"):
        watched(tiny_base, sets_of((2, 2)), tmp_path, asks)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="use one process"):
        watched(tiny_base, tiny_sets, tmp_path, asks, anchors_per_step=4)
    assert list(tmp_path.glob("adapter*")) == []


def test_training_lowers_the_loss(tiny_base, tiny_sets, tmp_path):
    log = train(tiny_base, tiny_sets, tmp_path / "a", steps=20, anchors_per_step=6, scheduler="constant", warmup=0)
    assert len(log) == 20
    assert log[-1]["loss"] < log[0]["loss"] - 0.5
    assert log[0]["loss"] == pytest.approx(log[0]["phi_positives"])


def test_contrastive_parts_positives_from_negatives(tiny_base, tiny_sets, tmp_path):
    method = ContrastivePerplexity(
        ContrastiveConfig(
            steps=20, lr=5e-3, anchors_per_step=6, positives=3, negatives=3, scheduler="constant", warmup=0
        )
    )
    make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    log = json.loads((tmp_path / "training.json").read_text())

    def gap(line: dict[str, float]) -> float:
        return line["phi_negatives"] - line["phi_positives"]

    assert gap(log[-1]) > gap(log[0]) + 0.5


def test_accumulated_micro_batches_are_one_batch(tiny_base, tiny_sets, tmp_path):
    """The mean over anchors does not depend on how many of them are worked on at once."""
    logs = [
        train(tiny_base, tiny_sets, tmp_path / str(count), anchors_per_step=4, accumulation=count)
        for count in (1, 2, 4)
    ]
    for log in logs[1:]:
        assert [line["loss"] for line in log] == pytest.approx([line["loss"] for line in logs[0]], abs=1e-4)


def test_gradient_checkpointing_computes_anew_and_learns_the_same(tiny_base, tiny_sets, tmp_path):
    read: Counter[bool] = Counter()

    def run(name: str, *, asked: bool) -> dict[str, torch.Tensor]:
        train(tiny_base, tiny_sets, tmp_path / name, steps=2, gradient_checkpointing=asked)
        return load_file(tmp_path / name / "adapter_model.safetensors")

    asked = False
    layer = tiny_base.model.model.layers[0].mlp
    hook = layer.register_forward_pre_hook(lambda *_: read.update([asked]))
    try:
        plain = run("plain", asked=False)
        asked = True
        anew = run("anew", asked=True)
    finally:
        hook.remove()
    assert read[True] == read[False] + 2  # once more a step
    assert plain.keys() == anew.keys()
    assert all(torch.allclose(plain[name], anew[name], rtol=1e-5, atol=1e-6) for name in plain)
    assert not any(getattr(one, "gradient_checkpointing", False) for one in tiny_base.model.modules())
    assert not tiny_base.model.get_input_embeddings()._forward_hooks


def test_the_facts_are_counted(tiny_base, tiny_sets, tmp_path):
    config = TrainingConfig(steps=3, lora_r=2, lora_targets=("q_proj",))
    facts = train_adapter(tiny_base, tiny_sets, config, mean_phi, RunContext(tmp_path, seed=1))
    items = draw_items(tiny_sets, config, 1)
    encode = tiny_base.tokenizer
    tokens = sum(
        len(encode(item.anchor + text)["input_ids"]) for item in items for text in item.positives + item.negatives
    )
    assert facts == {
        "steps": 3,
        "anchors": 6,
        "trained_tokens": tokens,
        "trainable_parameters": 2 * 2 * (32 + 32),  # two layers, A and B of rank 2 between 32 and 32
        "processes": 1,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_one_clear_error(tiny_base, tiny_sets, tmp_path, value):
    before = {name: tensor.clone() for name, tensor in tiny_base.model.state_dict().items()}
    with pytest.raises(MissingError, match="the loss is not a number at step 1; lower the learning rate"):
        train(tiny_base, tiny_sets, tmp_path / "a", loss=lambda scores: scores.phi.mean() * value)
    after = tiny_base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not (tmp_path / "a" / "adapter_model.safetensors").exists()


def test_an_adapter_that_is_no_number_is_not_kept(tiny_base, tiny_sets, tmp_path):
    """The loss is a number to the end, its last gradient is not."""

    def loss(scores: Likelihoods) -> torch.Tensor:
        phi = scores.phi.mean()
        return phi + (phi - phi.detach()).sqrt()  # 0, of infinite slope

    with pytest.raises(
        MissingError, match=r"the trained adapter holds numbers that are not finite; lower the learning"
    ):
        train(tiny_base, tiny_sets, tmp_path / "a", loss=loss, steps=1)
    assert not (tmp_path / "a" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("value", "scale", "said"),
    [
        (float("nan"), 1.0, "the adapter holds numbers that are not finite; lower the learning rate"),
        (float("inf"), 0.0, "the adapter holds numbers that are not finite; lower the learning rate"),
        (1.0, 1e39, r"the adapter, scaled by 1e\+39, makes weights that are not finite; lower the strength"),
    ],
)
def test_a_broken_adapter_is_one_clear_error(tiny_base, tiny_sets, tmp_path, value, scale, said):
    train(tiny_base, tiny_sets, tmp_path / "a", steps=1)
    path = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(path)
    next(tensor for name, tensor in tensors.items() if "lora_B" in name)[0, 0] = value
    save_file(tensors, path, {"format": "pt"})
    before = {name: tensor.clone() for name, tensor in tiny_base.model.state_dict().items()}
    with pytest.raises(MissingError, match=said), adapted(tiny_base.model, tmp_path / "a", scale):
        pytest.fail("it was applied")
    after = tiny_base.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_applied_model_is_the_trained_one(tiny_base, tiny_sets, tmp_path):
    """The last step's phi under the adapter as it is applied: what was trained is what is measured."""
    config = TrainingConfig(steps=3, lr=5e-3, anchors_per_step=6, lora_alpha=8.0)
    train_adapter(tiny_base, tiny_sets, config, mean_phi, RunContext(tmp_path))
    from peft import PeftModel

    batch = Collator(tiny_base.tokenizer)(draw_items(tiny_sets, config, 0)[:2])
    with torch.no_grad():
        base = score_batch(tiny_base.model, batch).phi
        with adapted(tiny_base.model, tmp_path, 1.0):
            applied = score_batch(tiny_base.model, batch).phi
        with adapted(tiny_base.model, tmp_path, 0.5):
            half = score_batch(tiny_base.model, batch).phi
        adapter = PeftModel.from_pretrained(tiny_base.model, str(tmp_path))
        unmerged = score_batch(adapter, batch).phi
    assert applied.tolist() == pytest.approx(unmerged.tolist(), abs=1e-4)
    assert float((applied - base).abs().max()) > 1e-2
    assert float((half - base).abs().max()) > 1e-3
    assert float((half - applied).abs().max()) > 1e-3


def test_the_artifact_names_no_path_of_this_machine(tiny_base, tiny_sets, tmp_path):
    base = replace(tiny_base, id="some-model")
    train(base, tiny_sets, tmp_path / "a")
    text = (tmp_path / "a" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "some-model"
    assert str(tmp_path) not in text
    assert json.loads(text)["target_modules"] == sorted(json.loads(text)["target_modules"])


def test_a_broken_artifact_names_itself(tmp_path):
    with pytest.raises(MissingError, match=r"is broken .*; delete the folder"):
        load_artifact(tmp_path)


@pytest.mark.parametrize("scheduler", ["constant", "linear", "cosine"])
def test_every_schedule_warms_up(scheduler, tmp_path):
    config = ContrastiveConfig(steps=20, lr=1.0, warmup=0.2, scheduler=scheduler)
    options = training_options(config, 20, 2, RunContext(tmp_path, 0))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = get_scheduler(options["lr_scheduler_type"], optimizer, options["warmup_steps"], 20)
    rates = []
    for _ in range(6):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:5] == [0, 0.25, 0.5, 0.75, 1]
    assert (rates[5] == 1) == (scheduler == "constant")
