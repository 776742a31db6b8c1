"""Verbs about the catalog as a whole: export, sql, check, new, render."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from survey.output import counted, say, stop, write_json, write_table
from survey.problems import CatalogError
from survey.verbs import AsJson, catalog_of, exit_with, root_of


def export(
    context: typer.Context,
    form: Annotated[
        Literal["json", "csv", "bibtex", "csl-json", "sqlite"],
        typer.Option("--format", help="What to write."),
    ] = "json",
    out: Annotated[Path | None, typer.Option(help="The file to write; stdout without it.")] = None,
) -> None:
    """Write the whole catalog in another program's format."""
    from survey.export import FORMATS
    from survey.files import write_atomically

    catalog = catalog_of(context)
    if out is None and form == "sqlite":
        stop("--format sqlite needs --out FILE: a database is no text")
    if out is None:
        print(FORMATS[form](catalog.works), end="")
        return
    try:
        if form == "sqlite":
            from survey.database import write

            write(catalog, out)
        else:
            write_atomically(out, FORMATS[form](catalog.works).encode("utf-8"))
    except OSError as error:
        stop(f"--out {out} cannot be written: {error.strerror}")
    say(f"{counted(len(catalog), 'work')} written to {out}")


def sql(
    context: typer.Context,
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    as_json: AsJson = False,
) -> None:
    """Ask in SQL, for reading only. "SELECT sql FROM sqlite_master" shows the tables."""
    import sqlite3

    from survey.database import select

    try:
        columns, rows = select(catalog_of(context), statement)
    except (sqlite3.Error, sqlite3.Warning) as error:
        stop(f"SQL: {error}")
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        write_table(columns, rows)
    exit_with(rows)


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Report everything that is wrong with the catalog and its links, each with file and line."""
    from survey.validate import check as problems_of

    problems = problems_of(root_of(context))
    if as_json:
        write_json([{"file": p.file, "line": p.line, "message": p.message} for p in problems])
    else:
        print("".join(f"{problem}\n" for problem in problems), end="")
    say(counted(len(problems), "problem") if problems else "the catalog is sound")
    exit_with(not problems)


def new(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The new id: lower-case letters, digits and hyphens.", metavar="ID")
    ],
    short_name: Annotated[str, typer.Option("--name", help="What the work is called.")],
    title: Annotated[str, typer.Option(help="The paper's title, as plain text.")],
    authors: Annotated[str, typer.Option(help='"Ada Lovelace and {A Group} and ...".')],
    year: Annotated[int, typer.Option(help="The year it appeared.")],
    kind: Annotated[str, typer.Option(help="A value of the facet kind.")],
    section: Annotated[list[str], typer.Option(help="A section's number; may be repeated.")],
    technique: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    llm: Annotated[list[str] | None, typer.Option(help="A backbone; may be repeated.")] = None,
    builds_on: Annotated[list[str] | None, typer.Option(help="An id; may be repeated.")] = None,
    code: Annotated[str | None, typer.Option(help="The address of the authors' code.")] = None,
    journal: Annotated[str | None, typer.Option(help="Where an article appeared.")] = None,
    booktitle: Annotated[str | None, typer.Option(help="Where a conference paper appeared.")] = None,
    arxiv: Annotated[str | None, typer.Option(help="The arXiv number.")] = None,
    doi: Annotated[str | None, typer.Option(help="The DOI.")] = None,
    url: Annotated[str | None, typer.Option(help="The paper's address.")] = None,
) -> None:
    """Add a work: its record and its BibTeX entry, or neither when anything is wrong."""
    from survey.new import by_option, new_work

    record = {
        "name": short_name,
        "kind": kind,
        "sections": section,
        "techniques": technique,
        "modalities": modality,
        "tasks": task,
        "llm": llm,
        "builds_on": builds_on,
        "code": code,
    }
    entry = {
        "author": authors,
        "title": title,
        "journal": journal,
        "booktitle": booktitle,
        "year": str(year),
        "eprint": arxiv,
        "doi": doi,
        "url": url,
    }
    try:
        for path in new_work(root_of(context), name, record, entry):
            print(path)
    except CatalogError as error:
        stop(by_option(error.problems, name))
    except ValueError as error:
        stop(str(error))
    except OSError as error:
        stop(f"the catalog cannot be written: {error}")


def render(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Where to; book/_generated without it.")] = None,
) -> None:
    """Write the pages that the book makes from the catalog: cards, taxonomy, bibliography, explorer."""
    from survey.render import render as write_pages

    catalog = catalog_of(context)
    try:
        for path in write_pages(catalog, out or catalog.root.parent / "book" / "_generated"):
            print(path)
    except (OSError, ValueError) as error:
        stop(str(error))
