"""Reading the catalog's files as text and as YAML, with the line of every value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from survey.problems import Problem


@dataclass
class Document:
    """A YAML file: its values and, for each path of keys and positions into them, its line (from 1)."""

    file: str
    data: Any
    lines: dict[tuple, int]

    def line(self, *path: str | int) -> int:
        """Return the line of the value at ``path``, or of the nearest one around it that the file holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, message: str, *path: str | int) -> Problem:
        """Return the problem ``message`` at the line of ``path``."""
        return Problem(self.file, self.line(*path), message)


def read_text(path: Path, shown: str) -> tuple[str | None, list[Problem]]:
    """Return the text of a UTF-8 file, or None and why not."""
    try:
        return path.read_bytes().decode("utf-8"), []
    except FileNotFoundError:
        return None, [Problem(shown, 1, "the file is missing")]
    except OSError as error:
        return None, [Problem(shown, 1, f"the file cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return None, [Problem(shown, line, f"not UTF-8: byte 0x{error.object[error.start]:02x}")]


def read_yaml(path: Path, shown: str) -> tuple[Document | None, list[Problem]]:
    """Return a YAML file, or None; with every duplicate key, or what makes it unreadable."""
    text, problems = read_text(path, shown)
    if text is None:
        return None, problems
    loader = None
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        lines: dict[tuple, int] = {}
        if node is not None:
            _walk(node, (), node.start_mark.line + 1, lines, problems, shown, [])
        return Document(shown, None if node is None else loader.construct_document(node), lines), problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        return None, [*problems, Problem(shown, mark.line + 1 if mark else 1, f"malformed YAML: {reason}")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return None, [*problems, Problem(shown, _line_of(error, text), f"malformed YAML: {reason}")]
    finally:
        if loader is not None:
            loader.dispose()


def _line_of(error: Exception, text: str) -> int:
    position = getattr(error, "position", None)
    return text.count("\n", 0, position) + 1 if isinstance(position, int) else 1


def _walk(node, path: tuple, line: int, lines: dict, problems: list, shown: str, above: list) -> None:
    """Note the line of every value under ``node`` and every key that is written twice."""
    if any(node is other for other in above):
        raise ValueError("a value contains itself")
    lines[path] = line
    above = [*above, node]
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, at = str(key.value), key.start_mark.line + 1
            if name in seen:
                message = f"the key {name!r} is written twice, first on line {seen[name]}"
                problems.append(Problem(shown, at, message))
            seen.setdefault(name, at)
            _walk(value, (*path, name), at, lines, problems, shown, above)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _walk(value, (*path, position), value.start_mark.line + 1, lines, problems, shown, above)
