"""Where an implementation stands, found in the source text: nothing is imported."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple


class Location(NamedTuple):
    """Lines ``line`` to ``end`` (from 1, both included) of ``path``."""

    path: Path
    line: int
    end: int

    def source(self) -> str:
        """Return the lines, ending with a newline."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(lines[self.line - 1 : self.end]).rstrip("\n") + "\n"


def locate(repository: Path, target: str) -> Location | None:
    """Return where the class ``target`` (``module:Class``) is defined, through re-exports, or None."""
    module, _, name = target.partition(":")
    seen: set[tuple[str, str]] = set()
    while (module, name) not in seen:
        seen.add((module, name))
        base = repository.joinpath(*module.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            return None
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return Location(path, first, node.end_lineno or first)
        source = _imported_from(tree, name, module, path)
        if source is None:
            return None
        module, name = source
    return None


def _imported_from(tree: ast.Module, name: str, module: str, path: Path) -> tuple[str, str] | None:
    """Return the module and the name that ``from ... import ... as name`` takes, if the file has it."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in tree.body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            if (alias.asname or alias.name) == name:
                above = package[: len(package) - node.level + 1] if node.level else []
                return ".".join([*above, *filter(None, [node.module])]), alias.name
    return None
