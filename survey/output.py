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


def counted(number: int, noun: str) -> str:
    """Return "1 work", "2 works"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def stop(message: str, code: int = UNUSABLE) -> NoReturn:
    """End the command with a diagnostic."""
    say(message)
    raise typer.Exit(code)


def write_json(value: Any) -> None:
    """Print a value as JSON, bytes as hexadecimal digits."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=bytes.hex))


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
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    widths = fitted(widths, console.width - 2 * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, width, flush in zip(columns, widths, right, strict=True):
        justify = "right" if flush else "left"
        table.add_column(column, width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def fitted(widths: Sequence[int], total: int) -> list[int]:
    """Return widths whose sum is at most ``total``: the widest column is narrowed again and again.

    The first column is what one copies: it stays whole. No other is narrowed below four characters.
    """
    widths = list(widths)
    while sum(widths) > total:
        widest = max(range(1, len(widths)), key=widths.__getitem__, default=0)
        if widest == 0 or widths[widest] <= 4:
            break
        widths[widest] -= 1
    return widths
