"""The check of an accelerator runs at toy sizes on any machine, so that it works the day a card is there."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = {
    "float32 on the device and on the processor",
    "a step of sampling",
    "memory of edits",
    "size of batches",
    "generation",
    "likelihood",
    "contrastive step",
    "contrastive against TRL",
    "dpo against TRL",
}


def test_it_measures_every_row_and_says_on_what(tmp_path):
    command = [sys.executable, "-m", "tests.device.check", "--toy", "--rounds", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    found = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert set(found["rows"]) == ROWS
    assert found["facts"]["device"]
    for row in found["rows"].values():
        assert isinstance(row, str) or all(one["ours"] > 0 and one["theirs"] > 0 for one in row)
    (likelihood,) = found["rows"]["likelihood"]
    apart = float(likelihood["note"].partition("within ")[2].partition(";")[0])
    assert apart < 1e-3
    assert "225 of 225 tokens are the same" in found["rows"]["a step of sampling"]
    assert "base and two experts: peak memory" in found["rows"]["memory of edits"]
    assert "said to take" in found["rows"]["size of batches"]
    told = (tmp_path / "check.md").read_text(encoding="utf-8")
    assert "toy sizes" in told
    assert "greedy texts are the same" in told
