"""Verbs that count works: tree, facets, stats."""

from __future__ import annotations

from typing import Annotated

import typer

from survey.catalog import STATUSES
from survey.output import stop, write_json, write_table
from survey.verbs import AsJson, catalog_of, exit_with, search


def tree(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the sections as a tree, each with how many works it and its parts have, and how many have code."""
    from survey.counts import tree as branches

    found = branches(catalog_of(context))
    if as_json:
        write_json(
            [
                {
                    "number": branch.section.number,
                    "title": branch.section.title,
                    "parent": branch.section.parent,
                    "chapters": branch.section.chapters,
                    "works": [work.id for work in branch.works],
                }
                for branch in found
            ]
        )
        return
    for section, depth, works in found:
        done = sum(work.status == "implemented" for work in works)
        print(
            f"{'    ' * depth}{section.number}  {section.title}  (works: {len(works)}, implemented: {done})"
        )


def facets(
    context: typer.Context,
    facet: Annotated[str | None, typer.Argument(help="One facet.", show_default=False)] = None,
    where: Annotated[str, typer.Option(help="Count only the works that match this query.")] = "",
    as_json: AsJson = False,
) -> None:
    """Count the works that have each value of a facet (or of technique, modality, ...: all of them)."""
    from survey.counts import FACETS, MAIN_FACETS, facet_counts, facet_name

    try:
        names = [facet_name(facet)] if facet else MAIN_FACETS
    except ValueError as error:
        stop(str(error))
    catalog = catalog_of(context)
    works = search(catalog, [where])
    rows = []
    for name in names:
        meanings = catalog.facets.get(FACETS[name], {})
        counts = facet_counts(catalog, name, works)
        rows += [(name, value, count, meanings.get(value, "")) for value, count in counts.items()]
    columns = ("facet", "value", "works", "meaning")
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        write_table(columns, rows)
    exit_with(rows)


def stats(context: typer.Context, as_json: AsJson = False) -> None:
    """Count works by section and status; a work counts in each of its sections, and once in the total."""
    from survey.counts import Branch, tree

    catalog = catalog_of(context)
    branches = tree(catalog)
    rows = [
        (b.section.number, len(b.works), *(b.count(status) for status in STATUSES), b.section.title)
        for b in branches
    ]
    total = Branch(None, 0, catalog.works)
    rows.append(("all", len(total.works), *(total.count(status) for status in STATUSES), "Distinct works"))
    columns = ("section", "works", *STATUSES, "title")
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        write_table(columns, rows)
