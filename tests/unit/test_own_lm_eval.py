"""lm-eval tasks of one's own: a folder of YAML that a suite names."""

import json

import pytest
import yaml

from bench.errors import UsageError
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
