"""Two processes train the adapter that one does: the same global batches, gloo on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# accelerate's launcher starts several processes on a CPU only as "multi_gpu" with the CPU chosen by the environment.
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "bench")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "bench")
OPTIONS = ("--method", "contrastive", "--set", "steps=4", "--set", "anchors_per_step=4", "--json")


def run(
    launcher: tuple[str, ...], suite: Path, folder: Path, verb: tuple[str, ...] = ("run",)
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "BENCH_CACHE": str(folder / "cache"),
        "BENCH_RUNS": str(folder / "runs"),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, *launcher, *verb, "--suite", str(suite), *OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "cache" / "artifacts").glob("*/adapter_model.safetensors")
    return load_file(path)


@pytest.fixture(scope="module")
def alone(write_suite, tmp_path_factory) -> tuple[Path, Path]:
    """A suite, and the folder where one process ran it."""
    folder = tmp_path_factory.mktemp("alone")
    suite = write_suite(folder)
    done = run(("-m", "bench"), suite, folder)
    assert done.returncode == 0, done.stderr
    return suite, folder


@pytest.mark.slow
def test_two_processes_train_the_same_adapter(alone, tmp_path):
    """As accelerate's launcher starts them."""
    suite, one = alone
    two = tmp_path
    together = run(ACCELERATE, suite, two)
    assert together.returncode == 0, together.stderr
    (before,), (after,) = (
        [json.loads(path.read_text())["artifact"] for path in (folder / "runs").glob("*contrastive*/result.json")]
        for folder in (one, two)
    )
    assert (before["processes"], after["processes"]) == (1, 2)  # it really was two, and one record
    assert after["trained_tokens"] == before["trained_tokens"]
    expected, found = adapter(one), adapter(two)
    assert list(found) == list(expected)
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)
    assert any(float(value.abs().max()) > 0 for name, value in expected.items() if "lora_B" in name)
    assert json.loads(together.stdout)["table"]["systems"]  # the other process prints nothing into it


@pytest.mark.slow
def test_two_processes_leave_the_points_of_one_training(alone, tmp_path):
    """As torchrun starts them; the last point is what one process trains."""
    suite, one = alone
    done = run(TORCHRUN, suite, tmp_path, ("sweep", "--along", "2"))
    assert done.returncode == 0, done.stderr
    half, whole = json.loads(done.stdout)["tradeoff"]["curves"][0]["points"]
    assert (half["setting"], whole["setting"]) == (2, 4)
    manifests = [
        json.loads((tmp_path / "runs" / point["run_ids"][0] / "manifest.json").read_text()) for point in (half, whole)
    ]
    (path,) = (one / "runs").glob("*contrastive*/result.json")
    before, after = (
        json.loads(result.read_text())["artifact"]
        for result in (path, tmp_path / "runs" / whole["run_ids"][0] / "result.json")
    )
    assert (before["processes"], after["processes"]) == (1, 2)
    assert after["trained_tokens"] == before["trained_tokens"]
    first, last = (
        load_file(tmp_path / "cache" / "artifacts" / manifest["method"]["artifact_key"] / "adapter_model.safetensors")
        for manifest in manifests
    )
    expected = adapter(one)
    assert all(torch.allclose(last[name], expected[name], atol=1e-5) for name in expected)
    assert any(not torch.allclose(first[name], expected[name], atol=1e-5) for name in expected)


@pytest.mark.slow
def test_where_one_process_fails_all_stop(tiny_suite, tmp_path):
    """Sets without negatives: only making the artifact finds out."""
    rows = [{"anchor": "She asked the river", "positives": [{"text": " for help."}], "negatives": []}]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(TORCHRUN, tiny_suite(sets={"source": str(tmp_path / "bad.jsonl")}), tmp_path)
    assert done.returncode != 0
    assert "has positives and negatives" in done.stderr
    assert "Traceback" not in done.stderr.partition("torch/distributed")[0]


@pytest.mark.slow
def test_where_the_first_process_alone_fails_all_stop(tiny_suite, tmp_path):
    """Only the first one samples contrastive sets: the other, which waits for them, must hear that there are none."""
    prompts = tmp_path / "train.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"It rained on {number} stones"}) + "\n" for number in range(8)))
    sets = {"prompts": str(prompts), "decoding": {"num_samples": 2}, "min_negatives": 3}
    done = run(TORCHRUN, tiny_suite(sets=sets), tmp_path)
    assert done.returncode != 0
    assert "negatives (score > 0.5); sample more:" in done.stderr
    assert "Traceback" not in done.stderr.partition("torch/distributed")[0]
