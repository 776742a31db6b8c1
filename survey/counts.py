"""Counting works: by section and by facet value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from survey.catalog import STATUSES, Catalog, Section, Work
from survey.problems import one_of

FACETS = {
    "kind": "kind",
    "technique": "techniques",
    "modality": "modalities",
    "task": "tasks",
    "llm": "llm",
    "status": "status",
    "section": "sections",
    "chapter": "chapter",
    "year": "year",
    "venue": "venue",
}
"""What works can be counted by: the name as queries spell it, and the field that holds the values."""

MAIN_FACETS = ("kind", "technique", "modality", "task", "llm", "status")
"""Those that are counted when none is named: few values each, all of them legal ones."""


class Branch(NamedTuple):
    """A section, its depth in the tree, and the works of it and of all sections under it, each once."""

    section: Section
    depth: int
    works: tuple[Work, ...]

    def count(self, status: str) -> int:
        """Return how many works have a status."""
        return sum(work.status == status for work in self.works)


def tree(catalog: Catalog) -> list[Branch]:
    """Return every section in reading order with its works."""
    below: dict[str, set[str]] = {section.number: {section.number} for section in catalog.sections}
    depth: dict[str, int] = {}
    for section in catalog.sections:
        depth[section.number] = 0 if section.parent is None else depth[section.parent] + 1
    for section in reversed(catalog.sections):
        if section.parent is not None:
            below[section.parent] |= below[section.number]
    return [
        Branch(s, depth[s.number], tuple(w for w in catalog if not below[s.number].isdisjoint(w.sections)))
        for s in catalog.sections
    ]


def facet_name(text: str) -> str:
    """Return the facet that ``text`` names, as one of its values is called (``technique``) or as they are.

    Raises ValueError, naming the nearest, when there is none.
    """
    plural = {field: name for name, field in FACETS.items()}
    if text not in FACETS and text not in plural:
        raise ValueError(f"facet must be {one_of(text, FACETS)}, given {text!r}")
    return plural.get(text, text)


def facet_counts(catalog: Catalog, facet: str, works: Iterable[Work]) -> dict[str | int, int]:
    """Count those of ``works`` that have each value of ``facet``: the legal ones in their order, then others.

    Values that none of the works has are left out.
    """
    field = FACETS[facet]
    values = [getattr(work, field) for work in works]
    counts = Counter(v for value in values for v in (value if isinstance(value, tuple) else (value,)))
    del counts[None]  # no chapter, no venue
    order = [
        *catalog.facets.get(field, ()),
        *(s.number for s in catalog.sections if field == "sections"),
        *STATUSES,
    ]
    rank = {value: at for at, value in enumerate(order)}
    ordered = sorted(counts, key=lambda value: (rank.get(value, len(rank)), value))
    return {value: counts[value] for value in ordered}
