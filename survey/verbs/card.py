"""One work as text for a terminal."""

from __future__ import annotations

from survey.catalog import Catalog, Work

_LISTS = {"techniques": "Techniques", "modalities": "Modalities", "tasks": "Tasks", "llm": "Backbones"}
_PARTS = {"kept": "Kept", "simplified": "Simplified", "left_out": "Left out"}


def card(catalog: Catalog, work: Work) -> str:
    """Return everything that the catalog knows of a work, one fact a line, its BibTeX entry last."""
    titles = {section.number: section.title for section in catalog.sections}
    facts = [
        ("Published", f"{work.venue}, {work.year}" if work.venue else str(work.year)),
        ("Ids", ", ".join(filter(None, [work.id, *work.aliases, work.key]))),
        ("arXiv", work.arxiv),
        ("DOI", work.doi),
        ("Paper", work.url),
        ("Code", work.code),
        ("Kind", work.kind),
        *(("Section", f"{number} {titles[number]}") for number in work.sections),
        *((label, ", ".join(getattr(work, name))) for name, label in _LISTS.items()),
        ("Builds on", ", ".join(work.builds_on)),
        ("Basis of", ", ".join(other.id for other in catalog if work.id in other.builds_on)),
        ("Status", work.status),
        ("Class", work.implementation),
        ("Chapter", work.chapter),
        ("Claim", work.claim),
        ("Evidence", work.evidence),
        *((label, line) for part, label in _PARTS.items() for line in work.fidelity.get(part, ())),
        ("Note", work.note),
        *((f"Seen: {fact}", where) for fact, where in work.provenance.items()),
    ]
    lines = [work.name, work.title, ", ".join(work.authors), ""]
    for label, text in facts:
        if text:
            first, *more = text.splitlines()
            lines += [f"{label:<14}{first}", *(" " * 14 + line for line in more)]
    return "\n".join([*lines, "", work.bibtex])
