"""All works by section: the one page that links every card."""

from __future__ import annotations

from survey.catalog import Section, Work
from survey.pages.book import Book
from survey.pages.markdown import escape, link, page
from survey.pages.names import first_author, section_name


def works_page(book: Book) -> str:
    """Return the page of works by section; a work stands in every section that lists it."""
    roots = book.children(None)
    blocks = [block for root in roots for block in _section(book, root, 2)]
    intro = (
        f"{len(book.catalog)} works, each with a card: facts, links, citation, code. Numbers that begin with "
        "ntp are sections of the second survey, on multimodal next-token prediction."
    )
    return page("(works)=", "# Works by section", intro, *blocks)


def _section(book: Book, section: Section, level: int) -> list[str]:
    blocks = [f"(section-{section.slug})=", f"{'#' * level} {escape(section_name(section))}"]
    page_path = book.out / "works.md"
    chapters = [shown for name in section.chapters if (shown := book.chapter_link(name, page_path))]
    if chapters:
        blocks.append("Explained in " + ", ".join(chapters) + ".")
    members = book.members[section.number]
    if members:
        blocks.append("\n".join(_line(work) for work in members))
    below = book.children(section.number)
    if not members and not below:
        blocks.append("No works of its own: the chapters of the book take this section up.")
    for child in below:
        blocks += _section(book, child, level + 1)
    return blocks


def _line(work: Work) -> str:
    """Return one work as an item of a list."""
    venue = f", *{escape(work.venue)}*" if work.venue else ""
    badge = " {bdg-success}`implemented`" if work.implementation else ""
    facts = f"{escape(work.title)}. {escape(first_author(work))}{venue}, {work.year}."
    return f"- {link(work.name, f'works/{work.id}.md')}: {facts}{badge}"
