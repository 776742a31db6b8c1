"""The book's pages that come from the catalog, written where the book looks for them."""

from __future__ import annotations

from pathlib import Path

from survey.catalog import Catalog
from survey.explorer import explorer_page
from survey.files import write_atomically
from survey.pages.bibliography import bibliography_page
from survey.pages.book import Book
from survey.pages.card import card, path_of
from survey.pages.picture import taxonomy_picture
from survey.pages.taxonomy import taxonomy_page
from survey.pages.works import works_page

LIST = ".rendered"
"""The file in the folder of pages that names them: only what a rendering wrote may a later one delete."""


def render(catalog: Catalog, out: Path) -> list[Path]:
    """Write every page of the catalog below ``out`` and return their paths, in order.

    A page that would not change is left alone, so that the book's next build is incremental; a page that an
    earlier rendering wrote and this one does not is deleted. Nothing else in ``out`` is touched.
    Raises ValueError for results that cannot be read and OSError when ``out`` cannot be written.
    """
    out = Path(out).resolve()
    book = Book(catalog, out)
    pages = {path_of(book, work): card(book, work) for work in catalog}
    pages[out / "works.md"] = works_page(book)
    pages[out / "taxonomy.md"] = taxonomy_page(book)
    pages[out / "taxonomy.svg"] = taxonomy_picture(book)
    pages[out / "bibliography.md"] = bibliography_page()
    pages[out / "explorer.md"] = explorer_page(catalog, out)
    names = sorted(path.relative_to(out).as_posix() for path in pages)
    stale = set(_listed(out)).difference(names)
    # named before they are written: a rendering that is cut short leaves no page behind for good
    _write(out / LIST, "\n".join(sorted({*names, *stale})) + "\n")
    for path, text in pages.items():
        _write(path, text)
    for name in stale:
        (out / name).unlink(missing_ok=True)
    _write(out / LIST, "\n".join(names) + "\n")
    return sorted(pages)


def _listed(out: Path) -> list[str]:
    """Return the pages that earlier renderings wrote, as far as they are below ``out``."""
    path = out / LIST
    names = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [name for name in names if (out / name).resolve().is_relative_to(out) and (out / name).is_file()]


def _write(path: Path, text: str) -> None:
    content = text.encode("utf-8")
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
