"""Each broken link of the catalog gives one sentence with file and line."""

import pytest

VQ = "survey/systems/vq-vae.yml"
ODD = "survey/systems/odd.yml"


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
    (message,) = [p[2] for p in repository.problems() if p[:2] == (VQ, 8) and "imported" in p[2]]
    prefix = (
        "implementation must name a class that can be imported, 'impl.quantizers.vq_vae:VectorQuantizer' "
    )
    assert message.startswith(prefix + reason)


@pytest.mark.parametrize("key", ["claim", "evidence"])
def test_what_an_implementation_owes(repository, key):
    text = (repository.folder / VQ).read_text(encoding="utf-8")
    repository.write(VQ, "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(f"{key}:")))
    assert (VQ, 8, f"an implementation owes the key {key!r}") in repository.problems()


def test_fidelity_is_owed(repository):
    text = (repository.folder / VQ).read_text(encoding="utf-8")
    repository.write(VQ, text[: text.index("fidelity:")])
    assert repository.problems() == [(VQ, 8, "an implementation owes the key 'fidelity'")]


def test_evidence_needs_an_implementation(repository):
    line = repository.append(ODD, "evidence: tests/test_vq.py::test_discrete\n")
    assert repository.problems() == [(ODD, line, "evidence without an implementation")]


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
    assert repository.problems() == [(VQ, line, message)]


def test_evidence_may_be_a_method(repository):
    repository.write("tests/test_vq.py", "class TestVQ:\n    def test_discrete(self): ...\n")
    repository.replace(VQ, "test_vq.py::test_discrete", "test_vq.py::TestVQ::test_discrete")
    assert repository.problems() == []


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
    assert repository.problems() == [(VQ, 8, message)]


def test_magics_and_cell_options_do_not_hide_a_use(repository):
    options = "---\ntags: [a]\n---\n%matplotlib inline\n"
    cell = f"```{{code-cell}} ipython3\n{options}import impl\nimpl.x.VectorQuantizer(3)\n```\n"
    repository.write("book/src/vq.md", cell)
    assert repository.problems() == []


def test_a_chapter_outside_the_table_of_contents(repository):
    repository.write("book/_toc.yml", "format: jb-book\nroot: intro\n")
    assert repository.problems() == [("survey/sections.yml", 2, "the chapter 'vq' is not in book/_toc.yml")]


def test_without_a_table_of_contents_no_chapter_is_outside_it(repository):
    (repository.folder / "book/_toc.yml").unlink()
    assert repository.problems() == []


def test_a_class_under_a_contract_has_to_be_linked(repository):
    line = (
        repository.append("impl/quantizers/vq_vae.py", "\n\nclass EMAQuantizer(VectorQuantizer):\n    pass\n")
        + 2
    )
    target = "impl.quantizers.vq_vae:EMAQuantizer"
    message = f"{target} keeps a contract and is in no catalog file: link it or give it part_of"
    assert repository.problems() == [("impl/quantizers/vq_vae.py", line, message)]


@pytest.mark.parametrize("part_of", ["vq-vae", "a shared part of several works"])
def test_a_part_says_what_it_belongs_to(repository, part_of):
    repository.append(
        "impl/quantizers/vq_vae.py",
        f"\n\nclass Part(VectorQuantizer):\n    part_of = {part_of!r}\n",
    )
    assert repository.problems() == []


def test_a_part_of_nothing(repository):
    text = "\n\nclass Part(VectorQuantizer):\n    part_of = 'vq-vea'\n"
    line = repository.append("impl/quantizers/vq_vae.py", text) + 2
    assert repository.problems() == [
        (
            "impl/quantizers/vq_vae.py",
            line,
            "part_of of impl.quantizers.vq_vae:Part must be a sentence or an id, "
            "a legal value (the nearest is 'vq-vae'), given 'vq-vea'",
        )
    ]


def test_part_of_is_not_inherited(repository):
    text = "\n\nclass Part(Quantizer):\n    part_of = 'vq-vae'\n\n\nclass Child(Part):\n    pass\n"
    repository.append("impl/quantizers/vq_vae.py", text)
    assert [p[2].split()[0] for p in repository.problems()] == ["impl.quantizers.vq_vae:Child"]


def test_an_abstract_class_needs_no_link(repository):
    text = (
        "\n\nimport abc\n\n\nclass Base(Quantizer, abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
    )
    repository.append("impl/quantizers/vq_vae.py", text)
    assert repository.problems() == []


def test_an_implementation_may_be_named_through_its_package(repository):
    repository.write("impl/quantizers/__init__.py", "")
    repository.write("impl/shortcut.py", "from impl.quantizers.vq_vae import VectorQuantizer\n")
    repository.replace(VQ, "impl.quantizers.vq_vae:", "impl.shortcut:")
    assert repository.problems() == []


def test_a_broken_module_under_a_contract(repository):
    repository.write("impl/quantizers/broken.py", "1 / 0\n")
    message = "the module cannot be imported: ZeroDivisionError: division by zero"
    assert repository.problems() == [("impl/quantizers/broken.py", 1, message)]


def test_an_entity_quantizer_has_to_be_linked_too(repository):
    repository.write("impl/quantizers/entities.py", "class EntityQuantizer:\n    pass\n")
    text = "from impl.quantizers.entities import EntityQuantizer\n\n\nclass Anchors(EntityQuantizer):\n    pass\n"
    repository.write("impl/quantizers/anchors.py", text)
    message = "impl.quantizers.anchors:Anchors keeps a contract and is in no catalog file: link it or give it part_of"
    assert repository.problems() == [("impl/quantizers/anchors.py", 4, message)]


def test_a_module_that_breaks_under_two_contracts_is_reported_once(repository):
    repository.write("impl/quantizers/entities.py", "class EntityQuantizer:\n    pass\n")
    repository.write("impl/quantizers/broken.py", "1 / 0\n")
    message = "the module cannot be imported: ZeroDivisionError: division by zero"
    assert repository.problems() == [("impl/quantizers/broken.py", 1, message)]
