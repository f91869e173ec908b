"""`pytest --nbval` says the same wherever it is started, whoever's settings are at hand, in one process or several."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CELLS = {  # what a cell says, and what is stored of it
    "import matplotlib.pyplot as plt\nprint(object())": "<object object at 0x7f0000000000>\n",
    "seen = 1\nprint(plt.get_backend())": "module://matplotlib_inline.backend_inline\n",
    "print(figure := plt.figure(), 'started' in globals())\nplt.close(figure)": "Figure(640x480) False\n",
    "seen += 1\nprint(seen)": "2\n",
}


@pytest.fixture
def project(tmp_path) -> Path:
    """This project with two small notebooks for chapters, whose cells need each other."""
    for name in ("conftest.py", "pyproject.toml", "tests/nbval_sanitize.cfg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    cells = [nbformat.v4.new_code_cell(code) for code in CELLS]
    for count, (cell, text) in enumerate(zip(cells, CELLS.values(), strict=True), start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    (tmp_path / "chapters").mkdir()
    for name in ("00_a.ipynb", "01_b.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "chapters" / name)
    return tmp_path


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environment)


def test_chapters_run_in_their_own_folder_with_anyones_settings(project, tmp_path_factory):
    mine = tmp_path_factory.mktemp("settings")
    for fonts in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):  # looking for them again takes long
        shutil.copy(fonts, mine)
    (mine / "matplotlibrc").write_text("figure.dpi: 200\nfigure.figsize: 3, 3\n")
    startup = mine / "profile_default" / "startup" / "mine.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("started = True\n")
    settings = {"MPLCONFIGDIR": str(mine), "IPYTHONDIR": str(mine), "MPLBACKEND": "Agg"}
    done = run(project / "chapters", "00_a.ipynb", **settings)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout


def test_several_processes_get_whole_notebooks(project):
    done = run(project.parent, "-n", "2", f"{project.name}/chapters")
    assert done.returncode == 0 and "8 passed" in done.stdout, done.stdout


def test_scattering_cells_is_refused_in_one_line(project):
    done = run(project, "-n", "2", "--dist", "load", "chapters")
    assert done.returncode == 4
    assert done.stderr.strip() == "ERROR: --dist load scatters the cells of a notebook; use --dist loadfile"


def test_a_difference_is_still_one(project):
    path = project / "chapters" / "00_a.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].outputs[0].text = "3\n"
    nbformat.write(notebook, path)
    done = run(project / "chapters", "00_a.ipynb")
    assert done.returncode == 1 and "1 failed, 3 passed" in done.stdout, done.stdout
