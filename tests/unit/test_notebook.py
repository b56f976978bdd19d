"""The notebook of the documentation runs from its first cell to its last, and what it shows was made by its cells."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "docs" / "run_notebook.py")
run_notebook = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_notebook)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "BENCH_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell) -> list[list[str]]:
    """What a cell puts out: the forms of each of its outputs."""
    return [sorted(one.data) for one in cell.outputs]


@pytest.mark.usefixtures("offline")
def test_it_runs_and_puts_out_what_is_kept(tiny_suite, tmp_path):
    """On a tiny suite; the kept outputs are of the real one."""
    made = run_notebook.executed(tmp_path, f"suite, limit = {str(tiny_suite())!r}, 4")
    kept = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
    assert [kinds(cell) for cell in code(made)] == [kinds(cell) for cell in code(kept)]
    assert [cell.execution_count for cell in code(kept)] == [*range(1, len(code(kept)) + 1)]
    shown = code(made)[1].outputs[0].data["text/html"]
    assert "contrastive" in shown
    assert "<table>" in shown
    assert (tmp_path / "report.html").exists()


def test_a_cell_that_fails_is_an_error(tmp_path):
    with pytest.raises(CellExecutionError, match=r"unknown suite .nothing"):
        run_notebook.executed(tmp_path, 'suite, limit = "nothing", 4')
