"""The bibliography: the one page of the book that lists every entry of papers.bib."""

from __future__ import annotations

from survey.pages.markdown import directive, page


def bibliography_page() -> str:
    """Return the page; every citation in the book leads to it."""
    return page(
        "(bibliography)=",
        "# Bibliography",
        directive("bibliography", "", all="", style="alpha"),
    )
