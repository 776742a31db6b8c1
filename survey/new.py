"""Adding a work: one BibTeX entry at its sorted place and one record, or neither."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from survey.bibtex import parse_bibtex, references, split_authors
from survey.files import write_atomically
from survey.latex import encode
from survey.problems import CatalogError, Problem
from survey.schema import ID_FORM
from survey.text import words
from survey.validate import read

_SMALL = {
    "a",
    "an",
    "and",
    "by",
    "for",
    "from",
    "in",
    "is",
    "of",
    "on",
    "the",
    "to",
    "towards",
    "via",
    "with",
}


def new_work(root: Path, name: str, record: Mapping[str, object], entry: Mapping[str, str]) -> list[Path]:
    """Add the work ``name`` to the catalog in ``root`` and return the files written.

    ``record`` holds what systems/<id>.yml says, except ``cite``; ``entry`` the BibTeX fields as plain text,
    with authors joined by " and " (a group in braces). The BibTeX key is made of the first author's family
    name, the year and the title's first telling word.

    Raises ValueError for an id that is malformed or taken and CatalogError for whatever else would leave the
    catalog unsound; nothing is written then.
    """
    if not ID_FORM.fullmatch(name):
        raise ValueError(f"id must be lower-case letters, digits and single hyphens, given {name!r}")
    catalog, before = read(root)
    if name in catalog:
        raise ValueError(f"the id {name!r} is taken: it names {catalog[name].title!r}")
    if (root / "systems" / f"{name}.yml").exists():
        raise ValueError(f"the id {name!r} is taken by a record that cannot be read")
    bibliography = root / "papers.bib"
    text = bibliography.read_text(encoding="utf-8")
    key = bibtex_key(entry, references(text))
    files = {
        Path("papers.bib"): insert_sorted(text, key, bibtex_entry(key, entry)),
        Path("systems") / f"{name}.yml": _record_text({"cite": key, **record}),
    }
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / root.name
        shutil.copytree(root, trial, ignore=lambda _, names: [n for n in names if not n.endswith(_SOURCES)])
        for path, content in files.items():
            write_atomically(trial / path, content.encode("utf-8"))
        _, after = read(trial)
    known = {(problem.file, problem.message) for problem in before}  # their lines may have moved
    if wrong := [problem for problem in after if (problem.file, problem.message) not in known]:
        raise CatalogError(wrong)
    for path, content in files.items():
        write_atomically(root / path, content.encode("utf-8"))
    return [root / path for path in files]


_SOURCES = ("systems", ".yml", ".bib")


def bibtex_key(entry: Mapping[str, str], taken: Mapping[str, object]) -> str:
    """Return a key such as ``oord2017neural``, with a letter after it where it is taken."""
    authors = split_authors(encode_names(entry.get("author", "")))
    family = "".join(words(authors[0].family)) if authors else "anonymous"
    telling = [word for word in words(entry.get("title", "")) if word not in _SMALL]
    key = f"{family}{entry.get('year', '')}{telling[0] if telling else ''}"
    key = re.sub(r"[^a-z0-9]", "", key.casefold())
    return next(
        k for k in (key, *(f"{key}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")) if k not in taken
    )


def encode_names(names: str) -> str:
    """Return names joined by " and " as LaTeX; braces around a whole name keep it together."""
    encoded = []
    for name in re.split(r"\s+and\s+", names.strip()):
        group = name.startswith("{") and name.endswith("}")
        encoded.append(f"{{{encode(name[1:-1])}}}" if group else encode(name))
    return " and ".join(encoded)


def bibtex_entry(key: str, entry: Mapping[str, str]) -> str:
    """Return a BibTeX entry; its type follows from its fields: an article, a conference paper or neither."""
    kind = "article" if entry.get("journal") else "inproceedings" if entry.get("booktitle") else "misc"
    lines = [f"@{kind}{{{key},"]
    for name, value in entry.items():
        if not value:
            continue
        if name == "author":
            value = encode_names(value)
        elif name == "title":
            value = _protect_capitals(value)
        elif name in ("journal", "booktitle"):
            value = encode(value)
        lines.append(f"  {name} = {{{value}}},")
        if name == "eprint":
            lines.append("  archivePrefix = {arXiv},")
    return "\n".join([*lines, "}"])


def _protect_capitals(title: str) -> str:
    """Put words with a capital inside, such as VQ-VAE, in braces: styles lower the capitals of the others."""
    return " ".join(
        f"{{{encode(word)}}}" if any(c.isupper() for c in word[1:]) else encode(word)
        for word in title.split()
    )


def insert_sorted(text: str, key: str, entry: str) -> str:
    """Return BibTeX source with ``entry`` before the first entry whose key comes after ``key``."""
    lines = text.splitlines(keepends=True)
    for other in parse_bibtex(text).entries:
        if other.key > key:
            return "".join([*lines[: other.start_line], entry, "\n\n", *lines[other.start_line :]])
    return f"{text.rstrip()}\n\n{entry}\n".lstrip()


def _record_text(record: Mapping[str, object]) -> str:
    given = {name: value for name, value in record.items() if value}
    ordered = {"name": given.pop("name", ""), "cite": given.pop("cite"), **given}
    return "".join(f"{key}: {_flow(value)}\n" for key, value in ordered.items())


def _flow(value: object) -> str:
    """Return a value as YAML on one line, lists in brackets as the other records have them."""
    import yaml

    # inside a list, a lone string is not followed by the end-of-document marker
    return yaml.safe_dump([value], allow_unicode=True, default_flow_style=True, width=float("inf")).strip()[
        1:-1
    ]


def by_option(problems: Sequence[Problem], name: str) -> str:
    """Return problems as lines, without the place for those of the record that was not written."""
    own = f"/systems/{name}.yml"
    return "\n".join(p.message if p.file.endswith(own) else str(p) for p in problems)
