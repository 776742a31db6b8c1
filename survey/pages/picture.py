"""The taxonomy as a picture: an SVG drawn from text alone, the same for the same catalog."""

from __future__ import annotations

from xml.sax.saxutils import escape

from survey.catalog import STATUSES, Section, Work
from survey.pages.book import Book
from survey.pages.names import section_name

WIDTH, ROW, MARGIN, INDENT = 760, 21, 16, 16
LEFT, BAR = 450, 220
INK, MUTED, DONE, REST, PAPER = "#1b1b1b", "#5a5a5a", "#0072b2", "#bcd6e8", "#ffffff"


def taxonomy_picture(book: Book) -> str:
    """Return the tree of sections as SVG: one row a section, a bar for its works, dark what is implemented.

    The paper is opaque, so that it reads the same on a dark page.
    """
    rows = [row for root in book.children(None) for row in _tree(book, root, 0)]
    below = [len(works) for _, depth, works in rows if depth]
    scale = BAR / max(below, default=1)
    height = (len(rows) + 1) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(alternative(book))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
    ]
    for at, (section, depth, works) in enumerate(rows):
        parts += _row(section, depth, works, MARGIN + (at + 1) * ROW - 6, scale)
    for at, (status, fill) in enumerate(zip(STATUSES, (DONE, REST), strict=True)):
        x, y = LEFT + at * 120, height - MARGIN - 12
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{fill}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 11}" fill="{INK}">{status}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def alternative(book: Book) -> str:
    """Return the picture in words."""
    counts = "; ".join(f"{section_name(root)}, {len(book.within(root))}" for root in book.children(None))
    done = sum(bool(work.implementation) for work in book.catalog)
    return (
        f"The sections of both surveys as a tree, with a bar for the number of works in each: {counts}. "
        f"Of {len(book.catalog)} works in all, {done} are implemented."
    )


def _tree(book: Book, section: Section, depth: int) -> list[tuple[Section, int, list[Work]]]:
    """Return a section and all below it, each with its depth and its works."""
    children = book.children(section.number)
    below = [row for child in children for row in _tree(book, child, depth + 1)]
    return [(section, depth, book.within(section)), *below]


def _row(section: Section, depth: int, works: list[Work], y: int, scale: float) -> list[str]:
    done = sum(bool(work.implementation) for work in works)
    count = f"{done} of {len(works)}" if done else str(len(works))
    label = escape(section_name(section))
    x = MARGIN + INDENT * depth
    if depth == 0:
        # no bar: the sum of a whole tree would dwarf the bars of its sections
        return [
            f'<text x="{x}" y="{y}" fill="{INK}" font-weight="600">{label}</text>',
            f'<text x="{LEFT}" y="{y}" fill="{INK}" font-weight="600">{count}</text>',
        ]
    whole = len(works) * scale
    bars = [(whole, REST), (done * scale, DONE)]
    return [
        f'<text x="{x}" y="{y}" fill="{INK}">{label}</text>',
        *(f'<rect x="{LEFT}" y="{y - 11}" width="{w:.1f}" height="13" fill="{f}"/>' for w, f in bars if w),
        f'<text x="{LEFT + whole + 8:.1f}" y="{y}" fill="{MUTED}" font-size="12">{count}</text>',
    ]
