"""What the book's chapters use: the names in the code cells of book/src/*.md, found without running them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_CELL = re.compile(r"^(`{3,}|:{3,})\{code-cell\}[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
_MAGIC = re.compile(r"^[ \t]*[%!][^\n]*$", re.MULTILINE)


def source_folder(root: Path) -> Path:
    """Return the folder of the chapters that belong to the catalog in ``root``."""
    return root.parent / "book" / "src"


def chapters_using(root: Path) -> dict[str, set[str]]:
    """Return the names that the code cells of each chapter use, by stem of source; an import is no use."""
    found = {}
    for path in sorted(source_folder(root).glob("*.md")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found[path.stem] = {name for _, cell in _CELL.findall(text) for name in names_used(cell)}
    return found


def names_used(cell: str) -> set[str]:
    """Return the names and attributes in the Python of one code cell, its options and magics aside."""
    code = _MAGIC.sub("", _OPTIONS.sub("", cell))
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return set()
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
