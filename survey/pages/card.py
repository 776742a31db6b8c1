"""The card of one work: its facts, its place, its code and what is claimed and measured of it."""

from __future__ import annotations

from pathlib import Path

from survey.catalog import Work
from survey.locate import locate
from survey.pages.book import Book
from survey.pages.markdown import block, code, directive, escape, link, page, table
from survey.pages.names import all_authors, section_link
from survey.related import related

RELATED = 6
FIDELITY = {"kept": "Kept", "simplified": "Simplified", "left_out": "Left out"}
LISTS = {"techniques": "Techniques", "modalities": "Modalities", "tasks": "Tasks", "llm": "Language models"}


def path_of(book: Book, work: Work) -> Path:
    """Return where the card of ``work`` is written."""
    return book.out / "works" / f"{work.id}.md"


def card(book: Book, work: Work) -> str:
    """Return the card of ``work`` as MyST Markdown."""
    return page(
        f"(work-{work.id})=",
        f"# {escape(work.name)}",
        f"**{escape(work.title)}**",
        _byline(work),
        _links(work),
        _facts(book, work),
        f"{{bdg-warning-line}}`note` {escape(work.note)}" if work.note else "",
        _code(book, work),
        _claim(book, work),
        _fidelity(work),
        _measured(book, work),
        _neighbours(book, work),
        "## BibTeX",
        block(work.bibtex),
        _provenance(work),
    )


def _byline(work: Work) -> str:
    where = f"*{escape(work.venue)}*, {work.year}" if work.venue else str(work.year)
    return f"{escape(all_authors(work))}. {where}."


def _links(work: Work) -> str:
    found = []
    if work.arxiv:
        found.append(link(f"arXiv {work.arxiv}", f"https://arxiv.org/abs/{work.arxiv}"))
    if work.doi:
        found.append(link(f"DOI {work.doi}", f"https://doi.org/{work.doi}"))
    made = {f"https://arxiv.org/abs/{work.arxiv}", f"https://doi.org/{work.doi}"}
    if work.url and work.url not in made:
        found.append(link("Paper", work.url))
    if work.code:
        found.append(link("Official code", work.code))
    return " · ".join([*found, f"{{cite:p}}`{work.key}`"])


def _facts(book: Book, work: Work) -> str:
    kind = book.catalog.facets["kind"][work.kind].rstrip(".")
    badge = "bdg-success" if work.implementation else "bdg-light"
    rows = [("Status", f"{{{badge}}}`{work.status}`"), ("Kind", f"{escape(work.kind)} ({escape(kind)})")]
    rows.append(("Sections", ", ".join(section_link(book.sections[number]) for number in work.sections)))
    lists = {name: getattr(work, key) for key, name in LISTS.items()}
    rows += [(name, escape(", ".join(values))) for name, values in lists.items() if values]
    names = ", ".join(code(name) for name in (work.id, *work.aliases))
    return "\n".join(f"- **{name}:** {value}" for name, value in [*rows, ("Id", names)])


def _code(book: Book, work: Work) -> str:
    if not work.implementation:
        return ""
    module, _, name = work.implementation.partition(":")
    found = locate(book.repository, work.implementation)
    parts = ["## Code", block(f"from {module} import {name}", "python")]
    if found:
        file = found.path.relative_to(book.repository)
        address = book.online(file, found.line)
        where = f"{file.as_posix()}, line {found.line}"
        parts.append(f"Source: {link(where, address) if address else escape(where)}")
        options = {"pyobject": name, "lineno-match": ""}
        included = book.relative(found.path, path_of(book, work))
        source = directive("literalinclude", "", included, **options)
        parts.append(directive("dropdown", source, f"The class {escape(name)}"))
    chapter = work.chapter and book.chapter_link(work.chapter, path_of(book, work))
    parts.append(f"Explained and run in {chapter}." if chapter else "")
    return "\n\n".join(part for part in parts if part)


def _claim(book: Book, work: Work) -> str:
    if not work.claim:
        return ""
    evidence = ""
    if work.evidence:
        address = book.online(Path(work.evidence.partition("::")[0]))
        evidence = f"Evidence: {link(work.evidence, address) if address else code(work.evidence)}"
    return "\n\n".join(part for part in ("## Claim", escape(work.claim), evidence) if part)


def _fidelity(work: Work) -> str:
    found = [(name, work.fidelity[key]) for key, name in FIDELITY.items() if work.fidelity.get(key)]
    lists = [f"**{name}**\n\n" + "\n".join(f"- {escape(line)}" for line in lines) for name, lines in found]
    return "\n\n".join(["## Fidelity", *lists]) if lists else ""


def _measured(book: Book, work: Work) -> str:
    found = book.results.get(work.id)
    if not found:
        return ""
    rows = []
    for item in found:
        low, high = f"{min(item.values):.4g}", f"{max(item.values):.4g}"
        spread = low if low == high else f"{low} to {high}"
        numbers = (f"{item.mean:.4g}", spread, str(len(item.values)), item.steps)
        texts = (item.data, item.bits, item.metric, *numbers)
        rows.append([escape(text) for text in texts])
    header = ("Data", "Bits", "Metric", "Mean", "Range over seeds", "Seeds", "Steps")
    return "## Measured here\n\n" + table(header, rows)


def _neighbours(book: Book, work: Work) -> str:
    groups = {
        "Builds on": [book.catalog[name] for name in work.builds_on],
        "Built on by": book.builders.get(work.id, []),
    }
    shown = {other.id for others in groups.values() for other in others}
    near = related(book.catalog, work, RELATED + len(shown))
    groups["Related works"] = [item.work for item in near if item.work.id not in shown][:RELATED]
    lines = [
        f"- **{name}:** " + ", ".join(link(other.name, f"{other.id}.md") for other in others)
        for name, others in groups.items()
        if others
    ]
    return "\n\n".join(["## Near it", "\n".join(lines)]) if lines else ""


def _provenance(work: Work) -> str:
    if not work.provenance:
        return ""
    lines = "\n".join(f"- {escape(name)}: {escape(source)}" for name, source in work.provenance.items())
    return directive("dropdown", lines, "Where these facts were seen")
