"""What every check of an exercise must do with answers: take the right one, and send wrong ones back with a hint.

`tests/wrong_answers/NN_name.py` holds plausible wrong answers to the exercises of a chapter, one a cell, each under

    # %% eps_to_v: the sign is turned -> sign

that is the function asked for, what is wrong, and a word of the hint that a reader must then get. They run in the
kernel that has run the chapter and its solutions: `pytest --nbval --solutions chapters`, of which `conftest.py` knows.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

FOLDER = Path(__file__).parent / "wrong_answers"
AT_LEAST = 3  # wrong answers an exercise
HEAD = re.compile(r"# %% (\w+): (.+) -> (.+)")


class WrongAnswer(NamedTuple):
    exercise: str  # the function asked for
    mistake: str
    hint: str  # a word of what the reader is told
    code: str


def wrong_answers(chapter: str) -> list[WrongAnswer]:
    """Those of a chapter, in the order of the file.

    Raises:
        ValueError: a cell whose first line does not say what it is.
    """
    path = FOLDER / f"{chapter}.py"
    cells = re.split(r"(?m)^(?=# %%)", path.read_text(encoding="utf-8"))[1:] if path.exists() else []
    found = []
    for cell in cells:
        head, _, code = cell.partition("\n")
        match = HEAD.fullmatch(head.strip())
        if match is None:
            raise ValueError(f"{path.name}: {head!r}: expected '# %% FUNCTION: what is wrong -> a word of the hint'")
        found.append(WrongAnswer(*match.groups(), code.strip()))
    return found


def checks(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The check of every function that an exercise asks for: the last line of its cell prints `check(function)`."""
    found = {}
    for cell in notebook.cells:
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        for node in ast.walk(ast.parse(cell.source).body[-1]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_"):
                (argument,) = node.args
                found[argument.id] = node.func.id
    return found


def solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of every folded solution."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = re.findall(r"<details>(.*?)</details>", text, flags=re.DOTALL)
    return [code for part in folded for code in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL)]


def trials(chapter: str, notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """What is tried, and the code: each check is asked about the right answer, wrong ones and wrong kinds of thing.

    The code raises what is amiss. To be run after the solutions, whose functions still have their names.

    Raises:
        ValueError: a wrong answer to what no exercise asks for.
    """
    asked = checks(notebook)
    found = [("how checks are asked", COMMON)]
    for function, check in asked.items():
        found.append((f"{function}: right, and of wrong kinds", f"_kinds({check}, {function})"))
    for wrong in wrong_answers(chapter):
        if wrong.exercise not in asked:
            raise ValueError(f"{chapter}: no exercise asks for {wrong.exercise}; there are {', '.join(asked)}")
        call = f"_sent_back({asked[wrong.exercise]}({wrong.exercise}), {wrong.hint!r}, {wrong.mistake!r})"
        code = f"_right = {wrong.exercise}\n{wrong.code}\n{call}\n{wrong.exercise} = _right"
        found.append((f"{wrong.exercise}: {wrong.mistake}", code))
    return found


def afterwards(chapter: str, notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """What runs after a chapter, each with its name: its solutions, then `trials`."""
    solved = [(f"solution {number}", code) for number, code in enumerate(solutions(notebook), start=1)]
    return solved + trials(chapter, notebook)


COMMON = """
def _sent_back(answer, hint, mistake):
    assert isinstance(answer, str) and answer.startswith("not yet"), f"{mistake}: {answer!r}"
    assert hint.lower() in answer.lower(), f"{mistake}: the hint says nothing of {hint!r}: {answer!r}"


def _kinds(check, right):
    import torch

    def as_kind(change):
        def answer(*args, **kwargs):
            value = right(*args, **kwargs)
            return change(value)

        return answer

    def each(value, change):
        return type(value)(change(part) for part in value) if isinstance(value, tuple) else change(value)

    assert check(right) == "solved", check(right)
    for wrong in (None, [], "text", object()):
        _sent_back(check(lambda *args, **kwargs: wrong), "not yet", f"an answer that is {wrong!r}")
    single = as_kind(lambda value: each(value, lambda v: v.float() if isinstance(v, torch.Tensor) else v))
    assert isinstance(check(single), str)
    listed = as_kind(lambda value: each(value, lambda v: v.tolist() if isinstance(v, torch.Tensor) else v))
    assert isinstance(check(listed), str)
"""
