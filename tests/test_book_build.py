"""The built book: every page is there and says something, every link inside it leads somewhere, and no page
loads anything from another host."""

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
CHAPTERS = sorted((ROOT / "book" / "chapters").glob("*.ipynb"))
MIN_TEXT = 150  # characters of an article, without its title

pytestmark = pytest.mark.book


@pytest.fixture(autouse=True)
def _needs_the_book():
    if not (HTML / "index.html").exists():
        if os.environ.get("CODEBOOK_BOOK_BUILT"):
            pytest.fail("the book should have been built, and _build/html/index.html is missing")
        pytest.skip("the book is not built; run `make book`")


# Attributes by which a page loads something without being asked; a link that a reader follows is none.
LOADS = {
    ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"),
    ("audio", "src"), ("embed", "src"), ("object", "data"), ("link", "href"), ("image", "href"),
}  # fmt: skip
NOT_LOADED = {"canonical", "index", "search", "next", "prev", "author", "copyright"}  # <link rel=...>


class Page(HTMLParser):
    """What the tests look at in one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.loads, self.links, self.alts, self.ids = path, [], [], [], set()
        self.scripts, self.styles, self.text, self.maths, self.math_script = [], [], [], 0, None
        self._in, self._depth = "", 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note what the element loads, links to and names."""
        attributes = {name: value or "" for name, value in attrs}
        self.ids.add(attributes.get("id"))
        if "style" in attributes:
            self.styles.append(attributes["style"])
        for name, value in attributes.items():
            if (tag, name) in LOADS and attributes.get("rel") not in NOT_LOADED:
                self.loads.append(value)
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "img":
            self.alts.append(attributes.get("alt", ""))
        if tag == "script" and "mathjax" in attributes.get("src", ""):
            self.math_script = attributes["src"]
        self.maths += "math" in attributes.get("class", "").split()
        if tag in ("script", "style"):
            self._in = tag
        if tag == "article" or self._depth:
            self._depth += tag == "article"

    def handle_endtag(self, tag):
        """Leave scripts, styles and the article."""
        if tag == self._in:
            self._in = ""
        self._depth -= tag == "article"

    def handle_data(self, data):
        """Keep scripts, styles and the article's text apart."""
        if self._in == "script":
            self.scripts.append(data)
        elif self._in == "style":
            self.styles.append(data)
        elif self._depth:
            self.text.append(data)

    def target(self, address: str) -> Path:
        """Return the file that a relative address names."""
        path = unquote(urlsplit(address).path)
        return (self.path.parent / path).resolve() if path else self.path


@cache
def page(path: Path) -> Page:
    """Return a parsed page; each is parsed once."""
    return Page(path)


@cache
def pages() -> list[Page]:
    """Return every page of the built book."""
    return [page(path) for path in sorted(HTML.rglob("*.html")) if "_static" not in path.parts]


def expected() -> list[Path]:
    """Return the pages that the table of contents names."""
    contents = parse_toc_yaml(ROOT / "book" / "_toc.yml")
    found = [
        HTML / f"{Path(name).with_suffix('') if name.endswith(('.md', '.ipynb')) else name}.html"
        for name in contents
    ]
    for pattern in contents.globs():
        sources = [path for path in ROOT.glob(pattern) if path.suffix in (".md", ".ipynb")]
        assert sources, f"no file fits {pattern}"
        found += [HTML / path.relative_to(ROOT).with_suffix(".html") for path in sources]
    return found


def remote(address: str) -> bool:
    """Tell whether an address names another host."""
    return urlsplit(address).scheme in ("http", "https", "ftp") or address.startswith("//")


def test_every_page_of_the_contents_is_built():
    assert len(expected()) > 1
    missing = [str(path.relative_to(HTML)) for path in expected() if not path.exists()]
    assert not missing


def test_no_page_is_trivial():
    short = {p.name: n for p in expected() if (n := len("".join(" ".join(page(p).text).split()))) < MIN_TEXT}
    assert not short


def test_no_page_loads_from_another_host():
    found = {(p.path.name, load) for p in pages() for load in p.loads if remote(load)}
    assert not found


def test_everything_that_a_page_loads_is_there():
    local = {
        (p, load) for p in pages() for load in p.loads if not load.startswith("data:") and not remote(load)
    }
    assert len(local) > len(pages())
    missing = {(p.path.name, load) for p, load in local if not p.target(load).is_file()}
    assert not missing


def test_no_inline_script_names_a_script_elsewhere():
    pattern = re.compile(r"""["'](?:https?:)?//[^"'\s]+\.(?:m?js|css|woff2?)\b""")
    found = {(p.path.name, m.group()) for p in pages() for s in p.scripts for m in pattern.finditer(s)}
    assert not found


def test_no_style_loads_from_another_host():
    styles = {str(path.relative_to(HTML)): path.read_text("utf-8") for path in HTML.rglob("*.css")}
    styles |= {p.path.name: "\n".join(p.styles) for p in pages()}
    pattern = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')]+)""")
    found = {(name, match.group(1)) for name, text in styles.items() for match in pattern.finditer(text)}
    assert len(styles) > 1
    assert not found


def test_fonts_of_the_styles_are_there():
    wanted = set()
    for path in HTML.rglob("*.css"):
        for address in re.findall(r"url\(\s*[\"']?([^\"')]+?\.(?:woff2?|ttf))", path.read_text("utf-8")):
            wanted.add((path.parent / unquote(urlsplit(address).path)).resolve())
    assert wanted
    assert not [str(path) for path in wanted if not path.is_file()]


def test_mathematics_is_set_by_the_local_mathjax():
    with_maths = [p for p in pages() if p.maths]
    assert with_maths or not CHAPTERS
    without_script = [p.path.name for p in with_maths if not p.math_script or remote(p.math_script)]
    assert not without_script
    folder = HTML / "_static" / "vendor" / "mathjax"
    assert (folder / "LICENSE").is_file()
    assert len(list((folder / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff"))) == 23


def test_links_inside_the_book_lead_to_pages_and_places_in_them():
    broken = set()
    for p in pages():
        for link in p.links:
            parts = urlsplit(link)
            if parts.scheme or remote(link) or link in ("", "#"):
                continue
            target = p.target(link)
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken.add((p.path.name, link))
            elif parts.fragment and target.suffix == ".html" and "=" not in parts.fragment:
                ids = page(target).ids
                if unquote(parts.fragment) not in ids and parts.fragment not in ids:
                    broken.add((p.path.name, link))
    assert not broken


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_shows_its_figures_with_their_text(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    alts = [cell.metadata.mystnb.image.alt for cell in cells if "image" in cell.metadata.get("mystnb", {})]
    shown = page(HTML / "book" / "chapters" / f"{notebook.stem}.html").alts
    assert not [alt for alt in alts if alt not in shown]


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_opens_in_colab(notebook):
    links = page(HTML / "book" / "chapters" / f"{notebook.stem}.html").links
    assert [link for link in links if link.endswith(f"/blob/main/book/chapters/{notebook.name}")]


def test_no_page_holds_a_path_of_the_building_machine():
    assert not [p.path.name for p in pages() if str(ROOT) in p.path.read_text("utf-8")]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["book/intro", *(f"book/chapters/{path.stem}" for path in CHAPTERS)])
def test_page_works_in_a_browser_without_network(visit, name, theme):
    shown = visit(color_scheme=theme).open((HTML / f"{name}.html").as_uri())
    assert shown.locator("html").get_attribute("data-theme") == theme
    if page(HTML / f"{name}.html").maths:
        shown.wait_for_function("document.querySelectorAll('.math').length > 0 && MathJax.startup.promise")
        shown.evaluate("MathJax.startup.promise")
        assert shown.locator("mjx-container").count() >= page(HTML / f"{name}.html").maths
        assert shown.locator("mjx-merror").count() == 0
    broken = "[...document.images].filter(i => i.complete && i.naturalWidth === 0).map(i => i.src)"
    assert shown.evaluate(broken) == []
