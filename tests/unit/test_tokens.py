"""A text after a prompt, and where a text ends, over tokenizers of every kind that causal models have."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from bench.engine.generation import Prompt, encode_prompt, generate, text_after
from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode, encode_after, end_tokens, first_token, opening
from bench.errors import UsageError
from bench.policy import HFPolicy
from bench.spec import Decoding
from methods.decoding.mixture import MixturePolicy
from methods.decoding.prefix import PrefixPolicy, plain_prefix

SPECIAL = ["<unk>", "<s>", "</s>"]
UNKNOWN, BEGIN, END = SPECIAL
TEXTS = [
    "The weather is here.",
    "He said that it was hers, imal di.",
    "The river rises in the hills and runs south past two small towns; there she heard her heart.",
    "here heres where weather, she's, do n't, I.",
]
LETTERS = sorted(set("".join(TEXTS)) | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'-\n"))


def bytes_(*, prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": SPECIAL, "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=330, **options))
    return tokenizer


def pieces(scheme: str, kind: str) -> Tokenizer:
    """As SentencePiece makes them: Unigram or BPE, with or without a space put before a text."""
    options: dict[str, Any] = {"special_tokens": SPECIAL, "show_progress": False}
    options["initial_alphabet"] = [letter for letter in LETTERS if letter != " "]
    if kind == "unigram":
        tokenizer, trainer = (
            Tokenizer(models.Unigram()),
            trainers.UnigramTrainer(vocab_size=130, unk_token=UNKNOWN, **options),
        )
    else:
        tokenizer, trainer = Tokenizer(models.BPE(unk_token=UNKNOWN)), trainers.BpeTrainer(vocab_size=150, **options)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def llama() -> Tokenizer:
    """As Llama 2's: a BPE over the whole text with bytes to fall back to, a space put before by the normaliser."""
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=SPECIAL, show_progress=False, initial_alphabet=LETTERS)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    merges = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(merges["vocab"])
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    made = [tuple(pair) for pair in merges["merges"]]
    tokenizer.model = models.BPE(vocabulary, made, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True)
    strip = decoders.Strip(content=" ", left=1)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    return tokenizer


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    options: dict[str, Any] = {"special_tokens": SPECIAL, "show_progress": False}
    alphabet = [letter for letter in LETTERS if not letter.isspace()]
    tokenizer.train_from_iterator(
        [*TEXTS * 3, " ".join(f"a{letter}" for letter in alphabet)],
        trainers.WordPieceTrainer(vocab_size=320, initial_alphabet=alphabet, **options),
    )
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": lambda: bytes_(prefix_space=False),
    "bytes, prefix space": lambda: bytes_(prefix_space=True),
    "unigram": lambda: pieces("always", "unigram"),
    "unigram, first": lambda: pieces("first", "unigram"),
    "unigram, no prefix space": lambda: pieces("never", "unigram"),
    "bpe": lambda: pieces("always", "bpe"),
    "bpe, first": lambda: pieces("first", "bpe"),
    "bpe, no prefix space": lambda: pieces("never", "bpe"),
    "llama": llama,
    "words": words,
}
TEMPLATES = {"none": "$A", "begin": f"{BEGIN} $A", "end": f"$A {END}", "both": f"{BEGIN} $A {END}"}
ALL_TEXTS = ("bytes", "bytes, prefix space", "llama")
"""They have bytes for what they do not know."""


@cache
def trained(kind: str) -> str:
    """A tokenizer's file: training twice does not always give the same."""
    return str(KINDS[kind]().to_str())


@cache
def made(kind: str, template: str, begin: bool = True) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_str(trained(kind))
    ids = [(name, tokenizer.token_to_id(name)) for name in (BEGIN, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=TEMPLATES[template], special_tokens=ids)
    begins = {"bos_token": BEGIN} if begin else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN, eos_token=END, **begins)


def said(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


known = st.text(st.sampled_from(LETTERS), max_size=12)
written = st.sampled_from(
    [text[start:end] for text in TEXTS for start in range(0, 20, 3) for end in range(start + 1, len(text), 7)]
)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
every_tokenizer = st.builds(
    lambda kind, template, begin: (
        kind,
        made(kind, template, begin or BEGIN in TEMPLATES[template]),
    ),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(sorted(TEMPLATES)),
    st.booleans(),
)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_what_stands_before_a_text_is_counted(kind, template):
    assert opening(made(kind, template)) == (BEGIN in TEMPLATES[template])


@settings(max_examples=600, deadline=None, derandomize=True)
@given(every_tokenizer, st.one_of(known, written, anything), st.one_of(known, written, anything))
def test_a_text_after_a_prompt_is_what_stands_after_the_prompt(
    of: tuple[str, PreTrainedTokenizerFast], prompt: str, text: str
) -> None:
    """Both together decode to prompt + text, as far as the tokenizer knows them; nothing ends between."""
    kind, tokenizer = of
    before, after = encode_after(tokenizer, prompt, text)
    assert before == (encode(tokenizer, prompt) or [first_token(tokenizer)])
    assert tokenizer.eos_token_id not in after
    if before != [first_token(tokenizer)]:
        assert tokenizer.eos_token_id not in before
    both = said(tokenizer, [*before, *after])
    if kind == "words":  # spaces and marks are lost at any place, and a word that it does not know is one token
        whole = tokenizer.convert_ids_to_tokens(encode(tokenizer, prompt + text))
        if UNKNOWN not in whole and set(prompt + text) <= set(LETTERS):
            assert "".join(both.split()) == "".join((prompt + text).split())
    elif kind in ALL_TEXTS or set(prompt + text) <= set(LETTERS):
        # one space at the beginning comes and goes with the space that some put there
        assert both in {prompt + text, (prompt + text).removeprefix(" "), f" {prompt}{text}"}
        if "no prefix space" in kind or kind in ("bytes", "llama"):
            assert both == prompt + text


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_seam_within_a_word_begins_no_new_word(kind: str, template: str) -> None:
    """As issue: "The weather is here" + "s, imal di" was scored as "here s, imal di"."""
    tokenizer = made(kind, template)
    before, after = encode_after(tokenizer, "The weather is here", "s, imal di")
    assert said(tokenizer, [*before, *after]).lstrip() == "The weather is heres, imal di"
    assert tokenizer.convert_ids_to_tokens(after)[0].lstrip("#")[0] == "s"


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_before_and_after_a_text_is_the_templates(kind: str) -> None:
    plain = made(kind, "none")("The river")["input_ids"]
    begin = made(kind, "none").bos_token_id
    for template, expected in (("none", plain), ("begin", [begin, *plain]), ("end", plain), ("both", [begin, *plain])):
        assert encode(made(kind, template), "The river") == expected
        assert encode(made(kind, template), "") == ([begin] if template in ("begin", "both") else [])
    assert encode_after(made(kind, "end", begin=False), "", "The river") == ([made(kind, "end").eos_token_id], plain)


# --- samples, read again, are what was sampled ---


@pytest.fixture(params=KINDS)
def seamed(request: pytest.FixtureRequest, tiny_base: Any) -> HFPolicy:
    """The tiny model with a tokenizer that puts an end token after every text."""
    return HFPolicy(tiny_base.model, made(request.param, "both"))


def test_a_prompt_is_not_continued_after_its_end(seamed: HFPolicy) -> None:
    ids = encode_prompt(seamed, "The river")
    assert seamed.tokenizer.eos_token_id not in ids
    assert said(seamed.tokenizer, ids).lstrip() == "The river"
    assert seamed.tokenizer.eos_token_id not in plain_prefix(_loaded(seamed), "The river")


def _loaded(policy: HFPolicy) -> Any:
    from bench.policy import LoadedModel

    return LoadedModel(policy.model, policy.tokenizer, "m", "0")


def test_samples_are_read_again_as_the_text_that_they_are(seamed: HFPolicy) -> None:
    prompts = [Prompt("a", "The weather is here"), Prompt("b", "She heard"), Prompt("c", "The river rises in the hill")]
    tokenizer, compared = seamed.tokenizer, 0
    for batch in generate(seamed, prompts, Decoding(num_samples=60, max_new_tokens=6, top_p=1.0), 0):
        for one in batch:
            prompt = next(prompt.text for prompt in prompts if prompt.id == one.prompt_id)
            before, after = encode_after(tokenizer, prompt, one.text)
            if UNKNOWN in tokenizer.convert_ids_to_tokens(after) or "\N{REPLACEMENT CHARACTER}" in one.text:
                continue
            again = text_after(seamed, before, after)
            assert "".join(again.split()) == "".join(one.text.split())
            compared += 1
    assert compared >= 10


# --- the tokens that end a text ---


def test_the_end_tokens_are_the_tokenizers_and_the_models(tiny_base: Any) -> None:
    model, tokenizer = tiny_base.model, tiny_base.tokenizer
    end = tokenizer.eos_token_id
    assert HFPolicy(model, tokenizer).end_tokens == {end}
    model.generation_config.eos_token_id = [end, 50, 51]
    assert HFPolicy(model, tokenizer).end_tokens == {end, 50, 51}
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = [60, 10**6, -1]
    assert HFPolicy(model, tokenizer).end_tokens == {end, 60}
    model.config.eos_token_id = type(model.config).eos_token_id  # a default: nobody wrote it for this tokenizer
    tokenizer.eos_token_id = tokenizer.bos_token_id
    assert end_tokens(tokenizer, model) == {tokenizer.eos_token_id}


def test_policies_around_others_end_as_these_do(tiny_base: Any) -> None:
    tiny_base.model.generation_config.eos_token_id = [2, 50]
    inner = HFPolicy(tiny_base.model, tiny_base.tokenizer)
    for policy in (MixturePolicy([inner, inner], lambda first, *_: first), PrefixPolicy(inner, [5, 6])):
        assert policy.end_tokens == {2, 50}


@pytest.fixture
def many_ends(tiny_base: Any) -> HFPolicy:
    """A model whose configuration for generation names many end tokens, ordinary ones among them."""
    tiny_base.model.generation_config.eos_token_id = list(range(2, 200))
    return HFPolicy(tiny_base.model, tiny_base.tokenizer)


def test_sampling_ends_at_any_end_token(many_ends: HFPolicy) -> None:
    decoding = Decoding(num_samples=200, max_new_tokens=8, top_p=1.0)
    prompts = [Prompt("a", "The river rises"), Prompt("b", "She asked")]
    found = [one for batch in generate(many_ends, prompts, decoding, 0) for one in batch]
    lengths = []
    for prompt in prompts:
        ids = torch.tensor([encode_prompt(many_ends, prompt.text)] * 200)
        torch.manual_seed(0)
        options = {"do_sample": True, "top_k": 0, "top_p": 1.0, "max_new_tokens": 8, "pad_token_id": 0}
        theirs = many_ends.model.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, ids.shape[1] :]
        lengths += [int((row != 0).sum()) for row in theirs]
    ours = sum(one.tokens for one in found) / len(found)
    assert ours == pytest.approx(sum(lengths) / len(lengths), rel=0.1)
    assert ours < 3
    assert all(one.ended for one in found if one.tokens < 8)


def test_the_token_that_ended_a_text_is_not_in_it(many_ends: HFPolicy) -> None:
    """It need not be special to the tokenizer."""
    ids = encode_prompt(many_ends, "She asked")
    row = encode(many_ends.tokenizer, " whether")
    ordinary = next(token for token in range(100, 200))
    assert text_after(many_ends, ids, [*[token for token in row if token not in many_ends.end_tokens], ordinary]) == (
        text_after(many_ends, ids, [token for token in row if token not in many_ends.end_tokens])
    )


# --- what the model reads ---


def test_a_text_that_is_longer_than_what_the_model_reads_is_refused_before_any_work(tiny_base: Any) -> None:
    calls: list[int] = []

    class Watched(HFPolicy):
        def forward(self, *arguments: Any, **options: Any) -> Any:
            calls.append(1)
            return super().forward(*arguments, **options)

    tiny_base.model.config.max_position_embeddings = 24
    policy = Watched(tiny_base.model, tiny_base.tokenizer)
    with pytest.raises(UsageError, match="a text has 25 tokens, and the model reads 24; lower max_tokens"):
        loglikelihood(policy, [([5], [6] * 10), ([5], [6] * 25)])
    with pytest.raises(UsageError, match="a continuation has 25 tokens, and the model reads 24; lower max_new_tokens"):
        list(generate(policy, [Prompt("a", "She asked")], Decoding(num_samples=1, max_new_tokens=25), 0))
    assert not calls
    assert loglikelihood(policy, [([5, 6], [6] * 24)])[0].tokens == 24
    assert list(generate(policy, [Prompt("a", "She asked")], Decoding(num_samples=1, max_new_tokens=24), 0))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 24)), min_size=1, max_size=5), st.integers(1, 24))
def test_nothing_is_ever_read_past_the_end(lengths: list[tuple[int, int]], new: int) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=24, n_embd=8, n_layer=1, n_head=1)).eval()
    policy = HFPolicy(model, made("bytes", "both"))
    scored = loglikelihood(policy, [([5] * before, [6] * after) for before, after in lengths])
    assert [one.tokens for one in scored] == [after for _, after in lengths]
    decoding = Decoding(num_samples=1, max_new_tokens=new)
    prompts = [Prompt(str(number), "a " * before) for number, (before, _) in enumerate(lengths)]
    assert sum(len(batch) for batch in generate(policy, prompts, decoding, 0)) == len(prompts)


# --- those who use them ---


def test_lm_eval_reads_no_end_before_a_continuation(tiny_base: Any, context: Any) -> None:
    from lm_eval.api.instance import Instance

    from bench.tasks.lm_eval.model import PolicyLM

    pairs = [("The weather is", " here"), ("She asked", " whether")]
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    policies = [HFPolicy(tiny_base.model, made("bytes", template)) for template in ("none", "end")]
    plain, ended = (PolicyLM(policy, context, "test").loglikelihood(requests) for policy in policies)
    assert plain == ended
    rolling = [Instance("loglikelihood_rolling", {}, ("The weather is here",), 0)]
    plain, ended = (PolicyLM(policy, context, "test").loglikelihood_rolling(rolling) for policy in policies)
    assert plain == ended


def test_grpo_continues_no_prompt_after_its_end(tiny_base: Any) -> None:
    from methods.grpo.training import _Trainer

    trainer = _Trainer.__new__(_Trainer)
    trainer.processing_class = made("llama", "both")
    ids, *_ = trainer._tokenize_prompts(["The weather is here", "She heard"])
    assert [said(trainer.processing_class, row) for row in ids] == ["The weather is here", "She heard"]
    assert all(trainer.processing_class.eos_token_id not in row for row in ids)


@pytest.mark.parametrize(
    "name", ["contrastive", "sft", "steering", "dinm", "lm_steer", "grpo", "ablation", "iti", "cast"]
)
def test_sets_that_are_longer_than_what_the_model_reads_are_refused_before_any_work(
    tiny_base: Any, tiny_sets: Any, tmp_path: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with rotations would read past its end without a word."""
    from bench import registry
    from bench.method import RunContext

    tiny_base.model.config.max_position_embeddings = 6
    forward, read = type(tiny_base.model).forward, list[int]()

    def watched(model: Any, input_ids: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        read.append(input_ids.numel())
        return forward(model, input_ids, *arguments, **options)

    monkeypatch.setattr(type(tiny_base.model), "forward", watched)
    kind = registry.load("methods", name)
    method = kind(kind.Config())
    context = RunContext(tmp_path, unwanted=lambda texts: [0.0] * len(texts))
    with pytest.raises(UsageError, match=r"has \d+ tokens, and the model reads 6; (shorten|lower)"):
        method.prepare(tiny_base, tiny_sets, context)
    assert read in ([], [1])  # one token, to see what the logits are made of
