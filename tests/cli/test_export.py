"""`bench export`: what it writes loads without this project, and says what was measured."""

import json
import re
import shlex

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.assets.catalogue import AssetCatalogue
from bench.run.edited import edited
from bench.store.runs import find_run

IDS = torch.arange(5, 25)[None]


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_suite, module_bench):
    """A folder with runs of the base and of methods that leave an adapter, several, a stack's artifacts, or nothing."""
    folder = tmp_path_factory.mktemp("export")
    suite = str(write_suite(folder))
    methods = "contrastive:scale=0.5,task_arithmetic:steps=2,dexperts:steps=2,contrastive+steering,best_of_n:n=2"
    done = module_bench(folder, "run", "--method", methods, "--suite", suite, "--seeds", "0")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def export(made, module_bench, tmp_path):
    return lambda run, *args: module_bench(made, "export", run, "-o", str(tmp_path / "out"), *args)


def logits_of(made, run):
    """What the harness itself measured, and the base model's folder."""
    record = find_run(made / "runs", run)
    found = edited(record, AssetCatalogue(made / "cache", offline=True))
    with found.worn() as policy:
        return policy.forward(IDS, torch.ones_like(IDS))[0][0].clone(), found.model.path


def test_the_model_is_the_one_that_was_measured(made, export, tmp_path):
    done = export("tiny-contrastive-s0")
    assert (done.returncode, done.stderr) == (0, "")
    theirs, _ = logits_of(made, "tiny-contrastive-s0")
    AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits[0], theirs, atol=1e-5)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("run", ["tiny-contrastive-s0", "tiny-task_arithmetic-s0"])
def test_the_adapter_has_the_factor_that_was_measured(made, export, tmp_path, run):
    """A strength, or less than nothing: a task vector is subtracted."""
    assert export(run, "--adapter").returncode == 0
    theirs, base = logits_of(made, run)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        edit = float((theirs - model(IDS).logits[0]).abs().max())
        model.load_adapter(str(tmp_path / "out"))
        assert float((theirs - model(IDS).logits[0]).abs().max()) < edit / 100
    assert edit > 1e-3


def test_the_card_says_what_was_measured_and_how_it_is_made(made, export, module_bench, tmp_path):
    assert export("tiny-contrastive-s0", "--json").returncode == 0
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    assert re.search(r"\| none \(base\) \|", body)
    (command,) = re.findall(r"^bench run .*$", body, re.MULTILINE)
    words = shlex.split(command.replace("PATH/OF/THIS/FOLDER", str(tmp_path / "out")))
    assert words[words.index("--set") + 1] == "contrastive.scale=0.5"
    there = ("--runs-dir", str(made / "runs"), "--cache-dir", str(made / "cache"))
    again = module_bench(made, *words[1:], *there, "--json")
    assert again.returncode == 0, again.stderr
    assert any("runs/tiny-contrastive-s0" in one for one in json.loads(again.stdout)["runs"])
    assert len(list((made / "runs").glob("tiny-*"))) == 6, "the command makes the run that is there"


@pytest.mark.parametrize(
    ("run", "args", "code", "said"),
    [
        (
            "tiny-dexperts",
            (),
            2,
            "dexperts cannot be exported: a method of the kind decoding-time is not one set of weights",
        ),
        ("tiny-dexperts", ("--adapter",), 2, "dexperts leaves no adapter that says all of it"),
        ("tiny-none", ("--adapter",), 2, "none leaves no adapter that says all of it"),
        ("nothing", (), 2, "no run 'nothing'"),
        ("tiny-contrastive-s0", ("--cache-dir", "empty"), 3, "no longer holds what tiny-contrastive-s0-"),
    ],
)
def test_what_cannot_be_exported_is_a_line_and_leaves_nothing(export, tmp_path, run, args, code, said):
    done = export(run, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    done = export("tiny-contrastive-s0")
    assert done.returncode == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("folder", [".", ".."])
def test_a_folder_without_a_name_of_its_own_is_refused(made, module_bench, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    done = module_bench(tmp_path / "empty", "export", "tiny-none", "--runs-dir", str(made / "runs"), "-o", folder)
    assert (done.returncode, list((tmp_path / "empty").iterdir())) == (2, [])
    assert "name a new folder by --output" in done.stderr


@pytest.mark.parametrize("run", ["tiny-dexperts", "tiny-contrastive+steering", "tiny-best_of_n"])
def test_a_recipe_generates_what_the_run_did_where_its_cache_is_gone(made, export, module_bench, tmp_path, run):
    assert export(run, "--recipe").returncode == 0
    recipe = tmp_path / "out"
    assert not list(recipe.rglob("samples")), "the prompts and continuations stay at home"
    assert "bench chat PATH/OF/THIS/FOLDER" in (recipe / "README.md").read_text(encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("The man said\nA woman was here\n", encoding="utf-8")
    texts = []
    for source, more in ((run, ()), (str(recipe), ("--cache-dir", str(tmp_path / "empty")))):
        done = module_bench(made, "generate", source, "--prompts", str(tmp_path / "prompts.txt"), *more)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1] and texts[0].count("\n") == 6


def test_an_adapter_is_no_recipe(export, tmp_path):
    done = export("tiny-contrastive-s0", "--adapter", "--recipe")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--adapter and --recipe exclude each other" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_whose_files_were_changed_is_refused(made, export, module_bench, tmp_path):
    assert export("tiny-dexperts", "--recipe").returncode == 0
    (changed,) = (tmp_path / "out" / "artifact").rglob("expert/adapter_model.safetensors")
    changed.write_bytes(changed.read_bytes()[:-4] + bytes(4))
    (tmp_path / "prompts.txt").write_text("The man said\n", encoding="utf-8")
    done = module_bench(made, "generate", str(tmp_path / "out"), "--prompts", str(tmp_path / "prompts.txt"))
    assert done.returncode == 3 and "its content has another hash" in done.stderr
