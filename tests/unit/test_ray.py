"""How a Ray cluster is shared out, and which machines may help."""

import importlib.metadata
from pathlib import Path

import pytest

from bench.errors import BenchError, MissingError
from bench.run.launch import ray
from bench.run.launch.ray import Share, joined, share_out
from bench.run.launch.relay import Home, Relay, code


def machine(cpus: float, gpus: float = 0, kind: str | None = None) -> dict[str, object]:
    return {"cpus": cpus, "gpus": gpus, "kind": kind}


CARDS = [machine(32, 8, "H100"), machine(32, 8, "H100"), machine(16, 4, "T4"), machine(8)]


@pytest.mark.parametrize(
    ("machines", "asked", "share"),
    [
        # experiments, workers, GPUs and threads of each
        ([machine(8)], (100, None, None, None), Share(8, 1, 0)),
        ([machine(8)], (3, None, None, None), Share(3, 2, 0)),
        ([machine(8), machine(8)], (4, None, None, None), Share(4, 4, 0)),
        ([machine(8)], (100, None, None, 4), Share(2, 4, 0)),
        ([machine(8)], (100, 2, None, None), Share(2, 4, 0)),
        ([machine(8)], (1, 4, None, None), Share(4, 2, 0)),
        (CARDS, (100, None, None, None), Share(16, 4, 1, "H100", 4)),
        (CARDS, (100, None, 0.5, 1), Share(32, 1, 0.5, "H100", 4)),
        (CARDS, (100, None, 2, None), Share(8, 8, 2, "H100", 4)),
        (CARDS, (5, None, None, None), Share(16, 4, 1, "H100", 4)),
        (CARDS, (5, 5, None, None), Share(5, 10, 1, "H100", 4)),
        (CARDS, (100, None, 0, None), Share(88, 1, 0)),
        ([machine(4, 1)], (9, None, None, None), Share(1, 4, 1)),
    ],
)
def test_each_worker_has_its_share(machines, asked, share):
    assert share_out(machines, *asked) == share


def test_a_share_is_what_ray_is_asked_for():
    assert Share(2, 4, 0.5, "H100").place == {"num_cpus": 4, "num_gpus": 0.5, "accelerator_type": "H100"}
    assert Share(2, 4, 0).place == {"num_cpus": 4, "num_gpus": 0}


@pytest.mark.parametrize(
    ("machines", "gpus", "threads", "says"),
    [
        ([machine(8)], 1, None, "no GPU; --worker-gpus 0"),
        ([machine(8)], None, 16, "no machine of the Ray cluster has 16 cores"),
        (CARDS, 16, None, "no machine of the Ray cluster has 16 GPUs"),
        ([], None, None, "no machine of the Ray cluster"),
    ],
)
def test_what_a_cluster_lacks_is_said(machines, gpus, threads, says):
    with pytest.raises(MissingError, match=says):
        share_out(machines, 9, None, gpus, threads)


def test_a_machine_that_sees_other_folders_or_has_other_code_does_no_work(tmp_path):
    (tmp_path / "seen").touch()
    here = Home(str(tmp_path), (str(tmp_path / "seen"),), code(), {})
    here.check()
    with pytest.raises(MissingError, match=f"does not see {tmp_path}/elsewhere of this one"):
        Home(str(tmp_path), (str(tmp_path / "elsewhere" / "file"),), code(), {}).check()
    other = Home(str(tmp_path), (), code() | {"numpy": "1.0", "bench": "0"}, {})
    with pytest.raises(MissingError, match=r"has other code: bench \(\w+, here 0\), numpy \([\d.]+, here 1\.0\)"):
        other.check()
    failure, end = Relay(other, {}).hear()
    assert failure["error"]["exit_code"] == 3
    assert end["ended"]


def test_where_ray_is_not_installed_the_extra_is_named(monkeypatch, tmp_path):
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(ray, "version", version)
    with pytest.raises(MissingError, match=r"--on ray needs ray; pip install 'contrastive-bench\[ray\]'"):
        joined(None, [tmp_path], 1, workers=None, gpus=None, threads=None).__enter__()


def test_a_cluster_that_is_lost_ends_its_workers(monkeypatch, tmp_path):
    """The process in which Ray is ends: as where the cluster's head is gone."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys\nsys.stdin.readline()\n"
        'print(\'{"machines": [{"cpus": 2, "gpus": 0, "kind": null}]}\', flush=True)\n'
        "sys.stdin.readline()\nsys.exit(1)\n"
    )
    monkeypatch.setattr(ray, "_DRIVER", (*ray._DRIVER[:1], str(driver)))
    heard: list[dict[str, object]] = []
    folder = tmp_path / "runs"
    with joined(None, [folder], 2, workers=None, gpus=None, threads=None) as (start, share):
        assert share == Share(2, 1, 0)
        assert len(list(folder.iterdir())) == 1, "by which other machines know it"
        start(1, {}, heard.append).wait()
        start(2, {}, heard.append).wait()
    assert [next(iter(message)) for message in heard] == ["error", "ended"] * 2
    assert "the connection to the Ray cluster was lost" in str(heard[0])
    assert list(folder.iterdir()) == []


def test_a_cluster_that_cannot_be_started_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(ray, "_DRIVER", ("false",))
    with pytest.raises(BenchError, match=r"Ray could not be started or joined \(exit code 1\)"):
        joined(None, [tmp_path], 1, workers=None, gpus=None, threads=None).__enter__()
    assert list(Path(tmp_path).iterdir()) == []
