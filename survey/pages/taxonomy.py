"""The taxonomy: both surveys' trees with their counts, as a picture and as a list, and the facets."""

from __future__ import annotations

from collections import Counter

from survey.catalog import Section, Work
from survey.pages.book import Book
from survey.pages.markdown import directive, escape, page, table
from survey.pages.names import section_link
from survey.pages.picture import alternative

FACETS = {
    "kind": "Kind",
    "techniques": "Techniques",
    "modalities": "Modalities",
    "tasks": "Tasks",
    "llm": "Language models",
}


def taxonomy_page(book: Book) -> str:
    """Return the page of the taxonomy."""
    lines = [line for root in book.children(None) for line in _branch(book, root, 0)]
    facets = [part for name, title in FACETS.items() for part in (f"### {title}", _facet(book, name))]
    return page(
        "(taxonomy)=",
        "# Taxonomy",
        f"{_status(list(book.catalog))} A work may stand in several sections.",
        directive("image", "", "taxonomy.svg", alt=alternative(book), width="100%"),
        "## Sections",
        "\n".join(lines),
        "## Facets",
        "What else is known of each work, and how many works have each value.",
        *facets,
    )


def _branch(book: Book, section: Section, depth: int) -> list[str]:
    works = book.within(section)
    own = f"{'  ' * depth}- {section_link(section)}: {_status(works) if works else 'no works of its own.'}"
    children = book.children(section.number)
    return [own, *(line for child in children for line in _branch(book, child, depth + 1))]


def _status(works: list[Work]) -> str:
    done = sum(bool(work.implementation) for work in works)
    noun = "work" if len(works) == 1 else "works"
    return f"{len(works)} {noun}, {done} implemented."


def _facet(book: Book, name: str) -> str:
    counts: Counter[str] = Counter()
    for work in book.catalog:
        counts.update([work.kind] if name == "kind" else getattr(work, name))
    values = book.catalog.facets[name].items()
    rows = [[escape(value), str(counts[value]), escape(meaning)] for value, meaning in values]
    return table(("Value", "Works", "Meaning"), rows)
