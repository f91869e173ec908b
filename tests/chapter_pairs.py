"""What a chapter builds and the library holds: which symbol equals which, and whether either changed since.

A chapter's metadata names the pairs (`book: equals: {warp_v3: lfdm_lite.geometry.warp}`), and the chapter shows by
numbers that they agree. `chapters/equals.json` keeps a fingerprint of both sources from then. When one side changes, a
test fails until the chapter was run again and `python -m tests.chapter_pairs` has recorded the new pair.
"""

import ast
import hashlib
import importlib
import inspect
import json
import textwrap
from pathlib import Path

import jupytext

CHAPTERS = Path(__file__).parents[1] / "chapters"
RECORD = CHAPTERS / "equals.json"


def code_only(tree: ast.AST) -> str:
    """The source as a tree without docstrings, annotations and the top symbol's own name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return told(tree)


def told(part: object) -> str:
    """A tree as text, the same in every version of Python: `ast.dump` shows empty fields in 3.11 and not in 3.13."""
    if isinstance(part, ast.AST):
        fields = (f"{name}={told(value)}" for name, value in ast.iter_fields(part) if value not in (None, []))
        return f"{type(part).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(told, part))}]" if isinstance(part, list) else repr(part)


def fingerprint(source: str) -> str:
    return hashlib.sha256(code_only(ast.parse(textwrap.dedent(source))).encode()).hexdigest()[:16]


def library_source(path: str) -> str:
    """The source of `package.module.symbol` or `package.module.Class.method`."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return inspect.getsource(inspect.unwrap(found))
    raise ValueError(f"{path} is no symbol of an importable module")


def chapter_sources(script: Path) -> dict[str, str]:
    """The source of every function and class that a chapter defines; the last definition of a name counts."""
    notebook = jupytext.read(script)
    found = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = ast.get_source_segment(cell.source, node)
    return found


def pairs(script: Path) -> dict[str, dict[str, str]]:
    """Each final version of a chapter: the library's symbol, and a fingerprint of both."""
    equals = jupytext.read(script).metadata.get("book", {}).get("equals", {})
    sources = chapter_sources(script)
    return {
        name: {
            "library": path,
            "chapter_source": fingerprint(sources[name]),
            "library_source": fingerprint(library_source(path)),
        }
        for name, path in equals.items()
    }


def main() -> None:
    record = {script.stem: pairs(script) for script in sorted(CHAPTERS.glob("[0-9]*.py"))}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{sum(map(len, record.values()))} pairs in {RECORD.name}")


if __name__ == "__main__":
    main()
