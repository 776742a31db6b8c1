"""Checks between the files of a catalog: each value against the facets, each work against all others."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from survey.bibtex import Reference
from survey.catalog import LIST_FACETS, Section
from survey.problems import Problem, one_of
from survey.schema import Record
from survey.sources import Document

Records = Mapping[str, tuple[Document, Record]]

_FORMS = {
    "year": (re.compile(r"(?:19|20)\d\d"), "a year such as 2017"),
    "doi": (re.compile(r"10\.\d{4,9}/\S+"), "a DOI such as 10.1000/182"),
    "url": (re.compile(r"https?://[^\s<>\"]+"), "an http or https address"),
    "eprint": (re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}"), "an arXiv number, as 1711.00937"),
}


def legal_values(
    records: Records, facets: Mapping[str, Mapping[str, str]], sections: tuple[Section, ...]
) -> Iterator[Problem]:
    """Yield each facet value and section that does not exist, and each value that one list holds twice."""
    numbers = [section.number for section in sections]
    for document, record in records.values():
        given = [(("kind",), record.kind, facets.get("kind"))]
        for facet in LIST_FACETS:
            values = enumerate(getattr(record, facet))
            given += [((facet, at), value, facets.get(facet)) for at, value in values]
        given += [(("sections", at), value, numbers) for at, value in enumerate(record.sections)]
        for path, value, legal in given:
            if legal and value not in legal:
                message = f"{path[0]} must be {one_of(value, legal)}, given {value!r}"
                yield document.problem(message, *path)
        for name in ("sections", *LIST_FACETS, "builds_on", "aliases"):
            values = getattr(record, name)
            for at, value in enumerate(values):
                if value in values[:at]:
                    yield document.problem(f"{name} lists {value!r} twice", name, at)


def names(records: Records) -> Iterator[Problem]:
    """Yield each alias that another work, or the work's own id, already has."""
    owners = {name: name for name in records}
    for name, (document, record) in records.items():
        for at, alias in enumerate(record.aliases):
            owner = owners.setdefault(alias, name)
            if owner != name or alias == name:
                yield document.problem(f"the alias {alias!r} already names the work {owner!r}", "aliases", at)


def citations(
    records: Records, references: Mapping[str, Reference], bibliography: str, spared: Container[str]
) -> Iterator[Problem]:
    """Yield each record without a BibTeX entry, entry without a record, and work that is listed twice.

    A paper that brings two systems, a quantizer and the tokenizer around it, has two records if the second
    builds on the first.
    ``spared`` are keys that unreadable records cite: these entries are not unused.
    """
    citing: dict[str, str] = {}
    for name, (document, record) in records.items():
        first = citing.setdefault(record.cite, name)
        related = first in record.builds_on or name in records[first][1].builds_on
        if first != name and not related:
            message = f"the work is listed twice: {first!r} cites {record.cite!r} too"
            yield document.problem(f"{message} (a paper's second system builds_on its first)", "cite")
        if record.cite not in references:
            message = f"cite must be a key of papers.bib, {one_of(record.cite, references)}"
            yield document.problem(f"{message}, given {record.cite!r}", "cite")
    seen: dict[tuple[str, str], str] = {}
    for key, reference in references.items():
        if key not in citing and key not in spared:
            yield Problem(bibliography, reference.lines[""], f"no work cites the BibTeX entry {key!r}")
        for name, value in _identities(reference):
            first = seen.setdefault((name, value), key)
            if first != key:
                message = f"the paper is listed twice: {first!r} and {key!r} have the same {name}"
                yield Problem(bibliography, reference.lines[name], message)


def _identities(reference: Reference) -> Iterator[tuple[str, str]]:
    for name in ("eprint", "doi", "title"):
        dropped = r"[\W_]+" if name == "title" else r"\s+|v\d+$"
        if value := re.sub(dropped, "", reference.fields.get(name, "").casefold()):
            yield name, value


def entries(references: Mapping[str, Reference], bibliography: str) -> Iterator[Problem]:
    """Yield what a BibTeX entry lacks and what is not in the form that links are made from."""
    for key, reference in references.items():
        fields = reference.fields
        for name in ("author", "title", "year"):
            if not fields.get(name):
                yield Problem(bibliography, reference.lines[""], f"{key!r} has no {name}")
        for name, (form, legal) in _FORMS.items():
            skipped = name == "eprint" and not reference.is_arxiv
            if fields.get(name) and not skipped and not form.fullmatch(fields[name]):
                message = f"{name} of {key!r} must be {legal}, given {fields[name]!r}"
                yield Problem(bibliography, reference.lines[name], message)


def building(records: Records, unreadable: Container[str]) -> Iterator[Problem]:
    """Yield each ``builds_on`` that names no work, readable or not, and each circle of them."""
    graph = {name: [o for o in record.builds_on if o in records] for name, (_, record) in records.items()}
    for document, record in records.values():
        for at, other in enumerate(record.builds_on):
            if other not in records and other not in unreadable:
                message = f"builds_on must name works by id, {one_of(other, records)}, given {other!r}"
                yield document.problem(message, "builds_on", at)
    for circle in circles(graph):
        message = "builds_on goes in a circle: " + " -> ".join([*circle, circle[0]])
        yield records[circle[0]][0].problem(message, "builds_on")


def circles(graph: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Yield circles of a directed graph, each from its first name, until none is left."""
    rest = {name: set(following) for name, following in sorted(graph.items())}
    while True:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            backwards = error.args[1]  # the sorter lists each name before those that build on it
            circle = backwards[:0:-1]
            rest[circle[-1]].discard(circle[0])
            first = circle.index(min(circle))
            yield circle[first:] + circle[:first]
        else:
            return
