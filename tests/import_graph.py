"""Who imports whom in the library, read from its sources: rooms, their sizes, circles, arrows that run backwards.

`python -m tests.import_graph [FOLDER]` prints it for this tree, or for another one that holds `lfdm_lite/`. Imports
inside functions count as much as those on top of a module; a name that is handed to `importlib` is no arrow.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
PACKAGE = "lfdm_lite"

# Each storey may import those before it. On the teaching path every module has its own; above it rooms may share one.
PATH = (
    "geometry", "flow", "layers", "memory", "regions", "motion", "autoencoder", "losses", "attention", "conditions",
    "unet3d", "diffusion", "samplers",
)  # fmt: skip
STOREYS = (
    *((module,) for module in PATH),
    ("files",),
    ("viz",),
    ("pipeline", "generated", "inputs"),
    ("control", "distillation", "browser"),
    ("data",),
    ("evaluation",),
    ("official", "baselines"),
    ("training",),
    ("commands",),
    ("course", "cli"),
)
STOREY = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}

Arrows = dict[str, set[str]]  # from each module to those that it imports, all without "lfdm_lite."


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the library and its file; a package goes by its folder's name, the library's own by ""."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    parts = {file: file.relative_to(root / PACKAGE).with_suffix("").parts for file in files}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): file for file, p in parts.items()}


def arrows(files: dict[str, Path]) -> Arrows:
    """What each module imports. The library's own `__init__`, which names everything, sends no arrows."""
    found: Arrows = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if name else ():
            if isinstance(node, ast.Import):
                targets = [target(alias.name, files) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = absolute(node, name, file)
                targets = [target(f"{base}.{alias.name}", files) for alias in node.names if alias.name[:2] != "__"]
            else:
                continue
            found[name] |= {found for found in targets if found is not None} - {name}
    return found


def absolute(node: ast.ImportFrom, name: str, file: Path) -> str:
    """The module behind `from`, written in full."""
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *filter(None, name.split("."))]
    if file.name != "__init__.py":
        here.pop()
    return ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])


def target(path: str, files: dict[str, Path]) -> str | None:
    """The module of the library that a dotted path is, or that holds what it names; None for others' modules."""
    parts = path.split(".")
    if parts[0] != PACKAGE:
        return None
    return next(name for n in range(len(parts), 0, -1) if (name := ".".join(parts[1:n])) in files)


def room(module: str) -> str:
    """The first part of its name: a folder, or the module itself at the root."""
    return module.partition(".")[0]


def folder(file: Path) -> str:
    return file.parent.as_posix().rpartition(PACKAGE)[2].strip("/") or "root"


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def circles(graph: Arrows) -> list[list[str]]:
    """Modules that can be reached from each other."""
    names = sorted(graph)
    matrix = np.array([[there in graph[here] for there in names] for here in names])
    _, group = connected_components(matrix, directed=True, connection="strong")
    together = [[name for name, g in zip(names, group, strict=True) if g == number] for number in set(group)]
    return sorted(members for members in together if len(members) > 1)


def homeless(graph: Arrows) -> list[str]:
    """Rooms that no storey holds."""
    return sorted({room(name) for name in graph} - {*STOREY, ""})


def backward(graph: Arrows) -> list[tuple[str, str]]:
    """Arrows to a higher storey, or to the library's own `__init__`; of rooms without a storey nothing is said."""
    height = {name: STOREY.get(room(name)) for name in graph} | {"": len(STOREYS)}
    pairs = [(here, there) for here, ends in graph.items() for there in ends]
    known = [pair for pair in pairs if None not in (height[pair[0]], height[pair[1]])]
    return sorted((here, there) for here, there in known if height[there] > height[here])


def main(root: Path = ROOT) -> None:
    files = modules(root)
    graph = arrows(files)
    sizes = {name: lines(file) for name, file in files.items()}
    by_folder = Counter(folder(file) for file in files.values())
    at_root = [name for name, file in files.items() if folder(file) == "root" and name]
    largest = max((size, name) for name, size in by_folder.items() if name != "root")
    print(f"{'module at the root':24} {'lines':>6}")
    for name in sorted(at_root, key=lambda name: (STOREY.get(name, len(STOREYS)), name)):
        print(f"  {name:22} {sizes[name]:6d}")
    print(f"{len(at_root):2d} modules at the root {sum(sizes[name] for name in at_root):8d}\n")
    print(f"{'room':14} {'modules':>8} {'lines':>6}")
    for name in sorted(
        {room(name) for name in files} - {*at_root, ""}, key=lambda name: STOREY.get(name, len(STOREYS))
    ):
        inside = [module for module in files if room(module) == name]
        print(f"  {name:12} {len(inside):8d} {sum(sizes[module] for module in inside):6d}")
    print(f"  {'all':12} {len(files):8d} {sum(sizes.values()):6d}\n")
    print(f"files in the largest other folder: {largest[0]} ({largest[1]})")
    print(f"rooms without a storey: {', '.join(homeless(graph)) or 'none'}")
    print(f"circles: {len(circles(graph))}")
    for members in circles(graph):
        print(f"  {len(members)} modules: {', '.join(members)}")
    print(f"arrows against the order: {len(backward(graph))}")
    for here, there in backward(graph):
        print(f"  {here} -> {there or '__init__'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
