"""The first cases of `tox -e kill`: a run that is killed or ended goes on to what an undisturbed one leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="operations are told apart by /proc")
def test_a_run_goes_on_after_kills_and_signals():
    """In a process of its own: what forks must never have trained."""
    asked = ("--only", "run", "--kills", "10", "--signals", "3", "--moments", "0")
    variables = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.kill", *asked], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run: 16 cases, 0 wrong" in done.stderr
