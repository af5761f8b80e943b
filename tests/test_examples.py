"""The notebooks of examples/ run to their end, each in a kernel of its own, as somebody who opens them would do."""

import pathlib

import pytest
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_notebooks_and_none_holds_the_output_of_a_machine():
    nbformat = pytest.importorskip("nbformat", reason="the extra 'examples' is not installed")
    assert {path.stem for path in NOTEBOOKS} == {"own_head", "text_to_answers"}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells), path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: pathlib.Path, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="the extra 'examples' is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra 'examples' is not installed")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
