"""What each verb prints."""

import csv
import io
import json
import os

import pytest
from typer.testing import CliRunner

from survey.catalog import load
from survey.cli import app
from survey.related import related


def test_query_formats(run, repository):
    works = load(repository.root).works
    assert run("query", "--format", "ids").stdout == "vq-vae\nodd\n"
    assert [w["id"] for w in json.loads(run("query", "--format", "json").stdout)] == ["vq-vae", "odd"]
    assert run("query", "--json").stdout == run("query", "--format", "json").stdout
    assert run("query", "--format", "bibtex").stdout == "\n\n".join(work.bibtex for work in works) + "\n"
    rows = list(csv.DictReader(io.StringIO(run("query", "--format", "csv", "--fields", "id,title").stdout)))
    assert rows == [{"id": work.id, "title": work.title} for work in works]
    header, *lines = run("query", "--fields", "id,year,sections").stdout.splitlines()
    assert header.split() == ["id", "year", "sections"]
    assert [line.split() for line in lines] == [["vq-vae", "2017", "2.1"], ["odd", "2024", "2.1;", "5.10"]]


def test_query_sort_and_limit(run):
    assert run("query", "--format", "ids", "--sort", "-year").stdout == "odd\nvq-vae\n"
    assert run("query", "--format", "ids", "--sort", "name", "--limit", "1").stdout == "odd\n"


def test_a_query_may_begin_with_a_minus(run):
    assert run("query", "-llm:none", "--format", "ids").stdout == "odd\n"
    assert run("query", "-llm:Llama", "section:2.1", "--format", "ids").stdout == "vq-vae\n"
    assert run("cite", "-llm:none").stdout.startswith("@misc{doe2024odd")


def test_nothing_found_is_still_valid_json(run):
    result = run("query", "year<1900", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])


def test_show(run):
    text = run("show", "arXiv:1711.00937").stdout
    for fact in (
        "Aäron van den Oord",
        "2.1 Vector quantization",
        "implemented",
        "WaveNet",
        "Basis of      odd",
    ):
        assert fact in text
    assert text.rstrip().endswith("}")
    shown = json.loads(run("show", "strange", "--json").stdout)
    assert (shown["id"], shown["bibtex"][:5], shown["note"]) == ("odd", "@misc", 'Two lines,\n"quoted".')


def test_tree(run):
    lines = run("tree").stdout.splitlines()
    assert lines[0] == "2  Fundamental techniques  (works: 2, implemented: 1)"
    assert lines[1] == "    2.1  Vector quantization  (works: 2, implemented: 1)"
    assert lines[3] == "5.10  Many modalities  (works: 1, implemented: 0)"
    sections = {section["number"]: section for section in json.loads(run("tree", "--json").stdout)}
    assert sections["2"]["works"] == ["vq-vae", "odd"]
    assert (sections["2.5"]["works"], sections["2.5"]["parent"]) == ([], "2")


def test_facets(run):
    rows = json.loads(run("facets", "--json").stdout)
    counts = {(row["facet"], row["value"]): row["works"] for row in rows}
    assert counts[("kind", "quantizer")] == counts[("llm", "Llama")] == counts[("status", "implemented")] == 1
    assert ("llm", "Qwen") not in counts
    where = json.loads(run("facets", "section", "--where", "-llm:none", "--json").stdout)
    assert [(row["value"], row["works"]) for row in where] == [("2.1", 1), ("5.10", 1)]
    assert run("facets", "modalities").stdout == run("facets", "modality").stdout
    assert run("facets", "chapter", "--where", "-llm:none").exit_code == 1


def test_related(run):
    (found,) = json.loads(run("related", "odd", "--json").stdout)
    assert found["id"] == "vq-vae"
    assert 0 < found["score"] < 1
    assert "builds_on:vq-vae" in found["shared"]
    assert run("related", "odd").stdout.splitlines()[1].split()[0] == "vq-vae"


def test_related_works_of_the_real_catalog_are_symmetric_and_linked():
    whole = load()
    near = {item.work.id: item.score for item in related(whole, whole["fsq"], limit=len(whole))}
    assert "fsq" not in near
    assert list(near.values()) == sorted(near.values(), reverse=True)
    assert all(0 < score <= 1 for score in near.values())
    other = next(iter(near))
    back = {item.work.id: item.score for item in related(whole, whole[other], limit=len(whole))}
    assert back["fsq"] == pytest.approx(near[other])
    builders = [work.id for work in whole if "fsq" in work.builds_on]
    assert all(name in near for name in builders)


def test_cite(run):
    assert run("cite", "odd").stdout.startswith("@misc{doe2024odd,")
    assert run("cite", "1711.00937", "--format", "apa").stdout.startswith("van den Oord, A.")
    assert [item["id"] for item in json.loads(run("cite", "--format", "csl-json").stdout)] == [
        "oord2017neural",
        "doe2024odd",
    ]
    nothing = run("cite", "year<1900")
    assert (nothing.exit_code, nothing.stdout) == (1, "")


def test_code(run):
    assert run("code", "vq-vae").stdout == "impl/quantizers/vq_vae.py:4\n"
    assert run("code", "vq-vae", "--source").stdout == "class VectorQuantizer(Quantizer):\n    pass\n"
    found = json.loads(run("code", "vq-vae", "--source", "--json").stdout)
    assert (found["path"], found["line"], found["end"]) == ("impl/quantizers/vq_vae.py", 4, 5)
    assert found["source"].startswith("class VectorQuantizer")


def test_code_follows_imports_and_decorators(run, repository):
    repository.write("impl/quantizers/vq_vae.py", "from .deeper import Inner as VectorQuantizer\n")
    repository.write(
        "impl/quantizers/deeper.py", "import math\n\n\n@decorate(\n    1\n)\nclass Inner:\n    x = 1\n"
    )
    assert run("code", "vq-vae").stdout == "impl/quantizers/deeper.py:4\n"
    assert run("code", "vq-vae", "--source").stdout == "@decorate(\n    1\n)\nclass Inner:\n    x = 1\n"


def test_code_that_is_not_there(run, repository):
    catalogued = run("code", "odd")
    assert (catalogued.exit_code, catalogued.stdout) == (1, "")
    assert catalogued.stderr == "odd is not implemented here\n"
    for text in ("from impl.quantizers.vq_vae import VectorQuantizer\n", "def broken(:\n", "x = 1\n"):
        repository.write("impl/quantizers/vq_vae.py", text)
        assert run("code", "vq-vae").exit_code == 1


def test_stats(run):
    rows = {row["section"]: row for row in json.loads(run("stats", "--json").stdout)}
    assert (rows["2.1"]["works"], rows["2.1"]["implemented"], rows["2.1"]["catalogued"]) == (2, 1, 1)
    assert rows["2.5"]["works"] == 0
    assert rows["all"]["works"] == 2
    assert run("stats").stdout.splitlines()[-1].split() == ["all", "2", "1", "1", "Distinct", "works"]


def test_stats_of_the_real_catalog_names_every_section():
    whole = load()
    result = CliRunner().invoke(app, ["stats", "--json"])
    rows = {row["section"]: row for row in json.loads(result.stdout)}
    assert list(rows) == [*(section.number for section in whole.sections), "all"]
    assert rows["all"]["works"] == len(whole) == rows["all"]["implemented"] + rows["all"]["catalogued"]
    for section in whole.sections:
        own = [work for work in whole if section.number in work.sections]
        assert rows[section.number]["works"] >= len(own)


@pytest.mark.parametrize("form", ["json", "csv", "bibtex", "csl-json"])
def test_export_to_a_file_is_what_stdout_gets(run, tmp_path, form):
    path = tmp_path / "out" / "works"
    result = run("export", "--format", form, "--out", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert path.read_text(encoding="utf-8") == run("export", "--format", form).stdout
    assert oct(path.stat().st_mode & 0o777) == oct(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_sql(run):
    result = run("sql", "SELECT id, year FROM works ORDER BY year")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["id", "year"],
        ["vq-vae", "2017"],
        ["odd", "2024"],
    ]
    assert json.loads(run("sql", "SELECT id, doi FROM works ORDER BY id", "--json").stdout) == [
        {"id": "odd", "doi": "10.1000/182"},
        {"id": "vq-vae", "doi": None},
    ]
    assert run("sql", "SELECT id FROM works WHERE year < 0").exit_code == 1
    assert json.loads(run("sql", "SELECT x'c0de' AS bytes", "--json").stdout) == [{"bytes": "c0de"}]


def test_check(run, repository):
    sound = run("check")
    assert (sound.exit_code, sound.stdout, sound.stderr) == (0, "", "the catalog is sound\n")
    assert json.loads(run("check", "--json").stdout) == []
    line = repository.replace("survey/systems/odd.yml", "kind: model", "kind: modle")
    broken = run("check")
    message = "kind must be a legal value (the nearest is 'model'), given 'modle'"
    assert (broken.exit_code, broken.stderr) == (1, "1 problem\n")
    assert broken.stdout == f"survey/systems/odd.yml:{line}: {message}\n"
    (problem,) = json.loads(run("check", "--json").stdout)
    assert problem == {"file": "survey/systems/odd.yml", "line": line, "message": message}
