"""lm-eval tasks of one's own: a folder of YAML that a suite names, or one YAML file."""

import json
from dataclasses import replace

import pytest
import yaml
from told import Told

from bench.errors import UsageError
from bench.run.plan import build_tasks
from bench.suites import load_suite
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


def changed(folder, rows=None, **config):
    """The task of the folder with other rows, or another configuration."""
    path = folder / "my_places.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | config))
    if rows is not None:
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return task_of(folder)


@pytest.mark.parametrize("wrong", ["in town ", -1, 2])
def test_a_right_answer_that_is_none_of_the_options_is_counted_and_told(folder, context, tiny_policy, wrong):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    rows[3]["gold"] = wrong
    if isinstance(wrong, str):
        rows = [row | {"gold": row["choices"][row["gold"]] if row["gold"] != wrong else wrong} for row in rows]
    progress = Told()
    task = changed(folder, rows, doc_to_target="{{gold}}")
    found = {one.name: one for one in task.measure(tiny_policy, replace(context, progress=progress)).metrics}
    assert (found["acc"].n, found["acc"].n_failed) == (4, 0)
    for name in ("gold_probability", "gold_probability_norm", "gold_bits_per_byte"):
        assert (found[name].n, found[name].n_failed) == (3, 1)
    assert any("of 1 of 4 questions the right answer is none of their options" in one for one in progress.notes)


def test_an_option_without_a_token_of_its_own_is_refused(folder, context, tiny_policy):
    """Its tokens are those of the context; with nothing to read its likelihood would be 1."""
    task = changed(folder, doc_to_text="{{question}} A rive", doc_to_choice=["r", "to"], target_delimiter="")
    with pytest.raises(
        UsageError, match=r"'my_places': 4 of 8 options have no token of their own after their context; end"
    ):
        task.measure(tiny_policy, context)


def test_a_value_that_is_no_number_makes_its_figure_missing(folder, context, tiny_policy):
    (folder / "utils.py").write_text(
        "def results(doc, found):\n    odd = float('nan') if 'river' in doc['question'] else 1.0\n"
        "    return {'odd': odd, 'even': 1.0}\n"
    )
    path = folder / "my_places.yaml"
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("odd", "even")]
    changed(folder, metric_list=metrics)
    path.write_text(path.read_text() + "process_results: !function utils.results\n")
    found = {one.name: one for one in task_of(folder).measure(tiny_policy, context).metrics}
    assert (found["odd"].value, found["odd"].n, found["odd"].n_failed) == (None, 0, 4)
    assert (found["even"].value, found["even"].n, found["even"].n_failed) == (1.0, 4, 0)


def test_an_answer_longer_than_the_model_reads_is_refused_by_the_tasks_own_option(folder, context, tiny_policy):
    config = {"output_type": "generate_until", "doc_to_choice": None, "metric_list": [{"metric": "exact_match"}]}
    task = changed(folder, **config, generation_kwargs={"max_gen_toks": 100_000, "until": ["x"]})
    with pytest.raises(UsageError, match=r"and the model reads \d+; lower it in the task's YAML \(generation_kwargs: "):
        task.measure(tiny_policy, context)


# --- one YAML file ---


def of_file(path, **options):
    (task,) = LMEval.from_config(LMEvalConfig(task="lm_eval", tasks=(str(path),), **options))
    return task


@pytest.mark.parametrize("name", ["me/colours", "../../../stray", ".hidden", "one\nline", "x" * 201])
def test_a_name_that_no_file_of_the_record_can_have_is_refused(folder, name):
    path = folder / "my_places.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "task": name}))
    suite = load_suite("smoke").model_copy(update={"tasks": [{"task": "lm_eval", "tasks": [str(path)]}]})
    with pytest.raises(UsageError, match="its files cannot be; give it a name of letters, digits, - and _"):
        build_tasks(suite)


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
