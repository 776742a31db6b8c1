"""The catalog in other programs' formats. Every function takes works and returns text; order is kept.

``json`` is the stable face: a list of objects with every field of a work but its BibTeX entry, absent strings
as null and absent lists empty. In ``csv``, lists are joined by "; ", mappings are JSON, and a cell that a
spreadsheet would take for a formula (it begins with = + - @ or a tab) gets a "'" in front.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence

from survey.catalog import FIELDS, Work

FIELDS_EXPORTED = tuple(name for name in FIELDS if name != "bibtex")


def as_object(work: Work, fields: Iterable[str] = FIELDS_EXPORTED) -> dict:
    """Return a work as what JSON can hold, with ``fields`` in their order."""
    return {name: getattr(work, name) for name in fields}


def to_json(works: Iterable[Work], fields: Sequence[str] = FIELDS_EXPORTED) -> str:
    """Return a JSON list of objects."""
    return json.dumps([as_object(work, fields) for work in works], ensure_ascii=False, indent=2) + "\n"


def to_csv(works: Iterable[Work], fields: Sequence[str] = FIELDS_EXPORTED) -> str:
    """Return comma-separated values (RFC 4180 quoting) under a row of field names."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_cell(getattr(work, name)) for name in fields] for work in works)
    return stream.getvalue()


def as_text(value: object) -> str:
    """Return a field's value as one string: lists joined by "; ", mappings as JSON, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return "; ".join(value) if isinstance(value, tuple) else str(value)


def _cell(value: object) -> str:
    text = as_text(value).replace("\r\n", "\n").replace("\r", "\n")  # the writer would leave these bare
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def to_bibtex(works: Iterable[Work]) -> str:
    """Return the BibTeX entries as papers.bib has them, a paper that brings two works once."""
    return "\n\n".join(dict.fromkeys(work.bibtex for work in works)) + "\n"


_CSL_TYPES = {
    "article": "article-journal",
    "inproceedings": "paper-conference",
    "incollection": "chapter",
    "book": "book",
    "phdthesis": "thesis",
    "mastersthesis": "thesis",
    "techreport": "report",
}


def as_csl(works: Iterable[Work]) -> list[dict]:
    """Return works as CSL-JSON items (Zotero, pandoc, citation.js), one for each paper."""
    from survey.bibtex import references

    works = list({work.key: work for work in works}.values())
    entries = references(to_bibtex(works))
    items = []
    for work in works:
        entry = entries[work.key]
        fields = entry.fields
        item = {
            "id": work.key,
            "type": _CSL_TYPES.get(entry.type, "article"),
            "title": work.title,
            "author": [_csl_name(name) for name in entry.names],
            "issued": {"date-parts": [[work.year]]},
            "container-title": work.venue,
            "volume": fields.get("volume"),
            "issue": fields.get("number"),
            "page": fields.get("pages", "").replace("--", "-"),
            "publisher": fields.get("publisher"),
            "DOI": work.doi,
            "URL": work.url,
            "archive": "arXiv" if work.arxiv else None,
            "archive_location": work.arxiv,
        }
        items.append({key: value for key, value in item.items() if value})
    return items


def _csl_name(name) -> dict[str, str]:
    if not name.given:
        return {"literal": str(name)}
    parts = {"family": name.family, "given": name.given}
    parts |= {"non-dropping-particle": name.particle} if name.particle else {}
    return parts | ({"suffix": name.suffix} if name.suffix else {})


def to_csl_json(works: Iterable[Work]) -> str:
    """Return a CSL-JSON list."""
    return json.dumps(as_csl(works), ensure_ascii=False, indent=2) + "\n"


def to_apa(works: Iterable[Work]) -> str:
    """Return one reference a line in the style of the American Psychological Association, as plain text."""
    return "".join(_apa(item) + "\n" for item in as_csl(works))


def _apa(item: dict) -> str:
    names = [_apa_name(name) for name in item.get("author", [])]
    if len(names) > 20:
        names = [*names[:19], f". . . {names[-1]}"]
        authors = ", ".join(names)
    else:
        authors = ", ".join(names[:-1]) + (", & " if len(names) > 1 else "") + "".join(names[-1:])
    title = item["title"] + ("" if item["title"].endswith(("?", "!", ".")) else ".")
    source = item.get("container-title", "")
    if source and item.get("volume"):
        source += f", {item['volume']}" + (f"({item['issue']})" if item.get("issue") else "")
    if source and item.get("page"):
        source += f", {item['page'].replace('-', '–')}"
    link = f"https://doi.org/{item['DOI']}" if item.get("DOI") else item.get("URL", "")
    year = item["issued"]["date-parts"][0][0]
    return " ".join(part for part in (authors, f"({year}).", title, source and f"{source}.", link) if part)


def _apa_name(name: dict[str, str]) -> str:
    if "literal" in name:
        return name["literal"]
    initials = " ".join(
        "-".join(f"{part[0]}." for part in word.split("-") if part) for word in name["given"].split()
    )
    family = " ".join(filter(None, (name.get("non-dropping-particle"), name["family"])))
    return ", ".join(filter(None, (family, initials, name.get("suffix"))))


CITATIONS: dict[str, Callable[[Iterable[Work]], str]] = {
    "bibtex": to_bibtex,
    "apa": to_apa,
    "csl-json": to_csl_json,
}
"""Formats of ``cite``."""

FORMATS: dict[str, Callable[[Iterable[Work]], str]] = {
    "json": to_json,
    "csv": to_csv,
    "bibtex": to_bibtex,
    "csl-json": to_csl_json,
}
"""Text formats of ``export``; SQLite, which is not text, is in ``survey.database``."""
