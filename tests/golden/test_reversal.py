"""Toxification reversal follows its rule: the same computed by hand, head by head, on the tiny model."""

import pytest
import torch
from by_hand import logits_of, made

from bench.policy import LoadedModel
from methods.decoding.prefix import plain_prefix
from methods.toxification_reversal import ToxificationReversal, ToxificationReversalConfig

TEXT = "The river rises in the hills, runs south"
BAD, GOOD = "You are a very unkind friend:", "She is kind:"


def heads(base: LoadedModel, ids: list[int], edits: list[torch.Tensor] | None = None) -> list[torch.Tensor]:
    """What the heads of each layer put out, [tokens, heads, size], and, last, the logits; layers are edited in turn.

    `edits` holds of each layer the change and, after it, the end of the bad prefix: [tokens + 1, heads, size].
    """
    found: list[torch.Tensor] = []

    def hook(number: int):
        def given(_, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
            state = arguments[0][0].view(len(ids), 4, 8)
            found.append(state)
            return None if edits is None else (by_hand(state, edits[number]).view(1, len(ids), 32),)

        return given

    handles = [
        layer.self_attn.o_proj.register_forward_pre_hook(hook(number))
        for number, layer in enumerate(base.model.model.layers)
    ]
    with torch.no_grad():
        logits = base.model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return [*found, logits]


def by_hand(state: torch.Tensor, edit: torch.Tensor, strength: float = 0.7) -> torch.Tensor:
    """The paper's equations, with powers 0.4 and 0.6."""
    rows = []
    for place, token in enumerate(state):
        edited = []
        for head, z in enumerate(token):
            change, end = edit[place, head], edit[-1, head]
            cosine = float(z @ end / (z.norm() * end.norm()))
            size = (1 + float(change.norm())) ** 0.4 * (1 + max(0.0, cosine)) ** 0.6
            edited.append(z - strength * size * change)
        whole = torch.stack(edited)
        rows.append(whole * token.norm() / whole.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("text", [TEXT, "Numbers"])
def test_heads_lose_what_the_bad_prefix_changes(tiny_base, tmp_path, text):
    options = ToxificationReversalConfig(bad_prefix=BAD, good_prefix=GOOD, strength=0.7)
    method = ToxificationReversal(options)
    artifact = made(method, tiny_base, None, tmp_path)
    ids = tiny_base.tokenizer(text)["input_ids"]
    bad, good = (plain_prefix(tiny_base, one) for one in (BAD, GOOD))
    after_bad, after_good = heads(tiny_base, bad + ids)[:-1], heads(tiny_base, good + ids)[:-1]
    edits = [
        torch.cat([one[len(bad) :] - other[len(good) :], one[len(bad) - 1][None]])
        for one, other in zip(after_bad, after_good, strict=True)
    ]
    expected = heads(tiny_base, ids, edits)[-1]
    with method.applied(tiny_base, artifact) as policy:
        found = logits_of(policy, text)
        assert policy.not_exportable()
        assert policy.readings == 3
    assert torch.allclose(found, expected, atol=1e-4)
    assert (found - heads(tiny_base, ids)[-1]).abs().max() > 0.1


def test_an_empty_prompt_is_edited_by_the_ends_of_the_prefixes(tiny_base, tmp_path):
    """The begin token stands where they end."""
    method = ToxificationReversal(ToxificationReversalConfig(bad_prefix=BAD, good_prefix=GOOD, strength=0.7))
    artifact = made(method, tiny_base, None, tmp_path)
    bad, good = (heads(tiny_base, plain_prefix(tiny_base, one))[:-1] for one in (BAD, GOOD))
    edits = [torch.stack([one[-1] - other[-1], one[-1]]) for one, other in zip(bad, good, strict=True)]
    expected = heads(tiny_base, [1], edits)[-1]
    begin = torch.tensor([[1]])
    with method.applied(tiny_base, artifact) as policy:
        found = policy.forward(begin, torch.ones_like(begin))[0][0]
    assert torch.allclose(found, expected, atol=1e-4)
