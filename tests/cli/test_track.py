"""`bench track` as it is typed."""

import json

import pytest
from synthetic import write_run


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.2)


@pytest.mark.usefixtures("runs")
def test_runs_are_sent(bench, tmp_path):
    done = bench("track", "--all", "--to", "tensorboard", "--at", "boards", "--json")
    assert done.returncode == 0, done.stderr
    names = ["mini-contrastive-s0", "mini-none-s0"]
    places = [f"boards/contrastive-bench/{name}" for name in names]
    assert [(one["run"], one["at"]) for one in json.loads(done.stdout)] == [*zip(names, places, strict=True)]
    assert all([*(tmp_path / place).glob("events.out.tfevents.*")] for place in places)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "say which tracker; --to mlflow or tensorboard or wandb"),
        (("--to", "tensorbord"), 2, "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        (("--to", "tensorboard", "--samples"), 2, "tensorboard has no place for samples; leave --samples out"),
        (("--to", "tensorboard", "--at", "file"), 2, "file/contrastive-bench/mini-contrastive-s0 cannot be written"),
    ],
)
def test_a_wrong_command_is_one_line(bench, tmp_path, arguments, code, told):
    (tmp_path / "file").write_text("")
    done = bench("track", "--all", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert told in line
