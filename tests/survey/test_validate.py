"""Each way to break a catalog gives one sentence with file, line and the nearest legal value."""

import pytest

from survey.catalog import ROOT, CatalogError, load
from survey.crosschecks import circles
from survey.validate import check, read

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


def problems(repository) -> list[tuple[str, int, str]]:
    return [(p.file, p.line, p.message) for p in check(repository.root)]


def append(repository, name: str, text: str) -> int:
    """Append to a file and return the line that ``text`` starts on."""
    path = repository.folder / name
    before = path.read_text(encoding="utf-8")
    repository.write(name, before + text)
    return before.count("\n") + 1


def test_a_sound_catalog_has_no_problems(repository):
    assert problems(repository) == []


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
    assert (file, line, message) in problems(repository)


# (file, its whole text, the line of the problem, what is said)
MALFORMED = [
    (VQ, "name: VQ-VAE\ntasks: [a\nkind: b\n", 3, "malformed YAML: while parsing a flow sequence"),
    (VQ, "name: VQ-VAE\n\tcite: x\n", 2, "malformed YAML: while scanning a plain scalar found a tab"),
    (VQ, "- a list\n", 1, "the file must be a mapping of keys to values, given ['a list']"),
    (VQ, "", 1, "the file must be a mapping of keys to values, given None"),
    (VQ, "name: &a [*a]\n", 1, "malformed YAML: a value contains itself"),
    (VQ, "name: a\n---\nname: b\n", 2, "malformed YAML: expected a single document"),
    (VQ, "name: !!python/object:os.system x\n", 1, "malformed YAML: could not determine a constructor"),
    (VQ, "name: a\ncite: 2020-99-99\n", 1, "malformed YAML: month must be in 1..12"),
    (VQ, "cite: oord2017neural\nkind: quantizer\nsections: ['2.1']\n", 1, "the key 'name' is missing"),
    ("survey/sections.yml", "a: b\n", 1, "the file must be a list of sections"),
    ("survey/saved_queries.yml", "a: b\n", 1, "must be a list of saved queries"),
    (
        "survey/saved_queries.yml",
        "- {name: a, query: b, about: c}\n- {name: d}\n",
        2,
        "a saved query has the keys",
    ),
    (
        "survey/saved_queries.yml",
        "- {name: a, query: b, about: c}\n- {name: a, query: b, about: c}\n",
        2,
        "the name 'a' is used twice",
    ),
    (
        "survey/saved_queries.yml",
        "- name: a\n  query: 'technique:VQQ'\n  about: c\n",
        2,
        "query: unknown technique 'VQQ' (the nearest is 'VQ')",
    ),
    ("survey/saved_queries.yml", "- name: a\n  query: '(a'\n  about: c\n", 2, "query: "),
    (
        "survey/results/vq.csv",
        "id,value\nvq-vae,1\nvq-vea,2\n",
        3,
        "id must name a work, a legal value (the nearest is 'vq-vae')",
    ),
    (
        "survey/results/vq.csv",
        "name,value\nvq-vae,1\n",
        1,
        "the first row must name the columns, 'id' among them",
    ),
    ("survey/results/vq.csv", 'id,value\nvq-vae,"1\n', 2, "malformed CSV"),
    (BIB, "@misc{a,\n title = {A}\n", 1, "malformed BibTeX near '@misc{a, title = {A}'"),
    (BIB, "% fine\n\nstray\n", 3, "text outside any BibTeX entry"),
    (BIB, '@string{nips = "Neural"}\n', 1, "@string is not used here"),
    (BIB, "@misc{a,\n title = {A},\n title = {B},\n}\n", 1, "a BibTeX entry has fields twice: title"),
    (BIB, "@misc{a,\n title = nips,\n}\n", 1, "title of 'a' must stand in braces, given nips"),
    (BIB, "@misc{a,\n year = {2020},\n title = {T},\n}\n", 1, "'a' has no author"),
]


@pytest.mark.parametrize(("file", "text", "line", "message"), MALFORMED)
def test_a_malformed_file_is_reported_at_its_line(repository, file, text, line, message):
    repository.write(file, text)
    found = problems(repository)
    assert any(p[:2] == (file, line) and p[2].startswith(message) for p in found), found


def test_bytes_that_are_no_text(repository):
    (repository.folder / VQ).write_bytes(b"name: a\ncite: \xff\n")
    assert (VQ, 2, "not UTF-8: byte 0xff") in problems(repository)


def test_control_characters_in_yaml_are_found_on_their_line(repository):
    repository.write(VQ, "name: a\ncite: \x01\n")
    assert any(p[:2] == (VQ, 2) and p[2].startswith("malformed YAML") for p in problems(repository))


@pytest.mark.parametrize("name", ["papers.bib", "facets.yml", "sections.yml"])
def test_a_missing_file(repository, name):
    (repository.root / name).unlink()
    assert (f"survey/{name}", 1, "the file is missing") in problems(repository)


def test_a_missing_folder_of_systems(repository):
    for path in (repository.root / "systems").iterdir():
        path.unlink()
    (repository.root / "systems").rmdir()
    assert ("survey/systems", 1, "the folder is missing") in problems(repository)


def test_a_file_that_is_no_id(repository):
    (repository.folder / ODD).rename(repository.root / "systems" / "Odd_One.yml")
    assert ("survey/systems/Odd_One.yml", 1) in [p[:2] for p in problems(repository)]


def test_an_unreadable_record_does_not_make_others_wrong(repository):
    line = repository.replace(VQ, "kind: quantizer", "kind: [quantizer")
    found = problems(repository)
    assert {file for file, _, _ in found if file in (BIB, ODD)} == set()
    assert (VQ, line + 1) in [p[:2] for p in found]


def test_a_duplicate_bibtex_key(repository):
    line = append(repository, BIB, ENTRY % ("doe2024odd", "Another")) + 1
    assert (BIB, line, "the BibTeX key 'doe2024odd' is used twice") in problems(repository)


def test_an_unused_bibtex_entry(repository):
    line = append(repository, BIB, ENTRY % ("roe2020unused", "Unused")) + 1
    assert problems(repository) == [(BIB, line, "no work cites the BibTeX entry 'roe2020unused'")]


def test_one_entry_cited_by_two_works(repository):
    line = repository.replace(ODD, "cite: doe2024odd", "cite: oord2017neural")
    message = "the work is listed twice: 'odd' cites 'oord2017neural' too"
    assert (VQ, 2, message) in problems(repository)
    assert line == 2


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("eprint = {1711.00937v3}", "eprint"),
        ("title = {neural discrete -- representation learning}", "title"),
    ],
)
def test_one_paper_under_two_keys(repository, field, name):
    entry = f"@misc{{a2020a,\n  author = {{A}},\n  year = {{2020}},\n  {field},\n}}\n"
    line = append(repository, BIB, entry) + 3
    message = f"the paper is listed twice: 'oord2017neural' and 'a2020a' have the same {name}"
    assert (BIB, line, message) in problems(repository)


def test_a_circle_of_two(repository):
    append(repository, VQ, "builds_on: [odd]\n")
    found = problems(repository)
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


# Links: code, tests, chapters


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            "import nowhere_to_be_found\n",
            "fails with ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def VectorQuantizer(): pass\n", "is no class"),
        ("class Other: pass\n", "is not defined in impl.quantizers.vq_vae"),
        ("def broken(:\n", "fails with SyntaxError"),
        ("raise SystemExit(3)\n", "fails with SystemExit: 3"),
        ("import os\nos._exit(3)\n", "ends the Python that imports it"),
        ("print('noise')\nimport os; os.write(2, b'x')\nVectorQuantizer = 3\n", "is no class"),
    ],
)
def test_an_implementation_that_is_no_importable_class(repository, module, reason):
    repository.write("impl/quantizers/vq_vae.py", module)
    (message,) = [p[2] for p in problems(repository) if p[:2] == (VQ, 8) and "imported" in p[2]]
    prefix = (
        "implementation must name a class that can be imported, 'impl.quantizers.vq_vae:VectorQuantizer' "
    )
    assert message.startswith(prefix + reason)


@pytest.mark.parametrize("key", ["claim", "evidence"])
def test_what_an_implementation_owes(repository, key):
    text = (repository.folder / VQ).read_text(encoding="utf-8")
    repository.write(VQ, "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(f"{key}:")))
    assert (VQ, 8, f"an implementation owes the key {key!r}") in problems(repository)


def test_fidelity_is_owed(repository):
    text = (repository.folder / VQ).read_text(encoding="utf-8")
    repository.write(VQ, text[: text.index("fidelity:")])
    assert problems(repository) == [(VQ, 8, "an implementation owes the key 'fidelity'")]


def test_evidence_needs_an_implementation(repository):
    line = append(repository, ODD, "evidence: tests/test_vq.py::test_discrete\n")
    assert problems(repository) == [(ODD, line, "evidence without an implementation")]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ("tests/none.py::test_a", "evidence must name a test, there is no readable file tests/none.py"),
        (
            "tests/test_vq.py::test_discreet",
            "evidence must name a test of tests/test_vq.py, a legal value "
            "(the nearest is 'test_discrete'), given 'test_discreet'",
        ),
    ],
)
def test_evidence_that_names_no_test(repository, evidence, message):
    line = repository.replace(VQ, "tests/test_vq.py::test_discrete", evidence)
    assert problems(repository) == [(VQ, line, message)]


def test_evidence_may_be_a_method(repository):
    repository.write("tests/test_vq.py", "class TestVQ:\n    def test_discrete(self): ...\n")
    repository.replace(VQ, "test_vq.py::test_discrete", "test_vq.py::TestVQ::test_discrete")
    assert problems(repository) == []


@pytest.mark.parametrize(
    "cell",
    [
        "```{code-cell}\nfrom impl.quantizers.vq_vae import VectorQuantizer\n```\n",
        "```python\nVectorQuantizer()\n```\n",
        "VectorQuantizer\n",
        "```{code-cell}\n# VectorQuantizer\nprint('VectorQuantizer')\n```\n",
    ],
)
def test_a_chapter_that_never_uses_the_class(repository, cell):
    repository.write("book/src/vq.md", f"# Title\n\n{cell}")
    message = "no code cell in the chapters of its sections (2.1) uses VectorQuantizer"
    assert problems(repository) == [(VQ, 8, message)]


def test_magics_and_cell_options_do_not_hide_a_use(repository):
    options = "---\ntags: [a]\n---\n%matplotlib inline\n"
    cell = f"```{{code-cell}} ipython3\n{options}import impl\nimpl.x.VectorQuantizer(3)\n```\n"
    repository.write("book/src/vq.md", cell)
    assert problems(repository) == []


def test_a_chapter_outside_the_table_of_contents(repository):
    repository.write("book/_toc.yml", "format: jb-book\nroot: intro\n")
    assert problems(repository) == [("survey/sections.yml", 2, "the chapter 'vq' is not in book/_toc.yml")]


def test_without_a_table_of_contents_no_chapter_is_outside_it(repository):
    (repository.folder / "book/_toc.yml").unlink()
    assert problems(repository) == []


def test_a_class_under_a_contract_has_to_be_linked(repository):
    line = (
        append(
            repository, "impl/quantizers/vq_vae.py", "\n\nclass EMAQuantizer(VectorQuantizer):\n    pass\n"
        )
        + 2
    )
    target = "impl.quantizers.vq_vae:EMAQuantizer"
    message = f"{target} keeps a contract and is in no catalog file: link it or give it part_of"
    assert problems(repository) == [("impl/quantizers/vq_vae.py", line, message)]


@pytest.mark.parametrize("part_of", ["vq-vae", "a shared part of several works"])
def test_a_part_says_what_it_belongs_to(repository, part_of):
    append(
        repository,
        "impl/quantizers/vq_vae.py",
        f"\n\nclass Part(VectorQuantizer):\n    part_of = {part_of!r}\n",
    )
    assert problems(repository) == []


def test_a_part_of_nothing(repository):
    text = "\n\nclass Part(VectorQuantizer):\n    part_of = 'vq-vea'\n"
    line = append(repository, "impl/quantizers/vq_vae.py", text) + 2
    assert problems(repository) == [
        (
            "impl/quantizers/vq_vae.py",
            line,
            "part_of of impl.quantizers.vq_vae:Part must be a sentence or an id, "
            "a legal value (the nearest is 'vq-vae'), given 'vq-vea'",
        )
    ]


def test_part_of_is_not_inherited(repository):
    text = "\n\nclass Part(Quantizer):\n    part_of = 'vq-vae'\n\n\nclass Child(Part):\n    pass\n"
    append(repository, "impl/quantizers/vq_vae.py", text)
    assert [p[2].split()[0] for p in problems(repository)] == ["impl.quantizers.vq_vae:Child"]


def test_an_abstract_class_needs_no_link(repository):
    text = (
        "\n\nimport abc\n\n\nclass Base(Quantizer, abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
    )
    append(repository, "impl/quantizers/vq_vae.py", text)
    assert problems(repository) == []


def test_an_implementation_may_be_named_through_its_package(repository):
    repository.write("impl/quantizers/__init__.py", "")
    repository.write("impl/shortcut.py", "from impl.quantizers.vq_vae import VectorQuantizer\n")
    repository.replace(VQ, "impl.quantizers.vq_vae:", "impl.shortcut:")
    assert problems(repository) == []


def test_a_broken_module_under_a_contract(repository):
    repository.write("impl/quantizers/broken.py", "1 / 0\n")
    message = "the module cannot be imported: ZeroDivisionError: division by zero"
    assert problems(repository) == [("impl/quantizers/broken.py", 1, message)]
