"""Printing: tables for a person, JSON for a program; what went wrong goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer

FOUND, NOTHING, UNUSABLE = 0, 1, 2
"""Exit codes: something was found; nothing was; what was given makes no sense."""


def say(message: str) -> None:
    """Print a diagnostic."""
    print(message, file=sys.stderr)


def stop(message: str, code: int = UNUSABLE) -> NoReturn:
    """End the command with a diagnostic."""
    say(message)
    raise typer.Exit(code)


def write_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their columns: fitted to a terminal, else in plain aligned text that loses nothing.

    Columns of numbers are flushed right; None is an empty cell.
    """
    rows = [["" if value is None else value for value in row] for row in rows]
    right = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))]
    cells = [[" ".join(str(value).split()) for value in row] for row in rows]
    if sys.stdout.isatty():
        _write_fitted(columns, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        parts = zip(row, widths, right, strict=True)
        print("  ".join(c.rjust(w) if flush else c.ljust(w) for c, w, flush in parts).rstrip())


def _write_fitted(columns: Sequence[str], cells: list[list[str]], right: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        # the first column is what one copies, the last one is the text that may be cut
        cut = at == len(columns) - 1 and at > 0
        justify = "right" if right[at] else "left"
        table.add_column(column, no_wrap=True, justify=justify, overflow="ellipsis" if cut else "fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
