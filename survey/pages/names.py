"""What works and sections are called on the pages, and how a page links to them."""

from __future__ import annotations

from survey.catalog import Section, Work
from survey.pages.markdown import link


def section_name(section: Section) -> str:
    """Return number and title, as a reader would say them; some sections have a word for a number."""
    return f"{section.number} {section.title}" if section.number[-1].isdigit() else section.title


def section_link(section: Section) -> str:
    """Return a link to a section's place among the works by section."""
    return link(section_name(section), f"#section-{section.slug}")


def all_authors(work: Work) -> str:
    """Return the authors in one line; BibTeX's "and others" is spoken "et al."."""
    return ", ".join("et al." if name == "others" else name for name in work.authors)


def first_author(work: Work) -> str:
    """Return the first author, "et al." standing for the rest."""
    return " ".join([*work.authors[:1], *(["et al."] if len(work.authors) > 1 else [])])
