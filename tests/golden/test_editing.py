"""Methods that edit facts: their closed forms against direct solutions in float64, and what they leave alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES
from safetensors.torch import load_file

from bench.errors import MissingError, UsageError
from bench.method import Method, RunContext
from bench.policy import LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.sets import ContrastiveSets
from bench.sets.format import ContrastiveSet, Text
from methods.alphaedit import AlphaEdit, AlphaEditConfig
from methods.anatomy.feed_forward import changed, module_of, output_matrix
from methods.editing.facts import Fact, Reading, contexts_of, essence, facts_of, last_token, readings
from methods.editing.memory import (
    free_share,
    keys_at,
    null_projection,
    projected_update,
    rank_one,
    read,
    second_moments,
    spread_update,
    states_at,
)
from methods.editing.method import ValueOptions
from methods.editing.values import find_change
from methods.ft_l import FTL, FTLConfig
from methods.in_context import InContext, InContextConfig
from methods.memit import MEMIT, MEMITConfig
from methods.rome import ROME, ROMEConfig

MATRIX = "model.layers.0.mlp.down_proj.weight"
FACT = Fact("She asked the river", "river", " in the town", 14)
SMALL: dict[str, Any] = {"texts": 8, "text_tokens": 24, "contexts": 2}
CLOSED = [
    ROME(ROMEConfig(**SMALL, steps=15)),
    MEMIT(MEMITConfig(**SMALL, steps=15, preserved=1)),
    AlphaEdit(AlphaEditConfig(**SMALL, steps=15)),
]
WEIGHTS: list[Method[Any]] = [*CLOSED, FTL(FTLConfig(steps=30, lr=2e-3, norm_constraint=0.05))]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def moment_of(keys: torch.Tensor) -> torch.Tensor:
    return keys @ keys.T / keys.shape[1]


def only_fact(sets: ContrastiveSets) -> ContrastiveSets:
    return ContrastiveSets(sets.sets[:1], "0", "a test")


def deltas_of(method: Method[Any], base: LoadedModel, sets: ContrastiveSets, folder: Path) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    make_artifact(method, base, sets, RunContext(folder))
    return load_file(folder / "deltas.safetensors")


# --- closed forms ---


def test_rome_is_the_least_change_that_sets_the_key():
    """Least squares with one equation: the minimum of ||Delta K|| subject to Delta k = change, by its KKT system."""
    keys, key, change = random(6, 40), random(6), random(4)
    found = rank_one(key, change, moment_of(keys))
    rows = []
    for wanted in change:  # each row of Delta on its own: [2 K K^T, k; k^T, 0] [row; multiplier] = [0; wanted]
        system = torch.zeros(7, 7, dtype=torch.float64)
        system[:6, :6], system[:6, 6], system[6, :6] = 2 * keys @ keys.T, key, key
        right = torch.zeros(7, dtype=torch.float64)
        right[6] = wanted
        rows.append(torch.linalg.solve(system, right)[:6])
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found @ key, change)
    assert torch.linalg.matrix_rank(found) == 1


def test_memit_is_the_least_squares_solution():
    """The same by stacking the preserved keys, with value 0, under the facts' own."""
    preserved, keys, changes, weight = random(6, 40), random(6, 3), random(4, 3), 7.0
    found = spread_update(keys, changes, moment_of(preserved), weight)
    left = torch.cat([keys.T, preserved.T * (weight / 40) ** 0.5])
    right = torch.cat([changes.T, torch.zeros(40, 4, dtype=torch.float64)])
    torch.testing.assert_close(found.T, torch.linalg.lstsq(left, right).solution, rtol=1e-9, atol=1e-12)


def test_alphaedit_is_the_least_squares_solution_in_the_null_space():
    """The same by ridge regression on the keys' part in the null space; what was written before stays."""
    preserved, keys, changes, ridge = random(6, 3), random(6, 2), random(4, 2), 0.3
    free = null_projection(moment_of(preserved), 1e-6)
    assert torch.linalg.matrix_rank(free) == 3
    written = random(6, 2) + 1
    found = projected_update(keys, changes, free, written, ridge)
    basis = torch.linalg.svd(preserved)[0][:, 3:]
    left = torch.cat([keys.T @ basis, written.T @ basis, ridge**0.5 * torch.eye(3, dtype=torch.float64)])
    right = torch.cat([changes.T, torch.zeros(5, 4, dtype=torch.float64)])
    direct = (basis @ torch.linalg.lstsq(left, right).solution).T
    torch.testing.assert_close(found, direct, rtol=1e-9, atol=1e-12)


def test_alphaedit_leaves_the_outputs_of_preserved_keys():
    preserved, weight = random(32, 20), random(8, 32)
    free = null_projection(moment_of(preserved), 1e-6)
    update = projected_update(random(32, 5), random(8, 5), free, random(32, 2), 1e-2)
    assert float(update.norm()) > 1
    assert float(((weight + update) @ preserved - weight @ preserved).abs().max()) < 1e-5


def test_what_preserved_keys_have_in_free_directions_is_what_the_projection_takes_of_them():
    preserved = random(12, 40)
    moment = moment_of(preserved)
    for threshold in (0.5, 1.0):
        within = (null_projection(moment, threshold) @ preserved).square().sum() / preserved.square().sum()
        assert 0 < float(within) < 1
        assert free_share(moment, threshold) == pytest.approx(float(within))
    assert free_share(moment, 1e-6) == 0


# --- keys and values ---


@pytest.mark.parametrize("kind", ["gpt_neox", "opt"])
def test_keys_and_states_are_those_of_one_row_read_alone(tiny_base, kind):
    """Whether the matrix gets rows of positions, or the positions of all rows in one list (OPT)."""
    family = next(one for one in FAMILIES if one.kind == kind)
    base = LoadedModel(family.make(), tiny_base.tokenizer, kind, "0")
    rows = readings(base, FACT, ("It rained. ", "The man at the desk said so. "))
    name = output_matrix(base, 0, "rome")
    matrix = module_of(base, name)
    keys, states = keys_at(base, name, rows), states_at(base, matrix, rows)
    for row, key, state in zip(rows, keys, states, strict=True):
        given, returned = [], []
        hooks = [
            matrix.register_forward_pre_hook(lambda _, x, into=given: into.append(x[0])),
            matrix.register_forward_hook(lambda _, x, y, into=returned: into.append(y)),
        ]
        with torch.no_grad():
            base.model(torch.tensor([row.tokens]))
        for hook in hooks:
            hook.remove()
        torch.testing.assert_close(key.float(), given[0].view(-1, 48)[row.place], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state.float(), returned[0].view(-1, 32)[row.place], rtol=1e-4, atol=1e-5)


def test_the_place_is_the_subjects_last_token(tiny_base):
    for row in readings(tiny_base, FACT, ("It rained. ",)):
        up_to = tiny_base.tokenizer.decode(row.prompt[: row.place + 1])
        assert up_to.endswith("river")
        assert not tiny_base.tokenizer.decode(row.prompt[: row.place]).endswith("river")
        assert tiny_base.tokenizer.decode(row.target) == FACT.target


def test_a_subject_at_the_first_token_is_read_after_contexts_alone(tiny_base):
    fact = Fact("The sea is", "The", " late", 0)
    place = essence(tiny_base, fact).place
    alone = readings(tiny_base, fact, ())
    after = readings(tiny_base, fact, ("It rained. ",))
    assert (len(alone), len(after)) == (1, 1 + (place > 0))
    assert all(row.place > 0 for row in after)


def test_second_moments_are_over_all_tokens(tiny_base):
    texts = ["It rained.", "The river rises in the hills, runs south", "She asked"]
    (found,), tokens = second_moments(tiny_base, [MATRIX], texts, RunContext(Path()).progress)
    keys = []
    for text in texts:
        ids = tiny_base.tokenizer(text)["input_ids"]
        keys += [keys_at(tiny_base, MATRIX, [Reading(ids, [], place)])[0] for place in range(len(ids))]
    expected = torch.stack(keys).T @ torch.stack(keys) / len(keys)
    assert tokens == len(keys)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_found_value_makes_the_object_likely_and_keeps_its_bounds(tiny_base):
    rows = readings(tiny_base, FACT, contexts_of(tiny_base, 2, 6, 0))
    module = module_of(tiny_base, MATRIX)
    before = find_change(tiny_base, module, rows, essence(tiny_base, FACT), ValueOptions(steps=1))
    found = find_change(tiny_base, module, rows, essence(tiny_base, FACT), ValueOptions(steps=40))
    length = float(states_at(tiny_base, module, rows[:1])[0].norm())
    assert found.loss < before.loss
    assert float(found.change.norm()) <= 4 * length * 1.0001


# --- the methods ---


def test_rome_changes_one_matrix_by_rank_one_for_a_fact(tiny_base, tiny_sets, tmp_path):
    (name, delta), *others = deltas_of(CLOSED[0], tiny_base, only_fact(tiny_sets), tmp_path).items()
    assert not others
    assert name == output_matrix(tiny_base, 0, "rome")
    sizes = torch.linalg.svdvals(delta.double())
    assert sizes[0] > 1e-3
    assert sizes[1] < 1e-5 * sizes[0]
    before = {key: value.clone() for key, value in tiny_base.model.state_dict().items()}
    with CLOSED[0].applied(tiny_base, load_artifact(tmp_path)):
        after = tiny_base.model.state_dict()
        assert [key for key, value in after.items() if not torch.equal(value, before[key])] == [name]


def test_rome_gives_the_key_the_value_that_was_found(tiny_base, tiny_sets, tmp_path):
    """W' k* = W k* + change, recomputed from the seed."""
    config = CLOSED[0].config
    deltas = deltas_of(CLOSED[0], tiny_base, only_fact(tiny_sets), tmp_path)
    (fact,) = facts_of(only_fact(tiny_sets), "rome")
    rows = readings(tiny_base, fact, contexts_of(tiny_base, config.contexts, config.context_tokens, 0))
    found = find_change(tiny_base, module_of(tiny_base, MATRIX), rows, essence(tiny_base, fact), config)
    key = keys_at(tiny_base, MATRIX, rows).mean(0)
    torch.testing.assert_close(deltas[MATRIX].double() @ key, found.change, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", WEIGHTS, ids=lambda one: one.info.name)
def test_an_edited_object_is_likelier(tiny_base, tiny_sets, tmp_path, method):
    make_artifact(method, tiny_base, only_fact(tiny_sets), RunContext(tmp_path))
    (fact,) = facts_of(only_fact(tiny_sets), "rome")
    (row,) = readings(tiny_base, fact, ())

    def likelihood() -> float:
        with torch.no_grad():
            logprobs = read(tiny_base, [row.tokens])[0][0].log_softmax(-1)
        start = len(row.prompt)
        return sum(float(logprobs[start - 1 + n, token]) for n, token in enumerate(row.target))

    before = likelihood()
    with method.applied(tiny_base, load_artifact(tmp_path)):
        assert likelihood() > before + 0.5


def test_memit_spreads_over_its_layers_and_alphaedit_too(tiny_base, tiny_sets, tmp_path):
    for kind, config in ((MEMIT, MEMITConfig), (AlphaEdit, AlphaEditConfig)):
        method = kind(config(**SMALL, steps=2, layers=(0, 1)))
        deltas = deltas_of(method, tiny_base, tiny_sets, tmp_path / kind.__name__)
        assert len(deltas) == 2
        assert all(float(delta.norm()) > 0 for delta in deltas.values())


def test_facts_are_written_batch_by_batch_each_knowing_the_earlier_ones(tiny_base, tiny_sets, tmp_path):
    class Recording(AlphaEdit):
        """Writes down how many facts were written before."""

        written: list[int]

        def update(self, keys, changes, moment, written):
            self.written.append(written.shape[1])
            return super().update(keys, changes, moment, written)

    deltas, shares = {}, []
    for batch in (None, len(tiny_sets.sets), 2):
        method = Recording(AlphaEditConfig(**SMALL, steps=2, layers=(0, 1), batch=batch))
        method.written = []
        deltas[batch] = deltas_of(method, tiny_base, tiny_sets, tmp_path / str(batch))[MATRIX]
        shares.append(load_artifact(tmp_path / str(batch)).facts["free_share"])
        expected = range(0, len(tiny_sets.sets), batch or len(tiny_sets.sets))
        assert method.written == [count for count in expected for _ in range(2)]
    assert torch.equal(deltas[None], deltas[len(tiny_sets.sets)])
    assert shares == [shares[0]] * 3, "of the model's keys alone, for each layer"
    assert len(shares[0]) == 2
    assert all(0 < share < 0.5 for share in shares[0])
    assert not torch.allclose(deltas[None], deltas[2])


def test_alphaedit_says_that_no_direction_is_free(tiny_base, tiny_sets, tmp_path):
    method = AlphaEdit(AlphaEditConfig(**{**SMALL, "texts": 40}, steps=1, threshold=1e-9))
    with pytest.raises(MissingError, match="no direction that preserved keys leave free; raise threshold"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))


def test_ft_l_keeps_every_weight_within_its_bound(tiny_base, tiny_sets, tmp_path):
    method = FTL(FTLConfig(steps=5, lr=0.1, norm_constraint=0.01))
    (delta,) = deltas_of(method, tiny_base, tiny_sets, tmp_path).values()
    assert float(delta.abs().max()) == pytest.approx(0.01)


def test_facts_stand_before_the_prompt(tiny_base, tiny_sets, tmp_path):
    method = InContext(InContextConfig(line="Now {fact}."))
    make_artifact(method, tiny_base, only_fact(tiny_sets), RunContext(tmp_path))
    one = tiny_sets.sets[0]
    text = json.loads((tmp_path / "new-facts.json").read_text())["text"]
    assert text == f"Now {one.anchor}{one.positives[0].text.removesuffix('.')}."


# --- other models ---


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if one.kind in ("gpt2", "gpt_neox", "gemma2", "qwen2", "opt")]
)
@pytest.mark.parametrize("method", WEIGHTS[:2], ids=lambda one: one.info.name)
def test_families_are_edited_by_structure(tiny_base, tiny_sets, tmp_path, family, method):
    other = LoadedModel(family.make(), tiny_base.tokenizer, family.kind, "0")
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    deltas = deltas_of(method, other, only_fact(tiny_sets), tmp_path)
    with changed(other, deltas):
        moved = [key for key, value in other.model.state_dict().items() if not torch.equal(value, before[key])]
    assert moved == list(deltas)
    assert all(torch.equal(value, before[key]) for key, value in other.model.state_dict().items())


@pytest.mark.parametrize("method", WEIGHTS, ids=lambda one: one.info.name)
def test_routed_experts_are_refused_before_any_work(tmp_path, method):
    family = next(one for one in FAMILIES if one.kind == "mixtral")
    family.make().config.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"layer 0 of the base model has \d output matrices .* use a model with one"):
        method.check(tmp_path, {})


def test_a_layer_that_the_model_lacks_is_refused_before_any_work(tiny_model):
    for method in (ROME(ROMEConfig(layer=2)), MEMIT(MEMITConfig(layers=(0, 2))), FTL(FTLConfig(layer=9))):
        with pytest.raises(UsageError, match=r"the base model has 2 layers and no layer \d"):
            method.check(tiny_model, {})


# --- what is refused ---


def refused(change: Callable[[ContrastiveSet], ContrastiveSet], sets: ContrastiveSets) -> ContrastiveSets:
    return ContrastiveSets([change(sets.sets[0]), *sets.sets[1:]], "0", "a test")


@pytest.mark.parametrize("method", [*WEIGHTS, InContext(InContextConfig())], ids=lambda one: one.info.name)
def test_sets_that_say_no_fact_are_refused(tiny_base, tiny_sets, tmp_path, method):
    lacking = refused(lambda one: one.model_copy(update={"subject": None}), tiny_sets)
    with pytest.raises(MissingError, match=r"edits facts, and 1 of the 6 .* have not a subject; see docs/edits.md"):
        make_artifact(method, tiny_base, lacking, RunContext(tmp_path))
    lacking = refused(lambda one: one.model_copy(update={"positives": []}), tiny_sets)
    with pytest.raises(MissingError, match=r"1 of the 6 .* have not a positive"):
        make_artifact(method, tiny_base, lacking, RunContext(tmp_path))


def test_a_subject_that_is_not_in_its_anchor_is_refused():
    with pytest.raises(ValueError, match="'subject' does not stand in 'anchor'"):
        ContrastiveSet(anchor="It is", subject="sea", positives=[Text(text=" a")], negatives=[])


@pytest.mark.parametrize(
    ("anchor", "told", "up_to"),
    [
        ("The sea by the seaside is", {}, "The sea"),
        ("Maria's son and Maria met", {"subject_at": 0}, "Maria"),
        ("Maria's son and Maria met", {"subject_at": 16}, "Maria's son and Maria"),
    ],
)
def test_a_subject_is_read_where_it_stands(tiny_base, anchor, told, up_to):
    subject = up_to.rpartition(" ")[2]
    one = ContrastiveSet(anchor=anchor, subject=subject, **told, positives=[Text(text=" late")], negatives=[])
    (fact,) = facts_of(ContrastiveSets([one], "0", "a test"), "rome")
    (row, *_) = readings(tiny_base, fact, ())
    assert tiny_base.tokenizer.decode(row.prompt[: row.place + 1]).strip() == up_to


@pytest.mark.parametrize(
    ("told", "said"),
    [({}, "stands 2 times in 'anchor': say by 'subject_at'"), ({"subject_at": 3}, "not stand at 'subject_at'")],
)
def test_a_subject_that_stands_twice_is_told_apart(told, said):
    with pytest.raises(ValueError, match=said):
        ContrastiveSet(anchor="Ann and Ann", subject="Ann", **told, positives=[Text(text=" a")], negatives=[])


def test_a_subject_that_the_tokenizer_does_not_give_back_is_refused(tiny_base):
    ids = tiny_base.tokenizer("It rained")["input_ids"]
    with pytest.raises(UsageError, match="does not give a subject back"):
        last_token(tiny_base.tokenizer, ids, "It snowed")


def test_a_model_that_writes_nothing_has_no_keys_to_preserve(tiny_base):
    with pytest.raises(MissingError, match="the model wrote nothing in 0 texts from nothing") as caught:
        second_moments(tiny_base, [MATRIX], [], RunContext(Path()).progress)
    assert caught.value.mend == "raise texts, or take another model"


@pytest.mark.parametrize("option", ["text_tokens", "context_tokens"])
def test_texts_of_the_models_own_that_it_cannot_read_are_refused_by_their_option(
    tiny_base, tiny_sets, tmp_path, option
):
    tiny_base.model.config.max_position_embeddings = 64
    method = ROME(ROMEConfig(**{**SMALL, option: 80}))
    with pytest.raises(UsageError, match=f"has 80 tokens, and the model reads 64; lower {option}$"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))


def test_a_fact_that_is_longer_than_what_the_model_reads_is_refused(tiny_base, tiny_sets, tmp_path):
    tiny_base.model.config.max_position_embeddings = 24
    long = "She asked the man at the desk, " * 3
    with pytest.raises(UsageError, match=r"tokens, and the model reads 24; lower context_tokens, or shorten the texts"):
        readings(tiny_base, FACT, (long,))
    with pytest.raises(UsageError, match="the model reads 24; shorten the subjects of the sets"):
        essence(tiny_base, Fact(long, long, " late", 0))
    lengthy = refused(lambda one: one.model_copy(update={"anchor": long + one.anchor}), tiny_sets)
    with pytest.raises(UsageError, match="the model reads 24; shorten the texts of the sets"):
        make_artifact(WEIGHTS[-1], tiny_base, lengthy, RunContext(tmp_path))
