"""The page `chapters/reference.md`, written from the library's own signatures and docstrings.

Signatures are taken from the source as they stand, for there a type says its shape. `python -m tests.reference` writes
the page; a test fails when it is out of date.
"""

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "chapters" / "reference.md"

PARTS = {
    "Where things are, and how they move": ("geometry", "flow", "motion", "regions"),
    "Stage one": ("layers", "autoencoder", "losses"),
    "Stage two": ("attention", "conditions", "unet3d", "diffusion", "samplers"),
    "The whole model": ("pipeline", "generated", "inputs", "control"),
    "For the browser": ("browser/parts", "browser/graphs", "browser/export", "browser/checking"),
    "Files": (
        "files/checkpoints",
        "files/models/configs",
        "files/models/weights",
        "files/models/pickles",
        "files/models/archives",
        "files/models/lpips_archive",
        "files/reading",
        "files/atomic",
        "files/machine/packages",
    ),
    "Data": (
        "data/drawn/procedural",
        "data/drawn/faces",
        "data/drawn/figures",
        "data/drawn/gestures",
        "data/drawn/sketches",
        "data/drawn/engine/scenes",
        "data/drawn/engine/proofs",
        "data/drawn/engine/sprites",
        "data/folders/video_folder",
        "data/paper/sets",
        "files/flow_files",
        "files/motion_files",
    ),
    "Training": (
        "training/configs",
        "training/presets",
        "training/rivals",
        "training/stages/both",
        "training/full_scale",
        "training/planning/plans",
        "training/engine/loop",
    ),
    "Rivals": (
        "baselines/rivals",
        "baselines/vdm",
        "baselines/ldm",
        "baselines/lamd",
        "baselines/unet2d",
        "baselines/discriminator",
        "baselines/trivial",
    ),
    "Measuring and looking": (
        "evaluation/videos",
        "evaluation/frames",
        "evaluation/distances",
        "evaluation/i3d",
        "evaluation/metrics",
        "evaluation/intervals",
        "evaluation/judges",
        "evaluation/rulers/faces",
        "evaluation/examination",
        "evaluation/tables",
        "evaluation/truth",
        "evaluation/parts",
        "evaluation/lpips",
        "evaluation/perceptual",
        "viz/pictures",
        "viz/players",
        "viz/dials",
        "viz/stills",
        "viz/flow_pictures",
    ),
}
NAMES = {"Args": "Arguments"}
SECTIONS = ("Args", "Returns", "Raises", "Attributes", "Yields", "Source")

HEAD = """# Library reference

Every public class and function of the modules that this book builds, with its signature and docstring as they stand in
the source. Shapes are part of the types: `Float[Tensor, "b 3 h w"]` is a batch of RGB images; `*t` stands for any
number of axes, of time for instance, or none. Other modules (the commands, the drawing of people, the engine below the
training loop) are documented in their sources.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, modules in PARTS.items():
        lines.append(f"## {title}\n")
        for module in modules:
            lines += of_module(module)
    return "\n".join(lines).rstrip() + "\n"


def of_module(module: str) -> list[str]:
    """A module's first sentence, then its public symbols in the order of the source."""
    source = (ROOT / "lfdm_lite" / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines = [f"### `lfdm_lite.{module.replace('/', '.')}`\n", prose(ast.get_docstring(tree) or ""), ""]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            lines += of_symbol(node, source)
    return lines


def of_symbol(node: ast.FunctionDef | ast.ClassDef, source: str) -> list[str]:
    """Signature and docstring; of a class also those of its public methods, and its fields."""
    lines = [f"#### `{node.name}`\n", "```python", signature(node, source), "```\n", documented(node), ""]
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                lines += ["```python", signature(method, source), "```\n", documented(method), ""]
    return lines


def signature(node: ast.FunctionDef | ast.ClassDef, source: str) -> str:
    """From `def` or `class` up to the docstring; of a class its fields, or how it is made."""
    if isinstance(node, ast.FunctionDef):
        decorators = [f"@{d}\n" for d in map(ast.unparse, node.decorator_list) if d in ("property", "classmethod")]
        text = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
        return "".join(decorators) + textwrap.dedent("\n".join(text)).rstrip().removesuffix(":")
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
    made = [s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
    below = [source.splitlines()[i] for s in fields for i in range(s.lineno - 1, s.end_lineno)]
    below += textwrap.indent(signature(made[0], source), "    ").splitlines() if made else []
    return "\n".join([f"class {node.name}{bases}:" if below else f"class {node.name}{bases}", *below])


def documented(node: ast.AST) -> str:
    """A docstring as Markdown: its sections become lists."""
    text = ast.get_docstring(node)
    return "" if text is None else prose(text)


def prose(text: str) -> str:
    """Markdown of a docstring."""
    blocks, lines = [], []
    section = None
    for line in [*text.splitlines(), ""]:
        found = re.fullmatch(rf"({'|'.join(SECTIONS)}):(.*)", line)
        if found:
            blocks.append(block(section, lines))
            section, lines = found[1], [found[2].strip()] if found[2].strip() else []
        elif section and line and not line.startswith(" ") and section != "Source":
            blocks.append(block(section, lines))
            section, lines = None, [line]
        else:
            lines.append(line)
    blocks.append(block(section, lines))
    return "\n\n".join(b for b in blocks if b)


def block(section: str | None, lines: list[str]) -> str:
    """Plain text, or a section with one item a name."""
    if section is None:
        return escaped("\n".join(lines).strip())
    body = textwrap.dedent("\n".join(lines)).strip()
    if section in ("Source", "Returns", "Yields"):
        return f"**{section}.** {escaped(' '.join(body.split()))}"
    items = []
    for line in body.splitlines():
        named = re.match(r"([\w.*, ]+): (.*)", line)
        if named and not line.startswith(" "):
            items.append(f"* `{named[1]}`: {escaped(named[2])}")
        elif items:
            items[-1] += " " + escaped(line.strip())
        else:
            items.append(f"* {escaped(line.strip())}")
    return f"**{NAMES.get(section, section)}.**\n\n" + "\n".join(items)


def escaped(text: str) -> str:
    """Without what Markdown would take for mark-up, outside of code."""
    parts = re.split(r"(`[^`]*`|\*\w[^*\n]*\w\*)", text)
    return "".join(p if p[:1] in ("`", "*") else re.sub(r"([*_$<\[\]{}|])", r"\\\1", p) for p in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
