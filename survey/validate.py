"""Is the catalog sound? Every problem at once, each with file, line and the nearest legal value.

``read`` checks what the catalog says about itself and is what ``survey.load`` uses; ``check`` adds the links
to code, tests, chapters and results (``survey.links``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from survey import crosschecks, links
from survey.bibtex import Reference, read_bibtex
from survey.catalog import LIST_FACETS, Catalog, Section, Work
from survey.chapters import chapters_using
from survey.problems import Problem, one_of
from survey.schema import ID_FORM, Facets, Node, Record, legal_keys, sentence
from survey.sources import Document, read_yaml


def check(root: Path) -> list[Problem]:
    """Return every problem of the catalog in ``root`` and of its links, ordered by file and line."""
    catalog, problems = read(root)
    return sorted({*problems, *links.check(catalog)})


def read(root: Path) -> tuple[Catalog, list[Problem]]:
    """Return the catalog in ``root``, without the works too broken to tell, and each problem of its data."""
    reading = _Reading(root)
    records, references, problems = reading.records, reading.references, reading.problems
    bibliography = reading.shown("papers.bib")
    problems += crosschecks.legal_values(records, reading.facets, reading.sections)
    problems += crosschecks.names(records)
    problems += crosschecks.citations(records, references, bibliography, set(reading.unreadable.values()))
    problems += crosschecks.entries(references, bibliography)
    problems += crosschecks.building(records, reading.unreadable)
    used_in = chapters_using(root)
    works = [
        _work(name, record, references[record.cite], reading.sections, used_in)
        for name, (_, record) in records.items()
        if record.cite in references and references[record.cite].fields.get("year", "").isdecimal()
    ]
    works.sort(key=lambda work: (work.year, work.id))
    return Catalog(tuple(works), reading.sections, reading.facets, root), sorted(set(problems))


class _Reading:
    """One pass over the files of a catalog, collecting problems on the way."""

    def __init__(self, root: Path):
        self.root = root
        self.problems: list[Problem] = []
        self.unreadable: dict[str, str] = {}  # ids of records with problems, and the keys that they cite
        self.facets = self._facets()
        self.sections = tuple(self._sections())
        self.references, problems = read_bibtex(root / "papers.bib", self.shown("papers.bib"))
        self.problems += problems
        self.records = dict(self._records())

    def shown(self, name: str) -> str:
        """Return a file of the catalog as problems name it: relative to the repository."""
        return f"{self.root.name}/{name}"

    def _yaml(self, name: str) -> Document | None:
        document, problems = read_yaml(self.root / name, self.shown(name))
        self.problems += problems
        return document

    def _model(self, model, document: Document, data, *path):
        """Return ``data`` as ``model``, or None after noting each thing that is wrong with it."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors():
                message = sentence(item, legal_keys(model, item["loc"]))
                self.problems.append(document.problem(message, *path, *item["loc"]))
            return None

    def _facets(self) -> dict[str, dict[str, str]]:
        document = self._yaml("facets.yml")
        model = self._model(Facets, document, document.data) if document else None
        return model.model_dump() if model else {}

    def _sections(self) -> Iterator[Section]:
        document = self._yaml("sections.yml")
        if document is None:
            return
        if not isinstance(document.data, list):
            self.problems.append(document.problem("the file must be a list of sections"))
            return
        seen: dict[str, set[str]] = {"number": set(), "slug": set()}
        for at, data in enumerate(document.data):
            node = self._model(Node, document, data, at)
            if node is None:
                continue
            if node.parent is not None and node.parent not in seen["number"]:
                message = f"parent must be a section above it, {one_of(node.parent, sorted(seen['number']))}"
                self.problems.append(document.problem(f"{message}, given {node.parent!r}", at, "parent"))
            for name, values in seen.items():
                value = getattr(node, name)
                if value in values:
                    self.problems.append(document.problem(f"the {name} {value!r} is used twice", at, name))
                values.add(value)
            yield Section(node.number, node.slug, node.title, node.parent, tuple(node.chapters))

    def _records(self) -> Iterator[tuple[str, tuple[Document, Record]]]:
        folder = self.root / "systems"
        if not folder.is_dir():
            self.problems.append(Problem(self.shown("systems"), 1, "the folder is missing"))
            return
        for path in sorted(folder.iterdir()):
            name = f"systems/{path.name}"
            if path.name.startswith("."):
                continue
            if path.suffix != ".yml" or not ID_FORM.fullmatch(path.stem):
                message = "must be named <id>.yml, the id in lower-case letters, digits and single hyphens"
                self.problems.append(Problem(self.shown(name), 1, message))
                continue
            document = self._yaml(name)
            record = self._model(Record, document, document.data) if document else None
            if record:
                yield path.stem, (document, record)
            else:
                cite = re.search(r"^cite:[ \t]*['\"]?([^\s'\"#]+)", _text(path), re.MULTILINE)
                self.unreadable[path.stem] = cite[1] if cite else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _work(
    name: str,
    record: Record,
    reference: Reference,
    sections: tuple[Section, ...],
    used_in: dict[str, set[str]],
) -> Work:
    own = [chapter for s in sections if s.number in record.sections for chapter in s.chapters]
    target = record.implementation.rpartition(":")[2] if record.implementation else None
    fidelity = record.fidelity.model_dump() if record.fidelity else {}
    lists = ("sections", *LIST_FACETS, "builds_on", "aliases")
    single = ("name", "kind", "code", "implementation", "claim", "evidence", "note")
    return Work(
        id=name,
        key=reference.key,
        title=reference.fields.get("title", ""),
        authors=tuple(str(name) for name in reference.names),
        year=int(reference.fields["year"]),
        venue=reference.venue,
        arxiv=reference.arxiv,
        doi=reference.fields.get("doi"),
        url=reference.url,
        bibtex=reference.raw,
        chapter=next((chapter for chapter in own if target in used_in.get(chapter, ())), None),
        fidelity={part: tuple(lines) for part, lines in fidelity.items()},
        provenance=dict(record.provenance),
        **{key: tuple(getattr(record, key)) for key in lists},
        **{key: value.strip() if (value := getattr(record, key)) else None for key in single},
    )
