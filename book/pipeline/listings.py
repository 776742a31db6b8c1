"""Code that a chapter shows: still what the module holds? Answered by importing, without running the chapter."""

import ast
import importlib
from collections.abc import Iterator

from nbformat import NotebookNode

from impl import show


def outdated(notebook: NotebookNode) -> Iterator[str]:
    """Yield each object that ``show.source`` shows otherwise than its module has it now, as it is written.

    Only what the chapter imports by name is looked up; what it makes while it runs is left to nbval.
    """
    imported: dict[str, str] = {}
    for cell in notebook.cells:
        statements = _statements(cell)
        for statement in statements:
            imported |= _imports(statement)
        stored = [
            output.data["text/plain"]
            for output in cell.get("outputs", [])
            if "text/markdown" in output.get("data", {})
        ]
        shown = [ast.unparse(call.args[0]) for call in map(_shown, statements) if call]
        for expression, text in zip(shown, stored, strict=False):
            name, *attributes = expression.split(".")
            if name in imported and _listing(".".join([imported[name], *attributes])) != text:
                yield expression


def _statements(cell: NotebookNode) -> list[ast.stmt]:
    try:
        return ast.parse(cell.source).body if cell.cell_type == "code" else []
    except SyntaxError:  # the rules name it
        return []


def _imports(statement: ast.stmt) -> dict[str, str]:
    """Return what an import binds, as {name: dotted path}."""
    if isinstance(statement, ast.ImportFrom):
        return {a.asname or a.name: f"{statement.module}.{a.name}" for a in statement.names}
    if isinstance(statement, ast.Import):
        return {
            a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
            for a in statement.names
        }
    return {}


def _shown(statement: ast.stmt) -> ast.Call | None:
    """Return the call if a statement is ``show.source(...)``."""
    call = getattr(statement, "value", None)
    return call if isinstance(call, ast.Call) and ast.unparse(call.func) == "show.source" else None


def _listing(path: str) -> str | None:
    """Return the source of the object at a dotted path, None if there is none: the longest module, then attributes."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute, None)
        return None if found is None else show.listing(found)
    return None
