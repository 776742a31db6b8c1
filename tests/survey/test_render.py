"""The generated pages: what stands on them, which files they touch, that Sphinx takes them without a word."""

import os
import re
import subprocess
import sys
from html import unescape
from xml.etree import ElementTree

import pytest

from survey.catalog import ROOT, load
from survey.pages.results import read_results
from survey.render import LIST, render

SPHINX = """\
extensions = ["myst_parser", "sphinx_design", "sphinxcontrib.bibtex"]
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "tasklist"]
bibtex_bibfiles = ["survey/papers.bib"]
bibtex_reference_style = "author_year"
exclude_patterns = ["_site", "survey", "book/src"]
smartquotes = False
"""
INDEX = """\
# Index

```{toctree}
:glob:
book/_generated/*
book/_generated/works/*
```
"""
HARD_NAME = "<script>alert(1)</script> $x$ {ref}`y` *a* _b_ [c](d) & #1"


@pytest.fixture
def out(repository):
    return repository.folder / "book" / "_generated"


def pages(repository, out) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): path.read_text(encoding="utf-8")
        for path in render(load(repository.root), out)
    }


def test_there_is_a_card_for_each_work_and_every_other_page_once(repository, out):
    assert set(pages(repository, out)) == {
        *("works/vq-vae.md", "works/odd.md", "works.md", "taxonomy.md", "taxonomy.svg"),
        *("bibliography.md", "explorer.md"),
    }


def test_a_card_has_the_facts_of_its_work(repository, out):
    card = pages(repository, out)["works/vq-vae.md"]
    for fact in (
        "# VQ\\-VAE",
        "**Neural Discrete Representation Learning**",
        "Aäron van den Oord",
        "<https://arxiv.org/abs/1711.00937>",
        "{cite:p}`oord2017neural`",
        "{bdg-success}`implemented`",
        "<#section-vector-quantization>",
        "from impl.quantizers.vq_vae import VectorQuantizer",
        "impl\\/quantizers\\/vq\\_vae\\.py\\, line 4",
        ':pyobject: "VectorQuantizer"',
        "Codes are discrete\\.",
        "`tests/test_vq.py::test_discrete`",
        "**Kept**\n\n- the three losses",
        "**Left out**\n\n- WaveNet",
        "- **Built on by:** [Odd](<odd.md>)",
        "@inproceedings{oord2017neural,",
    ):
        assert fact in card
    assert "**Simplified**" not in card
    assert "24.1" in card.replace("\\", "")


def test_a_work_without_an_implementation_has_neither_code_nor_claim(repository, out):
    card = pages(repository, out)["works/odd.md"]
    assert "{bdg-light}`catalogued`" in card
    assert "## Code" not in card and "## Claim" not in card and "## Fidelity" not in card
    assert "- **Builds on:** [VQ\\-VAE](<vq-vae.md>)" in card
    assert 'Two lines\\, \\"quoted\\"\\.' in card
    assert "`odd`, `strange`" in card


def test_seeds_are_put_together(repository, out):
    repository.write(
        "survey/results/vq.csv",
        "id,data,bits,metric,value,seed,steps,device,versions,commit\n"
        "vq-vae,digits,64,PSNR,20,0,300,cpu,x,y\nvq-vae,digits,64,PSNR,22,1,300,cpu,x,y\n"
        "vq-vae,digits,32,PSNR,15.25,0,300,cpu,x,y\n",
    )
    (two, one) = read_results(repository.root)["vq-vae"]
    assert (two.bits, two.values, two.mean) == ("64", (20.0, 22.0), 21.0)
    assert (one.bits, one.values) == ("32", (15.25,))
    card = pages(repository, out)["works/vq-vae.md"].replace("\\", "")
    assert "| digits | 64 | PSNR | 21 | 20 to 22 | 2 | 300 |" in card
    assert "| digits | 32 | PSNR | 15.25 | 15.25 | 1 | 300 |" in card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,metric\nvq-vae,PSNR\n",
            "vq.csv: line 1 must name the columns id, metric, value, value is missing",
        ),
        ("", "vq.csv: line 1 must name the columns id, metric, value, id is missing"),
        ("id,metric,value\nvq-vae,PSNR,good\n", "vq.csv: line 2: value must be a number, given 'good'"),
        ("id,metric,value\nvq-vae,PSNR\n", "vq.csv: line 2: value must be a number, given None"),
    ],
)
def test_results_that_cannot_be_read_are_named(repository, out, text, message):
    repository.write("survey/results/vq.csv", text)
    with pytest.raises(ValueError, match=re.escape(message)):
        pages(repository, out)


def test_the_taxonomy_counts_distinct_works(repository, out):
    taxonomy = pages(repository, out)["taxonomy.md"].replace("\\", "")
    assert "- [2 Fundamental techniques](<#section-fundamental>): 2 works, 1 implemented." in taxonomy
    assert (
        "  - [2.1 Vector quantization](<#section-vector-quantization>): 2 works, 1 implemented." in taxonomy
    )
    assert "  - [2.5 Finite scalar](<#section-finite-scalar>): no works of its own." in taxonomy
    assert "- [5.10 Many modalities](<#section-many>): 1 work, 0 implemented." in taxonomy
    assert "| quantizer | 1 | latents into codes |" in taxonomy


def test_the_works_stand_in_every_section_that_lists_them(repository, out):
    works = pages(repository, out)["works.md"]
    of_many = works.partition("(section-many)=")[2]
    assert "(<works/odd.md>)" in of_many and "(<works/vq-vae.md>)" not in of_many
    assert works.count("(<works/odd.md>)") == 2


def test_chapters_are_linked_once_they_are_built(repository, out):
    assert "chapters" not in pages(repository, out)["works/vq-vae.md"]
    repository.write("book/chapters/vq.ipynb", "{}")
    built = pages(repository, out)
    assert "[](<../../chapters/vq.ipynb>)" in built["works/vq-vae.md"]
    assert "Explained in [](<../chapters/vq.ipynb>)." in built["works.md"]


def test_code_is_linked_to_the_repository_that_the_book_names(repository, out):
    repository.write("_config.yml", "repository: {url: 'https://example.org/a/b/', branch: main}\n")
    card = pages(repository, out)["works/vq-vae.md"]
    assert "<https://example.org/a/b/blob/main/impl/quantizers/vq_vae.py#L4>" in card
    assert "<https://example.org/a/b/blob/main/tests/test_vq.py>" in card


def test_the_picture_is_sound_opaque_and_has_a_bar_for_each_section(repository, out):
    repository.replace("survey/sections.yml", "title: Finite scalar", 'title: "<b>&amp; \'x\' \\"y\\""')
    picture = ElementTree.fromstring(pages(repository, out)["taxonomy.svg"])
    space = "{http://www.w3.org/2000/svg}"
    rectangles = picture.findall(f"{space}rect")
    assert rectangles[0].attrib == {
        "width": picture.get("width"),
        "height": picture.get("height"),
        "fill": "#ffffff",
    }
    labels = [text.text for text in picture.findall(f"{space}text")]
    assert "2.5 <b>&amp; 'x' \"y\"" in labels
    assert "1 of 2" in labels
    # the paper, 2.1's two works and the one implemented among them, the legend
    assert [item.get("width") for item in rectangles[1:]] == ["220.0", "110.0", "12", "12"]


def test_a_second_rendering_touches_nothing(repository, out):
    first = render(load(repository.root), out)
    for path in first:
        os.utime(path, (1, 1))
    again = render(load(repository.root), out)
    assert again == first == sorted(first)
    assert {path.name for path in again if path.stat().st_mtime != 1} == set()


def test_a_change_touches_only_the_pages_that_show_it(repository, out):
    for path in render(load(repository.root), out):
        os.utime(path, (1, 1))
    repository.replace("survey/systems/odd.yml", '"quoted"', "in quotes")
    touched = {path.name for path in render(load(repository.root), out) if path.stat().st_mtime != 1}
    assert touched == {"odd.md"}


def test_pages_of_works_that_are_gone_vanish_and_nothing_else(repository, out):
    render(load(repository.root), out)
    (out / "works" / "mine.md").write_text("mine")
    (repository.root / "systems" / "odd.yml").unlink()
    text = (repository.root / "papers.bib").read_text(encoding="utf-8")
    (repository.root / "papers.bib").write_text(text[: text.index("@misc")], encoding="utf-8")
    render(load(repository.root), out)
    assert sorted(path.name for path in (out / "works").iterdir()) == ["mine.md", "vq-vae.md"]
    assert "works/odd.md" not in (out / LIST).read_text().splitlines()


def test_a_list_of_pages_cannot_delete_outside_of_its_folder(repository, out):
    outside = repository.write("book/precious.md", "precious")
    out.mkdir(parents=True)
    (out / LIST).write_text("../precious.md\nworks/../../precious.md\n\n.\n")
    render(load(repository.root), out)
    assert outside.read_text() == "precious"


def shown(html: str) -> str:
    """Return the text of an article as a reader sees it."""
    body = re.search(r'<div class="body" role="main">(.*?)<div class="sphinxsidebar"', html, re.DOTALL)[1]
    return " ".join(unescape(re.sub(r"<[^>]+>", "", body)).split())


def test_sphinx_takes_the_pages_without_a_warning_and_shows_hard_text_unharmed(repository, out):
    repository.replace("survey/systems/odd.yml", "name: Odd", f"name: '{HARD_NAME}'")
    repository.replace(
        "survey/systems/odd.yml", "kind: model", "kind: model\ncode: https://example.org/?a=1&b=2"
    )
    repository.write("conf.py", SPHINX)
    repository.write("index.md", INDEX)
    title = load(repository.root)["odd"].title
    assert title.startswith('<script>alert("1") & costs $5:') and title.endswith("of 100% C#")
    render(load(repository.root), out)
    site = repository.folder / "_site"
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "html", ".", str(site)]
    run = subprocess.run(command, cwd=repository.folder, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    card = (site / "book/_generated/works/odd.html").read_text(encoding="utf-8")
    assert "<script>alert" not in card
    assert HARD_NAME in shown(card) and title in shown(card)
    assert 'href="https://example.org/?a=1&amp;b=2"' in card
    listed = shown((site / "book/_generated/works.html").read_text(encoding="utf-8"))
    assert HARD_NAME in listed and title in listed
    own = (site / "book/_generated/works/vq-vae.html").read_text(encoding="utf-8")
    assert "class VectorQuantizer(Quantizer):" in shown(own)
    bibliography = shown((site / "book/_generated/bibliography.html").read_text(encoding="utf-8"))
    assert "Neural discrete representation learning" in bibliography and "100%" in bibliography


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    catalog = load(ROOT)
    return catalog, {
        path.name: path for path in render(catalog, tmp_path_factory.mktemp("book") / "_generated")
    }


def test_every_work_of_the_catalog_has_a_card_with_its_title_and_citation(real):
    catalog, found = real
    for work in catalog:
        card = found[f"{work.id}.md"].read_text(encoding="utf-8")
        assert f"{{cite:p}}`{work.key}`" in card
        assert " ".join(work.title.split()) in card.replace("\\", "")
        assert work.bibtex in card


def test_every_work_of_the_catalog_is_listed_once_for_each_of_its_sections(real):
    catalog, found = real
    works = found["works.md"].read_text(encoding="utf-8")
    for work in catalog:
        assert works.count(f"(<works/{work.id}.md>)") == len(work.sections)


def test_there_is_one_bibliography(real):
    _, found = real
    holding = [name for name, path in found.items() if "{bibliography}" in path.read_text(encoding="utf-8")]
    assert holding == ["bibliography.md"]
