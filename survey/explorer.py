"""The explorer page of the book: the whole catalog as one table, to search, narrow, sort and copy from.

The page is complete without JavaScript. With it, ``book/_static/explorer.js`` adds facets, the query grammar
(``book/_static/query.js``) and exports; its data stands in the page itself, so that it works from file://.
The table is our own and no library's: facets and grammar have to be ours in any case, and what is left for a
library (order rows, hide rows) is less code than fitting one to the book's themes, keyboard and address.
"""

from __future__ import annotations

import json
import os
import re
from html import escape
from pathlib import Path

import yaml

from survey.catalog import Catalog, Work
from survey.export import as_object
from survey.pages.results import read_results

FIELDS = (
    *("id", "key", "name", "title", "authors", "year", "venue", "arxiv", "doi", "url", "kind", "sections"),
    *("techniques", "modalities", "tasks", "llm", "builds_on", "code", "status", "chapter", "bibtex"),
)
"""What the page knows of each work; all but the BibTeX entry are columns of its CSV."""

COLUMNS = ("Name", "Title", "Year", "Venue", "Kind", "Sections", "Techniques", "Modalities", "Status")
AUTHORS_SHOWN = 3

_PAGE = """\
---
html_theme.sidebar_secondary.remove: true
---

# Explorer

Every work of the catalog. What you type or choose stands in the page's address, which you can keep or share;
the same query works on the command line: `python -m survey query 'technique:RVQ modality:audio year>=2022'`.

{fence}{{raw}} html
{fragment}{fence}
"""

_HELP = """\
<details class="explorer-help">
<summary>How to ask</summary>
<dl>
<dt><code>residual audio</code></dt>
<dd>Works with words that begin so, in name, title, authors, venue, id or key. Case and accents do not
matter.</dd>
<dt><code>"vector quantization"</code></dt>
<dd>The words next to each other.</dd>
<dt><code>title:*ization</code></dt>
<dd>One field: id key name title author year venue arxiv doi kind section technique modality task llm status
builds_on code chapter. <code>*</code> stands for any letters.</dd>
<dt><code>technique:RVQ OR technique:FSQ</code></dt>
<dd>Either; without OR every condition must hold. AND binds tighter than OR, and parentheses group.</dd>
<dt><code>-llm:none</code></dt>
<dd>Not; NOT does the same. <code>none</code> and <code>any</code> ask whether there is a value.</dd>
<dt><code>year&gt;=2022</code>, <code>year:2019..2021</code></dt>
<dd>Years from, to, and between.</dd>
<dt><code>section:2</code></dt>
<dd>The section with all its parts: 2.1, 2.2 and so on. The second survey's begin with ntp-.</dd>
</dl>
</details>
"""

# Hidden until the script fills them: without it they could do nothing.
_CONTROLS = """\
<div class="explorer-controls" hidden>
<form class="explorer-search" role="search">
<label for="explorer-query">Query</label>
<input id="explorer-query" type="search" autocomplete="off" spellcheck="false" autocapitalize="off"
 placeholder="technique:RVQ modality:audio year&gt;=2022" aria-describedby="explorer-error">
<label for="explorer-saved">Saved queries</label>
<select id="explorer-saved"><option value="">Saved queries …</option></select>
</form>
<div id="explorer-error" class="explorer-error" hidden></div>
<div id="explorer-facets" class="explorer-facets"></div>
<div class="explorer-bar">
<output id="explorer-count" for="explorer-query" aria-live="polite"></output>
<span class="explorer-actions">
<button type="button" id="explorer-clear">Clear</button>
<button type="button" id="explorer-bibtex">Copy BibTeX</button>
<button type="button" id="explorer-csv">Download CSV</button>
<button type="button" id="explorer-link">Copy link</button>
</span>
<span id="explorer-message" role="status"></span>
</div>
</div>
"""


def explorer_page(catalog: Catalog, folder: Path) -> str:
    """Return the page's MyST source, to be ``explorer.md`` in ``folder``, beside the cards' folder ``works``.

    ``folder`` is two levels below the book's sources, as the chapters' folder and all pages are.
    """
    html = fragment(catalog, folder, static="../../_static")
    fence = "`" * (max([2, *map(len, re.findall("`+", html))]) + 1)
    return _PAGE.format(fence=fence, fragment=html)


def fragment(catalog: Catalog, folder: Path, static: str) -> str:
    """Return the page's HTML; ``static`` is the address of the scripts' folder as the page has to write it.

    ``folder`` is where the page's source stands: links to the cards and chapters are relative to it.
    """
    titles = {section.number: section.title for section in catalog.sections}
    chapters = catalog.root.parent / "book" / "chapters"
    measured = read_results(catalog.root).keys()
    rows = "".join(
        _row(work, titles, _links(work, chapters, folder, work.id in measured)) for work in catalog
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in (*COLUMNS, "Links"))
    scripts = "".join(f'<script src="{static}/{name}.js"></script>\n' for name in ("query", "explorer"))
    return (
        # Titles may hold dollars and braces: no mathematics in here.
        f'<link rel="stylesheet" href="{static}/explorer.css">\n'
        '<div id="explorer-page" class="explorer tex2jax_ignore mathjax_ignore">\n'
        f"{_CONTROLS}{_HELP}"
        '<div class="explorer-table" role="region" aria-label="Works" tabindex="0">\n'
        f"<table>\n<caption>{len(catalog)} works</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
        f'<script type="application/json" id="explorer-data">{_script_json(payload(catalog))}</script>\n'
        f"{scripts}</div>\n"
    )


def payload(catalog: Catalog) -> dict:
    """Return what the page's script needs, as JSON can hold it."""
    saved = catalog.root / "saved_queries.yml"
    return {
        "works": [as_object(work, FIELDS) for work in catalog],
        "facets": catalog.vocabulary,
        "sections": [{"number": section.number, "title": section.title} for section in catalog.sections],
        "saved": yaml.load(saved.read_text(encoding="utf-8"), yaml.CSafeLoader) if saved.exists() else [],
    }


def _script_json(data: dict) -> str:
    """JSON that no HTML parser takes for the end of its script element or for a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _row(work: Work, titles: dict[str, str], links: str) -> str:
    sections = ", ".join(_with_title(number, titles.get(number)) for number in work.sections)
    authors = ", ".join(work.authors[:AUTHORS_SHOWN]) + (
        " et al." if len(work.authors) > AUTHORS_SHOWN else ""
    )
    cells = (
        f'<span class="explorer-title">{_text(work.title)}</span> '
        f'<span class="explorer-authors">{_text(authors)}</span>',
        str(work.year),
        _venue(work.venue or ""),
        _text(work.kind),
        sections,
        _text(", ".join(work.techniques)),
        _text(", ".join(work.modalities)),
        f'<span class="explorer-status-{work.status}">{work.status}</span>',
        links,
    )
    name = f'<a href="works/{escape(work.id)}.html">{_text(work.name)}</a>'
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr data-id="{escape(work.id)}"><th scope="row">{name}</th>{columns}</tr>\n'


def _text(text: str) -> str:
    return escape(" ".join(text.split()))


def _with_title(short: str, long: str | None) -> str:
    return f'<abbr title="{_text(long)}">{_text(short)}</abbr>' if long else _text(short)


def _venue(venue: str) -> str:
    """The venue's usual short name where the full one ends in it: "... Machine Learning (ICML)"."""
    match = re.fullmatch(r"(.+) \(([^()]{2,12})\)", venue)
    return _with_title(match[2], venue) if match else _text(venue)


def _links(work: Work, chapters: Path, folder: Path, measured: bool) -> str:
    """Links to the chapter, where it is built, to what was measured, to the code and to the paper."""
    addresses = {"paper": _paper(work), "code": work.code}
    if measured:
        addresses = {"measured": f"works/{work.id}.html#measured-here", **addresses}
    if work.chapter and (chapters / f"{work.chapter}.ipynb").exists():
        relative = Path(os.path.relpath(chapters / f"{work.chapter}.html", folder)).as_posix()
        addresses = {"chapter": relative, **addresses}
    label = escape(work.name)
    return " ".join(
        f'<a href="{escape(address)}" aria-label="{name}: {label}">{name}</a>'
        for name, address in addresses.items()
        if address
    )


def _paper(work: Work) -> str | None:
    if work.url and work.url.startswith(("http://", "https://")):
        return work.url
    if work.arxiv:
        return f"https://arxiv.org/abs/{work.arxiv}"
    return f"https://doi.org/{work.doi}" if work.doi else None
