"""The instructor's kit: answers are right and kept apart, and its plans name whatever there is to plan."""

import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
import yaml
from einops import rearrange

import lfdm_lite as lfdm

from . import chapter_counts as counts

ROOT = Path(__file__).parents[1]
KIT = ROOT / "chapters" / "instructors"
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.py"))
SETS = sorted((ROOT / "chapters" / "assignments").glob("ps*.ipynb"))
ANSWERS = ROOT / "chapters" / "assignments" / "exam_answers.md"
QUESTION = r"(?m)^\*\*(\d\d\.\d)\*\* \((?:(\w+), )?(\d+) points?\)"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def contents() -> list[str]:
    toc = yaml.safe_load(read(ROOT / "_toc.yml"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def pages() -> list[Path]:
    """Those of the kit."""
    return [KIT.with_suffix(".md"), *sorted(KIT.glob("*.md"))]


def section(text: str, heading: str) -> str:
    """From a heading to the next of its level or above."""
    found = re.search(rf"(?ms)^(#+) {re.escape(heading)}$(.*?)(?=^#{{1,2}} |\Z)", text)
    assert found, f"no section {heading!r}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """Of the tables in a text, without their heads."""
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:2] == "| "]
    return lines[1:]


# ---------------------------------------------------------------- plans


def test_the_kit_is_in_the_contents_and_linked_where_problem_sets_are_named():
    assert {str(page.relative_to(ROOT).with_suffix("")) for page in pages()} <= set(contents())
    assert "chapters/instructors.md" in read(ROOT / "README.md")
    assert "../instructors.md" in read(ROOT / "chapters" / "assignments" / "README.md")


@pytest.mark.parametrize("plan", ["Twelve weeks", "Six weeks"])
def test_a_plan_names_every_chapter_and_every_set(plan):
    text = section(read(KIT / "plans.md"), plan)
    for path in CHAPTERS:
        assert re.search(rf"\b{path.name[:2]}\b", text), f"{plan} has no place for chapter {path.stem}: add it"
    for path in SETS:
        assert re.search(rf"\b{path.stem[:3]}\b", text), f"{plan} has no place for {path.stem}: add it"


def test_every_set_has_its_row_with_hours():
    named = {row[0].strip("`"): row for row in rows(section(read(KIT / "plans.md"), "The sets"))}
    assert {path.stem for path in SETS} <= set(named)
    assert all("three" in row[2] or re.search(r"\b(four|five|six)\b", row[2]) for row in named.values())


def test_minutes_of_the_chapters_are_those_that_are_counted():
    table = {row[0]: row for row in rows(section(read(KIT / "plans.md"), "The chapters"))}
    for path in CHAPTERS:
        parts = list(counts.parts(nbformat.read(path.with_suffix(".ipynb"), as_version=4)))
        found = counts.minutes([part for part in parts if not part.skipped]), counts.minutes(parts)
        said = [int(number) for number in table[path.stem][2:4]]
        for here, there in zip(said, found, strict=True):
            assert abs(here - there) < 0.15 * there, f"{path.stem}: the plan says {said}, counted are {found}"


def test_what_a_chapter_needs_is_what_it_says():
    table = {row[0]: row for row in rows(section(read(KIT / "plans.md"), "The chapters"))}
    for path in CHAPTERS:
        text = re.sub(r"\n# ?", " ", read(path))
        paragraph = re.search(r"\*\*You need\*\*(.*?)\*\*It takes\*\*", text)[1]
        needs = sorted(set(re.findall(r"\((\d\d)_\w+\.ipynb", paragraph)))
        assert table[path.stem][1] == (", ".join(needs) or "none"), path.stem


def test_the_picture_of_prerequisites_names_every_chapter_and_set():
    picture = read(ROOT / "assets" / "figures" / "prerequisites.svg")
    for name in [path.name[:2] for path in CHAPTERS] + [path.stem[:3] for path in SETS]:
        assert re.search(rf">{name}\b", picture), name


def test_there_are_twelve_lecture_hours_each_with_all_that_it_needs():
    text = read(KIT / "lectures.md")
    hours = re.findall(r"(?m)^## Hour (\d+)", text)
    assert hours == [str(i) for i in range(1, 13)]
    for hour in re.split(r"(?m)^## Hour ", text)[1:]:
        for part in ("**Goal.**", "**Say.**", "**Show.**", "**Ask.**", "**Provoke.**"):
            assert part in hour, f"hour {hour[:20]!r} has no {part}"


# ---------------------------------------------------------------- the exam


def asked() -> dict[str, tuple[str, str]]:
    return {name: (kind, points) for name, kind, points in re.findall(QUESTION, read(KIT / "exam.md"))}


def test_the_exam_asks_in_every_way_about_every_chapter_and_every_answer_is_there():
    questions = asked()
    answers = {name: points for name, _, points in re.findall(QUESTION, read(ANSWERS))}
    assert len(questions) >= 24
    assert {name[:2] for name in questions} == {f"0{i}" for i in range(1, 10)}
    assert {kind for kind, _ in questions.values()} == {"computation", "derivation", "figure", "bug", "design"}
    assert answers == {name: points for name, (_, points) in questions.items()}


def test_no_answer_of_the_exam_is_in_the_book():
    """A link to a file that is no page would copy it into the built book."""
    apart = r"\]\([^)]*(?:answers|written_examples|_rubric|/ps\d)|\{(?:doc|download|include)\}.*(?:answers|assignments)"
    assert not [page for page in contents() if re.search("answers|assignments", page)]
    for page in contents():
        for path in ((ROOT / page).with_suffix(suffix) for suffix in (".md", ".ipynb")):
            found = re.search(apart, read(path)) if path.exists() else None
            assert not found, f"{page} would carry answers along: {found[0]}"
    assert not list((ROOT / "_build" / "html").rglob("*answers*"))


CODE = {
    name: re.findall(r"(?ms)^```python\n(.*?)^```", text)
    for name, text in re.findall(r"(?ms)^\*\*(\d\d\.\d)\*\*(.*?)(?=^\*\*\d\d\.\d\*\*|\Z)", read(ANSWERS))
}


@pytest.mark.parametrize("name", CODE)
def test_a_computed_answer_is_what_its_code_computes(name):
    if not CODE[name]:
        assert asked()[name][0] != "computation", f"{name} is a computation, and nothing computes it"
        return
    for code in CODE[name]:
        exec(code, {"torch": torch, "F": F, "math": math, "lfdm": lfdm, "rearrange": rearrange})  # noqa: S102 (ours)
