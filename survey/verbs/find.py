"""Verbs that find works: query, show, related, cite, code."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from survey.catalog import FIELDS
from survey.order import sorted_works
from survey.output import NOTHING, counted, say, stop, write_json, write_table
from survey.problems import one_of
from survey.verbs import AsJson, Name, Query, catalog_of, exit_with, named, search


def query(
    context: typer.Context,
    words: Query = None,
    form: Annotated[
        Literal["table", "json", "csv", "bibtex", "ids"], typer.Option("--format", help="How to print.")
    ] = "table",
    as_json: AsJson = False,
    sort: Annotated[str, typer.Option(help="A field to order by; -FIELD for falling order.")] = "year",
    fields: Annotated[str | None, typer.Option(help="Fields to show, with commas between.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many.")] = None,
) -> None:
    """Find works: words, "phrases", field:value, year>=2022, AND, OR, NOT (or a leading -), parentheses."""
    from survey import export

    names = tuple(name.strip() for name in fields.split(",")) if fields else None
    for name in names or ():
        if name not in FIELDS:
            stop(f"--fields must name fields, {one_of(name, FIELDS)}, given {name!r}")
    try:
        found = sorted_works(search(catalog_of(context), words), sort)[:limit]
    except ValueError as error:
        stop(f"--{error}")
    form = "json" if as_json else form
    if form == "ids":
        print("".join(f"{work.id}\n" for work in found), end="")
    elif form == "bibtex":
        print(export.to_bibtex(found), end="")
    elif form in ("json", "csv"):
        write = export.to_json if form == "json" else export.to_csv
        print(write(found, names or export.FIELDS_EXPORTED), end="")
    elif found:
        names = names or ("id", "year", "name", "status", "title")
        rows = ([export.as_text(getattr(work, name)) for name in names] for work in found)
        write_table(names, rows)
    say(counted(len(found), "work"))
    exit_with(found)


def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show everything about one work."""
    catalog = catalog_of(context)
    work = named(catalog, name)
    if as_json:
        write_json({field: getattr(work, field) for field in FIELDS})
    else:
        from survey.verbs.card import card

        print(card(catalog, work))


def related(
    context: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the works nearest to one: by facets, sections, title words and what builds on what."""
    from survey.related import related as nearest_works

    catalog = catalog_of(context)
    found = nearest_works(catalog, named(catalog, name), limit)
    if as_json:
        write_json(
            [
                {
                    "id": item.work.id,
                    "name": item.work.name,
                    "score": round(item.score, 4),
                    "shared": item.shared,
                }
                for item in found
            ]
        )
    elif found:
        rows = [
            (item.work.id, item.work.year, f"{item.score:.2f}", " ".join(item.shared[:4])) for item in found
        ]
        write_table(("id", "year", "score", "shared"), rows)
    exit_with(found)


def cite(
    context: typer.Context,
    words: Query = None,
    form: Annotated[
        Literal["bibtex", "apa", "csl-json"], typer.Option("--format", help="The citation's format.")
    ] = "bibtex",
) -> None:
    """Cite the works that match a query, or the one work whose id, key, arXiv number or DOI is given."""
    from survey.export import CITATIONS

    catalog = catalog_of(context)
    text = " ".join(words or ())
    found = [catalog[text]] if text in catalog else search(catalog, words)
    if found or form == "csl-json":
        print(CITATIONS[form](found), end="")
    exit_with(found)


def code(
    context: typer.Context,
    name: Name,
    source: Annotated[bool, typer.Option("--source", help="Print the source itself.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say where a work is implemented (path:line), or print the source."""
    from survey.locate import locate

    catalog = catalog_of(context)
    work = named(catalog, name)
    if work.implementation is None:
        elsewhere = f"; its authors' code is at {work.code}" if work.code else ""
        stop(f"{work.id} is not implemented here{elsewhere}", NOTHING)
    repository = catalog.root.parent
    place = locate(repository, work.implementation)
    if place is None:
        stop(f"{work.implementation} is not to be found under {repository}; `check` says more", NOTHING)
    path = place.path.relative_to(repository).as_posix()
    if as_json:
        target = {"id": work.id, "implementation": work.implementation, "path": path}
        write_json(
            target | {"line": place.line, "end": place.end} | ({"source": place.source()} if source else {})
        )
    else:
        print(place.source() if source else f"{path}:{place.line}", end="" if source else "\n")
