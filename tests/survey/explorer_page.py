"""What the tests of the explorer page share: a page of its own to stand on, and ways to read and use it."""

import re
from functools import cache
from pathlib import Path

import survey
from survey import explorer
from survey.catalog import Catalog, Section, Work

ROOT = Path(survey.__file__).parents[1]
STATIC = (ROOT / "book" / "_static").as_uri()

catalog_of_the_book = cache(survey.load)


ODD_TITLES = [
    "<script>window.harmed = 1</script> & <img src=x onerror='window.harmed = 1'>",
    "Costs \\(a\\) $5 and $x^2$ {Braces} \\alpha",
    "Ünïcode — 量子化 \u2028 'quotes' \"double\"",
    "```{raw} html``` <!-- <script> ]]> </textarea>",
    '=SUM(A1:A9), "quoted"; -1',
]


def odd_catalog(folder):
    """Works whose text a careless page would take for markup, mathematics, formulas or scripts."""
    root = folder / "survey"
    (folder / "book" / "chapters").mkdir(parents=True)
    (folder / "book" / "chapters" / "vq.ipynb").write_text("{}")
    works = tuple(
        Work(
            **{"id": f"odd-{i}", "key": f"odd{i}", "name": title[:20], "title": title, "venue": title},
            **{"year": 2000 + i, "kind": "model", "sections": ("2.1",), "implementation": "module:Class"},
            authors=("A <b>", "B & C", "D", "E"),
            chapter=("vq", "unbuilt")[i % 2],
            url=("javascript:alert(1)", None)[i % 2],
            bibtex=f"@misc{{odd{i},\n  title = {{odd}},\n}}",
        )
        for i, title in enumerate(ODD_TITLES)
    )
    sections = (Section("2.1", "vq", "<i>Vector</i> quantization"),)
    return Catalog(works, sections, {"kind": {"model": '"<b>"'}}, root)


def write(catalog, folder, theme="light"):
    """A page with the book's fragment and nothing else; its address."""
    path = folder / "explorer.html"
    html = explorer.fragment(catalog, catalog.root.parent / "book" / "_generated", STATIC)
    background = {"light": "#ffffff", "dark": "#14181e"}[theme]
    path.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><title>Explorer</title>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>'
        f'<body style="background: {background}">\n{html}</body></html>\n',
        encoding="utf-8",
    )
    return path.as_uri()


def shown(page):
    return page.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.id)")


def count(page):
    return page.locator("#explorer-count").text_content()


def ids(catalog, query):
    return [work.id for work in catalog.query(query)]


def chip(page, query):
    return page.locator(f"[data-query='{query}']")


def ask(page, query):
    page.locator("#explorer-query").fill(query)


def cells(work, catalog):
    """What a row of the table says, by column."""
    authors = ", ".join(work.authors[:3]) + (" et al." if len(work.authors) > 3 else "")
    venue = re.search(r"\(([^()]{2,12})\)$", work.venue or "")
    lists = [", ".join(values) for values in (work.sections, work.techniques, work.modalities)]
    words = [
        work.name,
        f"{work.title} {authors}",
        work.year,
        venue[1] if venue else work.venue or "",
        work.kind,
    ]
    return [" ".join(str(word).split()) for word in [*words, *lists, work.status]]


def read_table(page):
    script = "rows => rows.map((row) => Array.from(row.cells, (cell) => cell.textContent))"
    rows = page.locator("tbody tr").evaluate_all(script)
    return [[" ".join(cell.split()) for cell in row][:-1] for row in rows]


# The contrast of every text with what is behind it, as WCAG 2 defines it; disabled controls are exempt.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colors) => {
    canvas.globalCompositeOperation = "source-over";
    colors.forEach((color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); });
    return Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3));
  };
  const light = (rgb) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.getElementById("explorer-page"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim().slice(0, 30);
    if (!text || !element.checkVisibility() || element.closest("script, :disabled")) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) {
      if (Number(getComputedStyle(e).opacity) < 1) found.push({ text: "opacity", ratio: 0, on: e.className });
      behind.unshift(getComputedStyle(e).backgroundColor);
    }
    const back = paint(["white", ...behind]);
    const front = paint([`rgb(${back})`, getComputedStyle(element).color]);
    const [a, b] = [light(back), light(front)].sort((x, y) => y - x);
    found.push({ text, ratio: (a + 0.05) / (b + 0.05), on: element.className });
  }
  return found;
}"""


def assert_legible(page):
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert [text for text in texts if text["ratio"] < 4.5] == []
