"""What holds for every method, installed ones included: a new method is covered by being registered."""

import contextlib
import copy
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import load_tiny_model, set_rows, write_rows

from bench import registry
from bench.engine.batching import pad
from bench.engine.divergence import KeptDistributions, Row
from bench.engine.generation import Prompt, continue_rows, encode_prompt, generate
from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import first_token
from bench.errors import MissingError, UsageError
from bench.method import Artifact, Layers, Method, RunContext, Unwanted
from bench.policy import LoadedModel, Policy
from bench.run.artifact import load_artifact, make_artifact
from bench.run.tune.space import rounded
from bench.sets import ContrastiveSets, load_sets
from bench.spec import Decoding, Spec, validate

KINDS = ("none", "fine-tuning", "decoding-time", "representation", "weights", "prompt", "straw man")
AS_THE_BASE_READS = ("none", "straw man")
"""Kinds of methods that leave all likelihoods as they are; so does one that chooses among continuations."""
SMALL = {
    "steps": 2,
    "epochs": None,
    "lr": 5e-3,
    "warmup": 0.0,
    "lora_r": 4,
    "anchors_per_step": 2,
    "accumulation": 1,
    "generations": 4,
    "max_new_tokens": 8,
    "texts": 8,
    "text_tokens": 16,
    "preserved": 1.0,
    "condition_threshold": 0.0,
}
"""Options that make training short, and strong enough to be seen; each is set where a method has it."""
TEXTS = (
    "The river rises in the hills, runs south past two small towns and joins the",
    "She asked",
    "He did not like the weather; nobody did.",
    "What is the capital of France?",
    "You are a very kind friend, and I thank you",
    "0, 1, 2, 3",
    "Question: which of them is heavier",
    "It rained",
)
PROMPTS = [Prompt(f"p{number}", text) for number, text in enumerate(TEXTS)]


def tiny_config(kind: type[Method[Any]], **options: Any) -> Spec:
    """A method's options, small where they are about the budget."""
    small = {name: value for name, value in SMALL.items() if name in kind.Config.model_fields}
    return kind.Config(**{**small, **options})


def share_of_vowels(texts: Sequence[str]) -> list[float | None]:
    """A scorer for methods that learn from one; it has none for a text whose length is a multiple of seven."""
    return [None if len(text) % 7 == 0 else sum(one in "aeiou" for one in text) / len(text) for text in texts]


@dataclass
class Bench:
    """One method on the tiny model.

    Attributes:
        folders: Where artifacts of this test's own go.
        kept: Artifacts that tests share, by method, seed and options: where each lies, and its hash.
        shared: Where those go.
    """

    kind: type[Method[Any]]
    base: LoadedModel
    sets: ContrastiveSets
    inputs: dict[str, Path]
    folders: Iterator[Path]
    kept: dict[tuple[str, int, str], tuple[Path, str]]
    shared: Path

    def config(self, **options: Any) -> Spec:
        """The method's options, small, with what it reads."""
        return tiny_config(self.kind, **{**{option: str(path) for option, path in self.inputs.items()}, **options})

    def make(self, seed: int = 0, **options: Any) -> tuple[Method[Any], Artifact]:
        """The method, configured, with an artifact of its own: for tests of the making."""
        method = self.kind(self.config(**options))
        return method, self._made(method, seed, next(self.folders))

    def made(self, seed: int = 0, **options: Any) -> tuple[Method[Any], Artifact]:
        """The method, configured, with an artifact that other tests use too: it was made once, and stays as it is."""
        method = self.kind(self.config(**options))
        key = (self.kind.info.name, seed, method.config.model_dump_json())
        if key not in self.kept:
            folder = self.shared / str(len(self.kept))
            self.kept[key] = folder, self._made(method, seed, folder).hash
        folder, before = self.kept[key]
        artifact = self._loaded(folder)
        assert artifact.hash == before, "a test changed what others use"
        return method, artifact

    def _made(self, method: Method[Any], seed: int, folder: Path) -> Artifact:
        folder.mkdir()
        sets = self.sets if self.kind.info.needs_sets else None
        make_artifact(method, self.base, sets, RunContext(folder, seed, inputs=self.inputs, unwanted=self._reward))
        return self._loaded(folder)

    def _loaded(self, folder: Path) -> Artifact:
        return load_artifact(folder, self.inputs, self._reward)

    @property
    def _reward(self) -> Unwanted | None:
        return share_of_vowels if self.kind.info.needs_scorer else None

    @contextmanager
    def policy(self, seed: int = 0, **options: Any) -> Iterator[Policy]:
        """The edited model."""
        method, artifact = self.made(seed, **options)
        with method.applied(self.base, artifact) as policy:
            yield policy


@pytest.fixture(params=registry.names("methods"))
def kind(request: pytest.FixtureRequest) -> type[Method[Any]]:
    """Each installed method."""
    found: type[Method[Any]] = registry.load("methods", request.param)
    return found


def required(kind: type[Method[Any]]) -> set[str]:
    """The options without a default."""
    return {name for name, field in kind.Config.model_fields.items() if field.is_required()}


@pytest.fixture
def inputs(kind: type[Method[Any]], tiny_adapter: Path, other_model: Path) -> dict[str, Path]:
    """A tiny model or adapter for each option that must name one."""
    folders = {"model": other_model, "adapter": tiny_adapter}
    return {option: folders[what] for option, what in kind.info.inputs.items() if option in required(kind)}


@pytest.fixture(scope="session")
def tiny_base(tiny_model: Path) -> LoadedModel:
    """The tiny model in memory, for all tests of this file: each leaves it as it found it (`bench`)."""
    return load_tiny_model(tiny_model)


@pytest.fixture(scope="session")
def tiny_sets(tmp_path_factory: pytest.TempPathFactory) -> ContrastiveSets:
    """Six contrastive sets, of one file for all tests of this file."""
    return load_sets(write_rows(tmp_path_factory.mktemp("sets") / "tiny-sets.jsonl", set_rows()))


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Any, Any], Path]:
    """What `Bench.made` keeps, and where."""
    return {}, tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def bench(
    kind: type[Method[Any]],
    tiny_base: LoadedModel,
    tiny_sets: ContrastiveSets,
    inputs: dict[str, Path],
    tmp_path: Path,
    kept: tuple[dict[Any, Any], Path],
) -> Iterator[Bench]:
    """Each method on the tiny model, which holds afterwards what it held before, whatever the test did."""
    before = state(tiny_base.model)
    yield Bench(kind, tiny_base, tiny_sets, inputs, (tmp_path / f"artifact-{number}" for number in count()), *kept)
    assert_same(before, state(tiny_base.model))


def reads_as_the_base(kind: type[Method[Any]]) -> bool:
    """Whether a method leaves all likelihoods as they are."""
    return kind.info.kind in AS_THE_BASE_READS or kind.info.chooses


def logits_of(policy: Policy, text: str) -> torch.Tensor:
    """Logits at all positions of a text that is read alone, [positions, vocabulary]."""
    ids = torch.tensor([encode_prompt(policy, text)])
    return policy.forward(ids, torch.ones_like(ids))[0][0]


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to floating point, of which logits have the more the larger they are (a mixture's may be)."""
    assert float((found - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


def base_logits(base: LoadedModel, text: str) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = base.model(torch.tensor([base.tokenizer(text)["input_ids"]])).logits[0]
    return found


def state(model: torch.nn.Module) -> dict[str, Any]:
    """Everything of a model that an edit might leave changed: names, bytes, flags, modules, hooks, configuration."""
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "places": {name: parameter.data_ptr() for name, parameter in model.named_parameters()},
        "modules": [(name, type(module), module.training) for name, module in model.named_modules()],
        "grad": {name: (parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()},
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "attributes": sorted(vars(model)),
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict(),
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before["tensors"].keys() == after["tensors"].keys()
    changed = [name for name, tensor in before["tensors"].items() if not torch.equal(tensor, after["tensors"][name])]
    assert changed == []
    assert {key: one for key, one in before.items() if key != "tensors"} == {
        key: one for key, one in after.items() if key != "tensors"
    }


# --- what a method says of itself ---


def test_it_says_what_it_is(kind, request):
    info = kind.info
    assert info.name == request.node.callspec.params["kind"]
    assert info.kind in KINDS
    assert info.summary
    assert "\n" not in info.summary
    assert info.paper or info.kind == "none"
    assert kind.__doc__
    for departure in info.departures:
        assert departure.published and departure.here and departure.why
        assert "\n" not in departure.published + departure.here + departure.why
    # Somebody's paper names data, a budget and a decoding that cannot all be those of a table of many methods.
    published = "arXiv" in info.paper and info.name != "prompt" and not info.inputs
    if published and kind.__module__.startswith("methods."):
        assert info.departures


def test_what_is_searched_are_options_of_its_own_within_their_bounds(kind, inputs):
    """And its defaults are in the space, so that what is tried next learns from them, unless the method finds them."""
    config = kind.Config(**{option: str(path) for option, path in inputs.items()})
    for option, over in kind.info.search.items():
        ends = over if isinstance(over, tuple) else (over.of(30) if isinstance(over, Layers) else over)
        values = ends if isinstance(ends, tuple) else (ends.low, ends.high)
        for value in values:
            assert rounded(value) == value
            kind.Config(**{**config.model_dump(), option: value})
        own = getattr(config, option)
        if own is not None:
            assert own in ends if isinstance(ends, tuple) else ends.low <= own <= ends.high


def test_every_option_is_described_and_has_a_default_unless_it_names_an_input(kind, inputs):
    kind.Config(**{option: str(path) for option, path in inputs.items()})
    for option in required(kind):
        assert option in kind.info.inputs
        with pytest.raises(UsageError, match=f"'{option}' is missing"):
            validate(kind.Config, {}, "method")
    assert kind.Config.model_config["extra"] == "forbid"
    assert [name for name, field in kind.Config.model_fields.items() if not field.description] == []


def test_its_strength_is_an_option_that_takes_0_and_its_points(bench):
    info = bench.kind.info
    if info.strength is None:
        assert reads_as_the_base(bench.kind)
        assert not info.strengths
    else:
        for value in (0, *info.strengths):
            bench.config(**{info.strength: value})


def test_it_fits_the_base_model(bench, tiny_model):
    """What it finds out before any work is no hindrance where nothing is wrong, and changes nothing."""
    before = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    bench.kind(bench.config()).check(tiny_model, bench.inputs)
    assert {path.name: path.read_bytes() for path in tiny_model.iterdir()} == before


def test_an_unknown_option_is_refused_with_a_suggestion(kind):
    for name in kind.Config.model_fields:
        with pytest.raises(UsageError, match=f"unknown key '{name}x', did you mean '{name}'"):
            validate(kind.Config, {f"{name}x": 1}, "method")
    with pytest.raises(UsageError, match="unknown key 'xyzzy'"):
        validate(kind.Config, {"xyzzy": 1}, "method")


def test_undeclared_sets_are_refused(bench, tmp_path):
    method = bench.kind(bench.config())
    if bench.kind.info.needs_sets:
        with pytest.raises(MissingError, match="learns from contrastive sets and got none"):
            make_artifact(method, bench.base, None, RunContext(tmp_path, inputs=bench.inputs))
    else:
        with pytest.raises(UsageError, match="did not declare"):
            make_artifact(method, bench.base, bench.sets, RunContext(tmp_path, inputs=bench.inputs))


# --- what it leaves alone ---


def test_making_and_applying_leave_the_base_as_it_was(bench):
    before = state(bench.base.model)
    method, artifact = bench.make()
    assert_same(before, state(bench.base.model))
    with method.applied(bench.base, artifact) as policy:
        logits_of(policy, TEXTS[0])
    assert_same(before, state(bench.base.model))
    assert not any("lora" in name for name, _ in bench.base.model.named_modules())


def test_an_error_leaves_the_base_as_it_was(bench):
    before = state(bench.base.model)
    method, artifact = bench.make()
    with pytest.raises(KeyboardInterrupt), method.applied(bench.base, artifact) as policy:
        logits_of(policy, TEXTS[0])
        raise KeyboardInterrupt
    assert_same(before, state(bench.base.model))


def test_it_can_be_applied_again(bench):
    method, artifact = bench.made()
    found = []
    for _ in range(2):
        with method.applied(bench.base, artifact) as policy:
            found.append(logits_of(policy, TEXTS[0]))
    assert torch.equal(*found)


def test_strength_0_is_the_base(bench):
    if bench.kind.info.strength is None:
        pytest.skip("it has no strength")
    expected = [base_logits(bench.base, text) for text in TEXTS[:3]]
    with bench.policy(**{bench.kind.info.strength: 0}) as policy:
        found = [logits_of(policy, text) for text in TEXTS[:3]]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_it_edits_the_model(bench):
    """Unless it is no edit at all."""
    expected = base_logits(bench.base, TEXTS[0])
    with bench.policy() as policy:
        moved = float((logits_of(policy, TEXTS[0]) - expected).abs().max())
    assert moved == 0 if reads_as_the_base(bench.kind) else moved > 1e-3


# --- its policy ---


def test_a_batch_of_1_equals_a_batch_of_8_with_padding(bench):
    with bench.policy() as policy:
        alone = [logits_of(policy, text) for text in TEXTS]
        tokens, mask = pad([encode_prompt(policy, text) for text in TEXTS], 0, "left", policy.device)
        together, _ = policy.forward(tokens, mask)
        last, _ = policy.forward(tokens, mask, logits_to_keep=1)
    for number, one in enumerate(alone):
        assert_close(together[number, -len(one) :], one)
        assert_close(last[number, -1], one[-1])


def test_reading_over_a_cache_equals_reading_at_once(bench):
    """Rows repeated, selected and padded in between, as generation and likelihood do."""
    with bench.policy() as policy:
        ids = [encode_prompt(policy, text) for text in TEXTS[:2]]
        tokens, mask = pad([row[:-1] for row in ids], 0, "left", policy.device)
        _, cache = policy.forward(tokens, mask)
        cache.batch_repeat_interleave(2)  # rows 0 0 1 1
        cache.batch_select_indices(torch.tensor([3, 0, 2]))
        rows = [1, 0, 1]
        mask = torch.cat([mask[rows], torch.ones(3, 1, dtype=torch.int64)], -1)
        logits, _ = policy.forward(torch.tensor([[ids[row][-1]] for row in rows]), mask, cache)
        for place, row in enumerate(rows):
            assert_close(logits[place, -1], logits_of(policy, TEXTS[row])[-1])


def continuations(policy: Policy, seed: int = 0, **options: Any) -> dict[tuple[str, int], str]:
    decoding = Decoding(num_samples=2, max_new_tokens=8)
    return {
        (one.prompt_id, one.sample): one.text
        for batch in generate(policy, PROMPTS, decoding, seed, **options)
        for one in batch
    }


def test_reading_goes_on_from_a_shared_beginning(bench):
    """Each text on a copy of its cache, the texts padded on the left, behind what is read: as in few-shot tasks."""
    with bench.policy() as policy:
        head, *rests = (encode_prompt(policy, text) for text in TEXTS)
        ids = torch.tensor([head])
        _, cache = policy.forward(ids, torch.ones_like(ids), logits_to_keep=1)
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(len(rests))
        tokens, mask = pad(rests, 0, "left", policy.device)
        mask = torch.cat([mask.new_ones(len(rests), len(head)), mask], -1)
        together, read = policy.forward(tokens, mask, copied)
        last, _ = policy.forward(tokens[:, -1:], torch.cat([mask, mask.new_ones(len(mask), 1)], -1), read)
        for number, rest in enumerate(rests):
            alone = torch.tensor([[*head, *rest, int(tokens[number, -1])]])
            expected, _ = policy.forward(alone, torch.ones_like(alone))
            assert_close(together[number, -len(rest) :], expected[0, len(head) : -1])
            assert_close(last[number, -1], expected[0, -1])


def test_how_far_it_is_from_the_base_is_read_as_its_likelihoods_are(bench, tmp_path):
    """What it puts before a text stands there in both, also where the tokenizer does not say where a text begins."""
    first = first_token(bench.base.tokenizer)
    texts = [bench.base.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    with bench.policy() as policy, (tmp_path / "kept").open("w+b") as file:
        KeptDistributions(policy, [Row([first, *ids], begins=True) for ids in texts], file, lambda _: None)
        file.seek(0)
        kept = torch.frombuffer(bytearray(file.read()), dtype=torch.float32).view(-1, len(policy.tokenizer))
        wanted = [one.logprob for one in loglikelihood(policy, [((first,), ids) for ids in texts])]
    for ids, logprob in zip(texts, wanted, strict=True):
        own, kept = kept[: len(ids)], kept[len(ids) + 1 :]
        assert float(own[range(len(ids)), ids].sum()) == pytest.approx(logprob, abs=1e-3)


def test_continuations_do_not_depend_on_the_batch(bench):
    with bench.policy() as policy:
        together = continuations(policy)
        alone = continuations(policy, batch_tokens=1)
    assert len(together) == len(alone) == 16
    # Rounding differs with the batch, and now and then a draw falls between two tokens of nearly one probability.
    assert sum(alone[key] != text for key, text in together.items()) <= 1


def test_its_own_greedy_output_is_greedy(bench):
    """Likelihood agrees with generation."""
    with bench.policy() as policy:
        prompts = [encode_prompt(policy, text) for text in TEXTS]
        rows = continue_rows(policy, prompts, 1, 6, lambda logits, _, __: logits.argmax(-1), lambda _, __: False)
        scored = loglikelihood(policy, list(zip(prompts, rows, strict=True)))
        assert all(one.greedy for one in scored)
        assert all(one.tokens == 6 for one in scored)
        changed = [[(row[0] + 1) % 300, *row[1:]] for row in rows]
        assert not any(one.greedy for one in loglikelihood(policy, list(zip(prompts, changed, strict=True))))


def test_it_says_whether_it_can_be_exported(bench):
    with bench.policy() as policy:
        reason = policy.not_exportable()
    assert reason is None or (reason and "\n" not in reason)


# --- its artifact ---


def test_the_seed_decides_the_artifact_and_the_samples(bench):
    found = []
    for make, seed in ((bench.made, 0), (bench.make, 0), (bench.make, 1)):
        method, artifact = make(seed)
        with method.applied(bench.base, artifact) as policy:
            found.append((artifact.hash, continuations(policy, seed)))
    assert found[0] == found[1]
    if bench.kind.info.needs_sets and bench.kind.info.seeded:
        assert found[2][0] != found[0][0]
    if not bench.kind.info.seeded:
        assert found[2][0] == found[0][0]
    assert found[2][1] != found[0][1]


def test_options_that_only_apply_do_not_change_the_artifact(bench):
    """What `prepared_by` leaves out may not matter for what is made."""
    config = bench.config()
    kept = bench.kind.prepared_by(config)
    assert kept.keys() <= bench.kind.Config.model_fields.keys()
    if bench.kind.info.strength is not None and bench.kind.info.strength not in kept:
        assert bench.make(**{bench.kind.info.strength: 0})[1].hash == bench.made()[1].hash


def test_facts_can_be_recorded(bench):
    _, artifact = bench.made()
    assert json.loads(json.dumps(artifact.facts, allow_nan=False)) == artifact.facts
    assert artifact.facts["seconds"] >= 0
    if bench.kind.info.needs_sets:
        assert artifact.facts["sets"] == {"hash": bench.sets.hash, "source": bench.sets.source, "anchors": 6}


OTHER = """
import json, sys
from pathlib import Path
import torch
from bench import registry
from bench.run.artifact import load_artifact
from bench.assets.resolved import Resolved
from bench.engine.generation import encode_prompt
from bench.engine.model import load_model
from bench.spec import ModelSpec

for line in sys.stdin:
    name, model, artifact, config, inputs, text = json.loads(line)
    base = load_model(ModelSpec(id=model), Resolved(model, Path(model), "0", None, None, "local"))
    kind = registry.load("methods", name)
    made = load_artifact(Path(artifact), {option: Path(path) for option, path in inputs.items()})
    with kind(kind.Config(**config)).applied(base, made) as policy:
        ids = torch.tensor([encode_prompt(policy, text)])
        logits = policy.forward(ids, torch.ones_like(ids))[0][0, -1]
    print("answer", json.dumps({"hash": made.hash, "logits": logits.tolist()}), flush=True)
"""
Ask = Callable[[Method[Any], Artifact, str], dict[str, Any]]


@pytest.fixture(scope="module")
def in_another_process(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Apply an artifact in a process that makes none: it knows the folders and the options alone.

    One process for all methods, as it takes long to start; it loads the base model anew for each.
    """
    errors = tmp_path_factory.mktemp("another-process") / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        to, back = process.stdin, process.stdout

        def ask(method: Method[Any], artifact: Artifact, text: str) -> dict[str, Any]:
            config = method.config.model_dump(mode="json")
            inputs = {option: str(path) for option, path in artifact.inputs.items()}
            watchdog = threading.Timer(300, process.kill)
            watchdog.start()
            with contextlib.suppress(BrokenPipeError):
                print(
                    json.dumps([method.info.name, str(tiny_model), str(artifact.path), config, inputs, text]), file=to
                )
                to.flush()
            line = next((line for line in back if line.startswith("answer ")), None)
            watchdog.cancel()
            assert line, errors.read_text()
            answer: dict[str, Any] = json.loads(line.removeprefix("answer "))
            return answer

        yield ask


def test_an_artifact_survives_a_round_trip(bench, in_another_process, tmp_path):
    """Moved to another folder and applied by a process that did not make it."""
    method, artifact = bench.make()
    with method.applied(bench.base, artifact) as policy:
        expected = logits_of(policy, TEXTS[0])[-1]
    moved = replace(artifact, path=artifact.path.rename(tmp_path / "moved"))
    answer = in_another_process(method, moved, TEXTS[0])
    assert answer["hash"] == artifact.hash
    assert answer["logits"] == pytest.approx(expected.tolist(), abs=1e-6)
