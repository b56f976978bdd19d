"""Ablation, ITI and CAST follow their rules: the same computed by hand on the tiny model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from by_hand import encoded, logits_of, made, rest_of_llama, state_after
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from bench.policy import HFPolicy, LoadedModel
from bench.sets import ContrastiveSets
from methods.ablation import Ablation, AblationConfig
from methods.anatomy.writers import ablated, writers
from methods.cast import CAST, CASTConfig, best_threshold
from methods.iti import ITI, ITIConfig
from methods.representation.probes import balanced_accuracy, logistic
from methods.steering import Steering, SteeringConfig

TEXT = "The river rises in the hills, runs south"
ALL: dict[str, Any] = {"positives": 3, "negatives": 3, "anchors": 6}
"""All texts of the tiny sets, once."""


def labelled(sets: ContrastiveSets) -> list[tuple[str, str, bool]]:
    """Anchor, text, whether it is good."""
    return [
        (one.anchor, text.text, good)
        for one in sets.sets
        for good, texts in ((True, one.positives), (False, one.negatives))
        for text in texts
    ]


# --- ablation ---


@pytest.mark.parametrize("layer", [0, 1])
def test_the_direction_is_the_mean_difference_of_length_1(tiny_base, tiny_sets, tmp_path, layer):
    method = Ablation(AblationConfig(**ALL))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    difference = torch.zeros(32)
    for anchor, text, good in labelled(tiny_sets):
        state = state_after(tiny_base, anchor, text, layer).mean(0)
        difference += (1 if good else -1) * state / (3 * 6)
    assert torch.allclose(method.direction(artifact, layer), difference / difference.norm(), atol=1e-5)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_nothing_is_written_along_the_direction(tiny_base, tiny_sets, tmp_path, strength):
    """Embeddings, and per layer the outputs of attention and feed-forward block; at 0.5 half of it is left."""
    method = Ablation(AblationConfig(**ALL, strength=strength, layer=0))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    direction, found = method.direction(artifact, 0), writers(tiny_base.model, "it", "ablation")
    assert len(found) == 1 + 2 * 2
    torch.manual_seed(0)
    given = [torch.randint(0, 400, (50,)), *(torch.randn(50, one.in_features) for one in found[1:])]

    def along() -> list[torch.Tensor]:
        with torch.no_grad():
            return [module(one) @ direction for module, one in zip(found, given, strict=True)]

    before, head = along(), tiny_base.model.lm_head.weight
    with method.applied(tiny_base, artifact) as policy:
        assert policy.not_exportable() is None
        for own, left in zip(before, along(), strict=True):
            assert torch.allclose(left, (1 - strength) * own, atol=1e-5)
            assert own.abs().max() > 0.1
        assert tiny_base.model.lm_head.weight is head  # the output layer is none that writes, tied as it is
    assert all(torch.equal(one, other) for one, other in zip(before, along(), strict=True))


def test_biases_lose_the_direction_too():
    torch.manual_seed(0)
    layer, direction = torch.nn.Linear(5, 8), torch.nn.functional.normalize(torch.randn(8), dim=0)
    own = layer.bias
    with torch.no_grad(), ablated([layer], direction, 1.0):
        assert float((layer(torch.randn(20, 5)) @ direction).abs().max()) < 1e-6
        assert not torch.equal(layer.bias, own)
    assert layer.bias is own


def test_edited_weights_are_the_ablation_of_every_state(tiny_base, tiny_sets, tmp_path):
    """As in the paper's appendix: the embedding and what each block adds, with the direction taken out by hand."""
    method = Ablation(AblationConfig(**ALL, layer=1))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    r, llama = method.direction(artifact, 1), tiny_base.model.model
    ids = torch.tensor([tiny_base.tokenizer(TEXT)["input_ids"]])

    def out(state: torch.Tensor) -> torch.Tensor:
        return state - (state @ r)[..., None] * r

    with torch.no_grad():
        state = out(llama.embed_tokens(ids))
        rotary = llama.rotary_emb(state, torch.arange(ids.shape[1])[None])
        causal = torch.full((ids.shape[1], ids.shape[1]), torch.finfo(torch.float32).min).triu(1)[None, None]
        for block in llama.layers:
            read = block.self_attn(block.input_layernorm(state), attention_mask=causal, position_embeddings=rotary)[0]
            state = state + out(read)
            state = state + out(block.mlp(block.post_attention_layernorm(state)))
        expected = tiny_base.model.lm_head(llama.norm(state))[0]
        plain = tiny_base.model(ids).logits[0]
    with method.applied(tiny_base, artifact) as policy:
        found = logits_of(policy, TEXT)
    assert torch.allclose(found, expected, atol=1e-4)
    assert (found - plain).abs().max() > 0.1


# --- ITI ---


@contextmanager
def noted(base: LoadedModel, layer: int) -> Iterator[list[torch.Tensor]]:
    """What the heads of a layer put out."""
    found: list[torch.Tensor] = []
    module = base.model.model.layers[layer].self_attn.o_proj
    handle = module.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    try:
        yield found
    finally:
        handle.remove()


def outputs(base: LoadedModel, sets: ContrastiveSets, layer: int) -> torch.Tensor:
    """What the heads put out at the last token of each text, read alone, float64 [texts, heads, size]."""
    rows = []
    for before, after in encoded(base, [row[:2] for row in labelled(sets)]):
        with torch.no_grad(), noted(base, layer) as found:
            base.model(torch.tensor([before + after]))
        rows.append(found[0][0, -1].double().view(4, 8))
    return torch.stack(rows)


def test_the_probes_are_those_of_scikit_learn():
    torch.manual_seed(0)
    features = torch.randn(3, 40, 6, dtype=torch.float64) * torch.tensor([0.1, 1.0, 30.0])[:, None, None]
    good = (features[1, :, 0] + 0.5 * torch.randn(40) > 0.2).double()
    found = logistic(features, good)
    for one, weights in zip(features, found, strict=True):
        theirs = LogisticRegression(tol=1e-10, max_iter=100_000).fit(one.numpy(), good.numpy())
        assert weights.tolist() == pytest.approx([*theirs.coef_[0], *theirs.intercept_], abs=1e-4)


def test_probes_of_texts_that_can_be_told_apart_have_an_end():
    features = torch.tensor([[[-300.0], [-200.0], [250.0], [900.0]]], dtype=torch.float64)
    weights = logistic(features, torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64))
    assert weights.isfinite().all()
    assert ((features[0, :, 0] * weights[0, 0] + weights[0, 1]) > 0).tolist() == [False, False, True, True]


def test_balanced_accuracy_counts_both_kinds_alike():
    good = torch.tensor([True, True, True, False])
    told = torch.tensor([[True, True, True, True], [True, False, False, False]])
    assert balanced_accuracy(told, good).tolist() == pytest.approx([0.5, (1 / 3 + 1) / 2])


def test_heads_are_ranked_by_probes_on_anchors_that_these_have_not_seen(tiny_base, tiny_sets, tmp_path):
    method = ITI(ITIConfig(**ALL))
    made(method, tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "iti.safetensors")
    rows = labelled(tiny_sets)
    good = torch.tensor([row[2] for row in rows])
    held = last_drawn(method, tiny_sets)
    unseen = torch.tensor([row[0] == held for row in rows])
    for layer in range(2):
        states = outputs(tiny_base, tiny_sets, layer)
        for head in range(4):
            z = states[:, head]
            difference = z[good].mean(0) - z[~good].mean(0)  # as many of both kinds, of every anchor
            direction = difference / difference.norm()
            assert torch.allclose(kept["directions"][layer, head].double(), direction, atol=1e-4)
            assert float(kept["deviations"][layer, head]) == pytest.approx(
                float((z @ direction).std(correction=0)), rel=1e-3
            )
            probe = LogisticRegression(tol=1e-10, max_iter=100_000).fit(z[~unseen].numpy(), good[~unseen].numpy())
            right = torch.tensor(probe.predict(z[unseen].numpy())) == good[unseen]
            accuracy = (right[good[unseen]].float().mean() + right[~good[unseen]].float().mean()) / 2
            assert float(kept["accuracies"][layer, head]) == pytest.approx(float(accuracy))


def last_drawn(method: ITI, sets: ContrastiveSets) -> str:
    """The anchor that is held out, of six."""
    from methods.representation.vectors import draw

    return draw(sets, method.config, 0)[-1].anchor


@pytest.mark.parametrize("heads", [None, 3])
def test_the_best_heads_are_shifted_before_the_output_projection(tiny_base, tiny_sets, tmp_path, heads):
    method = ITI(ITIConfig(**ALL, heads=heads, alpha=2.5))
    artifact = made(method, tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "iti.safetensors")
    best = sorted(range(8), key=lambda number: -float(kept["accuracies"].flatten()[number]))[: heads or 1]
    model = tiny_base.model
    handles = []
    for layer, block in enumerate(model.model.layers):
        shift = torch.zeros(4, 8)
        for head in range(4):
            if 4 * layer + head in best:
                shift[head] = 2.5 * kept["deviations"][layer, head] * kept["directions"][layer, head]
        written = block.self_attn.o_proj.weight @ shift.flatten()
        handles.append(
            block.self_attn.register_forward_hook(lambda _, __, out, more=written: (out[0] + more, *out[1:]))
        )
    expected = logits_of(HFPolicy(model, tiny_base.tokenizer), TEXT)
    for handle in handles:
        handle.remove()
    plain = logits_of(HFPolicy(model, tiny_base.tokenizer), TEXT)
    with method.applied(tiny_base, artifact) as policy:
        found = logits_of(policy, TEXT)
        assert policy.not_exportable() is None
    assert torch.allclose(found, expected, atol=1e-4)
    assert (found - plain).abs().max() > 1e-2


# --- CAST ---


def likeness(states: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Mean cosine up to each token, [tokens]."""
    cosines = states @ condition / states.norm(dim=-1)
    return cosines.cumsum(0) / torch.arange(1, len(cosines) + 1)


def test_the_condition_tells_bad_texts_from_good_ones(tiny_base, tiny_sets, tmp_path):
    made(CAST(CASTConfig(**ALL)), tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "cast.safetensors")
    rows = labelled(tiny_sets)
    bad = torch.tensor([not row[2] for row in rows])
    for layer in range(2):
        whole = [before + after for before, after in encoded(tiny_base, [row[:2] for row in rows])]
        states = [states_of(tiny_base, ids, layer) for ids in whole]
        means = torch.stack([torch.nn.functional.normalize(one, dim=-1).mean(0) for one in states])
        difference = means[bad].mean(0) - means[~bad].mean(0)
        condition = difference / difference.norm()
        assert torch.allclose(kept["conditions"][layer], condition, atol=1e-4)
        found = torch.stack([likeness(one, condition)[-1] for one in states])
        threshold = float(kept["thresholds"][layer])
        told = found > threshold
        accuracy = ((told & bad).sum() / bad.sum() + (~told & ~bad).sum() / (~bad).sum()) / 2
        assert float(kept["accuracies"][layer]) == pytest.approx(float(accuracy), abs=1e-6)
        others = [float(((found > one)[bad].float().mean() + (found <= one)[~bad].float().mean()) / 2) for one in found]
        assert float(accuracy) >= max(others) - 1e-6
    assert float(kept["accuracies"].max()) > 0.8


def states_of(base: LoadedModel, ids: list[int], layer: int) -> torch.Tensor:
    """States of tokens after a layer, [tokens, hidden]."""
    found: list[torch.Tensor] = []
    handle = base.model.model.layers[layer].register_forward_hook(
        lambda _, __, out: found.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        base.model(torch.tensor([ids]))
    handle.remove()
    return found[0][0]


@pytest.mark.parametrize(
    ("values", "bad", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1], (1.5, 1.0)),
        ([0.0, 1.0, 2.0, 3.0], [0, 1, 0, 1], (0.5, 0.75)),
        ([0.0, 0.0, 2.0, 2.0], [0, 1, 0, 1], (1.0, 0.5)),
        ([5.0, 5.0], [0, 1], (5.0, 0.5)),
    ],
)
def test_the_threshold_tells_most_texts_right(values, bad, expected):
    found = best_threshold(torch.tensor(values, dtype=torch.float64), torch.tensor(bad, dtype=torch.bool))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("layers", [(0, 0), (1, 1), (1, 0)])
def test_the_vector_is_added_where_the_text_so_far_meets_the_condition(tiny_base, tiny_sets, tmp_path, layers):
    layer, asked = layers
    artifact = made(CAST(CASTConfig(**ALL)), tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "cast.safetensors")
    ids = tiny_base.tokenizer(TEXT)["input_ids"]
    found = likeness(states_of(tiny_base, ids, asked), kept["conditions"][asked])
    threshold = float(found.sort().values[len(found) // 2 - 1 : len(found) // 2 + 1].mean())
    met = found > threshold
    assert 0 < int(met.sum()) < len(met)
    state = states_of(tiny_base, ids, layer) + 2.0 * met[:, None] * kept["vectors"][layer]
    expected = rest_of_llama(tiny_base, state[None], layer)[0]
    method = CAST(CASTConfig(**ALL, layer=layer, condition_layer=asked, condition_threshold=threshold, multiplier=2.0))
    with method.applied(tiny_base, artifact) as policy:
        assert torch.allclose(logits_of(policy, TEXT), expected, atol=1e-4)
        assert policy.not_exportable()


@pytest.mark.parametrize("threshold", [-1.0, 1.0])
def test_always_met_it_is_steering_and_never_met_the_base(tiny_base, tiny_sets, tmp_path, threshold):
    """With the same vector, made of the same texts."""
    folders = [tmp_path / name for name in ("cast", "steering")]
    for folder in folders:
        folder.mkdir()
    cast = CAST(CASTConfig(condition_threshold=threshold))
    artifact = made(cast, tiny_base, tiny_sets, folders[0])
    steering = Steering(SteeringConfig(multiplier=3.0 if threshold < 0 else 0.0))
    with steering.applied(tiny_base, made(steering, tiny_base, tiny_sets, folders[1])) as policy:
        expected = logits_of(policy, TEXT)
    with cast.applied(tiny_base, artifact) as policy:
        assert torch.equal(logits_of(policy, TEXT), expected)


def test_the_layer_that_tells_best_is_asked(tiny_base, tiny_sets, tmp_path):
    artifact = made(CAST(CASTConfig(**ALL)), tiny_base, tiny_sets, tmp_path)
    kept = load_file(tmp_path / "cast.safetensors")
    best = int(kept["accuracies"].argmax())
    found = []
    for asked in (None, best):
        with CAST(CASTConfig(layer=1, condition_layer=asked)).applied(tiny_base, artifact) as policy:
            found.append(logits_of(policy, TEXT))
    assert torch.equal(*found)
