"""Loading, looking up and ordering; and the cache, which may be lost or spoilt at any time."""

import os
import subprocess
import sys

import pytest

import survey
from survey import cache, catalog
from survey.catalog import FIELDS, Work, load
from survey.order import sorted_works
from survey.problems import CatalogError, UnknownWork
from survey.query import QueryError


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Each test starts as a new process would: nothing loaded."""
    monkeypatch.setattr(catalog, "_loaded", {})


def test_a_work_has_its_facts_as_unicode(repository):
    work = load(repository.root)["vq-vae"]
    assert work.authors == ("Aäron van den Oord", "Oriol Vinyals", "Koray Kavukcuoglu")
    assert work.title == "Neural Discrete Representation Learning"
    assert (work.year, work.venue) == (2017, "Advances in Neural Information Processing Systems")
    assert (work.arxiv, work.doi, work.url) == ("1711.00937", None, "https://arxiv.org/abs/1711.00937")
    assert (work.status, work.chapter) == ("implemented", "vq")
    assert work.fidelity == {"kept": ("the three losses",), "simplified": (), "left_out": ("WaveNet",)}
    assert work.bibtex.startswith("@inproceedings{oord2017neural,")
    assert work.bibtex.endswith("}")
    hash(work)


def test_latex_in_titles_and_names(repository):
    work = load(repository.root)["odd"]
    assert work.title == '<script>alert("1") & costs $5: a “Tale” of 100% C#'
    assert work.authors == ("Discrete AI", "José Doe")
    assert work.note == 'Two lines,\n"quoted".'
    assert (work.status, work.chapter, work.url) == ("catalogued", None, "https://doi.org/10.1000/182")


def test_works_come_by_year_and_id(repository):
    assert [work.id for work in load(repository.root)] == ["vq-vae", "odd"]
    whole = load()
    assert list(whole) == sorted(whole, key=lambda work: (work.year, work.id))


@pytest.mark.parametrize(
    "text",
    [
        "vq-vae",
        "VQ-VAE",
        " oord2017neural ",
        "1711.00937",
        "1711.00937v2",
        "arXiv:1711.00937",
        "https://arxiv.org/abs/1711.00937v1",
        "http://www.arxiv.org/pdf/1711.00937.pdf",
    ],
)
def test_any_id_names_a_work(repository, text):
    assert load(repository.root)[text].id == "vq-vae"
    assert text in load(repository.root)


@pytest.mark.parametrize(
    "text", ["10.1000/182", "doi:10.1000/182", "https://doi.org/10.1000/182", "strange", "Odd"]
)
def test_dois_and_aliases_name_a_work(repository, text):
    assert load(repository.root)[text].id == "odd"


def test_every_id_of_the_real_catalog_leads_back():
    whole = load()
    for work in whole:
        assert whole[work.id] is work
        assert all(whole[text] is work for text in work.aliases)
        assert all(whole[text].key == work.key for text in (work.arxiv, work.doi) if text)
        assert whole[work.key].key.casefold() == work.key.casefold()


def test_a_large_catalog_finds_what_a_walk_finds(large_catalog):
    found = large_catalog.query("technique:RVQ section:3 year>=2010 status:implemented -modality:none")
    assert found == [
        work
        for work in large_catalog
        if "RVQ" in work.techniques
        and work.sections[0].startswith("3.")
        and work.year >= 2010
        and work.implementation
        and work.modalities
    ]
    assert len(found) > 20
    assert large_catalog.query('"quan0 quan1"') == [
        work for work in large_catalog if " quan0 quan1" in f" {work.name} | {work.title}"
    ]
    assert all(large_catalog[work.arxiv].arxiv == work.arxiv for work in found)


def test_an_unknown_id_names_the_nearest(repository):
    with pytest.raises(UnknownWork, match="'vq-vea'; the nearest id is 'vq-vae'"):
        load(repository.root)["vq-vea"]
    with pytest.raises(KeyError):
        load(repository.root)["nothing like it"]
    assert "vq-vea" not in load(repository.root)


def test_query_and_sort(repository):
    found = load(repository.root)
    assert [work.id for work in found.query("section:2.1")] == ["vq-vae", "odd"]
    assert [work.id for work in found.query("", sort="-year")] == ["odd", "vq-vae"]
    assert [work.id for work in found.query("", sort="name")] == ["odd", "vq-vae"]
    with pytest.raises(
        ValueError, match=r"sort must be a legal value \(the nearest is 'year'\), given 'yeer'"
    ):
        found.query("", sort="yeer")


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_sorts_with_absent_values_last(repository, field):
    works = load(repository.root).works
    for sort in (field, f"-{field}"):
        ordered = sorted_works(works, sort)
        assert sorted(ordered, key=lambda w: w.id) == sorted(works, key=lambda w: w.id)
        present = [bool(getattr(work, field)) for work in ordered]
        assert present == sorted(present, reverse=True)


def test_section_numbers_sort_as_numbers():
    works = [
        Work(id=s, key=s, name=s, title=s, authors=(), year=2020, kind="model", sections=(s,))
        for s in ("5.10", "5.9", "5.1", "ntp-2.1", "related")
    ]
    assert [w.id for w in sorted_works(works, "sections")] == ["5.1", "5.9", "5.10", "ntp-2.1", "related"]


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="root must be the folder of a catalog"):
        load(tmp_path / "nowhere")


# The cache


def test_the_cache_answers_what_the_files_say(repository, monkeypatch):
    first = load(repository.root)
    assert cache.location(repository.root).exists()
    monkeypatch.setattr(catalog, "_loaded", {})
    monkeypatch.setattr(catalog, "_read", lambda *_: pytest.fail("the files were read again"))
    assert load(repository.root) == first


def test_one_process_loads_once(repository):
    first = load(repository.root)
    assert load(repository.root) is first
    repository.replace("survey/systems/odd.yml", "name: Odd", "name: Even")
    assert load(repository.root)["odd"].name == "Even"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("survey/systems/odd.yml", "name: Odd", "name: Changed"),
        ("survey/papers.bib", "year = {2024}", "year = {2023}"),
        ("survey/facets.yml", "VQ: one codebook", "VQ: a single codebook"),
        ("survey/sections.yml", "title: Many modalities", "title: Several modalities"),
        ("book/src/vq.md", "VectorQuantizer()\n", "print()\n"),
    ],
)
def test_a_changed_file_is_seen(repository, monkeypatch, file, old, new):
    before = load(repository.root)
    monkeypatch.setattr(catalog, "_loaded", {})
    repository.replace(file, old, new)
    assert load(repository.root) != before


def test_a_removed_work_is_seen(repository, monkeypatch):
    load(repository.root)
    (repository.root / "systems/odd.yml").unlink()
    with pytest.raises(CatalogError, match="no work cites the BibTeX entry 'doe2024odd'"):
        load(repository.root)


def _spoil(content: bytes) -> list[bytes]:
    header, payload = content.split(b"\n", 1)
    return [
        b"",
        b"\n",
        content[:-10],
        content[: len(content) // 2],
        header,
        b"\xff" + content,
        header + b"\n" + payload.replace(b"Odd", b"Bad"),
        header + b"\n{}",
        header + b"\n[[[",
    ]


@pytest.mark.parametrize("case", range(9))
def test_a_damaged_cache_is_ignored_and_replaced(repository, monkeypatch, case):
    first = load(repository.root)
    path = cache.location(repository.root)
    sound = path.read_bytes()
    path.write_bytes(_spoil(sound)[case])
    monkeypatch.setattr(catalog, "_loaded", {})
    assert load(repository.root) == first
    assert path.read_bytes() == sound


def test_no_cache_folder_is_no_error(repository, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load(repository.root)) == 2


def test_the_cache_leaves_nothing_else_behind(repository):
    load(repository.root)
    assert [path.name for path in cache.folder().iterdir()] == [cache.location(repository.root).name]


def test_a_broken_catalog_is_not_cached(repository):
    repository.replace("survey/systems/odd.yml", "kind: model", "kind: modle")
    with pytest.raises(CatalogError):
        load(repository.root)
    assert not cache.location(repository.root).exists()


@pytest.mark.parametrize("heavy", ["torch", "numpy", "pydantic", "yaml", "bibtexparser", "rich", "typer"])
def test_a_cached_query_imports_nothing_heavy(repository, heavy):
    load(repository.root)
    program = (
        "import sys, survey, pathlib; survey.load(pathlib.Path(sys.argv[1])).query('section:2.1');"
        "sys.exit(sys.argv[2] in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(repository.root), heavy]
    assert subprocess.run(command, env=os.environ).returncode == 0


def test_what_the_package_offers():
    assert {"load", "Catalog", "Work", "CatalogError", "UnknownWork"} <= set(survey.__all__)


def test_a_section_without_works_is_legal_and_finds_nothing():
    catalog = survey.load()
    assert catalog.query("section:6") == []
    with pytest.raises(QueryError, match=r"unknown section '6\.9'"):
        catalog.query("section:6.9")
