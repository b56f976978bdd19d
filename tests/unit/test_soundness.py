"""A record is believed only where its figures follow from its evidence and its files belong together."""

import json
import os
import shutil

import pytest
from synthetic import write_run
from told import Told

from bench.errors import MissingError
from bench.run.damage import finished_task, is_whole, set_damage_aside
from bench.stats.soundness import faults
from bench.store.appended import AppendedFile
from bench.store.aside import set_aside
from bench.store.files import read_json, write_json
from bench.store.record import Evidence, Phase
from bench.store.runs import list_runs, load_run
from bench.store.samples import Sample, SampleFile, read_samples
from reports.compare.comparison import compare
from reports.gate import make_baseline
from reports.gate.runs import problems
from reports.gate.writing import Plan
from reports.table.build import build
from reports.table.cost import COSTS


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", toxicity=0.2, nll=3.1)
    write_run(tmp_path, "dpo", toxicity=0.4)
    return tmp_path


def edit(path, change):
    record = read_json(path)
    change(record)
    write_json(path, record)


def metric_of(record, name="toxic_fraction"):
    return next(one for one in record["metrics"] if one["name"] == name)


def first_evidence(record):
    return next(iter(record["evidence"].values()))


EDITS = {
    "a figure": ("result.json", lambda record: metric_of(record).update(value=0.0, ci_low=0.0, ci_high=0.0)),
    "an interval": ("result.json", lambda record: metric_of(record).update(ci_low=metric_of(record)["value"])),
    "metrics removed": ("result.json", lambda record: record.update(metrics=record["metrics"][1:])),
    "a metric twice": ("result.json", lambda record: record.update(metrics=[*record["metrics"], record["metrics"][0]])),
    "failures hidden": ("result.json", lambda record: metric_of(record).update(n_failed=3)),
    "another run's": ("result.json", lambda record: record.update(run_id="other", key="other")),
    "evidence": ("tasks/rtp.json", lambda record: first_evidence(record)["value"].__setitem__(0, 0.0)),
    "a task's figure": ("tasks/rtp.json", lambda record: metric_of(record).update(value=0.0)),
}


def test_a_sound_record_has_no_faults(root):
    assert [faults(run) for run in list_runs(root)] == [[], [], []]


@pytest.mark.parametrize("kind", EDITS)
def test_what_was_edited_is_damaged_and_compared_with_nothing(root, kind):
    part, change = EDITS[kind]
    folder = root / "mini-contrastive-s0"
    edit(folder / part, change)
    run = load_run(folder)
    assert faults(run), kind
    table = build(list_runs(root))
    assert [system.label for system in table.systems] == ["none", "dpo"]
    assert any("mini-contrastive-s0 is damaged" in note for note in table.footnotes)
    with pytest.raises(MissingError, match="mini-contrastive-s0 is damaged"):
        compare([load_run(root / "mini-none-s0")], [run])
    with pytest.raises(MissingError, match="no baseline is made of such runs"):
        make_baseline([run], Plan({}))
    assert any("is damaged" in problem for problem in problems(run))
    with pytest.raises(MissingError, match="mini-contrastive-s0 is damaged"):
        build([run])


def test_edited_figures_that_are_the_same_in_both_files_do_not_follow_from_the_evidence(root):
    folder = root / "mini-contrastive-s0"
    for part in ("result.json", "tasks/rtp.json"):
        edit(folder / part, EDITS["a figure"][1])
    assert faults(load_run(folder)) == ["rtp/toxic/toxic_fraction is not what its evidence gives"]


@pytest.mark.parametrize(
    "change",
    [
        lambda evidence: evidence["cluster"].__setitem__(0, 10_000),
        lambda evidence: evidence["cluster"].__setitem__(0, -1),
        lambda evidence: evidence["cluster"].pop(),
        lambda evidence: evidence["value"].pop(),
        lambda evidence: evidence.update(weight=[1.0]),
        lambda evidence: evidence.update(weight=[-1.0] * len(evidence["value"])),
        lambda evidence: evidence["cluster_ids"].__setitem__(1, evidence["cluster_ids"][0]),
    ],
)
def test_evidence_that_no_figure_could_rest_on_is_damage(root, change):
    folder = root / "mini-contrastive-s0"
    edit(folder / "tasks" / "rtp.json", lambda record: change(first_evidence(record)))
    assert "tasks/rtp.json is damaged" in faults(load_run(folder))[0]
    assert [system.label for system in build(list_runs(root)).systems] == ["none", "dpo"]


def test_a_value_that_is_not_finite_is_no_evidence():
    for value, weight in ((float("inf"), None), (float("nan"), None), (1.0, [float("inf")])):
        with pytest.raises(ValueError, match="not finite"):
            Evidence(statistic="mean", cluster_ids=["a"], cluster=[0], value=[value], weight=weight)


def test_a_damaged_record_is_set_aside_and_its_sound_tasks_stay(root):
    folder, told = root / "mini-contrastive-s0", Told()
    (folder / "result.json").write_text('{"run_id": "mini', encoding="utf-8")
    assert not is_whole(folder)
    set_damage_aside(folder, told)
    assert (folder / "result.json.damaged").exists()
    assert not (folder / "result.json").exists()
    assert (folder / "tasks" / "rtp.json").exists()
    assert len(told.notes) == 1
    assert "set aside as result.json.damaged and made anew" in told.notes[0]
    assert is_whole(root / "mini-none-s0")


def test_a_task_whose_figures_do_not_follow_is_set_aside_too(root):
    folder, told = root / "mini-contrastive-s0", Told()
    edit(folder / "tasks" / "rtp.json", EDITS["evidence"][1])
    set_damage_aside(folder, told)
    assert sorted(path.name for path in folder.rglob("*.damaged")) == ["result.json.damaged", "rtp.json.damaged"]


@pytest.mark.parametrize(
    "damage", [b"no json\n", b"[1]\n", b"\x00\x00\n", b"\xff\xfe\n", b'{"kind": "continuation"}\n']
)
def test_damaged_samples_are_set_aside_and_begun_anew(root, damage):
    path, told = root / "mini-none-s0" / "samples" / "rtp.jsonl", Told()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))  # amid the file, where no cut-off line can be
    with pytest.raises(MissingError, match=r"rtp\.jsonl is damaged \(line"):
        list(read_samples(path))
    with SampleFile(path, Sample, told) as stream:
        assert stream.rows == []
        stream.append([Sample("p", 0, "A prompt", " text", None)])
    assert [sample.prompt_id for sample in read_samples(path)] == ["p"]
    assert path.with_name("rtp.jsonl.damaged").read_bytes().count(b"\n") == len(lines) + 1
    assert "set aside as rtp.jsonl.damaged" in told.notes[0]


@pytest.mark.parametrize("harm", ["figures", "cut"])
def test_an_unfinished_run_does_not_build_on_a_damaged_task(root, harm):
    folder, told = root / "mini-contrastive-s0", Told()
    (folder / "result.json").unlink()
    path = folder / "tasks" / "rtp.json"
    assert finished_task(path, told) is not None
    if harm == "figures":
        edit(path, EDITS["evidence"][1])
    else:
        path.write_bytes(path.read_bytes()[:100])
    assert finished_task(path, told) is None
    assert finished_task(path, told) is None, "it is gone"
    assert path.with_name("rtp.json.damaged").exists()
    assert len(told.notes) == 1


@pytest.mark.parametrize("is_folder", [False, True])
def test_the_last_damaged_copy_is_kept(tmp_path, is_folder):
    told = Told()
    for content in ("first", "second"):
        path = tmp_path / "key"
        if is_folder:
            path.mkdir()
        (path / "file" if is_folder else path).write_text(content)
        set_aside(path, f"{path} is damaged (why)", told)
    aside = tmp_path / "key.damaged"
    assert (aside / "file" if is_folder else aside).read_text() == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["key.damaged"]
    assert told.notes == [f"{tmp_path / 'key'} is damaged (why): it is set aside as key.damaged and made anew"] * 2


@pytest.mark.parametrize("cut", [0, 1, 70_000, 140_000])
@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_line_that_was_cut_off_is_dropped_however_long(tmp_path, cut, lines):
    path = tmp_path / "rows.jsonl"
    whole = b'{"a": 1}\n' * lines
    path.write_bytes(whole + b"x" * cut)
    with AppendedFile(path) as held:
        assert held.rows == [{"a": 1}] * lines
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"no json\n", b"[1]\n", b"\xff\n"])
def test_damaged_rows_of_other_work_are_set_aside_too(tmp_path, damage):
    path, told = tmp_path / "answers.jsonl", Told()
    path.write_bytes(b'{"a": 1}\n' + damage + b'{"a": 2}\n')
    with AppendedFile(path, told) as held:
        assert held.rows == []
    assert len(told.notes) == 1


def test_a_pipe_among_the_records_does_not_hang(root):
    folder = root / "mini-contrastive-s0"
    for part in ("samples/rtp.jsonl", "tasks/rtp.json", "result.json"):
        copy = root.parent / f"piped-{part.replace('/', '-')}"
        shutil.copytree(folder, copy / folder.name)
        target = copy / folder.name / part
        target.unlink()
        os.mkfifo(target)
        try:
            run = load_run(copy / folder.name)
            if part.startswith("samples"):
                run.samples("rtp")
            else:
                assert faults(run) or run.result is None
        except MissingError as error:
            assert part.rpartition("/")[2] in str(error)
        else:
            assert not part.startswith("samples")


def test_what_an_interrupted_run_took_is_not_told_as_the_whole(root):
    folder = root / "mini-contrastive-s0"
    edit(folder / "result.json", lambda record: record["phases"][1].update(partial=True))
    run = load_run(folder)
    assert run.result.phases[1] == Phase(name="rtp", seconds=30, partial=True)
    assert run.seconds is None
    assert COSTS["measurement_seconds"](run) is None
    table = build(list_runs(root), wanted=lambda metric: metric.role == "cost")
    assert any("contrastive: a run was interrupted and resumed" in note for note in table.footnotes)


def test_the_check_takes_a_moment(root):
    """One pass over the evidence: no bootstrap is made."""
    run = load_run(root / "mini-none-s0")
    assert json.dumps(faults(run)) == "[]"


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("method", "name", 3),
        ("method", "label", ["x"]),
        ("method", "config", "x"),
        ("method", "origins", 0.5),
        ("suite", "name", {"x": 1}),
        ("suite", "attribute", "toxicity"),
        ("suite", "attribute", {"name": 3}),
        ("suite", "sets", []),
        ("scorer", "threshold", "0.5"),
        ("scorer", "label", {}),
        ("decoding", "num_samples", 0),
        ("decoding", "num_samples", 0.5),
        ("decoding", "num_samples", "x"),
    ],
)
def test_a_part_of_the_manifest_of_another_kind_is_damage_for_every_reader(root, part, key, value):
    folder = root / "mini-contrastive-s0"
    edit(folder / "manifest.json", lambda record: record[part].update({key: value}))
    with pytest.raises(MissingError, match=f"manifest.json is damaged .at '{part}'"):
        load_run(folder)


def test_what_the_manifest_does_not_say_is_no_damage(root):
    folder = root / "mini-contrastive-s0"
    edit(folder / "manifest.json", lambda record: [record[part].clear() for part in ("suite", "method", "scorer")])
    assert load_run(folder).label == "?"
