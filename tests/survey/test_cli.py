"""The command line: what it prints where, and its exit codes."""

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from survey.cli import app


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run ``python -m survey`` as a user does."""
    command = [sys.executable, "-m", "survey", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", **options)


# Exit codes and streams, in a process of its own


def test_found_goes_to_stdout():
    result = process("query", "id:fsq", "--format", "ids")
    assert (result.returncode, result.stdout, result.stderr) == (0, "fsq\n", "1 work\n")


def test_nothing_found():
    result = process("query", "id:fsq", "year<1900")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "0 works\n")


def test_a_bad_query_has_a_caret_under_the_mistake():
    result = process("query", "year>=2020", "technique:RVX")
    assert (result.returncode, result.stdout) == (2, "")
    query, caret = result.stderr.splitlines()
    assert query == "year>=2020 technique:RVX"
    assert caret.index("^") == query.index("RVX")
    assert "'RVQ'" in caret


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "tecnique:VQ"),
        ("query", "("),
        ("query", '"open'),
        ("query", "year:abc"),
        ("query", "--nonsense"),
        ("query", "--format", "xml"),
        ("query", "--sort", "nonsense"),
        ("query", "--fields", "id,nonsense"),
        ("query", "--limit", "0"),
        ("facets", "nonsense"),
        ("facets", "--where", "tecnique:VQ"),
        ("cite", "fsq", "--format", "xml"),
        ("export", "--format", "sqlite"),
        ("export", "--out", "/dev/null/file"),
        ("export", "--out", "."),
        ("sql", "DELETE FROM works"),
        ("sql", "nonsense"),
        ("nonsense",),
        ("--root", "nowhere", "query"),
        ("--root", "nowhere", "check"),
        (
            "--root",
            "nowhere",
            "new",
            "a",
            "--name=a",
            "--title=a",
            "--authors=a",
            "--year=1",
            "--kind=a",
            "--section=a",
        ),
    ],
)
def test_what_makes_no_sense_exits_with_2_and_one_short_message(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 4


@pytest.mark.parametrize("arguments", [("show", "fsqq"), ("related", "fsqq"), ("code", "fsqq")])
def test_an_unknown_work_exits_with_1_and_names_the_nearest(arguments):
    result = process(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip().endswith("the nearest id is 'fsq'")


@pytest.mark.parametrize("file", ["survey/systems/odd.yml", "survey/papers.bib", "survey/facets.yml"])
def test_a_broken_catalog_is_told_with_file_and_line(repository, run, file):
    repository.write(file, "a: [1\nb: {\n")
    for verb in (
        ("query",),
        ("show", "odd"),
        ("stats",),
        ("tree",),
        ("export",),
        ("sql", "SELECT 1"),
        ("cite",),
    ):
        result = run(*verb)
        assert (result.exit_code, result.stdout) == (2, "")
        assert any(line.startswith(f"{file}:") for line in result.stderr.splitlines())


def test_a_reader_that_leaves_early_is_no_error():
    shell = f"{sys.executable} -m survey export --format json | head -c 1"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, encoding="utf-8")
    assert (result.returncode, result.stdout, result.stderr) == (0, "[", "")


@pytest.mark.parametrize("verb", ["query", "check"])
def test_a_closed_stdout_is_no_traceback(verb, repository):
    repository.replace(
        "survey/sections.yml", "chapters: [vq]", "chapters: [qv]"
    )  # check has something to say
    shell = f"{sys.executable} -m survey --root {repository.root} {verb} | true"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, encoding="utf-8")
    assert result.returncode == 0
    assert "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr


def test_a_terminal_without_unicode_gets_escapes():
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = process("show", "oord2017neural", env=environment)
    assert result.returncode == 0
    assert "A\\xe4ron" in result.stdout


def test_arguments_that_are_no_text():
    result = process("show", os.fsdecode(b"\xff\xfe"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def test_a_query_imports_no_torch():
    program = "import sys; sys.argv = ['survey', 'query', 'fsq']\nfrom survey.__main__ import main\n"
    heavy = ("torch", "numpy", "rich", "yaml")
    program += f"try: main()\nexcept SystemExit: print([m for m in {heavy} if m in sys.modules])"
    process("query", "fsq")  # fills the cache
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8")
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("columns", ["40", "200"])
def test_tables_fit_a_terminal_and_show_brackets(repository, columns):
    pty = pytest.importorskip("pty")
    repository.replace("survey/systems/odd.yml", "name: Odd", "name: '[bold]Odd[/bold]'")
    main, side = pty.openpty()
    environment = os.environ | {"COLUMNS": columns, "TERM": "xterm"}
    command = [
        sys.executable,
        "-m",
        "survey",
        "--root",
        str(repository.root),
        "query",
        "--fields",
        "id,name,title",
    ]
    assert subprocess.run(command, stdout=side, stderr=subprocess.PIPE, env=environment).returncode == 0
    os.close(side)
    text = re.sub(r"\x1b\[[0-9;]*m", "", os.read(main, 65536).decode())
    os.close(main)
    assert max(len(line.rstrip("\r\n")) for line in text.splitlines()) <= int(columns)
    assert "vq-vae" in text
    assert "[bol" in text


def test_the_widest_columns_give_way_and_the_first_never():
    from survey.output import fitted

    assert fitted([18, 4, 20, 80], 60) == [18, 4, 19, 19]
    assert fitted([18, 4, 20, 80], 200) == [18, 4, 20, 80]
    assert fitted([50, 4, 20], 40) == [50, 4, 4]
    assert fitted([50], 40) == [50]
