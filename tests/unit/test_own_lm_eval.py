"""lm-eval tasks of one's own: a folder of YAML that a suite names, or one YAML file."""

import json

import pytest
import yaml

from bench.errors import UsageError
from bench.tasks.lm_eval.file import task_file
from bench.tasks.lm_eval.task import LMEval, LMEvalConfig


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"question": f"Where is the {noun}?", "choices": ["in town", "at sea"], "gold": number % 2}
        for number, noun in enumerate(("river", "stone", "train", "friend"))
    ]
    made = tmp_path / "mine"
    made.mkdir()
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "my_places",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(made / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "gold",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}],
    }
    (made / "my_places.yaml").write_text(yaml.safe_dump(task))
    return made


def task_of(folder, name="my_places"):
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=(name,), include_path=str(folder)))
    return task


def test_a_task_of_ones_own_is_measured_as_lm_evals_are(folder, context, tiny_policy):
    found = {metric.name: metric for metric in task_of(folder).measure(tiny_policy, context).metrics}
    assert found["acc"].n == 4
    assert found["acc"].baselines["chance"] == 0.5
    assert 0 < found["gold_probability"].value < 1


def test_what_the_folder_holds_is_part_of_the_key(folder, context):
    before = [one.sha256 for one in task_of(folder).data(context.assets)]
    assert len(before) == 2
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "utils.pyc").write_bytes(b"x")
    assert [one.sha256 for one in task_of(folder).data(context.assets)] == before
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace("town", "the town"))
    assert [one.sha256 for one in task_of(folder).data(context.assets)] != before


def test_an_unknown_name_or_folder_is_told(folder, context):
    with pytest.raises(UsageError, match=r"no single task 'my_place', nor has '.*mine'; did you mean 'my_places'"):
        task_of(folder, "my_place").data(context.assets)
    with pytest.raises(UsageError, match="include_path 'nowhere' is no folder; name one that holds YAML tasks"):
        task_of("nowhere").data(context.assets)


def test_lm_evals_own_tasks_stay_known(folder, context):
    assert len(task_of(folder, "hellaswag").data(context.assets)) == 2


# --- one YAML file ---


def of_file(path, **options):
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=(str(path),), **options))
    return task


def test_a_yaml_file_among_the_tasks_is_its_task(folder, context, tiny_policy):
    by_folder, by_file = task_of(folder), of_file(folder / "my_places.yaml")
    assert (by_file.name, by_file.asks) == (by_folder.name, by_folder.asks) == ("my_places", "likelihoods")
    found, expected = (one.measure(tiny_policy, context) for one in (by_file, by_folder))
    assert [(one.name, one.value) for one in found.metrics] == [(one.name, one.value) for one in expected.metrics]


@pytest.mark.parametrize("called", ["my_places", "PATH"])
def test_its_shots_are_named_by_the_task_or_the_file(folder, context, called):
    path = folder / "my_places.yaml"
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, "fewshot_split": "test"}))
    shots = {str(path) if called == "PATH" else called: 2}
    asked = of_file(path, num_fewshot=shots).contexts(context.assets, 1)
    assert asked[0][1].count("Q: ") == 3
    with pytest.raises(UsageError, match="num_fewshot names 'other', which is not among the tasks"):
        of_file(path, num_fewshot={"other": 1})


def test_of_a_file_the_key_has_what_it_names_and_nothing_else_of_its_folder(folder, context):
    """A file in the working folder has all sorts of things beside it."""
    path = folder / "my_places.yaml"
    spec = yaml.safe_load(path.read_text())
    del spec["task"]
    (folder / "base.yaml").write_text(yaml.safe_dump(spec))
    (folder / "utils.py").write_text("def text(doc):\n    return f\"Q: {doc['question']}\\nA:\"\n")
    path.write_text("include: base.yaml\ntask: my_places\ndoc_to_text: !function utils.text\n")
    (folder / "other.yaml").write_text("task: [\n")
    before = [one.sha256 for one in of_file(path).data(context.assets)]
    assert len(before) == 4
    (folder / "other.yaml").write_text("task: other\n")
    assert [one.sha256 for one in of_file(path).data(context.assets)] == before
    assert of_file(path).contexts(context.assets, 1)[0][1] == "Q: Where is the river?\nA:"
    for name in ("my_places.yaml", "base.yaml", "utils.py", "rows.jsonl"):
        kept = (folder / name).read_text()
        (folder / name).write_text(kept.replace("A:", "B:").replace("river", "lake") + ("\n" if "y" in name else ""))
        assert [one.sha256 for one in of_file(path).data(context.assets)] != before, name
        (folder / name).write_text(kept)


@pytest.mark.parametrize(
    "named",
    [{"data_files": {"test": "FOLDER/rows.jsonl"}}, {"data_files": "FOLDER/*.jsonl"}, {"data_dir": "FOLDER"}],
    ids=["file", "pattern", "folder"],
)
def test_data_is_in_the_key_however_it_is_named(folder, tmp_path, named):
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.jsonl").write_text((folder / "rows.jsonl").read_text())
    path = folder / "my_places.yaml"
    config = yaml.safe_load(path.read_text())
    config["dataset_kwargs"] = yaml.safe_load(yaml.safe_dump(named).replace("FOLDER", str(data)))
    path.write_text(yaml.safe_dump(config))
    assert task_file(str(path)).files == [data / "rows.jsonl", path]


def test_a_function_in_a_folder_below_is_in_the_key(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "utils.py").write_text("def text(doc):\n    return 'Q:'\n")
    path = folder / "my_places.yaml"
    path.write_text(path.read_text() + "process_docs: !function sub.utils.text\n")
    assert folder / "sub" / "utils.py" in task_file(str(path)).files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"no such file: .*own\.yaml; name a YAML file, or a task of lm-eval's"),
        ("task: [", r"own\.yaml cannot be read \(.*\); see lm-eval's guide"),
        ("- 1", r"own\.yaml cannot be read \(Expected YAML dict"),
        ("include: none.yaml", r"own\.yaml cannot be read \(.*none\.yaml"),
        ("include: 5\ntask: a", r"own\.yaml cannot be read \("),
        ("group: g\ntask: [a, b]", r"own\.yaml has no single task; name one with 'task: NAME'; of a folder"),
        ("doc_to_text: x", r"own\.yaml has no single task"),
    ],
)
def test_a_file_without_one_task_is_a_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        of_file(tmp_path / "own.yaml")
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_a_folder_is_told(folder, context):
    path = folder / "my_places.yaml"
    with pytest.raises(UsageError, match=r"is a file; name the file among the tasks \(tasks: \[.*my_places\.yaml\]\)"):
        task_of(path).data(context.assets)
