"""Choosing works on the explorer page: queries, facets, the address, sorting, and taking works along."""

import csv
import io
import re
from pathlib import Path

import bibtexparser
import pytest

from survey import explorer
from survey.export import to_csv
from tests.survey.explorer_page import ask, catalog_of_the_book, chip, count, ids, odd_catalog, shown, write

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


# ---- Queries and facets


def test_saved_queries(page, catalog):
    saved = explorer.payload(catalog)["saved"]
    options = page.locator("#explorer-saved option").all_text_contents()
    assert options[1:] == [entry["name"] for entry in saved]
    for i, entry in enumerate(saved):
        page.locator("#explorer-saved").select_option(str(i))
        expected = ids(catalog, entry["query"])
        assert page.locator("#explorer-query").input_value() == entry["query"]
        assert shown(page) == expected, entry["query"]
        assert count(page) == f"{len(expected)} of {len(catalog)} works"


def test_every_chip_is_its_query(page, catalog):
    page.locator("details.explorer-facet").evaluate_all("all => all.forEach((one) => (one.open = true))")
    queries = page.locator(".explorer-chip").evaluate_all("chips => chips.map((chip) => chip.dataset.query)")
    assert len(queries) > 100
    assert {query.partition(":")[0] for query in queries} == {
        *("kind", "technique", "modality", "task", "status", "llm", "section", "year")
    }
    counts = page.locator(".explorer-number").all_text_contents()
    assert [int(number) for number in counts] == [len(ids(catalog, query)) for query in queries]
    # Clicked by script, all in one go; the pointer and the keyboard are for the tests below.
    click = """(queries) => queries.map((query) => {
      const chip = document.querySelector(`[data-query='${query}']`);
      const input = document.getElementById("explorer-query");
      chip.click();
      const rows = Array.from(document.querySelectorAll("tbody tr"), (row) => row.dataset.id);
      const pressed = [input.value, chip.getAttribute("aria-pressed"), rows];
      chip.click();
      return [...pressed, input.value];
    })"""
    for query, result in zip(queries, page.evaluate(click, queries), strict=True):
        assert result == [query, "true", ids(catalog, query), ""]


def test_chips_combine(page, catalog):
    query = page.locator("#explorer-query")
    chip(page, "technique:RVQ").click()
    chip(page, "modality:audio").click()
    assert query.input_value() == "technique:RVQ modality:audio"
    chip(page, "technique:FSQ").click()
    assert query.input_value() == "(technique:RVQ OR technique:FSQ) modality:audio"
    chip(page, "year:2024").click()
    expected = ids(catalog, "(technique:RVQ OR technique:FSQ) modality:audio year:2024")
    assert shown(page) == expected
    # A count is what its value gives together with the other facets.
    number = chip(page, "technique:VQ").locator(".explorer-number").text_content()
    assert int(number) == len(ids(catalog, "technique:VQ modality:audio year:2024"))
    chip(page, "technique:RVQ").click()
    assert query.input_value() == "technique:FSQ modality:audio year:2024"
    chip(page, "technique:FSQ").click()
    chip(page, "modality:audio").click()
    chip(page, "year:2024").click()
    assert query.input_value() == ""
    assert len(shown(page)) == len(catalog)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("codec", "codec technique:VQ"),
        ("audio OR music", "(audio OR music) technique:VQ"),
        ("(audio OR music)", "(audio OR music) technique:VQ"),
        ("audio AND -music", "audio -music technique:VQ"),
        ("(audio music)", "(audio music) technique:VQ"),
        ("techniques = vq audio", "audio"),
        ("(technique:RVQ OR technique:vq)", "technique:RVQ"),
        ("-technique:VQ", "-technique:VQ technique:VQ"),
        ("technique:none", "(technique:none OR technique:VQ)"),
        ('"a phrase" year>2020', '"a phrase" year>2020 technique:VQ'),
        ("technique:RVQ OR kind:model", "(technique:RVQ OR kind:model) technique:VQ"),
    ],
)
def test_a_chip_edits_any_query(page, catalog, before, after):
    ask(page, before)
    chip(page, "technique:VQ").click()
    assert page.locator("#explorer-query").input_value() == after
    assert shown(page) == ids(catalog, after)


def test_a_mistake_is_shown_and_mended(page, catalog):
    ask(page, "modality:audio")
    before = shown(page)
    ask(page, "modality:audio tecnique:RVQ")
    error = page.locator("#explorer-error")
    caret = " " * len("modality:audio ") + "^ unknown field 'tecnique'"
    assert error.locator("pre").text_content() == f"modality:audio tecnique:RVQ\n{caret}"
    assert page.locator("#explorer-query").get_attribute("aria-invalid") == "true"
    assert shown(page) == before
    error.get_by_role("button", name="technique").click()
    assert page.locator("#explorer-query").input_value() == "modality:audio technique:RVQ"
    assert shown(page) == ids(catalog, "modality:audio technique:RVQ")
    assert not error.is_visible()
    ask(page, 'kind:"modle" é')
    error.get_by_role("button", name="model").click()
    assert page.locator("#explorer-query").input_value() == "kind:model é"
    # A chip starts from the last query that was understood.
    ask(page, "modality:audio (")
    chip(page, "technique:RVQ").click()
    assert page.locator("#explorer-query").input_value() == "kind:model é technique:RVQ"


# ---- The address


def test_the_address_restores_the_page(visit, address, catalog):
    page = visit().open(address + "#q=technique:RVQ+(year:2023+OR+year:2024)&sort=-name")
    query = "technique:RVQ (year:2023 OR year:2024)"
    assert page.locator("#explorer-query").input_value() == query
    names = [catalog[found].name for found in shown(page)]
    assert set(shown(page)) == set(ids(catalog, query))
    assert names == sorted(names, key=str.casefold, reverse=True)
    assert chip(page, "technique:RVQ").get_attribute("aria-pressed") == "true"
    assert chip(page, "year:2024").get_attribute("aria-pressed") == "true"
    assert page.locator("th[data-field=name]").get_attribute("aria-sort") == "descending"
    before = shown(page)
    page.reload()
    assert shown(page) == before


@pytest.mark.parametrize("query", ["100% + & # = ?", 'title:"a b" -x', "é 量子 %41", "a\u00a0b"])
def test_any_query_fits_into_the_address(page, query):
    ask(page, query)
    page.reload()
    assert page.locator("#explorer-query").input_value() == query


@pytest.mark.parametrize("fragment", ["#sort=nonsense", "#q", "#anchor", "#sort=-&q="])
def test_an_address_that_makes_no_sense_shows_everything(visit, address, catalog, fragment):
    page = visit().open(address + fragment)
    assert len(shown(page)) == len(catalog)


def test_back_and_forward(page, catalog):
    chip(page, "technique:RVQ").click()
    chip(page, "modality:audio").click()
    page.locator("th[data-field=year] button").click()
    page.locator("#explorer-query").press("End")
    page.keyboard.type(" codec")  # five letters and a space: one step
    states = [
        "technique:RVQ modality:audio codec",
        *["technique:RVQ modality:audio"] * 2,
        "technique:RVQ",
        "",
    ]
    for state in states[1:]:
        page.go_back()
        assert page.locator("#explorer-query").input_value() == state
        assert set(shown(page)) == set(ids(catalog, state))
    assert "sort" not in page.url
    for state in states[-2::-1]:
        page.go_forward()
        assert page.locator("#explorer-query").input_value() == state
        assert set(shown(page)) == set(ids(catalog, state))


# ---- Sorting


def test_sorting(page, catalog):
    header = page.locator("th[data-field=year]")
    assert header.get_attribute("aria-sort") == "none"
    header.get_by_role("button").click()
    years = [catalog[found].year for found in shown(page)]
    assert years == sorted(years)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    years = [catalog[found].year for found in shown(page)]
    assert years == sorted(years, reverse=True)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert shown(page) == [work.id for work in catalog]


def test_sorting_knows_numbers_and_puts_absent_values_last(page, catalog):
    ask(page, "section:5")
    page.locator("th[data-field=sections] button").click()
    first = [catalog[found].sections[0] for found in shown(page)]
    fifth = [tuple(map(int, number.split("."))) for number in first if number.startswith("5.")]
    assert fifth == sorted(fifth)
    ask(page, "")
    for clicks in (1, 2):
        page.locator("th[data-field=techniques] button").click()
        present = [bool(catalog[found].techniques) for found in shown(page)]
        assert present == sorted(present, reverse=True), clicks


# ---- Taking the selection along


def clipboard(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page.evaluate("navigator.clipboard.readText()")


def test_copied_bibtex(page, catalog):
    ask(page, "technique:RVQ year:2024")
    page.get_by_role("button", name="Copy BibTeX").click()
    page.get_by_text(re.compile(r"^Copied \d+ BibTeX entries\.$")).wait_for()
    library = bibtexparser.parse_string(clipboard(page))
    assert library.failed_blocks == []
    found = catalog.query("technique:RVQ year:2024")
    assert [entry.key for entry in library.entries] == [work.key for work in found]


def test_copying_without_a_clipboard(visit, address, catalog):
    visited = visit()
    visited.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined, configurable: true });"
        "document.addEventListener('copy', () => (window.copied = document.activeElement.value));"
    )
    page = visited.open(address)
    ask(page, "id:vq-vae")
    page.get_by_role("button", name="Copy BibTeX").click()
    page.get_by_text("Copied 1 BibTeX entry.").wait_for()
    assert page.evaluate("window.copied") == catalog["vq-vae"].bibtex + "\n"


def test_copied_link(page):
    ask(page, "technique:RVQ")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Copied the link.").wait_for()
    assert clipboard(page) == page.url
    assert page.url.endswith("#q=technique:RVQ")


def download(page):
    with page.expect_download() as started:
        page.get_by_role("button", name="Download CSV").click()
    assert started.value.suggested_filename == "codebook.csv"
    return Path(started.value.path()).read_bytes().decode("utf-8")


def test_downloaded_csv(page, catalog):
    ask(page, "modality:audio year:2024")
    text = download(page)
    works = catalog.query("modality:audio year:2024")
    assert text == to_csv(works, explorer.FIELDS[:-1])
    assert [row["title"] for row in csv.DictReader(io.StringIO(text))] == [work.title for work in works]


def test_downloaded_csv_of_odd_titles(visit, tmp_path):
    odd = odd_catalog(tmp_path)
    page = visit(accept_downloads=True).open(write(odd, tmp_path))
    assert download(page) == to_csv(odd, explorer.FIELDS[:-1])


def test_an_empty_selection_has_nothing_to_take(page):
    ask(page, "year:2017 -year:2017")
    assert shown(page) == []
    assert page.get_by_role("button", name="Copy BibTeX").is_disabled()
    assert page.get_by_role("button", name="Download CSV").is_disabled()
    page.get_by_role("button", name="Clear").click()
    assert len(shown(page)) > 300
