"""The explorer page in headless Chromium, from file:// with the network blocked, and without JavaScript."""

import json
import os
import re
from pathlib import Path

import pytest

from survey import explorer
from survey.pages.results import read_results
from tests.survey.explorer_page import (
    ROOT,
    ask,
    assert_legible,
    catalog_of_the_book,
    cells,
    chip,
    count,
    ids,
    odd_catalog,
    read_table,
    shown,
    write,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def catalog():
    return catalog_of_the_book()


@pytest.fixture
def address(catalog, tmp_path):
    return write(catalog, tmp_path)


@pytest.fixture
def page(visit, address):
    return visit().open(address)


@pytest.fixture
def odd(tmp_path):
    return odd_catalog(tmp_path)


# ---- What is on the page


def test_without_javascript_the_table_is_complete(visit, address, catalog):
    page = visit(java_script_enabled=False).open(address)
    assert read_table(page) == [cells(work, catalog) for work in catalog]
    assert page.locator("caption").text_content() == f"{len(catalog)} works"
    assert page.locator("caption").is_visible()
    assert not page.locator(".explorer-controls").is_visible()
    assert page.locator("tbody a").first.is_visible()


def test_the_table_equals_the_catalog(page, catalog):
    assert shown(page) == [work.id for work in catalog]
    assert read_table(page) == [cells(work, catalog) for work in catalog]
    assert count(page) == f"{len(catalog)} of {len(catalog)} works"


def test_links(page, catalog):
    script = """rows => rows.map((row) =>
      Array.from(row.querySelectorAll("a"), (link) => [link.textContent, link.getAttribute("href")]))"""
    chapters, measured = catalog.root.parent / "book" / "chapters", read_results(catalog.root)
    for work, links in zip(catalog, page.locator("tbody tr").evaluate_all(script), strict=True):
        links = dict(links)
        assert links.pop(" ".join(work.name.split())) == f"works/{work.id}.html"
        built = work.chapter and (chapters / f"{work.chapter}.ipynb").exists()
        assert links.pop("chapter", None) == (f"../chapters/{work.chapter}.html" if built else None)
        has_numbers = f"works/{work.id}.html#measured-here" if work.id in measured else None
        assert links.pop("measured", None) == has_numbers
        assert links.pop("code", None) == work.code
        assert links.pop("paper", "http").startswith("http")
        assert not links


def test_odd_titles_stay_what_they_are(visit, odd, tmp_path):
    page = visit().open(write(odd, tmp_path))
    assert read_table(page) == [cells(work, odd) for work in odd]
    assert page.evaluate("window.harmed") is None
    assert page.locator("tbody img, tbody script").count() == 0
    assert "mathjax_ignore" in page.locator("#explorer-page").get_attribute("class")
    links = (
        page.locator("tbody tr")
        .first.locator("a")
        .evaluate_all("links => links.map((a) => a.getAttribute('href'))")
    )
    assert links == ["works/odd-0.html", "../chapters/vq.html"]
    data = page.evaluate("JSON.parse(document.getElementById('explorer-data').textContent)")
    assert data == json.loads(json.dumps(explorer.payload(odd)))
    ask(page, '"script window harmed"')
    assert shown(page) == ["odd-0"]


def test_the_source_of_the_page(odd):
    source = explorer.explorer_page(odd, odd.root.parent / "book" / "_generated")
    fence = re.search(r"^(`+)\{raw\} html$", source, re.MULTILINE)[1]
    assert len(fence) == 4  # a title has three
    assert source.endswith(f"</div>\n{fence}\n")
    data = re.search(r'<script type="application/json" id="explorer-data">(.*?)</script>', source, re.DOTALL)[
        1
    ]
    assert "<" not in data
    assert json.loads(data) == json.loads(json.dumps(explorer.payload(odd)))


# ---- Everybody


FOCUS = """(() => {
  const { id, dataset, textContent } = document.activeElement;
  return [id || dataset.query || textContent, getComputedStyle(document.activeElement).outlineStyle];
})()"""


def test_by_keyboard_alone(page, catalog):
    seen = []

    def tab_to(wanted, limit=120):
        for _ in range(limit):
            page.keyboard.press("Tab")
            name, outline = page.evaluate(FOCUS)
            assert outline == "solid", name
            seen.append(name)
            if name == wanted:
                return
        pytest.fail(f"Tab never came to {wanted}: {seen}")

    tab_to("explorer-query", 1)
    page.keyboard.type("year>=2020")
    tab_to("explorer-saved", 1)
    tab_to("technique:RVQ")
    page.keyboard.press("Space")
    assert shown(page) == ids(catalog, "year>=2020 technique:RVQ")
    tab_to("Language model")
    page.keyboard.press("Enter")
    tab_to("llm:Llama")
    page.keyboard.press("Enter")
    assert shown(page) == ids(catalog, "year>=2020 technique:RVQ llm:Llama")
    tab_to("explorer-bibtex")
    tab_to("Year")
    page.keyboard.press("Enter")
    assert page.locator("th[data-field=year]").get_attribute("aria-sort") == "ascending"
    tab_to(catalog[shown(page)[0]].name)
    page.keyboard.press("Shift+Tab")


def test_everything_has_a_name(page):
    nameless = page.locator("#explorer-page :is(button, input, select, a, summary)").evaluate_all(
        """all => all.filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim()
             || (one.labels && one.labels.length))).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("#explorer-count").get_attribute("aria-live") == "polite"
    assert page.get_by_role("searchbox", name="Query").count() == 1
    assert page.get_by_role("combobox", name="Saved queries").count() == 1
    assert page.get_by_role("group", name="Technique").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "query", ["technique:RVQ modality:audio year:2024", "status:implemented", "tecnique:x"]
)
def test_contrast(visit, catalog, tmp_path, theme, query):
    page = visit().open(write(catalog, tmp_path, theme))
    page.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
    ask(page, query)
    page.get_by_role("button", name="Copy link").click()
    assert_legible(page)


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_nothing_is_wider_than_the_window(visit, address, width):
    page = visit(viewport={"width": width, "height": 900}).open(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("tbody th").first.is_visible()


# ---- In the book


@pytest.mark.book
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_the_built_book(visit, catalog, theme):
    built = ROOT / "_build" / "html" / "book" / "_generated" / "explorer.html"
    if not built.exists():
        assert "CODEBOOK_BOOK_BUILT" not in os.environ, f"no {built}"
        pytest.skip("the book is not built")
    page = visit(color_scheme=theme, viewport={"width": 1280, "height": 900}).open(built.as_uri())
    assert page.locator("html").get_attribute("data-theme") == theme
    assert read_table(page) == [cells(work, catalog) for work in catalog]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    ask(page, "technique:RVQ modality:audio")
    assert shown(page) == ids(catalog, "technique:RVQ modality:audio")
    assert_legible(page)
    chip(page, "status:implemented").click()
    for link in page.locator("tbody a").evaluate_all("links => links.map((a) => a.href)"):
        if link.startswith("file:"):
            assert Path(link.removeprefix("file://")).exists(), link
