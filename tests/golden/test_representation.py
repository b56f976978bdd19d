"""Methods that edit weights and hidden states follow their rules: the same computed by hand on the tiny model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import encoded, logits_of, made, rest_of_llama, state_after, whole_state
from safetensors.torch import load_file

from bench.engine.tokens import encode_after
from bench.method import RunContext
from bench.policy import LoadedModel, Policy
from bench.sets import ContrastiveSets
from methods.anatomy.feed_forward import output_matrix
from methods.dinm import DINM, DINMConfig, EditLosses, edit_losses, layer_distances
from methods.learning.batches import Collator, Item
from methods.lm_steer import LMSteer, LMSteerConfig, steered_loss
from methods.representation.head import head_states
from methods.representation.states import differences, layer_states, pairs_of
from methods.steering import Steering, SteeringConfig
from methods.task_arithmetic import TaskArithmetic, TaskArithmeticConfig

TEXT = "The river rises in the hills, runs south"
ITEMS = [
    Item("She asked", (" whether the train was late.", " him."), (" what is it, you idiot",)),
    Item("The river rises in the hills, runs", (" south",), (" x", " 0, 1, 2, 3", " past two idiots")),
    Item("", ("He did not like the weather",), ("; nobody did.",)),
]


# --- states of texts ---


@pytest.mark.parametrize("position", ["mean", "last"])
def test_states_are_those_of_the_texts_own_tokens(tiny_base, position):
    pairs = pairs_of(ITEMS)
    found = layer_states(tiny_base, pairs, position, RunContext(Path()).progress)
    assert found.state.shape == (len(pairs), 2, 32)
    for number, (anchor, text) in enumerate(pairs):
        for layer in range(2):
            states = state_after(tiny_base, anchor, text, layer)
            one = states.mean(0) if position == "mean" else states[-1]
            length = states.norm(dim=-1).mean() if position == "mean" else states[-1].norm()
            assert torch.allclose(found.state[number, layer].float(), one, atol=1e-5)
            assert float(found.length[number, layer]) == pytest.approx(float(length), abs=1e-4)
    assert found.tokens == sum(len(before) + len(after) for before, after in encoded(tiny_base, pairs))


def test_positives_and_negatives_of_an_anchor_weigh_the_same():
    """However many there are of each; what the anchor adds to all of its texts cancels."""
    pairs = pairs_of(ITEMS)
    value = {pair: float(number) for number, pair in enumerate(pairs)}
    moved = {"She asked": 100.0, "": -7.0}
    states = torch.tensor([[value[pair] + moved.get(pair[0], 0.0)] for pair in pairs])
    expected = [
        sum(value[one.anchor, text] for text in one.positives) / len(one.positives)
        - sum(value[one.anchor, text] for text in one.negatives) / len(one.negatives)
        for one in ITEMS
    ]
    assert differences(ITEMS, states)[:, 0].tolist() == pytest.approx(expected)


# --- steering ---


def by_hand(base: LoadedModel, sets: ContrastiveSets, layer: int) -> torch.Tensor:
    """The vector over all texts of all sets, anchors alike."""
    vectors = []
    for one in sets.sets:
        good, bad = (
            torch.stack([state_after(base, one.anchor, text.text, layer).mean(0) for text in texts]).mean(0)
            for texts in (one.positives, one.negatives)
        )
        vectors.append(good - bad)
    return torch.stack(vectors).mean(0)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_steering_vector_is_the_mean_difference(tiny_base, tiny_sets, tmp_path, layer):
    method = Steering(SteeringConfig(positives=3, negatives=3, anchors=len(tiny_sets), layer=layer, multiplier=1.5))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    expected = by_hand(tiny_base, tiny_sets, layer)
    assert torch.allclose(method.vector(artifact, layer), 1.5 * expected, atol=1e-5)
    assert expected.norm() > 0.1


@pytest.mark.parametrize("normalise", [False, True])
def test_the_vector_is_added_after_its_layer_at_every_position(tiny_base, tiny_sets, tmp_path, normalise):
    method = Steering(SteeringConfig(layer=0, multiplier=0.7, normalise=normalise))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "steering.safetensors")
    vector = kept["vectors"][0]
    if normalise:
        vector = vector / vector.norm() * kept["lengths"][0]
    state = whole_state(tiny_base, TEXT, 0)
    expected = rest_of_llama(tiny_base, state + 0.7 * vector, 0)
    with method.applied(tiny_base, artifact) as policy:
        assert torch.allclose(logits_of(policy, TEXT), expected[0], atol=1e-4)
        assert policy.not_exportable() is None


# --- LM-Steer ---


def test_lm_steer_changes_what_the_output_layer_is_given(tiny_base, tiny_sets, tmp_path):
    method = LMSteer(LMSteerConfig(steps=3, rank=5, epsilon=0.5, steer=2.0))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "lm_steer.safetensors")
    assert kept["read"].shape == kept["write"].shape == (32, 5)
    w = kept["write"] @ kept["read"].T
    ids = torch.tensor([tiny_base.tokenizer(TEXT)["input_ids"]])
    with torch.no_grad():
        h = tiny_base.model.model(ids).last_hidden_state[0]
    expected = (h + 0.5 * 2.0 * (h @ w.T)) @ tiny_base.model.lm_head.weight.T
    with method.applied(tiny_base, artifact) as policy:
        assert torch.allclose(logits_of(policy, TEXT), expected, atol=1e-4)
        assert policy.not_exportable() is None


def test_lm_steer_learns_with_the_model_steered_by_each_texts_own_value(tiny_base):
    """Loss and gradient against whole readings, one text at a time, of a model with its output weights replaced."""
    torch.manual_seed(0)
    read, write = (torch.randn(32, 3).mul(0.3).requires_grad_() for _ in range(2))
    pairs = [(one.anchor, text) for one in ITEMS for text in (*one.positives, *one.negatives)]
    signs = [1.0 if any(text in one.positives for one in ITEMS) else -1.0 for _, text in pairs]
    states = head_states(tiny_base, pairs, RunContext(Path()).progress)
    rows = [(*one, sign) for one, sign in zip(states, signs, strict=True)]
    found = steered_loss(tiny_base, rows, read, write, 0.2)
    losses = []
    for (before, after), sign in zip(encoded(tiny_base, pairs), signs, strict=True):
        with torch.no_grad():
            h = tiny_base.model.model(torch.tensor([before + after])).last_hidden_state[0]
        embeddings = tiny_base.model.lm_head.weight @ (torch.eye(32) + 0.2 * sign * write @ read.T)
        logprob = (h @ embeddings.T).log_softmax(-1)[len(before) - 1 : -1]
        losses.append(-logprob[range(len(after)), after].mean())
    expected = torch.stack(losses).mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(found, [read, write]), torch.autograd.grad(expected, [read, write]), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert ours.abs().max() > 1e-3


def test_lm_steer_prefers_what_it_learned_from(tiny_base, tiny_sets, tmp_path):
    """The contrast in log-perplexity grows with the steer value, and turns around below 0."""
    method = LMSteer(LMSteerConfig(steps=20, lr=2e-2, epsilon=0.1))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    contrasts = []
    for steer in (-3.0, 0.0, 3.0):
        with LMSteer(LMSteerConfig(steer=steer, epsilon=0.1)).applied(tiny_base, artifact) as policy:
            contrasts.append(contrast(policy, tiny_base, tiny_sets))
    assert contrasts[0] < contrasts[1] - 0.1 < contrasts[2] - 0.2


def contrast(policy: Policy, base: LoadedModel, sets: ContrastiveSets) -> float:
    """Mean log-perplexity of negatives less that of positives."""

    def mean(kind: str) -> float:
        values = []
        for one in sets.sets:
            for text in getattr(one, kind):
                before, after = encode_after(base.tokenizer, one.anchor, text.text)
                ids = torch.tensor([before + after])
                logprob = policy.forward(ids, torch.ones_like(ids))[0][0].log_softmax(-1)[len(before) - 1 : -1]
                values.append(-float(logprob[range(len(after)), after].mean()))
        return sum(values) / len(values)

    return mean("negatives") - mean("positives")


# --- DINM ---

MATRIX = "model.layers.1.mlp.down_proj.weight"


def nudged(base: LoadedModel) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn_like(base.model.get_parameter(MATRIX)).mul(0.05).requires_grad_()


def batch_of(base: LoadedModel, items: list[Item]) -> dict[str, torch.Tensor]:
    return Collator(base.tokenizer)(items)


def test_the_toxic_layer_is_the_one_whose_states_differ_most(tiny_base, tiny_sets, tmp_path):
    items = [
        Item(one.anchor, *(tuple(t.text for t in texts) for texts in (one.positives, one.negatives)))
        for one in tiny_sets.sets
    ]
    found = layer_distances(tiny_base, items, RunContext(tmp_path))
    for layer in range(2):
        distances = []
        for one in items:
            good, bad = (
                torch.stack([state_after(tiny_base, one.anchor, text, layer).mean(0) for text in texts]).mean(0)
                for texts in (one.positives, one.negatives)
            )
            distances.append(float((good - bad).norm()))
        assert found[layer] == pytest.approx(sum(distances) / len(distances), abs=1e-4)
    artifact = made(DINM(DINMConfig(steps=2)), tiny_base, tiny_sets, tmp_path)
    assert artifact.facts["layer"] == found.index(max(found))


def test_the_losses_of_dinm_are_those_of_the_edited_model(tiny_base):
    """Against whole readings, one text at a time, of a model with the edited matrix in it."""
    delta = nudged(tiny_base).detach()
    found = edit_losses(tiny_base, MATRIX, delta, batch_of(tiny_base, ITEMS))
    weight = tiny_base.model.get_parameter(MATRIX)

    def logprobs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logprob: torch.Tensor = tiny_base.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return logprob

    def own(anchor: str, text: str) -> torch.Tensor:
        before, after = encode_after(tiny_base.tokenizer, anchor, text)
        return logprobs(before + after)[range(len(before) - 1, len(before) + len(after) - 1), after]

    anchors = [encode_after(tiny_base.tokenizer, one.anchor, " x")[0] for one in ITEMS]
    plain = [logprobs(ids) for ids in anchors]
    own_weight = weight.data
    weight.data = own_weight + delta
    good = [-own(one.anchor, text).mean() for one in ITEMS for text in one.positives]
    bad = torch.cat([own(one.anchor, text) for one in ITEMS for text in one.negatives])
    edited = [logprobs(ids) for ids in anchors]
    weight.data = own_weight
    divergence = torch.cat([(e.exp() * (e - p)).sum(-1)[:-1] for e, p in zip(edited, plain, strict=True)])
    assert float(found.likelihood) == pytest.approx(float(torch.stack(good).mean()), abs=1e-4)
    assert float(found.contrast) == pytest.approx(float(-(1 - bad.exp()).log().mean()), abs=1e-5)
    assert float(found.locality) == pytest.approx(float(divergence.mean()), abs=1e-4)
    assert found.locality > 1e-3


def test_the_locality_term_has_a_gradient(tiny_base):
    """The authors' own code computes the edited model's logits without one."""
    delta = nudged(tiny_base)
    losses = edit_losses(tiny_base, MATRIX, delta, batch_of(tiny_base, ITEMS))
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss, [delta], retain_graph=True)
        assert gradient.abs().max() > 1e-4
    (gradient,) = torch.autograd.grad(losses.locality, [delta])
    with torch.no_grad():
        closer = delta - 0.1 * gradient / gradient.norm()
    assert edit_losses(tiny_base, MATRIX, closer, batch_of(tiny_base, ITEMS)).locality < losses.locality


def test_an_edit_without_change_has_no_divergence(tiny_base):
    unchanged = torch.zeros_like(tiny_base.model.get_parameter(MATRIX))
    losses = edit_losses(tiny_base, MATRIX, unchanged, batch_of(tiny_base, ITEMS))
    assert float(losses.locality) == pytest.approx(0, abs=1e-6)


def edits(base: LoadedModel, sets: ContrastiveSets, folder: Path, *options: dict[str, Any]) -> list[EditLosses]:
    """The losses over all sets of the base, and of an edit with each of the options."""
    items = [
        Item(one.anchor, *(tuple(t.text for t in texts) for texts in (one.positives, one.negatives)))
        for one in sets.sets
    ]
    deltas = [torch.zeros_like(base.model.get_parameter(MATRIX))]
    for number, some in enumerate(options):
        path = folder / str(number)
        path.mkdir()
        made(DINM(DINMConfig(**{"steps": 15, "lr": 5e-3, "layer": 1, **some})), base, sets, path)
        deltas.append(load_file(path / "dinm.safetensors")["delta"])
    return [edit_losses(base, MATRIX, delta, batch_of(base, items)) for delta in deltas]


def test_locality_holds_the_edit_back(tiny_base, tiny_sets, tmp_path):
    base, free, held = edits(tiny_base, tiny_sets, tmp_path, {"locality": 0}, {"locality": 30})
    assert free.likelihood < held.likelihood < base.likelihood
    assert held.locality < free.locality / 2


def test_contrast_makes_the_negatives_unlikely(tiny_base, tiny_sets, tmp_path):
    base, without, contrasted = edits(
        tiny_base, tiny_sets, tmp_path, {"locality": 0, "contrast": 0}, {"locality": 0, "contrast": 1e3}
    )
    assert contrasted.contrast < base.contrast < without.contrast


def test_dinm_edits_one_matrix(tiny_base, tiny_sets, tmp_path):
    assert output_matrix(tiny_base, 1, "dinm") == MATRIX
    method = DINM(DINMConfig(steps=2, layer=1, scale=0.5))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    delta = load_file(tmp_path / "dinm.safetensors")["delta"]
    own = {name: value.clone() for name, value in tiny_base.model.named_parameters()}
    with method.applied(tiny_base, artifact) as policy:
        assert policy.not_exportable() is None
        for name, value in tiny_base.model.named_parameters():
            assert torch.equal(value, own[name] + 0.5 * delta if name == MATRIX else own[name])


@pytest.mark.parametrize("bound", [1e-3, 4e-3])
def test_dinm_keeps_every_weight_within_the_bound(tiny_base, tiny_sets, tmp_path, bound):
    """The authors clamp each weight to within so much of its own value, after each step."""
    largest = []
    for limit in (None, bound):
        (folder := tmp_path / str(limit)).mkdir()
        made(DINM(DINMConfig(steps=4, layer=1, lr=2e-3, norm_constraint=limit)), tiny_base, tiny_sets, folder)
        largest.append(float(load_file(folder / "dinm.safetensors")["delta"].abs().max()))
    assert largest[0] > bound
    assert largest[1] == pytest.approx(bound)


# --- task arithmetic ---


def test_task_arithmetic_subtracts_what_training_adds(tiny_base, tiny_sets, tmp_path):
    method = TaskArithmetic(TaskArithmeticConfig(steps=3, lr=5e-3, scale=0.4))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    a, b = (weights[f"base_model.model.{name}.lora_{letter}.weight"] for letter in "AB")
    task_vector = (32.0 / 16) * b @ a
    own = tiny_base.model.get_parameter(f"{name}.weight").clone()
    with method.applied(tiny_base, artifact) as policy:
        assert policy.not_exportable() is None
        changed = tiny_base.model.get_parameter(f"{name}.weight")
        assert torch.allclose(changed, own - 0.4 * task_vector, atol=1e-6)
        assert (changed - own).abs().max() > 1e-4


def test_task_arithmetic_makes_the_negatives_unlikely(tiny_base, tiny_sets, tmp_path):
    artifact = made(TaskArithmetic(TaskArithmeticConfig(steps=10, lr=2e-3)), tiny_base, tiny_sets, tmp_path)
    contrasts = []
    for scale in (-0.5, 0.0, 0.5):
        with TaskArithmetic(TaskArithmeticConfig(scale=scale)).applied(tiny_base, artifact) as policy:
            contrasts.append(contrast(policy, tiny_base, tiny_sets))
    assert contrasts[0] < contrasts[1] - 0.1 < contrasts[2] - 0.2
