"""Text comes through MyST letter for letter; read back with the parser that builds the book."""

import io
from html.parser import HTMLParser

import docutils.core
import docutils.nodes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from myst_parser.docutils_ import Parser

from survey.pages.markdown import block, code, directive, escape, link, page, table

SETTINGS = {
    "myst_enable_extensions": ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "tasklist"],
    "warning_stream": io.StringIO(),
    "halt_level": 2,
    "myst_suppress_warnings": [],
}
# no control characters and no surrogates: catalogs cannot hold them
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1).filter(str.strip)
MARKUP = st.text("#*_`~^$%&<>[](){}|\\!:+-=.'\"1 ax\n", min_size=1).filter(str.strip)
HARD = [
    "<script>alert(1)</script>",
    "costs $5 & $6, 100% of {brace} [link](x) {ref}`y` *a* _b_ `c` ``d``",
    "# no heading",
    "1. no list",
    "- no item",
    "+++",
    "---",
    "(label)=",
    "% no comment",
    "| no | table |",
    ":::{note}",
    "&amp; &copy; \\& \\",
    "https://example.org <https://example.org>",
    "$$x$$",
    "[^1] [x]: y",
    'UniCode²: Ångström – 知 n\' "q"',
    "a\n\nb",
    "term\n: definition",
]


def parse(source: str) -> docutils.nodes.document:
    return docutils.core.publish_doctree(source, parser=Parser(), settings_overrides=dict(SETTINGS))


def only_text_of(source: str) -> str:
    document = parse(source)
    (paragraph,) = document.children
    assert isinstance(paragraph, docutils.nodes.paragraph)
    assert all(isinstance(child, docutils.nodes.Text) for child in paragraph.children)
    return paragraph.astext()


@pytest.mark.parametrize("text", HARD)
def test_escaped_text_stays_what_it_is(text):
    assert only_text_of(escape(text)) == " ".join(text.split())


@settings(max_examples=150, deadline=None)
@given(st.one_of(TEXT, MARKUP))
def test_any_text_stays_what_it_is(text):
    assert only_text_of(escape(text)) == " ".join(text.split())


class Links(HTMLParser):
    """The links of an HTML page: address and text."""

    def __init__(self, source: str):
        super().__init__()
        self.found: list[list[str]] = []
        self.open = False
        shown = docutils.core.publish_parts(
            source, parser=Parser(), writer_name="html5", settings_overrides=dict(SETTINGS)
        )
        self.feed(shown["body"])

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append([dict(attrs)["href"], ""])
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag != "a"

    def handle_data(self, data):
        if self.open:
            self.found[-1][1] += data


@pytest.mark.parametrize(
    "address", ["https://example.org/a_b*c?y=(3)#z_", "https://example.org/?x=1&copy=2&lt;"]
)
@settings(max_examples=50, deadline=None)
@given(text=MARKUP)
def test_a_link_shows_its_text_and_leads_to_its_address(address, text):
    assert Links(link(text, address)).found == [[address, " ".join(text.split())]]


@pytest.mark.parametrize("end", ["", "&x"])
def test_an_address_cannot_leave_its_link(end):
    (found,) = Links(link("x", f"https://example.org/>)<b>\"'\\`{end}")).found
    assert found == [f"https://example.org/%3E)%3Cb%3E%22'%5C%60{end}", "x"]


@settings(max_examples=100, deadline=None)
@given(MARKUP)
def test_code_within_a_line_stays_what_it_is(text):
    document = parse(f"x {code(text)} y")
    (literal,) = document.findall(docutils.nodes.literal)
    assert literal.astext() == " ".join(text.split())


@pytest.mark.parametrize(
    "text", ["plain", "```\nfence\n```", "`````", ":name: x\n---\n{directive}", "  indented\n\nlast"]
)
def test_a_block_of_code_stays_what_it_is(text):
    (literal,) = parse(block(text)).children
    assert isinstance(literal, docutils.nodes.literal_block)
    assert literal.astext() == text


@pytest.mark.parametrize("alt", ["a: b", "[x]", 'say "a" {b}', "100% # no", "- x", "'"])
def test_an_option_keeps_any_value(alt):
    (image,) = parse(directive("image", "", "x.svg", alt=alt)).children
    assert image["alt"] == alt


def test_a_directive_may_hold_another():
    inner = directive("note", "text")
    (outer,) = parse(directive("warning", inner)).children
    assert [type(node).__name__ for node in outer.children] == ["note"]


def test_a_table_keeps_its_cells():
    (found,) = parse(table(("A", "B"), [[escape("a|b"), "`c`"]])).children
    cells = [entry.astext() for entry in found.findall(docutils.nodes.entry)]
    assert cells == ["A", "B", "a|b", "c"]


def test_empty_blocks_vanish_from_a_page():
    assert page("a", "", "b") == "a\n\nb\n"
