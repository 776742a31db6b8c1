"""Reading BibTeX: entries as Unicode text with the line of every field, and names in their parts."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from survey.latex import decode, mistake
from survey.problems import Problem
from survey.sources import read_text

VENUE_FIELDS = ("journal", "booktitle", "howpublished", "publisher", "school")
VERBATIM_FIELDS = ("url", "doi", "eprint")
LATEX_FIELDS = ("author", "title", *VENUE_FIELDS)


class Name(NamedTuple):
    """A person in the parts that citation styles ask for; a group has only ``family``."""

    given: str
    particle: str
    family: str
    suffix: str

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


@dataclass
class Reference:
    """A BibTeX entry: its fields as Unicode text, the line of each ("": the entry's own), its source."""

    key: str
    type: str
    fields: dict[str, str]
    lines: dict[str, int]
    raw: str
    names: tuple[Name, ...]

    @property
    def is_arxiv(self) -> bool:
        """Whether ``eprint`` is an arXiv number, which it is unless another archive is named."""
        return "eprint" in self.fields and self.fields.get("archiveprefix", "arXiv").casefold() == "arxiv"

    @property
    def arxiv(self) -> str | None:
        """The arXiv number without its version."""
        return re.sub(r"v\d+$", "", self.fields["eprint"]) if self.is_arxiv else None

    @property
    def url(self) -> str | None:
        """The paper's own address, or the one that follows from its arXiv number or DOI."""
        if "url" in self.fields:
            return self.fields["url"]
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.fields['doi']}" if "doi" in self.fields else None

    @property
    def venue(self) -> str | None:
        """Where it appeared, arXiv where nothing else is named."""
        named = (self.fields[name] for name in VENUE_FIELDS if self.fields.get(name))
        return next(named, "arXiv" if self.is_arxiv else None)


def read_bibtex(path: Path, shown: str) -> tuple[dict[str, Reference], list[Problem]]:
    """Return the entries of a BibTeX file by key, and every block of it that is malformed or repeated."""
    from bibtexparser.model import ImplicitComment

    text, problems = read_text(path, shown)
    if text is None:
        return {}, problems
    library = parse_bibtex(text)
    for block in library.blocks:
        if isinstance(block, ImplicitComment):
            for at, line in enumerate(block.comment.splitlines(), block.start_line + 1):
                if line.strip() and not line.lstrip().startswith("%"):
                    problems.append(
                        Problem(shown, at, f"text outside any BibTeX entry: {line.strip()[:40]!r}")
                    )
        if message := _block_mistake(block):
            problems.append(Problem(shown, block.start_line + 1, message))
        for item in getattr(block, "fields", ()):
            lost = mistake(str(item.value)) if item.key.casefold() in LATEX_FIELDS else None
            if lost:
                problems.append(Problem(shown, item.start_line + 1, f"{item.key} of {block.key!r}: {lost}"))
    return _references(library), problems


def references(text: str) -> dict[str, Reference]:
    """Return the well-formed entries of BibTeX source by key."""
    return _references(parse_bibtex(text))


def _references(library) -> dict[str, Reference]:
    return {entry.key: _reference(entry) for entry in library.entries}


def parse_bibtex(text: str):
    """Return a bibtexparser Library; what it has to say about failed blocks stays in their blocks."""
    import bibtexparser

    logger = logging.getLogger("bibtexparser")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return bibtexparser.parse_string(text)
    finally:
        logger.setLevel(level)


def _block_mistake(block) -> str | None:
    from bibtexparser import model

    match block:
        case model.DuplicateBlockKeyBlock():
            return f"the BibTeX key {block.key!r} is used twice"
        case model.DuplicateFieldKeyBlock():
            names = ", ".join(sorted(block.duplicate_keys))
            return f"a BibTeX entry has fields twice: {names}"
        case model.ParsingFailedBlock():
            near = " ".join(block.raw[:60].split())
            reason = " ".join(str(block.error).split()) or "a comma or brace is missing"
            return f"malformed BibTeX near {near!r}: {reason}"
        case model.String():
            return "@string is not used here: write its text out, so that an entry can be copied alone"
        case model.Entry() if not block.key:
            return "a BibTeX entry without a key"
        case model.Entry():
            for name, enclosing in block.parser_metadata.get("removed_enclosing", {}).items():
                if enclosing == "no-enclosing" and not re.fullmatch(r"\d+|[a-z]{3}", str(block[name])):
                    return f"{name} of {block.key!r} must stand in braces, given {block[name]}"
    return None


def _reference(entry) -> Reference:
    fields = {item.key.casefold(): " ".join(str(item.value).split()) for item in entry.fields}
    names = split_authors(fields.get("author", ""))
    for name in VERBATIM_FIELDS:
        if name in fields:
            fields[name] = re.sub(r"\\([_%#&$~])", r"\1", fields[name])
    lines = {"": entry.start_line + 1}
    lines.update({item.key.casefold(): item.start_line + 1 for item in entry.fields})
    for name in LATEX_FIELDS:
        if name in fields:
            fields[name] = decode(fields[name])
    return Reference(entry.key, entry.entry_type, fields, lines, entry.raw.strip(), names)


def split_authors(text: str) -> tuple[Name, ...]:
    """Return the names in BibTeX's "Last, First and First von Last and {Corporate}", as Unicode."""
    from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names

    names = []
    for source in split_multiple_persons_names(text):
        if source.startswith("{") and source.endswith("}"):
            names.append(Name("", "", decode(source), ""))
            continue
        parts = parse_single_name_into_parts(source, strict=False)
        pieces = (parts.first, parts.von, parts.last, parts.jr)
        names.append(Name(*(decode(" ".join(piece)) for piece in pieces)))
    return tuple(names)
