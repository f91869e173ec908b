"""`pytest --nbval` says the same wherever it is started, whoever's settings are at hand, in one process or several."""

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

from .pictures import Allowed
from .test_pictures import inside, picture

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
    for name in ("conftest.py", "pyproject.toml", "tests/__init__.py", "tests/nbval_sanitize.cfg", "tests/pictures.py"):
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


EXERCISE = """def half(x):
    ...

def check_half(answer):
    right = answer(6) == 3
    return "solved" if right else f"not yet: half of 6 is not {answer(6)}"

print(check_half(half))"""
SOLUTION = "<details><summary>Solution</summary>\n\n```python\ndef half(x):\n    return x / seen\n```\n\n</details>"
WRONG = "# %% half: a third -> not 2.0\ndef half(x):\n    return x / 3\n"


@pytest.mark.parametrize(("wrong", "found"), [(WRONG, "9 passed"), (WRONG.replace("/ 3", "/ 2"), "1 failed, 8 passed")])
def test_solutions_run_in_the_kernel_of_their_chapter_and_wrong_answers_are_sent_back(project, wrong, found):
    """A wrong answer that a check takes for right fails."""
    for name in ("exercises.py", "wrong_answers/00_a.py"):
        (project / "tests" / name).parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / "exercises.py", project / "tests")
    (project / "tests" / "wrong_answers" / "00_a.py").write_text(wrong)
    exercise = nbformat.v4.new_code_cell(EXERCISE, metadata={"tags": ["exercise"]}, execution_count=5)
    exercise.outputs = [nbformat.v4.new_output("stream", name="stdout", text="not yet: half of 6 is not None\n")]
    path = project / "chapters" / "00_a.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [exercise, nbformat.v4.new_markdown_cell(SOLUTION)]
    nbformat.write(notebook, path)
    done = run(project, "--solutions", "chapters/00_a.ipynb")
    assert found in done.stdout and done.returncode == ("failed" in found), done.stdout


# ---------------------------------------------------------------- pictures

SAME, OTHER = 90, 190
CELLS_WITH_PICTURES = {  # what is drawn, where LEVEL is a shade of grey; stored is the same with another shade
    "png": '{"image/png": picture("png", LEVEL)}',
    "jpeg": '{"image/jpeg": picture("jpeg", LEVEL)}',
    "moving gif": '{"image/gif": picture("gif", 20, LEVEL)}',
    "dial": '{"text/html": inside("webp", 20) + inside("webp", LEVEL)}',
    "jpeg in a page": '{"text/html": inside("jpeg", LEVEL)}',
    "videos in a page": '{"text/html": inside("gif", 20, LEVEL)}',
}


def with_pictures(folder: Path, cases: dict[str, tuple[str, str, dict]]) -> list[str]:
    """Run a notebook whose cells draw one thing and have stored another; the lines that say what is wrong."""
    functions = f"import base64, io\nfrom PIL import Image\n{inspect.getsource(picture)}\n{inspect.getsource(inside)}"
    cells = [nbformat.v4.new_code_cell(functions, execution_count=1)]
    for count, (drawn, stored, metadata) in enumerate(cases.values(), start=2):
        outputs = [nbformat.v4.new_output("display_data", eval(stored))] if stored else []
        code = f"display({drawn}, raw=True)"
        cells.append(nbformat.v4.new_code_cell(code, execution_count=count, outputs=outputs, metadata=metadata))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "chapters" / "02_pictures.ipynb")
    done = run(folder / "chapters", "02_pictures.ipynb", "--color=no", "-rN")  # each line once, under CI too
    lines = [line for line in done.stdout.splitlines() if line.startswith("Cell ")]
    assert f"{len(cells) - len(lines)} passed" in done.stdout or "skipped" in done.stdout, done.stdout
    return lines


def shades(drawn: int, stored: int) -> dict[str, tuple[str, str, dict]]:
    return {
        name: (code.replace("LEVEL", str(drawn)), code.replace("LEVEL", str(stored)), {})
        for name, code in CELLS_WITH_PICTURES.items()
    }


def test_a_picture_that_looks_the_same_is_the_same(project):
    png = CELLS_WITH_PICTURES["png"].replace("LEVEL", "90")
    loose = {"book": {"picture": {"mean": 120, "largest": 120, "why": "it draws what the hour is"}}}
    cases = shades(SAME, SAME + 1) | {
        "ignored": (png, "", {"tags": ["nbval-ignore-output"]}),
        "skipped": ("{}", png, {"tags": ["nbval-skip"]}),
        "loose": (png, png.replace("90", "200"), loose),
    }
    assert with_pictures(project, cases) == []


def test_another_picture_fails_its_cell_and_one_line_says_which_and_how_far_off(project):
    png = CELLS_WITH_PICTURES["png"].replace("LEVEL", "90")
    cases = shades(SAME, OTHER) | {
        "missing": ("{}", png, {}),
        "unexpected": (png, "{}", {}),
        "size": (png, png.replace('"png", 90', '"png", 90, size=(41, 30)'), {}),
    }
    lines = with_pictures(project, cases)
    far = "differs from the stored one by 100.00 on average, 100 in one place, of 255"
    still, moving = f"picture 1 of 1: {far}", f"picture 1 of 1, frame 1: {far}"
    dial = f"picture 2 of 2: {far}"
    allowed = f"; allowed are {Allowed().mean:g} and {Allowed().largest:g}"
    assert [line.partition(": ")[2] for line in lines] == [
        *(line + allowed for line in (still, still, moving, dial, still, moving)),
        "pictures: 0 are drawn, 1 are stored",
        "pictures: 1 are drawn, 0 are stored",
        "picture 1 of 1: 1 x 40x30 pixels are drawn, 1 x 41x30 are stored",
    ]
