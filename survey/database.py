"""The catalog as an SQLite database, with full-text search; and one way to ask it that cannot change it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from survey.catalog import LIST_FACETS, Catalog
from survey.files import write_atomically

SCHEMA = """
CREATE TABLE works (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL,
    year INTEGER NOT NULL, venue TEXT, arxiv TEXT, doi TEXT, url TEXT, kind TEXT NOT NULL, code TEXT,
    implementation TEXT,
    status TEXT NOT NULL, chapter TEXT, claim TEXT, evidence TEXT, fidelity TEXT, note TEXT, provenance TEXT,
    bibtex TEXT NOT NULL
);
CREATE TABLE authors (work TEXT NOT NULL REFERENCES works, position INTEGER, name TEXT NOT NULL);
CREATE TABLE sections (
    number TEXT PRIMARY KEY, position INTEGER, slug TEXT UNIQUE, title TEXT NOT NULL,
    parent TEXT REFERENCES sections
);
CREATE TABLE section_chapters (
    section TEXT NOT NULL REFERENCES sections, position INTEGER, chapter TEXT NOT NULL
);
CREATE TABLE work_sections (work TEXT NOT NULL REFERENCES works, section TEXT NOT NULL REFERENCES sections);
CREATE TABLE facets (facet TEXT NOT NULL, value TEXT NOT NULL, meaning TEXT, PRIMARY KEY (facet, value));
CREATE TABLE work_facets (work TEXT NOT NULL REFERENCES works, facet TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE builds_on (work TEXT NOT NULL REFERENCES works, other TEXT NOT NULL REFERENCES works);
CREATE TABLE aliases (alias TEXT PRIMARY KEY, work TEXT NOT NULL REFERENCES works);
CREATE VIRTUAL TABLE works_text USING fts5 (
    id UNINDEXED, name, title, authors, venue, claim, note, tokenize = "unicode61 remove_diacritics 2"
);
"""

_COLUMNS = (
    *("id", "key", "name", "title", "year", "venue", "arxiv", "doi", "url", "kind", "code", "implementation"),
    *("status", "chapter", "claim", "evidence", "fidelity", "note", "provenance", "bibtex"),
)


def build(catalog: Catalog) -> sqlite3.Connection:
    """Return the catalog as a database in memory."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)

    def insert(table: str, rows) -> None:
        rows = list(rows)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    insert("works", ([_column(getattr(work, name)) for name in _COLUMNS] for work in catalog))
    insert("authors", ((w.id, at, name) for w in catalog for at, name in enumerate(w.authors, 1)))
    sections = enumerate(catalog.sections, 1)
    insert("sections", ((s.number, at, s.slug, s.title, s.parent) for at, s in sections))
    chapters = ((s.number, at, c) for s in catalog.sections for at, c in enumerate(s.chapters, 1))
    insert("section_chapters", chapters)
    insert("work_sections", ((work.id, number) for work in catalog for number in work.sections))
    legal = ((facet, v, meaning) for facet, values in catalog.facets.items() for v, meaning in values.items())
    insert("facets", legal)
    insert("work_facets", ((work.id, "kind", work.kind) for work in catalog))
    for facet in LIST_FACETS:
        insert("work_facets", ((work.id, facet, v) for work in catalog for v in getattr(work, facet)))
    insert("builds_on", ((work.id, other) for work in catalog for other in work.builds_on))
    insert("aliases", ((alias, work.id) for work in catalog for alias in work.aliases))
    texts = ((w.id, w.name, w.title, "; ".join(w.authors), w.venue, w.claim, w.note) for w in catalog)
    insert("works_text", texts)
    connection.commit()
    return connection


def _column(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def write(catalog: Catalog, path: Path) -> None:
    """Write the catalog to an SQLite file, replacing it in one step. Raises OSError."""
    connection = build(catalog)
    try:
        write_atomically(path, connection.serialize())
    finally:
        connection.close()


_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def _authorize(action: int, first: str | None, *_: str | None) -> int:
    # full-text search asks for the data version by itself
    allowed = action in _ALLOWED or (action == sqlite3.SQLITE_PRAGMA and first == "data_version")
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def select(catalog: Catalog, statement: str) -> tuple[list[str], list[tuple]]:
    """Return the columns and rows of one SELECT over the catalog.

    Raises sqlite3.Error for a statement that SQLite does not understand and for anything but reading.
    """
    connection = build(catalog)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorize)
        cursor = connection.execute(statement)
        return [column[0] for column in cursor.description or ()], cursor.fetchall()
    finally:
        connection.close()
