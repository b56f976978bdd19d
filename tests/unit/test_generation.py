"""Generation: what transformers' own greedy loop writes, whatever shares the batch."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bench.engine.batching import BATCH_BUDGET, BATCH_TOKENS, batches, in_batches, pad
from bench.engine.generation import Prompt, continue_rows, encode_prompt, generate, text_after
from bench.engine.likelihood import loglikelihood
from bench.engine.profile import CUDA, PROFILES
from bench.engine.stops import StopTexts
from bench.errors import MissingError
from bench.policy import HFPolicy
from bench.spec import Decoding

TEXTS = (
    "The river rises in the hills, runs south past",
    "She asked",
    "He did not like the weather; nobody did. It rained, and it rained again! You are a very kind friend",
    "What is",
)
PROMPTS = [Prompt(f"p{number}", text) for number, text in enumerate(TEXTS)]


def greedy(logits: torch.Tensor, active: Sequence[int], step: int) -> torch.Tensor:
    del active, step
    return logits.argmax(-1)


def never(row: int, tokens: list[int]) -> bool:
    del row, tokens
    return False


def test_greedy_rows_are_those_of_transformers(tiny_policy):
    encoded = [encode_prompt(tiny_policy, text) for text in TEXTS]
    expected = [
        tiny_policy.model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12, do_sample=False
        )[0, len(ids) :].tolist()
        for ids in encoded
    ]
    end = tiny_policy.tokenizer.eos_token_id
    assert continue_rows(tiny_policy, encoded, 1, 12, greedy, lambda _, row: row[-1] == end) == expected


def test_repeats_of_a_prompt_stand_together(tiny_policy):
    encoded = [encode_prompt(tiny_policy, text) for text in TEXTS]
    single = continue_rows(tiny_policy, encoded, 1, 6, greedy, never)
    assert continue_rows(tiny_policy, encoded, 3, 6, greedy, never) == [row for row in single for _ in range(3)]


def test_rows_that_are_finished_are_dropped_and_change_nothing(tiny_policy):
    """Each row stops at a length of its own, so that rows leave the cache at every step."""
    encoded = [encode_prompt(tiny_policy, text) for text in TEXTS]
    whole = continue_rows(tiny_policy, encoded, 2, 10, greedy, never)
    seen: list[int] = []

    def pick(logits: torch.Tensor, active: Sequence[int], step: int) -> torch.Tensor:
        seen.append(len(active))
        return greedy(logits, active, step)

    rows = continue_rows(tiny_policy, encoded, 2, 10, pick, lambda row, tokens: len(tokens) > row)
    assert rows == [row[: number + 1] for number, row in enumerate(whole)]
    assert seen[0] == 8
    assert seen[-1] < 4


def test_no_more_steps_than_needed(tiny_policy):
    steps: list[int] = []

    def pick(logits: torch.Tensor, active: Sequence[int], step: int) -> torch.Tensor:
        steps.append(step)
        return greedy(logits, active, step)

    continue_rows(tiny_policy, [[5, 6, 7]], 2, 30, pick, lambda _, tokens: len(tokens) == 4)
    assert steps == [0, 1, 2, 3]


def collect(policy: HFPolicy, prompts: Sequence[Prompt], decoding: Decoding, seed: int = 0, **options: int) -> dict:
    return {
        (one.prompt_id, one.sample): one
        for batch in generate(policy, prompts, decoding, seed, **options)
        for one in batch
    }


DECODING = Decoding(num_samples=3, max_new_tokens=10)


class Asked(torch.overrides.TorchFunctionMode):
    """Counts what is asked of the device: what a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = getattr(func, "__name__", "")
        self.count += name in ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("decoding", [DECODING, Decoding(num_samples=3, max_new_tokens=10, top_k=40)])
def test_on_a_gpu_samples_are_the_same_and_the_device_is_asked_once_a_step(tiny_policy, monkeypatch, decoding):
    ours = collect(tiny_policy, PROMPTS, decoding)
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    assert collect(tiny_policy, PROMPTS, decoding) == ours
    steps: list[int] = []
    real = tiny_policy.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        steps.append(1)
        asked.__exit__(None, None, None)  # what the model itself asks is its own
        try:
            return real(*arguments, **options)
        finally:
            asked.__enter__()

    monkeypatch.setattr(tiny_policy, "forward", forward)
    asked = Asked()
    with asked:
        collect(tiny_policy, PROMPTS[:1], decoding)
    assert len(steps) == 10
    assert asked.count == 10


@pytest.mark.parametrize("until", ["\n", "river", " the", "zzz", ". "])
def test_stop_texts_stop_where_the_whole_row_holds_them(tiny_policy, until):
    """Token by token: what is found at the end of a row is what is found in all of it."""
    seen = StopTexts(tiny_policy.tokenizer, [until])
    random = torch.Generator().manual_seed(0)
    special = tiny_policy.tokenizer.all_special_ids
    found = 0
    for number in range(30):
        row = torch.randint(3, 400, (60,), generator=random).tolist()
        row[::7] = [special[number % len(special)]] * len(row[::7])
        for text in (" the river. ", "\n\n"):
            row[20 + number : 20 + number] = tiny_policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        wholes = [text_after(tiny_policy, [], row[: end + 1]) for end in range(len(row))]
        first = next((end for end, text in enumerate(wholes) if until in text), None)
        if first is not None:
            found += 1
            assert seen(row[: first + 1])
    assert (found > 0) == (until != "zzz")


def test_a_row_is_not_read_whole_at_each_of_its_tokens(tiny_policy, monkeypatch):
    read: list[int] = []
    real = tiny_policy.tokenizer.decode
    monkeypatch.setattr(tiny_policy.tokenizer, "decode", lambda ids, **o: read.append(len(ids)) or real(ids, **o))
    seen = StopTexts(tiny_policy.tokenizer, ["zzz"])
    assert not any(seen(list(range(5, 5 + length))) for length in range(1, 300))
    assert max(read) == 4 * 3 + 4


def test_samples_do_not_depend_on_the_batch(tiny_policy):
    """One prompt a batch, all in one, in another order, or without the others: the same texts."""
    together = collect(tiny_policy, PROMPTS, DECODING)
    assert together.keys() == {(prompt.id, sample) for prompt in PROMPTS for sample in range(3)}
    assert collect(tiny_policy, PROMPTS, DECODING, batch_tokens=1) == together
    assert collect(tiny_policy, PROMPTS[::-1], DECODING) == together
    last = collect(tiny_policy, PROMPTS[-1:], DECODING)
    assert last == {key: one for key, one in together.items() if key[0] == PROMPTS[-1].id}


def test_samples_that_end_early_take_nothing_from_the_others(tiny_policy):
    """Nearly flat: many samples end, each at a length of its own; the rest go on with their own random numbers."""
    decoding = Decoding(num_samples=20, max_new_tokens=40, temperature=50.0, top_p=1.0)
    together = collect(tiny_policy, PROMPTS, decoding)
    assert sum(one.ended for one in together.values()) > 3
    assert collect(tiny_policy, PROMPTS, decoding, batch_tokens=1) == together
    fewer = collect(tiny_policy, PROMPTS, decoding.model_copy(update={"num_samples": 1}))
    assert fewer == {key: one for key, one in together.items() if key[1] == 0}


def test_more_samples_keep_those_that_there_were(tiny_policy):
    few, more = (collect(tiny_policy, PROMPTS, DECODING.model_copy(update={"num_samples": n})) for n in (2, 5))
    assert {key: more[key] for key in few} == few


def test_the_seed_decides(tiny_policy):
    first = collect(tiny_policy, PROMPTS, DECODING, 0)
    assert collect(tiny_policy, PROMPTS, DECODING, 0) == first
    other = collect(tiny_policy, PROMPTS, DECODING, 1)
    assert sum(other[key].text != first[key].text for key in first) > 9


def test_the_likeliest_token_is_taken_where_the_policy_truncates(tiny_policy):
    decoding = Decoding(num_samples=1, max_new_tokens=10, top_k=1)
    expected = collect(tiny_policy, PROMPTS, decoding)
    tiny_policy.truncates = True
    assert [collect(tiny_policy, PROMPTS, decoding, seed) for seed in (0, 1)] == [expected, expected]


def test_a_prompts_samples_differ(tiny_policy):
    texts = [one.text for one in collect(tiny_policy, PROMPTS, DECODING).values()]
    assert len(set(texts)) > len(texts) * 0.8


def test_nothing_but_the_continuation_is_in_the_text(tiny_policy):
    """Prompt and text together are what the tokens say; no special token is shown."""
    for prompt in PROMPTS:
        ids = encode_prompt(tiny_policy, prompt.text)
        row = continue_rows(tiny_policy, [ids], 1, 8, greedy, never)[0]
        text = text_after(tiny_policy, ids, row)
        assert prompt.text + text == tiny_policy.tokenizer.decode([*ids, *row], skip_special_tokens=True)
        assert not text.startswith(prompt.text)


def test_a_leading_space_stays(tiny_policy):
    """Some tokenizers lose it when a continuation is decoded on its own."""
    ids, row = encode_prompt(tiny_policy, "She asked"), encode_prompt(tiny_policy, " whether the train")
    assert text_after(tiny_policy, ids, row) == " whether the train"


def test_an_ended_sample_says_so(tiny_policy):
    """The end token is counted and not shown; a flat distribution over 400 tokens comes by it often enough."""
    decoding = Decoding(num_samples=40, max_new_tokens=30, temperature=50.0, top_p=1.0)
    found = list(collect(tiny_policy, PROMPTS, decoding).values())
    ended = [one for one in found if one.ended]
    assert 3 < len(ended) < len(found)
    assert any(one.tokens < 30 for one in ended)
    assert all(one.tokens == 30 for one in found if not one.ended)
    assert all("<|eos|>" not in one.text and "<|pad|>" not in one.text for one in found)


def test_an_empty_prompt_starts_from_the_begin_token(tiny_policy):
    assert encode_prompt(tiny_policy, "") == [tiny_policy.tokenizer.bos_token_id]
    found = collect(tiny_policy, [Prompt("empty", "")], DECODING)
    assert len(found) == 3
    tiny_policy.tokenizer.bos_token = None
    assert encode_prompt(tiny_policy, "") == [tiny_policy.tokenizer.eos_token_id]


def test_a_prompt_that_is_too_long_keeps_its_end(tiny_policy):
    long = " ".join(TEXTS) * 30
    ids = tiny_policy.tokenizer(long)["input_ids"]
    assert len(ids) > tiny_policy.max_length == 512
    kept = encode_prompt(tiny_policy, long)
    assert kept == ids[-len(kept) :]
    assert len(collect(tiny_policy, [Prompt("long", long)], DECODING)) == 3


@pytest.fixture
def gpt2(tiny_base) -> HFPolicy:
    """A model whose positions are absolute, and end: a shift that Llama's rotations do not feel changes its logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=400, n_positions=32, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5)
        return HFPolicy(GPT2LMHeadModel(config).eval(), tiny_base.tokenizer)


def test_positions_are_counted_from_a_rows_first_token(gpt2):
    ids = [5, 6, 7, 8, 9, 10]
    with torch.no_grad():
        expected = gpt2.model(torch.tensor([ids])).logits[0]
    tokens, mask = pad([ids, [1] * 20], 0, "left", torch.device("cpu"))
    assert float((gpt2.forward(tokens, mask)[0][0, 14:] - expected).abs().max()) < 1e-4
    _, cache = gpt2.forward(tokens[:, :-2], mask[:, :-2])
    logits, _ = gpt2.forward(tokens[:, -2:], mask, cache)
    assert float((logits[0] - expected[-2:]).abs().max()) < 1e-4


def test_a_model_whose_positions_end_is_not_asked_beyond_them(gpt2):
    """A prompt that is too long leaves room for what is written."""
    assert gpt2.max_length == 32
    prompts = [*PROMPTS, Prompt("long", " ".join(TEXTS) * 3)]
    assert len(collect(gpt2, prompts, DECODING)) == 15


def test_batches_are_sorted_full_and_whole():
    items = [3, 1, 9, 4, 4, 2, 8]
    cut = list(batches(items, lambda item: item, lambda _: 2, most=20))
    assert sorted(item for batch in cut for item in batch) == sorted(items)
    assert [item for batch in cut for item in batch] == sorted(items, reverse=True)
    assert all(len(batch) == 1 or 2 * len(batch) * max(batch) <= 20 for batch in cut)
    assert [len(batch) for batch in cut] == [1, 1, 2, 3]
    assert list(batches([], lambda _: 1, lambda _: 1)) == []


@pytest.mark.parametrize("fixed", [0, 3, 10, 100])
def test_batches_with_a_fixed_cost_are_the_cheapest_of_all_that_fit(fixed: int) -> None:
    lengths = [9, 9, 8, 5, 5, 2, 1, 1]

    def cost(cut: Sequence[Sequence[int]]) -> int:
        return sum(len(batch) * batch[0] + fixed for batch in cut)

    def cuts(items: list[int]) -> Iterator[list[list[int]]]:
        if not items:
            yield []
        for end in range(1, len(items) + 1):
            if end == 1 or end * items[0] <= 30:
                yield from ([items[:end], *rest] for rest in cuts(items[end:]))

    found = list(batches(lengths[::-1], lambda item: item, lambda _: 1, most=30, fixed=fixed))
    assert [item for batch in found for item in batch] == lengths
    assert cost(found) == min(map(cost, cuts(lengths)))


class Small(HFPolicy):
    """A machine whose memory holds so many positions and no more."""

    holds = 140

    def forward(self, input_ids: Any, attention_mask: Any, *args: Any, **options: Any) -> Any:
        if attention_mask.numel() > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(input_ids, attention_mask, *args, **options)


def test_batches_shrink_where_memory_gives_out(tiny_policy, monkeypatch):
    """Nothing is lost or doubled, the samples are the same, and later work starts at the size that fits."""
    monkeypatch.setattr(BATCH_BUDGET, "tokens", BATCH_TOKENS)
    expected = collect(tiny_policy, PROMPTS, DECODING)
    small = Small(tiny_policy.model, tiny_policy.tokenizer)
    assert collect(small, PROMPTS, DECODING) == expected
    assert BATCH_BUDGET.tokens <= small.holds
    monkeypatch.setattr(BATCH_BUDGET, "tokens", BATCH_TOKENS)
    requests = [([5, 6 + n % 2], [7, 8, 9 + n]) for n in range(120)]  # two contexts, of 60 answers each
    found = loglikelihood(small, requests)
    expected_logprobs = [one.logprob for one in loglikelihood(tiny_policy, requests)]
    assert [one.logprob for one in found] == pytest.approx(expected_logprobs, abs=1e-4)


def test_a_single_prompt_that_memory_does_not_hold_is_one_clear_line(tiny_policy, monkeypatch):
    monkeypatch.setattr(BATCH_BUDGET, "tokens", BATCH_TOKENS)
    small = Small(tiny_policy.model, tiny_policy.tokenizer)
    small.holds = 20
    with pytest.raises(MissingError, match=r"memory gives out at a single item of \d+ rows x \d+ tokens; take fewer"):
        collect(small, PROMPTS, DECODING)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny_policy):
    def work(batch: list[int]) -> None:
        raise RuntimeError(f"a size does not fit ({len(batch)})")

    with pytest.raises(RuntimeError, match="does not fit"):
        list(in_batches([1, 2], work, lambda one: one, lambda _: 1))


def test_padding():
    tokens, mask = pad([[1, 2, 3], [4]], 9, "left", torch.device("cpu"))
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    tokens, mask = pad([[1, 2, 3], [4]], 9, "right", torch.device("cpu"))
    assert tokens.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_positions_do_not_depend_on_padding(tiny_policy):
    """Logits of a row after any number of pads, read at once or token by token over a cache."""
    ids = encode_prompt(tiny_policy, TEXTS[0])
    plain, _ = tiny_policy.forward(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
    with torch.no_grad():
        expected = tiny_policy.model(torch.tensor([ids])).logits
    assert float((plain - expected).abs().max()) < 1e-5
    tokens, mask = pad([ids, [1] * (len(ids) + 7)], 0, "left", torch.device("cpu"))
    padded, _ = tiny_policy.forward(tokens, mask)
    assert float((padded[0, 7:] - expected[0]).abs().max()) < 1e-5
    _, cache = tiny_policy.forward(tokens[:, :-3], mask[:, :-3])
    for back in (3, 2, 1):
        until = tokens.shape[1] - back + 1
        logits, cache = tiny_policy.forward(tokens[:, until - 1 : until], mask[:, :until], cache, logits_to_keep=1)
        assert logits.shape[:2] == (2, 1)
        assert float((logits[0, -1] - expected[0, len(ids) - back]).abs().max()) < 1e-5


def test_continuations_can_be_written_as_json(tiny_policy):
    """Random bytes make broken characters: they must survive the record."""
    for one in collect(tiny_policy, PROMPTS, Decoding(num_samples=10, max_new_tokens=10)).values():
        assert json.loads(json.dumps(one.text)) == one.text
