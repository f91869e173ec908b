"""The house itself: configuration that must agree, and notebooks that must say what their scripts say."""

import json
import re
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch
import yaml
from jaxtyping import TypeCheckError
from jupytext.config import load_jupytext_config
from packaging.requirements import Requirement

from lfdm_lite.geometry import warp
from lfdm_lite.official.parts.configs import PublishedDiffusionConfig, PublishedLFAEConfig, PublishedUNet3DConfig

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
SCRIPTS = sorted((ROOT / "chapters").glob("[0-9]*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# ---------------------------------------------------------------- configuration


def test_calls_in_tests_are_held_to_the_shapes_that_annotations_promise():
    picture, flow = torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 4, 8, 8)
    assert warp(picture, flow).shape == (2, 3, 4, 8, 8)
    for wrong in ((picture, picture), (picture.long(), flow), (picture[0], flow)):
        with pytest.raises(TypeCheckError):
            warp(*wrong)


def test_both_copies_of_the_book_configuration_are_identical():
    assert read("jupyter-book.yml") == read("_config.yml")


def test_conda_environment_is_a_thin_shell_over_pip():
    environment = yaml.safe_load(read("environment.yml"))
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert [name.split("=")[0] for name in plain] == ["python", "pip", "ffmpeg"]
    assert pip == ["-c constraints.txt", "-e .[all]"]


def test_conda_and_make_install_the_same_extras():
    extras = {name: re.findall(r"-e '?\.\[([\w,]+)\]", read(name)) for name in ("environment.yml", "Makefile")}
    assert extras["environment.yml"] == extras["Makefile"] == ["all"]


def test_the_extra_named_all_holds_every_other_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = [Requirement(line) for line in extras["all"]]
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(extras) - {"all"}


def test_only_the_constraints_pin_versions():
    lines = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    assert not [line for line in lines if "==" in line]
    pins = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert not [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]


def test_every_requirement_has_a_pin_that_satisfies_it():
    pins = dict(line.split("==") for line in read("constraints.txt").splitlines() if "==" in line)
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    lines = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    for requirement in map(Requirement, lines):
        if requirement.name != PROJECT["name"]:
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name in pins, f"constraints.txt has no {name}"
            assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement} but {pins[name]}"


def test_every_page_of_the_contents_exists():
    toc = yaml.safe_load(read("_toc.yml"))
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    for file in files:
        assert any((ROOT / file).with_suffix(suffix).exists() for suffix in (".md", ".ipynb")), file


def test_every_chapter_is_in_the_contents():
    toc = read("_toc.yml")
    assert not [notebook.stem for notebook in NOTEBOOKS if f"chapters/{notebook.stem}" not in toc]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_local_link_of_the_front_pages_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", read(page))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing, f"{page}: {missing}"


def test_commands_that_the_front_pages_name_exist_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", read("README.md") + read("CONTRIBUTING.md"), flags=re.MULTILINE))
    assert named <= targets


# ---------------------------------------------------------------- the library

TEACHING_PATH = (  # what a reader of the book reads from top to bottom
    "geometry", "flow", "layers", "regions", "motion", "autoencoder", "losses", "attention", "unet3d", "diffusion",
    "samplers", "pipeline",
)  # fmt: skip


def test_the_teaching_path_stays_short_enough_to_read():
    lengths = {name: len(read(f"lfdm_lite/{name}.py").splitlines()) for name in TEACHING_PATH}
    assert sum(lengths.values()) < 3000
    assert not {name: length for name, length in lengths.items() if length > 300}


# ---------------------------------------------------------------- notebooks


def name(path: Path) -> str:
    return path.name


def test_every_notebook_has_its_script_and_every_script_its_notebook():
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in SCRIPTS]
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_pair_notebook_and_script_say_the_same(path):
    config = load_jupytext_config(str(path))
    script = jupytext.writes(jupytext.read(path, config=config), fmt="py:percent", config=config)
    assert script == path.with_suffix(".py").read_text(encoding="utf-8"), "run: make run-notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebook_was_run_from_top_to_bottom_without_an_error(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run: make run-notebooks"
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs, "no outputs are stored"
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebook_carries_no_time_stamps(path):
    notebook = nbformat.read(path, as_version=4)
    assert not [cell.id for cell in notebook.cells if "execution" in cell.metadata]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_cells_are_short_and_one_at_most_assembles(path):
    notebook = nbformat.read(path, as_version=4)
    lengths = [len(cell.source.splitlines()) for cell in notebook.cells if cell.cell_type == "code"]
    assert max(lengths) <= 60
    assert sum(length > 25 for length in lengths) <= 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebook_keeps_its_outputs_small(path):
    assert path.stat().st_size < 5e6, "the notebook is larger than 5 MB: fewer or smaller pictures"
    json.loads(path.read_text(encoding="utf-8"))


def test_every_field_that_the_table_of_differences_names_exists():
    configs = PublishedLFAEConfig(), PublishedUNet3DConfig(), PublishedDiffusionConfig()
    known = {name for config in configs for name in vars(config)} | {"TaxicabTransform"}
    rows = [line.split(" | ") for line in read("chapters/differences.md").splitlines() if line.startswith("| ")]
    named = {name for row in rows if len(row) == 5 and "field" not in row[2] for name in re.findall(r"`(\w+)`", row[2])}
    assert len(named) > 20 and not named - known


def test_every_test_that_the_table_of_differences_names_exists():
    named = set(re.findall(r"`(test_\w+)`", read("chapters/differences.md")))
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for script in scripts for name in re.findall(r"def (test_\w+)", script)}
    assert len(named) > 15 and not named - defined
