"""The verbs of the command line, and what they share: the catalog, a query, a work by any of its ids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from survey.catalog import ROOT, Catalog, Work, load
from survey.output import FOUND, NOTHING, counted, stop
from survey.problems import CatalogError, UnknownWork
from survey.query import QueryError

Query = Annotated[
    list[str] | None, typer.Argument(help="A query; without one, all works.", show_default=False)
]
Name = Annotated[str, typer.Argument(help="An id, BibTeX key, arXiv number or DOI.", metavar="ID")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def catalog_of(context: typer.Context) -> Catalog:
    """Return the catalog, or end the command with all its problems."""
    try:
        return load(root_of(context))
    except CatalogError as error:
        stop(f"{error}\nthe catalog has {counted(len(error.problems), 'problem')}; nothing was read")


def root_of(context: typer.Context) -> Path:
    """Return the catalog's folder, or end the command when there is none."""
    root = (context.obj or ROOT).resolve()
    if not root.is_dir():
        stop(f"--root must be the folder of a catalog, {str(context.obj)!r} is none")
    return root


def search(catalog: Catalog, words: list[str] | None) -> list[Work]:
    """Return the works that match a query given as words of the command line, or end the command."""
    for word in words or ():
        if word.startswith("--"):
            stop(f"no such option: {word}")
    text = " ".join(words or ())
    try:
        return catalog.query(text)
    except QueryError as error:
        stop(error.show(text))


def named(catalog: Catalog, text: str) -> Work:
    """Return the work that ``text`` names, or end the command with the nearest id."""
    try:
        return catalog[text]
    except UnknownWork as error:
        stop(str(error), NOTHING)


def exit_with(found: object) -> None:
    """End the command: 0 when something was found, 1 when nothing was."""
    raise typer.Exit(FOUND if found else NOTHING)
