"""Policies made of several readings: prefixes, mixtures, their caches."""

from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from bench.engine.batching import pad
from bench.engine.likelihood import loglikelihood
from bench.engine.profile import CPU, CUDA, PROFILES
from bench.engine.tokens import first_token
from bench.errors import MissingError, UsageError
from bench.method import RunContext
from bench.policy import HFPolicy, LoadedModel, Policy
from bench.sets import ContrastiveSets
from bench.spec import validate
from methods.decoding.cache import JointCache, Rows
from methods.decoding.experts import expert
from methods.decoding.mixture import MixturePolicy, nucleus, weighted
from methods.decoding.prefix import PrefixPolicy, chat_prefix, plain_prefix
from methods.dexperts import DExperts, DExpertsConfig
from methods.gedi import Gedi, GediConfig
from methods.gedi.policy import GediPolicy, Guidance
from methods.prompt import PromptConfig, PromptMethod
from methods.self_debias import ANNOUNCED, SelfDebiasConfig

PREFIX = "What is the capital of France?\n"


def encode(policy: Policy, text: str) -> list[int]:
    ids: list[int] = policy.tokenizer(text)["input_ids"]
    return ids


def logits_of(policy: Policy, ids: list[int]) -> torch.Tensor:
    tokens = torch.tensor([ids])
    return policy.forward(tokens, torch.ones_like(tokens))[0][0]


@pytest.fixture
def prefixed(tiny_policy: HFPolicy) -> PrefixPolicy:
    return PrefixPolicy(tiny_policy, encode(tiny_policy, PREFIX))


def starting_with_begin(base: LoadedModel, kind: str = "bos") -> Any:
    """The tokenizer, told to put its begin token, or another, before every text."""
    tokenizer: Any = base.tokenizer
    begin = (getattr(tokenizer, f"{kind}_token"), getattr(tokenizer, f"{kind}_token_id"))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    return tokenizer


# --- prefixes ---


def test_a_prefix_takes_room(prefixed, tiny_policy):
    assert prefixed.max_length == tiny_policy.max_length - len(encode(tiny_policy, PREFIX))


def test_an_empty_prompt_is_continued_from_the_prefix(prefixed, tiny_policy):
    """Its begin token is passed over, in a batch with other rows, and by what is read after it."""
    begin = tiny_policy.tokenizer.bos_token_id
    rows = [[begin], encode(tiny_policy, "She asked")]
    ids, mask = pad(rows, 0, "left", prefixed.device)
    logits, cache = prefixed.forward(ids, mask)
    assert torch.allclose(logits[0, -1], logits_of(tiny_policy, encode(tiny_policy, PREFIX))[-1], atol=1e-4)
    assert torch.allclose(
        logits[1, -1], logits_of(tiny_policy, encode(tiny_policy, PREFIX + "She asked"))[-1], atol=1e-4
    )
    cache.batch_select_indices(torch.tensor([1, 0]))
    mask = torch.cat([mask[[1, 0]], torch.ones(2, 1, dtype=torch.int64)], -1)
    after, _ = prefixed.forward(torch.tensor([[7], [7]]), mask, cache)
    assert torch.allclose(after[1, -1], logits_of(tiny_policy, [*encode(tiny_policy, PREFIX), 7])[-1], atol=1e-4)


def test_a_begin_token_at_the_head_of_a_longer_row_is_read(prefixed, tiny_policy):
    """It may open a turn, where the tokenizer does not put one before every text."""
    row = [tiny_policy.tokenizer.bos_token_id, *encode(tiny_policy, "She asked")]
    expected = logits_of(tiny_policy, encode(tiny_policy, PREFIX) + row)[-len(row) :]
    assert torch.allclose(logits_of(prefixed, row), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["bos", "eos"])  # XGLM opens texts with its end token, and has a begin token
def test_a_begin_token_that_the_tokenizer_puts_is_passed_over(tiny_base, kind):
    tokenizer = starting_with_begin(tiny_base, kind)
    plain = HFPolicy(tiny_base.model, tokenizer)
    prefixed = PrefixPolicy(plain, plain_prefix(tiny_base, PREFIX))
    found, row = logits_of(prefixed, encode(plain, "She asked")), encode(plain, PREFIX + "She asked")
    assert row.count(getattr(tokenizer, f"{kind}_token_id")) == 1
    assert first_token(tokenizer) == row[0]
    assert torch.allclose(found, logits_of(plain, row)[-len(found) :], atol=1e-4)


def test_a_text_alone_is_as_likely_as_after_the_prefix(prefixed, tiny_policy):
    text, prefix = encode(tiny_policy, "She asked whether the train was late"), encode(tiny_policy, PREFIX)
    begin = tiny_policy.tokenizer.bos_token_id
    found = loglikelihood(prefixed, [([begin], text), (text[:3], text[3:])])
    expected = loglikelihood(tiny_policy, [(prefix, text), (prefix + text[:3], text[3:])])
    assert [one.logprob for one in found] == pytest.approx([one.logprob for one in expected], abs=1e-4)


def test_a_prefix_ends_its_line(tiny_base):
    assert plain_prefix(tiny_base, "She asked") == plain_prefix(tiny_base, "She asked\n")
    assert plain_prefix(tiny_base, "She asked\n\n") != plain_prefix(tiny_base, "She asked\n")


def test_a_prefix_that_is_too_long_is_refused(tiny_base):
    with pytest.raises(UsageError, match=r"the text before the prompt has .* tokens and .* reads 512"):
        plain_prefix(tiny_base, "river " * 300)


def test_a_tokenizer_without_chat_template_is_refused(tiny_base):
    with pytest.raises(UsageError, match="has no chat template; set template=plain"):
        chat_prefix(tiny_base.tokenizer, "Be kind.")


def test_prompt_finds_out_before_any_work_that_there_is_no_chat_template(tiny_model):
    PromptMethod(PromptConfig()).check(tiny_model, {})
    with pytest.raises(UsageError, match="has no chat template"):
        PromptMethod(PromptConfig(template="chat")).check(tiny_model, {})


def test_a_conversation_that_is_too_long_is_refused(tiny_base, tmp_path):
    tiny_base.tokenizer.chat_template = "{{ messages[0].content }}"
    with pytest.raises(UsageError, match="reads 512; shorten it"):
        PromptMethod(PromptConfig(template="chat", text="river " * 300)).prepare(tiny_base, None, RunContext(tmp_path))


def test_a_chat_template_that_takes_no_system_message_is_refused(tiny_base):
    tiny_base.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(UsageError, match=r"takes no system message alone \(no system role\); set template=plain"):
        chat_prefix(tiny_base.tokenizer, "Be kind.")


def test_a_chat_template_that_leaves_a_lone_system_message_out_is_refused(make_model):
    """Before any work, and by default too: as Gemma 3's, it writes what the system says into the user's turn."""
    model = make_model("m")
    (model / "chat_template.jinja").write_text(
        "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ messages[0].content }} {{ m.content }}\n"
        "{% endfor %}[me] "
    )
    for template in ("auto", "chat"):
        with pytest.raises(UsageError, match=r"no system message alone \(it leaves the text out\); set template=plain"):
            PromptMethod(PromptConfig(template=template)).check(model, {})
    PromptMethod(PromptConfig(template="plain")).check(model, {})


def test_a_conversation_whose_template_thinks_first_is_told_not_to(tiny_base):
    is_told = "enable_thinking is defined and not enable_thinking"
    tiny_base.tokenizer.chat_template = f"{{{{ messages[0].content }}}} a {{{{ 'train' if {is_told} else 'sea' }}}}"
    assert tiny_base.tokenizer.decode(chat_prefix(tiny_base.tokenizer, "Be kind.")) == "Be kind. a train"


# --- mixtures ---


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("profile", [CPU, CUDA], ids=["as on a processor", "as on a GPU"])
def test_the_nucleus_is_the_smallest_set(monkeypatch, profile, top_p, spread):
    """Narrow and flat distributions over more tokens than are sorted at first."""
    monkeypatch.setitem(PROFILES, "cpu", profile)
    logits = torch.randn(3, 2, 1000, generator=torch.Generator().manual_seed(0)) * spread
    probability = logits.double().softmax(-1)
    kept = nucleus(logits, top_p)
    mass = (probability * kept).sum(-1)
    least = torch.where(kept, probability, 2.0).min(-1).values
    assert (mass >= top_p - 1e-6).all()
    assert (mass - least < top_p + 1e-6).all()
    assert (torch.where(kept, 0.0, probability).max(-1).values <= least).all()


def test_a_mixture_is_a_weighted_sum(tiny_policy, prefixed):
    ids = encode(tiny_policy, "She asked")
    found = logits_of(weighted([(0.5, tiny_policy), (2.0, prefixed), (-1.0, tiny_policy)]), ids)
    expected = -0.5 * logits_of(tiny_policy, ids) + 2.0 * logits_of(prefixed, ids)
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_mixture_reads_as_much_as_its_shortest(tiny_policy, prefixed):
    assert weighted([(1.0, tiny_policy), (1.0, prefixed)]).max_length == prefixed.max_length


def test_a_mixture_reads_each_policy_once_and_only_when_asked(tiny_policy):
    seen = []

    class Counted(HFPolicy):
        def forward(self, *arguments: Any, **options: Any) -> Any:
            seen.append(self)
            return super().forward(*arguments, **options)

    parts = [Counted(tiny_policy.model, tiny_policy.tokenizer) for _ in range(3)]
    order = []

    def combine(base: torch.Tensor, others: Any, sampling: bool) -> torch.Tensor:
        order.append(len(seen))
        for logits in others:
            order.append(len(seen))
            base = base + logits
        return base

    _, cache = MixturePolicy(parts, combine).forward(torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.int64))
    assert order == [1, 2, 3]
    assert seen == parts
    assert isinstance(cache, JointCache)
    assert len(cache.parts) == 3


def test_a_joint_cache_moves_all_of_its_rows():
    cache = JointCache([Rows(torch.tensor([1, 2])), Rows(torch.tensor([[1.0], [2.0]]))])
    cache.batch_repeat_interleave(2)
    cache.batch_select_indices(torch.tensor([3, 0]))
    assert [part.values.tolist() for part in cache.parts] == [[2, 1], [[2.0], [1.0]]]


def test_a_cache_of_another_policy_is_refused(tiny_policy):
    _, cache = tiny_policy.forward(torch.tensor([[5]]), torch.ones(1, 1, dtype=torch.int64))
    with pytest.raises(TypeError, match="no cache of this policy"):
        weighted([(1.0, tiny_policy)]).forward(torch.tensor([[5]]), torch.ones(1, 2, dtype=torch.int64), cache)


# --- experts ---


@pytest.mark.parametrize(("anti_only", "kind"), [(False, "positives"), (False, "negatives"), (True, "negatives")])
def test_dexperts_needs_what_its_experts_learn_from(anti_only, kind, tiny_base, tiny_sets, tmp_path):
    """It says so before it trains one of them."""
    lacking = [one.model_copy(update={kind: []}) for one in tiny_sets.sets]
    sets = ContrastiveSets(lacking, "0", "a file")
    with pytest.raises(MissingError, match=rf"none of the 6 contrastive sets \(a file\) has {kind}"):
        DExperts(DExpertsConfig(anti_only=anti_only)).prepare(tiny_base, sets, RunContext(tmp_path / "artifact"))
    assert not (tmp_path / "artifact").exists()


def test_dexperts_anti_only_does_without_positives(tiny_base, tiny_sets, tmp_path):
    lacking = [one.model_copy(update={"positives": []}) for one in tiny_sets.sets]
    config = DExpertsConfig(anti_only=True, steps=1)
    sets, folder = ContrastiveSets(lacking, "0", "a file"), tmp_path / "artifact"
    facts = DExperts(config).prepare(tiny_base, sets, RunContext(folder))
    assert facts["trained_tokens"] == facts["anti_expert"]["trained_tokens"] > 0
    assert [one.name for one in folder.iterdir()] == ["anti_expert"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"positives": 0}, "'positives' = 0"), ({"steps": -1}, "'steps' = -1"), ({"filter_p": 0}, "'filter_p' = 0")],
)
def test_wrong_options_of_dexperts_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        validate(DExpertsConfig, options, "dexperts")


def test_an_expert_shares_what_its_adapter_leaves(tiny_base, tiny_adapter):
    """And neither it nor an error in its use touches the base model."""
    own = dict(tiny_base.model.named_parameters())
    before = {name: parameter.clone() for name, parameter in own.items()}
    with pytest.raises(KeyboardInterrupt), expert(tiny_base, tiny_adapter) as policy:
        twin = dict(policy.model.named_parameters())
        assert twin.keys() == own.keys()
        shared = {name for name in own if twin[name].data_ptr() == own[name].data_ptr()}
        assert {name for name in own if torch.equal(twin[name], before[name])} == shared
        assert "model.embed_tokens.weight" in shared
        assert "model.layers.0.mlp.up_proj.weight" not in shared
        raise KeyboardInterrupt
    assert all(torch.equal(parameter, before[name]) for name, parameter in tiny_base.model.named_parameters())
    assert dict(tiny_base.model.named_parameters()).keys() == own.keys()


# --- self-debiasing ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": []}, "'attributes'"),
        ({"attributes": ["anger"]}, "'attributes.0' = 'anger'"),
        ({"attributes": ["threat", "threat"]}, "an attribute is named twice"),
        ({"decay": -1}, "'decay' = -1"),
        ({"epsilon": 0}, "'epsilon' = 0"),
    ],
)
def test_wrong_options_of_self_debias_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        validate(SelfDebiasConfig, options, "self_debias")


def test_every_attribute_of_self_debias_can_be_named():
    assert SelfDebiasConfig(attributes=tuple(ANNOUNCED)).attributes == tuple(ANNOUNCED)


# --- GeDi ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"desired_code": "dirty"}, "desired_code and undesired_code are the same"),
        ({"negatives": 0}, "'negatives' = 0"),
        ({"generative": 1.5}, "'generative' = 1.5"),
        ({"filter_p": 1}, "'filter_p' = 1"),
        ({"target_p": 0}, "'target_p' = 0"),
        ({"steps": -1}, "'steps' = -1"),
    ],
)
def test_wrong_options_of_gedi_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        validate(GediConfig, options, "gedi")


def test_gedi_needs_both_kinds_of_text(tiny_base, tiny_sets, tmp_path):
    lacking = [one.model_copy(update={"negatives": []}) for one in tiny_sets.sets]
    with pytest.raises(MissingError, match=r"none of the 6 contrastive sets .* has positives and negatives"):
        Gedi(GediConfig()).prepare(tiny_base, ContrastiveSets(lacking, "0", "a file"), RunContext(tmp_path))


@pytest.mark.parametrize("begins", [False, True])
def test_gedi_counts_no_begin_token(begins, tiny_base, tiny_adapter):
    """A text alone is guided as after an empty prompt, and reading it token by token as reading it at once."""
    if begins:
        starting_with_begin(tiny_base)
    text: list[int] = tiny_base.tokenizer("She asked whether", add_special_tokens=False)["input_ids"]
    begin = tiny_base.tokenizer.bos_token_id
    with expert(tiny_base, tiny_adapter) as conditional:
        codes = [PrefixPolicy(conditional, plain_prefix(tiny_base, code)) for code in ("clean", "dirty")]
        # A base that knows nothing leaves the guide alone.
        policy = GediPolicy(Flat(tiny_base.model, tiny_base.tokenizer), *codes, Guidance(30.0, 1.0, 0.0, 0.0, 0.0))
        after = [logits_of(code, text).log_softmax(-1) for code in codes]
        start = codes[0].start().log_softmax(-1) - codes[1].start().log_softmax(-1)
        mask = torch.ones(1, 1, dtype=torch.int64)
        found, cache = policy.forward(torch.tensor([[begin]]), mask)
        assert torch.allclose(found[0, -1], 30 * torch.nn.functional.logsigmoid(start), atol=1e-4)
        ratio = torch.cat([start[None], after[0] - after[1]])
        total = torch.zeros(())
        for number, token in enumerate(text):
            mask = torch.cat([mask, torch.ones(1, 1, dtype=torch.int64)], -1)
            found, cache = policy.forward(torch.tensor([[token]]), mask, cache)
            total = total + ratio[number, token]
            odds = (total + ratio[number + 1]) / (number + 2)
            assert torch.allclose(found[0, -1], 30 * torch.nn.functional.logsigmoid(odds), atol=1e-3)


class Flat(HFPolicy):
    """A model to which all tokens are alike."""

    def forward(self, *arguments: Any, **options: Any) -> Any:
        logits, cache = super().forward(*arguments, **options)
        return torch.zeros_like(logits), cache
