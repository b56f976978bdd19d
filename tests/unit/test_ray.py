"""How a Ray cluster is shared out, and which machines may help."""

import importlib.metadata
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

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


@pytest.fixture
def driver_module() -> ModuleType:
    if sys.platform != "linux":
        pytest.skip("a cluster is tested on Linux")
    pytest.importorskip("ray")
    from bench.run.launch import ray_driver

    return ray_driver


def test_a_cluster_that_is_gone_is_not_waited_for(driver_module, monkeypatch):
    """`ray:auto` finds what `ray start` wrote down, and what `RAY_ADDRESS` names."""
    from ray._private import services

    def refuse(address: tuple[str, int], timeout: float) -> None:
        assert timeout <= 10
        raise ConnectionRefusedError(address)

    monkeypatch.setattr(driver_module.socket, "create_connection", refuse)
    monkeypatch.setattr(driver_module.ray, "init", lambda **_: pytest.fail("it would wait for minutes"))
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    found = "192.0.2.2:26379"
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: found)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(MissingError, match=rf"no Ray cluster answers at {found} \(ConnectionRefusedError\); start one"):
        driver_module.connect("auto")
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: None)
    with pytest.raises(MissingError, match=r"no Ray cluster answers at auto \(ConnectionError\); start one"):
        driver_module.connect("auto")
    monkeypatch.setenv("RAY_ADDRESS", found)
    with pytest.raises(MissingError, match=f"no Ray cluster answers at {found} "):
        driver_module.connect("auto")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(BenchError, match=r"'ray://head:10001' is no address of a Ray cluster; write"):
        driver_module.connect("auto")


class _Cluster:
    """What the driver asks of Ray: actors whose worker ends when it is told to, if it `obeys`, or else when killed."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, obeys: Callable[[int], bool]) -> None:
        self._obeys = obeys
        self.is_left = False
        self.actors: list[SimpleNamespace] = []

    def remote(self, kind: type) -> SimpleNamespace:
        assert kind is Relay
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._start))

    def _start(self, home: Home, job: dict[str, object]) -> SimpleNamespace:
        del home, job
        number, ended = len(self.actors), threading.Event()
        actor = SimpleNamespace(ended=ended, told=[], is_killed=False)

        def tell(message: dict[str, object]) -> None:
            actor.told.append(message)
            if self._obeys(number):
                ended.set()

        actor.tell = SimpleNamespace(remote=tell)
        actor.hear = SimpleNamespace(remote=lambda: actor)
        actor.__ray_ready__ = SimpleNamespace(remote=lambda: None)
        self.actors.append(actor)
        return actor

    @staticmethod
    def wait(some: list[object], timeout: float) -> tuple[list[object], list[object]]:
        del timeout
        return some, []

    @staticmethod
    def get(actor: SimpleNamespace) -> list[dict[str, object]]:
        actor.ended.wait()
        if actor.is_killed:
            raise RuntimeError("The actor is dead")
        return [{"ended": None}]

    @staticmethod
    def kill(actor: SimpleNamespace) -> None:
        actor.is_killed = actor.is_killed or not actor.ended.is_set()
        actor.ended.set()

    def shutdown(self) -> None:
        self.is_left = True


def test_a_worker_that_does_not_end_when_it_is_told_to_is_killed(driver_module, monkeypatch):
    cluster = _Cluster(obeys=lambda number: number == 0)
    monkeypatch.setattr(driver_module, "ray", cluster)
    monkeypatch.setattr(driver_module, "_END_SECONDS", 0.5)
    said: list[dict[str, object]] = []
    driver = driver_module.Driver(said.append)
    home = {"folder": "/", "shared": [], "code": {}, "variables": {}}
    for number in (0, 1):
        driver.do({"start": number, "home": home, "place": {}, "job": {}})
    while len(driver._placed) < len(cluster.actors):
        time.sleep(0.01)
    driver.stop()
    assert [actor.told for actor in cluster.actors] == [[{"stop": True}]] * 2
    assert [actor.is_killed for actor in cluster.actors] == [False, True]
    assert said == [
        {"worker": 0, "message": {"ended": None}},
        {"worker": 1, "message": {"ended": "RuntimeError: The actor is dead"}},
    ]
    assert cluster.is_left


def test_a_blank_line_of_rays_is_no_answer(monkeypatch):
    monkeypatch.setattr(ray, "PipedProcess", lambda *_, **__: None)
    cluster = ray.RayCluster(None)
    cluster._heard({})
    cluster._heard({"note": "a warning"})
    cluster._heard({"machines": [machine(2)]})
    assert cluster.machines() == [machine(2)]
