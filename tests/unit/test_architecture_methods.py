"""Each kind of method on every common architecture: trained, read and undone rightly, or refused in one line."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from families import FAMILIES, REQUESTS, Family, likelihood_of, logprobs_alone
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bench.engine import likelihood
from bench.engine.architecture import attention_window
from bench.engine.likelihood import loglikelihood
from bench.errors import UsageError
from bench.method import Method, RunContext
from bench.policy import LoadedModel, Policy
from bench.progress import SILENT
from bench.run.artifact import load_artifact, make_artifact
from methods.ablation import Ablation, AblationConfig
from methods.anatomy.layers import after, decoder_layers
from methods.anatomy.skeleton import skeleton
from methods.cast import CAST, CASTConfig
from methods.contrastive import ContrastiveConfig, ContrastivePerplexity
from methods.decoding.prefix import plain_prefix
from methods.dinm import DINM, DINMConfig
from methods.few_shot import FewShot, FewShotConfig
from methods.iti import ITI, ITIConfig
from methods.learning.adapter import unwrap
from methods.learning.batches import Collator, Item, match, refuse_long, score_batch
from methods.learning.packing import packable
from methods.learning.trainer import with_adapter
from methods.preadd import Preadd, PreaddConfig
from methods.representation.states import unit
from methods.steering import Steering, SteeringConfig
from methods.toxification_reversal import ToxificationReversal, ToxificationReversalConfig

CLOSE = 1e-4
READ = [one for one in FAMILIES if not one.keeps_state]
ITEMS = [
    Item("She asked the river", (" for a little help.", " him."), (" and said: what is it", " 0, 1, 2, 3")),
    Item("The capital", (" is near the sea, in the hills, past two small towns.",), (" x",)),
]


@pytest.fixture(params=READ, ids=lambda family: family.title, scope="module")
def family(request) -> Family:
    return request.param


@pytest.fixture(scope="module")
def base(family, tiny_model) -> LoadedModel:
    return LoadedModel(family.make(), AutoTokenizer.from_pretrained(tiny_model), family.title, "hash")


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    """Even a short beginning is read once."""
    monkeypatch.setattr(likelihood, "_WORTH_A_HEAD", 4)


@contextlib.contextmanager
def restored(base: LoadedModel) -> Iterator[None]:
    before = [part.clone() for part in base.model.parameters()]
    yield
    assert all(torch.equal(one, other) for one, other in zip(before, base.model.parameters(), strict=True))


def row_alone(policy: Policy, row: list[int]) -> torch.Tensor:
    ids = torch.tensor([row])
    return policy.forward(ids, torch.ones_like(ids))[0][0].float().log_softmax(-1)


@torch.no_grad()
def check_reading(base: LoadedModel, method: Method[Any], folder: Any) -> None:
    """Likelihoods of the edited model are those of each row alone, and not the base's; the base comes back."""
    plain = [likelihood_of(logprobs_alone(base.model, [*a, *b]), a, b) for a, b in REQUESTS]
    with restored(base), method.applied(base, load_artifact(folder)) as policy:
        found = [one.logprob for one in loglikelihood(policy, REQUESTS)]
        right = [likelihood_of(row_alone(policy, [*a, *b]), a, b) for a, b in REQUESTS]
    assert found == pytest.approx(right, abs=CLOSE)
    assert max(abs(one - other) for one, other in zip(found, plain, strict=True)) > 10 * CLOSE


class Notes:
    """A progress that keeps the notes."""

    bar = staticmethod(SILENT.bar)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_fine_tuned(family, base, tiny_sets, tmp_path):
    """The adapter's merged weights say what the adapter says; what it does not reach is said and recorded."""
    notes, method = Notes(), ContrastivePerplexity(ContrastiveConfig(steps=1, lr=0.02, warmup=0.0))
    facts = make_artifact(method, base, tiny_sets, RunContext(tmp_path, progress=notes))
    check_reading(base, method, tmp_path)
    assert bool(facts.get("unreached_parameters")) == family.unreached
    assert [note for note in notes.notes if "does not reach the routed experts of" in note] == notes.notes
    assert len(notes.notes) == family.unreached


def test_gradients_are_those_of_each_text_alone(family, base):
    """Whether texts are padded into a batch or share a row, where the architecture allows it."""
    config = ContrastiveConfig(lora_r=2)
    tokens = base.tokenizer("She asked the river")["input_ids"]
    longest = refuse_long(base, [row[:2] for row in match(ITEMS)])
    packed = packable(base, tokens, [base.tokenizer(text)["input_ids"] for text in ITEMS[0].positives], longest)
    assert packed == family.packed
    torch.manual_seed(0)
    model = with_adapter(base, config)
    try:
        trained = [part for part in model.parameters() if part.requires_grad]
        for part in trained:
            part.data.normal_(std=0.1)

        def gradient(*batches: list[Item], packed: bool) -> list[torch.Tensor]:
            collate = Collator(base.tokenizer, packed=packed, window=attention_window(base.model.config))
            losses = [score_batch(model, collate(some), base=base).logprob.sum() for some in batches]
            return list(torch.autograd.grad(torch.stack(losses).sum(), trained))

        single = [
            Item(item.anchor, *texts)
            for item in ITEMS
            for texts in (*(((one,), ()) for one in item.positives), *(((), (one,)) for one in item.negatives))
        ]
        right = gradient(*([one] for one in single), packed=False)
        for found in [gradient(ITEMS, packed=False), *([gradient(ITEMS, packed=True)] if packed else [])]:
            for one, other in zip(found, right, strict=True):
                assert float((one - other).abs().max()) < CLOSE * max(1.0, float(other.abs().max()))
        assert max(float(one.abs().max()) for one in right) > 0.01
    finally:
        unwrap(base.model)


def test_steered(base, tiny_sets, tmp_path):
    method = Steering(SteeringConfig(anchors=2))
    make_artifact(method, base, tiny_sets, RunContext(tmp_path))
    check_reading(base, method, tmp_path)


@pytest.mark.parametrize(
    "method",
    [
        ITI(ITIConfig(heads=4, alpha=15.0)),
        ToxificationReversal(ToxificationReversalConfig(bad_prefix="You are", good_prefix="She asked me")),
    ],
    ids=lambda one: one.info.name,
)
def test_steered_in_parts(base, tiny_sets, tmp_path, method):
    """Some heads, or all of them by what is read beside them."""
    make_artifact(method, base, tiny_sets if method.info.needs_sets else None, RunContext(tmp_path))
    check_reading(base, method, tmp_path)


@torch.no_grad()
def test_steered_where_a_condition_is_met(base, tiny_sets, tmp_path):
    """At about half of the positions."""
    make_artifact(CAST(CASTConfig(anchors=2)), base, tiny_sets, RunContext(tmp_path))
    condition = load_file(tmp_path / "cast.safetensors")["conditions"][0]
    met: list[torch.Tensor] = []
    for context, more in REQUESTS:
        states: list[torch.Tensor] = []
        with after([(decoder_layers(base)[0], states.append)]):
            base.model(torch.tensor([[*context, *more]]))
        cosines = unit(states[0][0]) @ condition
        met.append(cosines.cumsum(0) / torch.arange(1, len(cosines) + 1))
    options = {"layer": 0, "condition_layer": 0, "condition_threshold": float(torch.cat(met).median()) + 1e-6}
    check_reading(base, CAST(CASTConfig(**options)), tmp_path)


@pytest.mark.parametrize("opening", [4, 12])
def test_after_examples(base, tiny_sets, tmp_path, opening):
    """Contexts that are shorter and longer than what chooses the examples."""
    method = FewShot(FewShotConfig(shots=2, opening=opening))
    make_artifact(method, base, tiny_sets, RunContext(tmp_path))
    check_reading(base, method, tmp_path)


def test_a_direction_taken_out(base, family, tiny_sets, tmp_path):
    """Where all that writes can be told; `test_interventions` has the refusals."""
    method = Ablation(AblationConfig(anchors=2))
    base.model.config.save_pretrained(tmp_path / "config")
    if not family.tells_writers:
        with pytest.raises(UsageError):
            method.check(tmp_path / "config", {})
        return
    method.check(tmp_path / "config", {})
    (tmp_path / "artifact").mkdir()
    make_artifact(method, base, tiny_sets, RunContext(tmp_path / "artifact"))
    check_reading(base, method, tmp_path / "artifact")


@torch.no_grad()
def test_edited_while_decoding(base, tmp_path):
    """PREADD: logits after the prefix and without it, mixed by its equation."""
    method = Preadd(PreaddConfig(prefix="You are a very kind friend.", alpha=-0.5))
    make_artifact(method, base, None, RunContext(tmp_path))
    check_reading(base, method, tmp_path)
    prefix = plain_prefix(base, "You are a very kind friend.")
    with method.applied(base, load_artifact(tmp_path)) as policy:
        found = [one.logprob for one in loglikelihood(policy, REQUESTS)]
    for (context, more), one in zip(REQUESTS, found, strict=True):
        plain = logprobs_alone(base.model, [*context, *more])
        after = logprobs_alone(base.model, [*prefix, *context, *more])[len(prefix) :]
        assert one == pytest.approx(
            likelihood_of((1.5 * plain - 0.5 * after).log_softmax(-1), context, more), abs=CLOSE
        )


def test_one_matrix_edited(family, base, tiny_sets, tmp_path):
    """DINM: where a layer's feed-forward block has one output matrix; else it is refused before anything is loaded."""
    method = DINM(DINMConfig(steps=2))
    base.model.config.save_pretrained(tmp_path / "config")
    if not family.experts:
        method.check(tmp_path / "config", {})
        (tmp_path / "artifact").mkdir()
        make_artifact(method, base, tiny_sets, RunContext(tmp_path / "artifact"))
        check_reading(base, method, tmp_path / "artifact")
        return
    with pytest.raises(UsageError, match=r"layer 0 of the base model has \d output matrices .* use a model with one"):
        method.check(tmp_path / "config", {})


def test_a_skeleton_has_the_models_parameters(base):
    """What is found out before anything is loaded is found on these."""
    made = skeleton(base.model.config)
    shapes = {name: part.shape for name, part in base.model.named_parameters()}
    assert {name: part.shape for name, part in made.named_parameters()} == shapes
