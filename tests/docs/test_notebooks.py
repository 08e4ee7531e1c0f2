"""The notebooks of the documentation run as they stand, offline, and are stored as they ran."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 600_000
"""Bytes of a stored notebook."""


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook):
    """What kinds of output each cell has, in their order."""
    kinds_of_cells = []
    for cell in code(notebook):
        kinds_of_cells.append([sorted(output.get("data", {})) or output.output_type for output in cell.outputs])
    return kinds_of_cells


def test_both_are_stored_with_what_they_print():
    assert [path.stem for path in NOTEBOOKS] == ["explanation_attacks", "own_images"]
    for path in NOTEBOOKS:
        assert path.stat().st_size < LARGEST
        cells = code(nbformat.read(path, as_version=4))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
        text = path.read_text(encoding="utf-8")
        assert "/tmp" not in text
        assert "/work" not in text


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # jupyter's own, of event loops and ports
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # whoever asks the network is refused
    stored, ran = (nbformat.read(path, as_version=4) for _ in range(2))
    NotebookClient(ran, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(ran) == kinds(stored)
