"""Each way to break a catalog gives one sentence with file, line and the nearest legal value."""

import pytest

from survey.catalog import ROOT, load
from survey.crosschecks import circles
from survey.export import as_csl, to_bibtex
from survey.problems import CatalogError
from survey.validate import read

VQ = "survey/systems/vq-vae.yml"
ODD = "survey/systems/odd.yml"
BIB = "survey/papers.bib"

ENTRY = """
@misc{%s,
  author = {Roe, Jane},
  title = {%s},
  year = {2020},
}
"""


def test_a_sound_catalog_has_no_problems(repository):
    assert repository.problems() == []


def test_the_catalog_of_this_repository_can_be_read():
    catalog, found = read(ROOT)
    assert found == []
    assert len(catalog) == len(list((ROOT / "systems").glob("*.yml")))


# (file, old, new, what is said); the problem stands on the line that changed
CHANGED = [
    (
        VQ,
        "kind: quantizer",
        "kind: quantiser",
        "kind must be a legal value (the nearest is 'quantizer'), given 'quantiser'",
    ),
    (
        VQ,
        "techniques: [VQ]",
        "techniques: [RVW]",
        "techniques must be a legal value (the nearest is 'RVQ'), given 'RVW'",
    ),
    (VQ, "[image, audio]", "[image, image]", "modalities lists 'image' twice"),
    (
        VQ,
        'sections: ["2.1"]',
        'sections: ["2.11"]',
        "sections must be a legal value (the nearest is '2.1'), given '2.11'",
    ),
    (VQ, 'sections: ["2.1"]', "sections: [2.1]", "sections[0] must be text, given 2.1 (quote it: '2.1')"),
    (VQ, 'sections: ["2.1"]', "sections: []", "sections must not be empty"),
    (VQ, 'sections: ["2.1"]', "sections: '2.1'", "sections must be a list, given '2.1'"),
    (
        VQ,
        "modalities:",
        "modalites:",
        "unknown key 'modalites': a key must be a legal value (the nearest is 'modalities')",
    ),
    (VQ, "claim: Codes", "name: Codes", "the key 'name' is written twice, first on line 1"),
    (
        VQ,
        "cite: oord2017neural",
        "cite: oord2018neural",
        "cite must be a key of papers.bib, a legal value (the nearest is 'oord2017neural'), given "
        "'oord2018neural'",
    ),
    (
        VQ,
        "  simplified: []",
        "  simplifed: []",
        "unknown key 'fidelity.simplifed': a key must be a legal value (the nearest is 'simplified')",
    ),
    (VQ, "kept: [the three losses]", "kept: []", "fidelity.kept must not be empty"),
    (
        VQ,
        "vq_vae:VectorQuantizer",
        "vq_vae.VectorQuantizer",
        "implementation must be module:Class, such as impl.quantizers.fsq:FSQ, given "
        "'impl.quantizers.vq_vae.VectorQuantizer'",
    ),
    (
        VQ,
        "tests/test_vq.py::test_discrete",
        "test_discrete",
        "evidence must be tests/<file>.py::<test> or tests/<file>.py::<Class>::<test>, given 'test_discrete'",
    ),
    (
        ODD,
        "builds_on: [vq-vae]",
        "builds_on: [vq-va]",
        "builds_on must name works by id, a legal value (the nearest is 'vq-vae'), given 'vq-va'",
    ),
    (ODD, "builds_on: [vq-vae]", "builds_on: [odd]", "builds_on goes in a circle: odd -> odd"),
    (
        ODD,
        "builds_on: [vq-vae]",
        "code: 'javascript:alert(1)'",
        "code must be an http or https address, given 'javascript:alert(1)'",
    ),
    (ODD, "aliases: [strange]", "aliases: [vq-vae]", "the alias 'vq-vae' already names the work 'vq-vae'"),
    (ODD, "name: Odd", "name: 2024", "name must be text, given 2024 (quote it: '2024')"),
    (ODD, "name: Odd", "name: ' Odd'", "name must be one line of text, given ' Odd'"),
    (
        BIB,
        "year = {2024}",
        "year = {in press}",
        "year of 'doe2024odd' must be a year such as 2017, given 'in press'",
    ),
    (
        BIB,
        "doi = {10.1000/182}",
        "doi = {doi:182}",
        "doi of 'doe2024odd' must be a DOI such as 10.1000/182, given 'doi:182'",
    ),
    (
        BIB,
        "doi = {10.1000/182}",
        "url = {javascript:alert(1)}",
        "url of 'doe2024odd' must be an http or https address, given 'javascript:alert(1)'",
    ),
    (
        BIB,
        "eprint = {1711.00937}",
        "eprint = {1711.937}",
        "eprint of 'oord2017neural' must be an arXiv number, as 1711.00937, given '1711.937'",
    ),
    (
        BIB,
        "{Neural Discrete Representation Learning}",
        "{100% Neural}",
        r"title of 'oord2017neural': an unescaped % starts a LaTeX comment: write \%",
    ),
    (
        BIB,
        "{Neural Discrete Representation Learning}",
        "{A $5 Codebook}",
        r"title of 'oord2017neural': an unescaped $ opens mathematics that nothing closes: write \$",
    ),
    (
        "survey/facets.yml",
        "techniques: {VQ",
        "technique: {VQ",
        "unknown key 'technique': a key must be a legal value (the nearest is 'techniques')",
    ),
    (
        "survey/sections.yml",
        '{number: "2.5", slug: finite-scalar',
        '{number: "2.1", slug: finite-scalar',
        "the number '2.1' is used twice",
    ),
    (
        "survey/sections.yml",
        "slug: many",
        "slug: vector-quantization",
        "the slug 'vector-quantization' is used twice",
    ),
    (
        "survey/sections.yml",
        'title: Finite scalar, parent: "2"',
        'title: Finite scalar, parent: "3"',
        "parent must be a section above it, a legal value (the nearest is '2'), given '3'",
    ),
    (
        "survey/sections.yml",
        "chapters: [vq]",
        "chapters: [qv]",
        "chapters must name files of book/src, one of vq, given 'qv'",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), CHANGED)
def test_a_change_is_reported_at_its_line(repository, file, old, new, message):
    line = repository.replace(file, old, new)
    assert (file, line, message) in repository.problems()


@pytest.mark.parametrize("name", ["papers.bib", "facets.yml", "sections.yml"])
def test_a_missing_file(repository, name):
    (repository.root / name).unlink()
    assert (f"survey/{name}", 1, "the file is missing") in repository.problems()


def test_a_missing_folder_of_systems(repository):
    for path in (repository.root / "systems").iterdir():
        path.unlink()
    (repository.root / "systems").rmdir()
    assert ("survey/systems", 1, "the folder is missing") in repository.problems()


def test_a_file_that_is_no_id(repository):
    (repository.folder / ODD).rename(repository.root / "systems" / "Odd_One.yml")
    assert ("survey/systems/Odd_One.yml", 1) in [p[:2] for p in repository.problems()]


def test_an_unreadable_record_does_not_make_others_wrong(repository):
    line = repository.replace(VQ, "kind: quantizer", "kind: [quantizer")
    found = repository.problems()
    assert {file for file, _, _ in found if file in (BIB, ODD)} == set()
    assert (VQ, line + 1) in [p[:2] for p in found]


def test_a_duplicate_bibtex_key(repository):
    line = repository.append(BIB, ENTRY % ("doe2024odd", "Another")) + 1
    assert (BIB, line, "the BibTeX key 'doe2024odd' is used twice") in repository.problems()


def test_an_unused_bibtex_entry(repository):
    line = repository.append(BIB, ENTRY % ("roe2020unused", "Unused")) + 1
    assert repository.problems() == [(BIB, line, "no work cites the BibTeX entry 'roe2020unused'")]


def test_one_entry_cited_by_two_works(repository):
    repository.replace(ODD, "builds_on: [vq-vae]", "builds_on: []")
    line = repository.replace(ODD, "cite: doe2024odd", "cite: oord2017neural")
    message = "the work is listed twice: 'odd' cites 'oord2017neural' too"
    assert (VQ, 2, f"{message} (a paper's second system builds_on its first)") in repository.problems()
    assert line == 2


def test_the_second_system_of_a_paper(repository):
    repository.replace(ODD, "cite: doe2024odd", "cite: oord2017neural")
    text = (repository.folder / BIB).read_text(encoding="utf-8")
    repository.write(BIB, text[: text.index("@misc{doe2024odd")])
    assert repository.problems() == []
    whole = load(repository.root)
    assert whole["odd"].key == whole["vq-vae"].key == "oord2017neural"
    assert whole["1711.00937"] is whole["oord2017neural"] is whole["vq-vae"]
    assert to_bibtex(whole).count("@") == len(as_csl(whole)) == len(whole) - 1


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("eprint = {1711.00937v3}", "eprint"),
        ("title = {neural discrete -- representation learning}", "title"),
    ],
)
def test_one_paper_under_two_keys(repository, field, name):
    entry = f"@misc{{a2020a,\n  author = {{A}},\n  year = {{2020}},\n  {field},\n}}\n"
    line = repository.append(BIB, entry) + 3
    message = f"the paper is listed twice: 'oord2017neural' and 'a2020a' have the same {name}"
    assert (BIB, line, message) in repository.problems()


def test_a_circle_of_two(repository):
    repository.append(VQ, "builds_on: [odd]\n")
    found = repository.problems()
    assert [p for p in found if "circle" in p[2]] == [
        (ODD, 6, "builds_on goes in a circle: odd -> vq-vae -> odd"),
    ]


def test_circles_are_all_found():
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["d"], "e": ["a"], "f": ["g"], "g": ["f"]}
    assert sorted(circles(graph)) == [["a", "b", "c"], ["d"], ["f", "g"]]
    assert list(circles({"a": ["b"], "b": [], "c": ["a", "b"]})) == []


def test_every_problem_is_reported_at_once(repository):
    repository.replace(VQ, "kind: quantizer", "kind: thing")
    repository.replace(ODD, "llm: [Llama]", "llm: [Lama]")
    repository.replace(BIB, "doi = {10.1000/182}", "doi = {182}")
    with pytest.raises(CatalogError) as caught:
        load(repository.root)
    assert {problem.file for problem in caught.value.problems} == {VQ, ODD, BIB}
    assert len(str(caught.value).splitlines()) == 3
