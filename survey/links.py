"""The catalog's links to everything else: code, tests, chapters, results, saved queries.

Only ``check`` looks at these, never ``survey.load``. It is also the one place where implementations are
imported, in a process of their own (``survey.imports``).

A concrete class under impl/quantizers or impl/tokenizers that keeps a contract has to be the
``implementation`` of some work. One that is only a part says so in its body: ``part_of = "<id>"`` names the
work that it belongs to, ``part_of = "a sentence"`` gives the reason why it belongs to none.
"""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from survey.catalog import Catalog, Work
from survey.chapters import chapters_using, source_folder
from survey.imports import inspect_code
from survey.problems import Problem, one_of
from survey.query import QueryError
from survey.sources import Document, read_text, read_yaml


def check(catalog: Catalog) -> Iterator[Problem]:
    """Yield every broken link of a catalog, each at the line that makes the link."""
    root = catalog.root
    documents = {work.id: _document(root, f"systems/{work.id}.yml") for work in catalog}
    yield from _implementations(catalog, documents)
    for work in catalog:
        yield from _owed(work, documents[work.id])
        yield from _evidence(root.parent, work, documents[work.id])
        yield from _explained(catalog, work, documents[work.id])
    yield from _chapters(catalog)
    yield from _results(catalog)
    yield from _saved_queries(catalog)


def _document(root: Path, name: str) -> Document:
    document, _ = read_yaml(root / name, f"{root.name}/{name}")
    return document or Document(f"{root.name}/{name}", None, {})


def _owed(work: Work, document: Document) -> Iterator[Problem]:
    """An implementation owes a claim, its evidence and what it keeps; nothing else may have evidence."""
    for name in ("claim", "evidence", "fidelity"):
        if work.implementation and not getattr(work, name):
            yield document.problem(f"an implementation owes the key {name!r}", "implementation")
    for name in ("evidence", "fidelity"):
        if not work.implementation and getattr(work, name):
            yield document.problem(f"{name} without an implementation", name)


def _evidence(repository: Path, work: Work, document: Document) -> Iterator[Problem]:
    if not work.evidence:
        return
    name, _, test = work.evidence.partition("::")
    tests = _tests_in(repository / name)
    if tests is None:
        yield document.problem(f"evidence must name a test, there is no readable file {name}", "evidence")
    elif test not in tests:
        legal = [t for t in tests if t.rpartition("::")[2].startswith("test")]
        message = f"evidence must name a test of {name}, {one_of(test, legal)}, given {test!r}"
        yield document.problem(message, "evidence")


@cache
def _parsed(path: Path, text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _tests_in(path: Path) -> list[str] | None:
    """Return a test file's functions and methods (``Class::test``), or None when it cannot be read."""
    text, _ = read_text(path, path.name)
    tree = None if text is None else _parsed(path, text)
    if tree is None:
        return None
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node.name for node in tree.body if isinstance(node, functions)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found += [f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, functions)]
    return found


def _explained(catalog: Catalog, work: Work, document: Document) -> Iterator[Problem]:
    if work.implementation and not work.chapter:
        name = work.implementation.rpartition(":")[2]
        sections = ", ".join(work.sections)
        message = f"no code cell in the chapters of its sections ({sections}) uses {name}"
        yield document.problem(message, "implementation")


def _implementations(catalog: Catalog, documents: dict[str, Document]) -> Iterator[Problem]:
    """Implementations that are no importable class, and classes under a contract that no work links."""
    targets = {work.id: work.implementation for work in catalog if work.implementation}
    found = inspect_code(catalog.root.parent, sorted(set(targets.values())))
    for name, target in targets.items():
        if reason := found.failures.get(target):
            message = f"implementation must name a class that can be imported, {target!r} {reason}"
            yield documents[name].problem(message, "implementation")
    linked = {found.canonical.get(target, target) for target in targets.values()}
    for part in found.classes:
        if (
            part.part_of is None
            and part.target not in linked
            and not _in_some_record(catalog.root, part.target)
        ):
            message = f"{part.target} keeps a contract and is in no catalog file: link it or give it part_of"
            yield Problem(part.file, part.line, message)
        elif part.part_of is not None and " " not in part.part_of and part.part_of not in catalog:
            ids = [work.id for work in catalog]
            message = f"part_of of {part.target} must be a sentence or an id, {one_of(part.part_of, ids)}"
            yield Problem(part.file, part.line, f"{message}, given {part.part_of!r}")
    for file, reason in found.broken_modules:
        yield Problem(file, 1, f"the module cannot be imported: {reason}")


def _in_some_record(root: Path, target: str) -> bool:
    """Whether a record's text names ``target``: one that cannot be read is reported already."""
    wanted = re.compile(rf"{re.escape(target)}\b")
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in root.glob("systems/*.yml"))
    return any(wanted.search(text) for text in texts)


def _chapters(catalog: Catalog) -> Iterator[Problem]:
    """Chapters of sections.yml that have no source or stand outside the table of contents."""
    document = _document(catalog.root, "sections.yml")
    existing = chapters_using(catalog.root)
    contents = _contents(catalog.root.parent / "book" / "_toc.yml")
    source = source_folder(catalog.root).relative_to(catalog.root.parent).as_posix()
    for at, section in enumerate(document.data if isinstance(document.data, list) else []):
        chapters = section.get("chapters") if isinstance(section, dict) else None
        for position, chapter in enumerate(chapters if isinstance(chapters, list) else []):
            if chapter not in existing:
                message = f"chapters must name files of {source}, {one_of(str(chapter), existing)}"
                yield document.problem(f"{message}, given {chapter!r}", at, "chapters", position)
            elif contents is not None and chapter not in contents:
                message = f"the chapter {chapter!r} is not in book/_toc.yml"
                yield document.problem(message, at, "chapters", position)


def _contents(path: Path) -> set[str] | None:
    """Return the stems of all files that a table of contents names, or None where there is none yet."""
    document, _ = read_yaml(path, path.name)
    if document is None:
        return None
    stems, waiting = set(), [document.data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            stems |= {Path(str(value[key])).stem for key in ("file", "root") if key in value}
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return stems


def _results(catalog: Catalog) -> Iterator[Problem]:
    """Rows of results/*.csv that name no work."""
    ids = {work.id for work in catalog}
    for path in sorted((catalog.root / "results").glob("*.csv")):
        shown = f"{catalog.root.name}/results/{path.name}"
        text, problems = read_text(path, shown)
        yield from problems
        if text is None:
            continue
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader, [])
            if "id" not in header:
                yield Problem(shown, 1, "the first row must name the columns, 'id' among them")
                continue
            column = header.index("id")
            for row in reader:
                given = row[column] if column < len(row) else ""
                if given not in ids:
                    message = f"id must name a work, {one_of(given, ids)}, given {given!r}"
                    yield Problem(shown, reader.line_num, message)
        except csv.Error as error:
            yield Problem(shown, reader.line_num, f"malformed CSV: {error}")


def _saved_queries(catalog: Catalog) -> Iterator[Problem]:
    """Saved queries that cannot be understood, that find nothing or that share a name."""
    path = catalog.root / "saved_queries.yml"
    if not path.exists():
        return
    document, problems = read_yaml(path, f"{catalog.root.name}/{path.name}")
    yield from problems
    if document is None:
        return
    if not isinstance(document.data, list):
        yield document.problem("must be a list of saved queries")
        return
    names: set[str] = set()
    for at, saved in enumerate(document.data):
        keys = set(saved) if isinstance(saved, dict) else set()
        if keys != {"name", "query", "about"} or not all(isinstance(v, str) for v in saved.values()):
            yield document.problem("a saved query has the keys name, query and about, each of them text", at)
            continue
        if saved["name"] in names:
            yield document.problem(f"the name {saved['name']!r} is used twice", at, "name")
        names.add(saved["name"])
        try:
            catalog.query(saved["query"])
        except QueryError as error:
            hint = f" (the nearest is {error.suggestion!r})" if error.suggestion else ""
            yield document.problem(f"query: {error.message}{hint}", at, "query")
