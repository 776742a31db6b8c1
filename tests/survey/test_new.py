"""A new work is written whole and in its place, or not at all."""

import pytest
from typer.testing import CliRunner

from survey.catalog import load
from survey.cli import app
from survey.new import bibtex_key, insert_sorted, new_work
from survey.problems import CatalogError
from survey.validate import check

RECORD = {
    "name": "FSQ",
    "kind": "quantizer",
    "sections": ["2.5"],
    "techniques": ["FSQ"],
    "builds_on": ["vq-vae"],
}
ENTRY = {
    "author": "Fabian Mentzer and {Discrete AI} and van Gool, Luc",
    "title": "Finite Scalar Quantization: VQ-VAE & <b> for $5, 100% simple",
    "booktitle": "ICLR",
    "year": "2024",
    "eprint": "2309.15505",
}


def contents(repository) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(repository.root.rglob("*")) if p.is_file()}


def test_a_new_work_is_a_sound_work(repository):
    paths = new_work(repository.root, "fsq", RECORD, ENTRY)
    assert [path.relative_to(repository.root).as_posix() for path in paths] == [
        "papers.bib",
        "systems/fsq.yml",
    ]
    assert check(repository.root) == []
    work = load(repository.root)["fsq"]
    assert (work.key, work.name, work.sections, work.techniques) == (
        "mentzer2024finite",
        "FSQ",
        ("2.5",),
        ("FSQ",),
    )
    assert work.title == ENTRY["title"]
    assert work.authors == ("Fabian Mentzer", "Discrete AI", "Luc van Gool")
    assert (work.venue, work.arxiv, work.builds_on) == ("ICLR", "2309.15505", ("vq-vae",))
    assert work.bibtex.startswith("@inproceedings{mentzer2024finite,")


def test_the_entry_stands_at_its_sorted_place_and_nothing_else_moves(repository):
    before = (repository.root / "papers.bib").read_text(encoding="utf-8")
    new_work(repository.root, "fsq", RECORD, ENTRY)
    after = (repository.root / "papers.bib").read_text(encoding="utf-8")
    entry = load(repository.root)["fsq"].bibtex
    assert after.replace(f"{entry}\n\n", "") == before
    assert after.index(entry) < after.index("@inproceedings{oord2017neural")


@pytest.mark.parametrize(("key", "order"), [("a", "abdf"), ("c", "bcdf"), ("e", "bdef"), ("z", "bdfz")])
def test_sorted_insertion(key, order):
    text = "% kept\n\n" + "\n\n".join(f"@misc{{{name},\n  year = {{2020}},\n}}" for name in "bdf") + "\n"
    after = insert_sorted(text, key, f"@misc{{{key},\n}}")
    assert [line[6] for line in after.splitlines() if line.startswith("@")] == list(order)
    assert after.startswith("% kept\n")
    assert after.endswith("}\n")
    assert "\n\n\n" not in after


def test_insertion_into_an_empty_file():
    assert insert_sorted("", "a", "@misc{a,\n}") == "@misc{a,\n}\n"


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"author": "Aäron van den Oord", "title": "Neural Things", "year": "2017"}, "oord2017neural"),
        ({"author": "Oord, A", "title": "The Neural", "year": "2017"}, "oord2017neural"),
        ({"author": "{Open AI}", "title": "GPT-4 Report", "year": "2023"}, "openai2023gpt"),
        ({"author": "Łukasz Käiser", "title": "On the A", "year": "2020"}, "kaiser2020"),
        ({"author": "O'Neil-Smith, A", "title": "An 1-bit Code", "year": "2020"}, "oneilsmith20201"),
    ],
)
def test_keys(entry, key):
    assert bibtex_key(entry, {}) == key


def test_a_taken_key_gets_a_letter():
    entry = {"author": "A B", "title": "C", "year": "2020"}
    assert bibtex_key(entry, {"b2020c"}) == "b2020ca"
    assert bibtex_key(entry, {"b2020c", "b2020ca"}) == "b2020cb"


@pytest.mark.parametrize("name", ["FSQ", "fsq_2", "-fsq", "fsq-", "a--b", "../fsq", "", "fsq.yml", "é"])
def test_a_malformed_id_is_refused(repository, name):
    before = contents(repository)
    with pytest.raises(ValueError, match="id must be lower-case letters, digits and single hyphens"):
        new_work(repository.root, name, RECORD, ENTRY)
    assert contents(repository) == before


@pytest.mark.parametrize("name", ["vq-vae", "odd", "strange"])
def test_a_taken_id_is_refused(repository, name):
    before = contents(repository)
    with pytest.raises(ValueError, match=f"the id '{name}' is taken"):
        new_work(repository.root, name, RECORD, ENTRY)
    assert contents(repository) == before


@pytest.mark.parametrize(
    ("record", "entry", "message"),
    [
        (
            {"techniques": ["FSQQ"]},
            {},
            "techniques must be a legal value (the nearest is 'FSQ'), given 'FSQQ'",
        ),
        (
            {"kind": "quantiser"},
            {},
            "kind must be a legal value (the nearest is 'quantizer'), given 'quantiser'",
        ),
        ({"sections": ["2.6"]}, {}, "sections must be a legal value (the nearest is '2.1'), given '2.6'"),
        (
            {"builds_on": ["vq-vea"]},
            {},
            "builds_on must name works by id, a legal value (the nearest is 'vq-vae')",
        ),
        ({"code": "github.com/a"}, {}, "code must be an http or https address, given 'github.com/a'"),
        ({"name": ""}, {}, "name must be one line of text, given ''"),
        ({}, {"year": "24"}, "must be a year such as 2017, given '24'"),
        ({}, {"eprint": "23.1"}, "must be an arXiv number, as 1711.00937, given '23.1'"),
        ({}, {"eprint": "1711.00937"}, "the paper is listed twice: "),
        ({}, {"title": "Neural discrete representation learning"}, "the paper is listed twice: "),
        ({}, {"author": ""}, "has no author"),
        ({}, {"url": "javascript:alert(1)"}, "must be an http or https address"),
    ],
)
def test_what_would_be_unsound_is_refused(repository, record, entry, message):
    before = contents(repository)
    with pytest.raises(CatalogError) as caught:
        new_work(repository.root, "fsq", RECORD | record, ENTRY | entry)
    assert message in str(caught.value)
    assert contents(repository) == before


def test_problems_that_were_there_before_do_not_stand_in_the_way(repository):
    repository.replace("survey/systems/odd.yml", "kind: model", "kind: modle")
    repository.replace("survey/papers.bib", "doi = {10.1000/182}", "doi = {182}")
    new_work(repository.root, "fsq", RECORD, ENTRY)
    files = [problem.file for problem in check(repository.root)]
    assert files == ["survey/papers.bib", "survey/systems/odd.yml"]


def test_the_verb(repository):
    arguments = ["--root", str(repository.root), "new", "fsq", "--name", "FSQ", "--title", "Finite: a Tale"]
    arguments += ["--authors", "Ada Lovelace and Roe, Jane", "--year", "2024", "--kind", "quantizer"]
    arguments += ["--section", "2.5", "--section", "2.1", "--technique", "FSQ", "--doi", "10.1000/183"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        str(repository.root / name) for name in ("papers.bib", "systems/fsq.yml")
    ]
    assert (repository.root / "systems/fsq.yml").read_text(encoding="utf-8") == (
        "name: FSQ\ncite: lovelace2024finite\nkind: quantizer\nsections: ['2.5', '2.1']\ntechniques: [FSQ]\n"
    )
    assert check(repository.root) == []
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr == "the id 'fsq' is taken: it names 'Finite: a Tale'\n"


def test_the_verb_says_what_is_wrong_without_a_file_that_is_not_there(repository):
    arguments = [
        "--root",
        str(repository.root),
        "new",
        "fsq",
        "--name",
        "FSQ",
        "--title",
        "Finite",
        "--authors",
        "A B",
    ]
    arguments += ["--year", "2024", "--kind", "quantiser", "--section", "2.5"]
    result = CliRunner().invoke(app, arguments)
    message = "kind must be a legal value (the nearest is 'quantizer'), given 'quantiser'\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)
    assert not (repository.root / "systems/fsq.yml").exists()
