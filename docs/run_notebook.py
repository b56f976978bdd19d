"""Run the notebook of this folder: `python docs/run_notebook.py` keeps what its cells put out beside them.

What goes to stderr (progress) is left out, and so are times.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "notebook.ipynb"


def executed(folder: Path, parameters: str | None = None) -> nbformat.NotebookNode:
    """The notebook as it is after its cells ran in a folder.

    Args:
        folder: The working folder.
        parameters: The lines of the cell that is tagged `parameters`; None for its own.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if parameters and "parameters" in cell.metadata.get("tags", ()):
            cell.source = parameters
    with TemporaryDirectory() as sockets:  # files and no ports; the path of a socket may not be long
        place = {"connection_file": f"{sockets}/kernel.json", "ip": f"{sockets}/kernel"}
        manager = AsyncKernelManager(transport="ipc", **place)
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=manager, resources=resources, timeout=None, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        notebook = executed(Path(temporary))
    notebook.metadata.language_info.pop("version", None)
    nbformat.write(notebook, NOTEBOOK)
