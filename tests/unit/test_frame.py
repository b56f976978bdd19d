"""Records as a DataFrame."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_run
from told import Told

import bench
from bench.errors import MissingError
from bench.stats.soundness import faults
from bench.store.files import read_json, write_json
from bench.store.runs import find_run, list_runs
from bench.store.upkeep import unused


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", 1, config={"tau": 0.5, "lora_targets": ["all"]}, toxicity=0.0)
    write_run(tmp_path, "dpo", finished=False)
    return tmp_path


def test_a_line_for_each_metric_of_each_finished_run(root):
    frame = bench.load(root)
    runs = [run for run in list_runs(root) if run.result]
    assert len(frame) == sum(len(run.result.metrics) for run in runs)
    assert set(frame.run_id) == {"mini-none-s0", "mini-contrastive-s1"}
    line = frame[(frame.method == "contrastive") & (frame.metric == "toxic_fraction")].iloc[0]
    assert (line.value, line.group, line.seed, line["config.tau"]) == (0.0, "toxic", 1, 0.5)
    assert line["config.lora_targets"] == ["all"]
    missing = frame[frame.metric == "distinct_1"]
    assert np.isnan(missing.value).all()


def test_runs_are_given_as_folders_runs_or_lists_of_them(root):
    whole = bench.load(root)
    paths = [run.path for run in list_runs(root)]
    for same in (bench.load(str(root)), bench.load(list_runs(root)), bench.load(*paths)):
        assert same.equals(whole.astype(same.dtypes))


def test_the_example_of_the_guide_has_one_figure_in_a_place_or_is_refused(tmp_path, monkeypatch):
    guide = Path(__file__).parents[2] / "docs" / "tables.md"
    code = guide.read_text(encoding="utf-8").partition("## pandas")[2].split("```")[1].removeprefix("python\n")
    *lines, last = code.splitlines()
    monkeypatch.chdir(tmp_path)
    labels = {"scorer__label": "explicit toxicity (BiLSTM)", "further": {"svm": {"label": "linear"}}}
    for seed, name, value in ((0, "none", 0.5), (1, "none", 0.25), (0, "dpo", 0.0)):
        path = write_run(Path("runs"), name, seed, **labels) / "result.json"
        record = read_json(path)
        (own,) = (one for one in record["metrics"] if one["name"] == "toxic_fraction")
        record["metrics"] += [own | {"group": None, "value": value, "scorer": by} for by in (None, "svm")]
        write_json(path, record)

    def figures():
        known = {}
        exec("\n".join(lines), known)  # noqa: S102 - what the guide tells people to run
        return eval(last, known)  # noqa: S307 - likewise

    assert figures().T.to_dict() == {"none": {0: 0.5, 1: 0.25}, "dpo": {0: 0.0, 1: pytest.approx(np.nan, nan_ok=True)}}
    shutil.copytree("runs/mini-dpo-s0", "runs/again")
    with pytest.raises(ValueError, match="duplicate"):
        figures()


def test_nothing_finished_and_nothing_there(tmp_path):
    write_run(tmp_path, "none", finished=False)
    assert bench.load(tmp_path).empty
    with pytest.raises(MissingError, match="holds no run"):
        bench.load(tmp_path / "nowhere")


def test_a_damaged_record_is_told(root):
    (root / "mini-none-s0" / "result.json").write_text('{"value": NaN}')
    with pytest.raises(MissingError, match=r"result\.json cannot be read"):
        bench.load(root)


def test_bench_has_nothing_else_that_is_late():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        getattr(bench, "lod")  # noqa: B009 - it is not there


def test_a_home_is_found_where_a_folder_is_named(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(bench.load(f"~/{root.name}")) == len(bench.load(root)) > 0


def test_what_cannot_be_looked_into_is_told_of_and_hides_no_run(root, monkeypatch):
    """As `lost+found` at the root of a disk, for all but its owner."""
    (root / "closed").mkdir()
    is_file = Path.is_file

    def looked(path: Path) -> bool:
        if path.parent.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", looked)
    told = Told()
    assert len(list_runs(root, told)) == 3
    assert [note for note in told.notes if "closed cannot be looked into (Permission denied)" in note]
    assert find_run(root, "mini-dpo").method == "dpo"
    with pytest.raises(MissingError, match="closed uses is not known"):
        list(unused(root / "cache", [root]))


def test_hidden_files_of_others_are_no_part_of_a_record(root):
    """A copy by way of macOS has such files."""
    (run,) = [one for one in list_runs(root) if one.method == "none"]
    before = run.tasks.keys()
    (run.path / "tasks" / "._rtp.json").write_bytes(b"\0\5\x16\7")
    again = find_run(root, run.id)
    assert again.tasks.keys() == before
    assert faults(again) == []
