"""Trackers get a run's figures with intervals, its settings and tables, and samples only where they are asked for."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import write_run

from bench.errors import MissingError, UsageError
from bench.store.files import read_json, write_json
from bench.store.runs import load_run
from reports.trackers.content import content
from reports.trackers.mlflow import MLflow, named
from reports.trackers.tensorboard import TensorBoard
from reports.trackers.wandb import OFFLINE, WandB

SAID = "continued by"
"""What is in every continuation of the records here, and nowhere else."""


@pytest.fixture
def runs(tmp_path):
    base = write_run(tmp_path, "none", toxicity=0.8)
    edited = write_run(tmp_path, "contrastive", toxicity=0.3, config={"lr": 1e-3}, n_failed=2)
    (edited / "training").mkdir(exist_ok=True)
    (edited / "training" / "train.json").write_text(json.dumps([{"loss": 2.0}, {"loss": 1.5}, {"loss": 1.25}]))
    return [load_run(base), load_run(edited)]


@pytest.fixture
def edited(runs):
    return content(runs)[1]


def records(path: Path) -> Iterator[Any]:
    """What W&B's log holds: after 7 bytes, chunks of (checksum, length, kind) and bytes, in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2 as proto

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield proto.Record.FromString(whole)
            whole = b""


def test_what_is_sent_is_what_the_record_has(runs):
    sent = content(runs)[1]
    (fraction,) = (one for one in runs[1].result.metrics if one.name == "toxic_fraction")
    assert sent.figures[fraction.key] == fraction.value
    assert sent.figures[f"{fraction.key}/lower"] == fraction.ci_low < fraction.value
    assert sent.figures[f"{fraction.key}/upper"] == fraction.ci_high > fraction.value
    assert sent.figures[f"{fraction.key}/n_failed"] == 2
    assert sent.settings["method.lr"] == 1e-3
    assert sent.settings["seed"] == 0
    assert sent.training == {"train/loss": [2.0, 1.5, 1.25]}
    assert "toxic fraction" in sent.tables["comparison"]
    assert {name: path.read_text() for name, path in sent.files.items()} == {
        name: (runs[1].path / name).read_text() for name in ("manifest.json", "result.json")
    }
    assert sent.samples is None
    assert SAID not in str(sent)


def test_a_figure_without_a_value_is_none_and_is_named(runs):
    (missing,) = (one for one in runs[1].result.metrics if one.value is None)
    sent = content(runs)[1]
    assert not [key for key in sent.figures if key.startswith(missing.key)]
    (line,) = (line for line in sent.tables["figures"].splitlines() if missing.name.replace("_", "\\_") in line)
    assert line.split(" | ")[1:4] == ["\N{EN DASH}"] * 3


def test_samples_are_sent_where_they_are_asked_for(runs):
    sent = content(runs, samples=True)[1]
    assert len(sent.samples) == 200
    assert all(SAID in one["continuation"] for one in sent.samples)


def test_samples_have_the_scores_of_every_scorer(runs):
    path = runs[1].path / "samples" / "rtp.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    further = [{"svm": {"toxicity": 0.25}}, {"svm": None}]
    said = [row | {"further": one} for row, one in zip(rows, further, strict=False)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in said))
    (sent,) = content([load_run(runs[1].path)], samples=True)
    kept = [{key: value for key, value in one.items() if key.startswith("score.")} for one in sent.samples]
    first, second = (row["scores"]["toxicity"] for row in said)
    assert kept == [{"score.toxicity": first, "score.svm.toxicity": 0.25}, {"score.toxicity": second}]


def test_runs_that_have_not_finished_or_are_not_alike_are_refused(runs, tmp_path):
    with pytest.raises(MissingError, match="has not finished"):
        content([load_run(write_run(tmp_path, "dpo", finished=False))])
    with pytest.raises(MissingError):
        content([*runs, load_run(write_run(tmp_path, "dpo", scorer__threshold=0.7))])


def test_a_record_leads_out_of_no_folder_and_its_words_are_no_markup(tmp_path):
    path = write_run(tmp_path, "dpo", run_id="plain", label="<script>x</script>")
    for name in ("manifest.json", "result.json"):
        write_json(path / name, read_json(path / name) | {"run_id": "../../elsewhere"})
    (sent,) = content([load_run(path)])
    assert sent.id == "plain"
    assert "<script" not in "".join(sent.tables.values())


def test_mlflow_keeps_it(edited, tmp_path):
    import mlflow

    tracker = MLflow("mine", f"sqlite:///{tmp_path}/mlflow.db")
    tracker.send(edited)
    tracker.send(edited)
    client = mlflow.MlflowClient(tracker.at)
    (kept,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["method.lr"] == "0.001"
    assert {key: kept.data.metrics[named(key)] for key in edited.figures} == edited.figures
    assert [(one.step, one.value) for one in client.get_metric_history(kept.info.run_id, "train/loss")] == [
        (1, 2.0),
        (2, 1.5),
        (3, 1.25),
    ]
    files = {path.name: path.read_text() for path in (tmp_path / "mlartifacts" / kept.info.run_id).rglob("*.*")}
    record = {name: path.read_text() for name, path in edited.files.items()}
    assert files == {f"{name}.md": table for name, table in edited.tables.items()} | record


def test_mlflow_keeps_the_run_before_where_the_new_one_is_not_taken(edited, tmp_path):
    import mlflow

    tracker = MLflow("mine", f"sqlite:///{tmp_path}/mlflow.db")
    tracker.send(edited)
    with pytest.raises(MissingError, match="MLflow does not take"):
        tracker.send(replace(edited, settings={"a@": 1, "a:": 2}))  # one name there
    client = mlflow.MlflowClient(tracker.at)
    (kept,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["method.lr"] == "0.001"


def test_mlflow_gets_samples_and_takes_the_name_of_a_further_scorer(runs, tmp_path):
    (sent,) = content(runs[:1], samples=True)
    MLflow("mine", f"sqlite:///{tmp_path}/mlflow.db").send(sent)
    (path,) = (tmp_path / "mlartifacts").rglob("samples.json")
    assert json.loads(path.read_text())["samples"] == sent.samples
    assert named("rtp/toxic/toxic_fraction@svm/lower") == "rtp/toxic/toxic_fraction:svm/lower"


def test_tensorboard_keeps_it(edited, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard("mine", str(tmp_path / "board"))
    tracker.send(edited)
    where = tracker.send(edited)
    kept = EventAccumulator(where).Reload()
    values = {key: [one.value for one in kept.Scalars(key)] for key in kept.Tags()["scalars"]}
    assert values.pop("train/loss") == [2.0, 1.5, 1.25]
    assert values == {key: [pytest.approx(value)] for key, value in edited.figures.items()}
    assert {"figures/text_summary", "comparison/text_summary", "settings/text_summary"} <= set(kept.Tags()["tensors"])


@pytest.mark.parametrize("samples", [False, True])
def test_wandb_keeps_it_in_a_folder(runs, tmp_path, samples):
    import wandb

    (sent,) = content(runs[1:], samples=samples)
    WandB("mine", f"{OFFLINE}{tmp_path / 'w'}").send(sent)
    wandb.teardown()  # its own process has written all then, as when ours ends
    (log,) = (tmp_path / "w").rglob("*.wandb")
    there = [*records(log)]
    kept = {one.key: json.loads(one.value_json) for record in there for one in record.summary.update}
    assert {key: kept[key] for key in sent.figures} == pytest.approx(sent.figures)
    losses = [
        json.loads(one.value_json) for r in there for one in r.history.item if [*one.nested_key] == ["train/loss"]
    ]
    assert losses[:3] == [2.0, 1.5, 1.25]
    assert not [record for record in there if record.WhichOneof("record_type") in ("environment", "stats")]
    assert [record.run.host for record in there if record.WhichOneof("record_type") == "run"] == [""]
    files = {path: path.read_bytes() for path in (tmp_path / "w").rglob("*.*") if path.is_file()}
    assert not [path for path in files if path.name == "requirements.txt"]
    assert any(SAID.encode() in data for data in files.values()) is samples
    record = {name: path.read_bytes() for name, path in sent.files.items()}
    assert {path.name: data for path, data in files.items() if path.parent.name == "record"} == record
    saved = {one.path for r in there if r.WhichOneof("record_type") == "files" for one in r.files.files}
    assert {f"record/{name}" for name in record} <= saved


def test_what_wandb_did_not_get_whole_counts_as_failed(edited, tmp_path):
    import wandb

    with pytest.raises(TypeError):
        WandB("mine", f"{OFFLINE}{tmp_path / 'w'}").send(replace(edited, samples=[5]))
    wandb.teardown()
    (log,) = (tmp_path / "w").rglob("*.wandb")
    assert [record.exit.exit_code for record in records(log) if record.WhichOneof("record_type") == "exit"] == [1]


@pytest.mark.parametrize("at", ["localhost:8080", "http://wandb.ai"])
def test_wandb_refuses_what_is_no_address(edited, at):
    with pytest.raises(UsageError, match="is no address of Weights & Biases") as caught:
        WandB("mine", at).send(edited)
    assert "https://api.wandb.ai" in str(caught.value.mend)
