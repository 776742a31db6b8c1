"""The catalog in memory: works, sections and facets, frozen, with one loader and one way to look things up.

``load()`` answers from a cache when no source file has changed and reads YAML and BibTeX otherwise
(``survey.validate``). Nothing here imports anything heavier than the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

from survey.problems import CatalogError, UnknownWork
from survey.text import nearest

ROOT = Path(__file__).resolve().parent
"""The folder of the catalog's own data: papers.bib, facets.yml, sections.yml, systems/."""

STATUSES = ("implemented", "catalogued")
LIST_FACETS = ("techniques", "modalities", "tasks", "llm")
"""The facets of which a work may have several values; ``kind`` is the one it has once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One system or resource with the paper that it is from.

    Absent strings are None, absent lists are empty; text is Unicode, not LaTeX.
    """

    id: str
    key: str
    name: str
    title: str
    authors: tuple[str, ...]
    year: int
    kind: str
    sections: tuple[str, ...]
    venue: str | None = None
    arxiv: str | None = None
    doi: str | None = None
    url: str | None = None
    techniques: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    llm: tuple[str, ...] = ()
    builds_on: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    code: str | None = None
    implementation: str | None = None
    chapter: str | None = None
    claim: str | None = None
    evidence: str | None = None
    fidelity: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    note: str | None = None
    provenance: dict[str, str] = field(default_factory=dict, hash=False)
    bibtex: str = ""

    @property
    def status(self) -> str:
        """``implemented`` when the catalog links a class, ``catalogued`` otherwise."""
        return STATUSES[0] if self.implementation else STATUSES[1]


FIELDS = (
    *("id", "key", "name", "title", "authors", "year", "venue", "arxiv", "doi", "url", "kind", "sections"),
    *("techniques", "modalities", "tasks", "llm", "builds_on", "aliases", "code", "implementation", "status"),
    *("chapter", "claim", "evidence", "fidelity", "note", "provenance", "bibtex"),
)
"""Every field of a work, the derived ``status`` among them, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class Section:
    """One node of a survey's tree. ``chapters`` are stems of book/src/*.md, the first being its own."""

    number: str
    slug: str
    title: str
    parent: str | None = None
    chapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """All works in (year, id) order, the tree of sections in reading order, and the legal facet values."""

    works: tuple[Work, ...]
    sections: tuple[Section, ...]
    facets: dict[str, dict[str, str]]
    root: Path = ROOT

    def __len__(self) -> int:
        return len(self.works)

    def __iter__(self) -> Iterator[Work]:
        return iter(self.works)

    def __contains__(self, text: str) -> bool:
        return _normalised_id(text) in self._by_id

    def __getitem__(self, text: str) -> Work:
        """Return the work that ``text`` names: its id, an alias, BibTeX key, arXiv number or DOI.

        Raises UnknownWork, a KeyError that knows the nearest id.
        """
        work = self._by_id.get(_normalised_id(text))
        if work is None:
            near = nearest(_normalised_id(text), self._by_id)
            raise UnknownWork(text, self._by_id[near].id if near else None)
        return work

    def query(self, text: str, sort: str | None = None) -> list[Work]:
        """Return the works that match ``text`` in (year, id) order, or by the field ``sort`` ("-year" falls).

        Raises survey.query.QueryError for a bad query and ValueError for a field that no work has.
        """
        found = self.index.query(text)
        if sort is None:
            return found
        from survey.order import sorted_works

        return sorted_works(found, sort)

    @cached_property
    def index(self):
        """The search index over all works, built at the first query (a survey.query.Index)."""
        from survey.query import Index

        return Index(self.works, self.vocabulary)

    @property
    def vocabulary(self) -> dict[str, dict[str, str]]:
        """The legal values of every closed field of a query, with meanings: facets, all sections and chapters.

        A section that lists no work is a legal value that finds nothing.
        """
        return {
            **self.facets,
            "sections": {section.number: section.title for section in self.sections},
            "chapter": {chapter: section.title for section in self.sections for chapter in section.chapters},
        }

    @cached_property
    def _by_id(self) -> dict[str, Work]:
        found: dict[str, Work] = {}
        keys = {work.id: work.key for work in self.works}
        # A paper's second system builds on its first, which is the one that the paper's numbers name.
        firsts = [w for w in self.works if all(keys.get(other) != w.key for other in w.builds_on)]
        for work in firsts:
            for text in (work.doi, work.arxiv, work.key):
                if text:
                    found.setdefault(_normalised_id(text), work)
        for work in self.works:  # ids win over a BibTeX key that happens to be spelt alike
            found.update({name.casefold(): work for name in (*work.aliases, work.id)})
        return found


_ID_PREFIX = re.compile(
    r"^(?:https?://)?(?:(?:www\.)?arxiv\.org/(?:abs|pdf)/|(?:dx\.)?doi\.org/|arxiv:\s*|doi:\s*)(.+?)(?:\.pdf)?$"
)
_ARXIV_VERSION = re.compile(r"^(\d{4}\.\d{4,5}|[a-z.-]+/\d{7})v\d+$")


def _normalised_id(text: str) -> str:
    """``https://arxiv.org/abs/1711.00937v2``, ``arXiv:1711.00937`` and ``1711.00937`` name one paper."""
    text = text.strip().casefold()
    if match := _ID_PREFIX.match(text):
        text = match[1]
    if match := _ARXIV_VERSION.match(text):
        text = match[1]
    return text


def load(root: Path | None = None) -> Catalog:
    """Return the catalog in ``root`` (by default the one beside this file), checked whole.

    Raises CatalogError with every problem of its data, and FileNotFoundError when ``root`` is no folder.
    """
    from survey import cache

    root = ROOT if root is None else Path(root).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"root must be the folder of a catalog, {str(root)!r} is none")
    key = cache.fingerprint(root)
    if root in _loaded and _loaded[root][0] == key:
        return _loaded[root][1]
    state = cache.read(root, key)
    catalog = _read(root, key) if state is None else _from_state(state, root)
    _loaded.clear()
    _loaded[root] = key, catalog
    return catalog


_loaded: dict[Path, tuple[str, Catalog]] = {}
"""The catalog that was loaded last, with its fingerprint: it cannot change, and its index is built once."""


def _read(root: Path, key: str) -> Catalog:
    from survey import cache
    from survey.validate import read

    catalog, problems = read(root)
    if problems:
        raise CatalogError(problems)
    cache.write(root, key, _to_state(catalog))
    return catalog


_STORED = tuple(item.name for item in fields(Work))
_TUPLES = tuple(item.name for item in fields(Work) if str(item.type).startswith("tuple"))


def _to_state(catalog: Catalog) -> dict:
    return {
        "works": [[getattr(work, name) for name in _STORED] for work in catalog.works],
        "sections": [[s.number, s.slug, s.title, s.parent, s.chapters] for s in catalog.sections],
        "facets": catalog.facets,
    }


def _from_state(state: dict, root: Path) -> Catalog:
    works = []
    for row in state["works"]:
        values = dict(zip(_STORED, row, strict=True))
        for name in _TUPLES:
            values[name] = tuple(values[name])
        values["fidelity"] = {part: tuple(lines) for part, lines in values["fidelity"].items()}
        works.append(Work(**values))
    sections = (Section(*row[:4], tuple(row[4])) for row in state["sections"])
    return Catalog(tuple(works), tuple(sections), state["facets"], root)
