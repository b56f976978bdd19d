"""Sampling is exact: the same distribution as a plain full sort gives, drawn from the numbers that it is handed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.engine.profile import CUDA, PROFILES
from bench.engine.sampling import UNDRAWN, likeliest, most_likely, refuse_undrawn, sample, uniforms
from bench.errors import MissingError
from bench.spec import Decoding


def reference(row: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Probability of each token by a full sort, in float64: temperature, then top-k, then the nucleus."""
    logits = row.astype(np.float64) / decoding.temperature
    order = np.argsort(-logits, kind="stable")
    if decoding.top_k:
        order = order[: decoding.top_k]
    mass = np.exp(logits[order] - logits[order].max())
    mass /= mass.sum()
    if decoding.top_p < 1:
        count = int(np.searchsorted(np.cumsum(mass), decoding.top_p)) + 1  # the token that reaches it is in
        order, mass = order[:count], mass[:count] / mass[:count].sum()
    found = np.zeros_like(logits)
    found[order] = mass
    return found


def drawn(row: np.ndarray, decoding: Decoding, count: int) -> np.ndarray:
    """Share of each token over `count` evenly spread numbers: each share is exact to 1 / count."""
    even = torch.from_numpy((np.arange(count) + 0.5) / count)
    tokens = sample(torch.from_numpy(row).float().expand(count, -1), even, decoding)
    return np.bincount(tokens.numpy(), minlength=len(row)) / count


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 400])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_shares_are_those_of_a_full_sort(top_p, top_k, temperature):
    row = np.random.default_rng(0).normal(0, 3, 500).astype(np.float32)
    decoding = Decoding(top_p=top_p, top_k=top_k, temperature=temperature)
    assert np.abs(drawn(row, decoding, 4000) - reference(row, decoding)).max() <= 1 / 4000


@pytest.mark.parametrize("size", [255, 256, 257, 3000, 20_000])
def test_a_flat_distribution_needs_more_than_the_first_tokens(size):
    """Nearly flat: the nucleus holds nine tenths of the vocabulary, however large that is."""
    row = torch.linspace(0, 1e-3, size)  # the last token is the most likely one
    uniform = torch.linspace(0, 1, 40, dtype=torch.float64)[:-1]
    tokens = sample(row.expand(39, -1), uniform, Decoding(top_p=0.9))
    places = size - 1 - tokens.numpy()
    nucleus = np.cumsum(reference(row.numpy(), Decoding(top_p=0.9))[::-1])
    assert np.abs(places - np.searchsorted(nucleus, uniform.numpy(), side="right")).max() <= 1 + size * 1e-5


def test_rows_that_need_different_widths_share_a_batch():
    """Each row is drawn as it is alone."""
    random = np.random.default_rng(1)
    rows = np.stack([random.normal(0, scale, 5000) for scale in (0.0, 8.0, 0.1, 2.0, 20.0)]).astype(np.float32)
    uniform, decoding = torch.from_numpy(random.random(5)), Decoding(top_p=0.95)
    together = sample(torch.from_numpy(rows), uniform, decoding)
    alone = [sample(torch.from_numpy(rows[i : i + 1]), uniform[i : i + 1], decoding)[0] for i in range(5)]
    assert together.tolist() == [int(one) for one in alone]


@pytest.mark.parametrize("size", [31, 64, 1000, 20_001, 49_152])
@pytest.mark.parametrize("count", [1, 8, 31])
def test_the_most_likely_are_those_of_a_full_sort(size, count):
    """In their order, whether or not the row falls into whole groups, and beside what may not be drawn."""
    generator = torch.Generator().manual_seed(size)
    scores = torch.randperm(3 * size, generator=generator).view(3, size).float()
    scores[1, ::2] = -torch.inf
    values, places = most_likely(scores, count)
    assert torch.equal(values, scores.sort(-1, descending=True).values[:, :count])
    assert torch.equal(scores.gather(-1, places), values)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 5000])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_one_pass_draws_what_several_do(monkeypatch, top_p, top_k, temperature):
    """The same numbers give the same tokens, from peaked rows and flat ones, and beside what may not be drawn."""
    random = np.random.default_rng(2)
    rows = np.stack([random.normal(0, scale, 5000) for scale in (0.1, 1.0, 2.0, 8.0) * 20]).astype(np.float32)
    rows[::3, ::2] = -np.inf
    logits, uniform = torch.from_numpy(rows), torch.from_numpy(random.random(80))
    decoding = Decoding(top_p=top_p, top_k=top_k, temperature=temperature)
    several = sample(logits, uniform, decoding)
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    assert sample(logits, uniform, decoding).tolist() == several.tolist()
    assert len(set(several.tolist())) > (1 if top_k == 1 else 5)


@pytest.mark.parametrize("decoding", [Decoding(top_p=0.9), Decoding(top_p=1.0), Decoding(top_k=5)])
def test_one_pass_leaves_out_the_rows_that_are_no_numbers(monkeypatch, decoding):
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    logits[1, 7] = torch.nan
    logits[2] = torch.nan
    tokens = sample(logits, torch.tensor([0.1, 0.999, 0.5, 0.9]), decoding).tolist()
    assert [token == UNDRAWN for token in tokens] == [False, True, True, False]
    assert all(0 <= token < 300 for token in (tokens[0], tokens[3]))
    with pytest.raises(MissingError, match="not numbers"):
        refuse_undrawn(tokens)
    refuse_undrawn([tokens[0], tokens[3]])


@given(st.lists(st.lists(st.sampled_from([-torch.inf, 0.0, 1.0, 2.0, torch.inf, torch.nan]), min_size=3, max_size=3)))
def test_the_likeliest_token_is_of_numbers(rows):
    """The index of a NaN, or of an infinity, is no token; a row of numbers has the first of its largest."""
    rows = rows or [[0.0, 0.0, 0.0]]
    for row, token in zip(rows, likeliest(torch.tensor(rows)).tolist(), strict=True):
        is_number = all(one < torch.inf for one in row) and max(row) > -torch.inf
        assert token == (row.index(max(row)) if is_number else UNDRAWN)


def test_ties_share_the_mass_and_leave_nothing_out():
    """Four of five equal tokens make 0.8: a nucleus of 0.75 takes four of them, each a quarter."""
    shares = drawn(np.array([1.0, 1, -90, 1, 1, 1], dtype=np.float32), Decoding(top_p=0.75), 1000)
    assert sorted(shares) == pytest.approx([0, 0, 0.25, 0.25, 0.25, 0.25], abs=2e-3)
    assert shares[2] == 0


def test_the_token_that_reaches_the_mass_is_the_last():
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    assert np.flatnonzero(drawn(row, Decoding(top_p=0.79), 100)).tolist() == [0, 1]
    assert np.flatnonzero(drawn(row, Decoding(top_p=0.81), 100)).tolist() == [0, 1, 2]
    assert np.flatnonzero(drawn(row, Decoding(top_p=1e-9), 100)).tolist() == [0]


@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_range_stay_in_the_support(top_p, uniform):
    row = torch.full((1, 1000), -torch.inf)
    row[0, [3, 500]] = torch.tensor([0.0, -1.0])
    token = sample(row, torch.tensor([uniform], dtype=torch.float64), Decoding(top_p=top_p))
    assert int(token) in (3, 500)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 700),
    scale=st.floats(0.01, 30),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 800),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_every_draw_is_in_the_nucleus(seed, size, scale, top_p, top_k, uniform):
    """What is drawn is never less likely than the nucleus's last token, to float32's precision."""
    row = np.random.default_rng(seed).normal(0, scale, size).astype(np.float32)
    decoding = Decoding(top_p=top_p, top_k=top_k)
    token = int(sample(torch.from_numpy(row)[None], torch.tensor([uniform], dtype=torch.float64), decoding)[0])
    support = reference(row, Decoding(top_p=min(1, top_p + 1e-5), top_k=top_k)) > 0
    assert row[token] >= row[support].min()


def test_frequencies_fit_the_distribution():
    """Chi-square over independent streams, as generation draws them; the seed is fixed."""
    row = np.random.default_rng(2).normal(0, 2, 30).astype(np.float32)
    decoding = Decoding(top_p=0.9)
    noise = torch.tensor([uniforms(7, f"prompt {i}", 0, 1)[0] for i in range(5000)])
    tokens = sample(torch.from_numpy(row).expand(5000, -1), noise, decoding)
    expected = reference(row, decoding)
    kept = expected > 0
    counts = np.bincount(tokens.numpy(), minlength=30)
    assert counts[~kept].sum() == 0
    assert stats.chisquare(counts[kept], 5000 * expected[kept]).pvalue > 0.01


def test_streams_depend_on_seed_prompt_and_sample_alone():
    first = uniforms(0, "a", 0, 20)
    assert uniforms(0, "a", 0, 20).tolist() == first.tolist()
    assert uniforms(0, "a", 0, 5).tolist() == first[:5].tolist()  # a longer continuation begins as a shorter one
    others = [uniforms(1, "a", 0, 20), uniforms(0, "b", 0, 20), uniforms(0, "a", 1, 20), uniforms(0, "a\n0", 0, 20)]
    assert all(not np.isin(other, first).any() for other in others)
    assert ((first >= 0) & (first < 1)).all()
