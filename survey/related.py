"""Which works are near one: a TF-IDF cosine over title words, facets, sections and what they build on."""

from __future__ import annotations

from collections import Counter
from math import log, sqrt
from typing import NamedTuple

from survey.catalog import LIST_FACETS, Catalog, Work
from survey.text import words


class Related(NamedTuple):
    """A work near another one: how near, in (0, 1], and what the two share, the rarest first."""

    work: Work
    score: float
    shared: tuple[str, ...]


def related(catalog: Catalog, work: Work, limit: int = 10) -> list[Related]:
    """Return the ``limit`` works nearest to ``work``, ties in (year, id) order.

    A work and those that build on it share the term ``builds_on:<id>``, so a direct link counts like any
    other rare term. A term that all works have weighs next to nothing.
    """
    terms = {other.id: _terms(other) for other in catalog}
    frequency = Counter(term for found in terms.values() for term in found)
    weight = {term: log((len(catalog) + 1) / count) for term, count in frequency.items()}
    length = {name: sqrt(sum(weight[t] ** 2 for t in found)) for name, found in terms.items()}
    own = terms[work.id]
    near = []
    for other in catalog:
        shared = sorted(own & terms[other.id], key=lambda term: (-weight[term], term))
        product = sum(weight[term] ** 2 for term in shared)
        if other.id != work.id and shared:
            score = product / (length[work.id] * length[other.id])
            near.append(Related(other, score, tuple(shared)))
    near.sort(key=lambda item: (-item.score, item.work.year, item.work.id))
    return near[:limit]


def _terms(work: Work) -> set[str]:
    terms = {f"title:{word}" for word in words(work.title)} | {f"kind:{work.kind}", f"builds_on:{work.id}"}
    for name in (*LIST_FACETS, "sections", "builds_on"):
        terms |= {f"{name}:{value}" for value in getattr(work, name)}
    return terms
