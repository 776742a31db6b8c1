"""No title, however odd, is harmed by an export, and every format can be read back."""

import csv
import io
import json
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.bibtex import parse_bibtex, references
from survey.catalog import Work, load
from survey.database import build, select, write
from survey.export import FIELDS_EXPORTED, FORMATS, as_csl, to_apa, to_bibtex, to_csv, to_json
from survey.latex import decode, encode, mistake

STABLE = {
    *("id", "key", "name", "title", "authors", "year", "venue", "arxiv", "doi", "url", "kind", "sections"),
    *("techniques", "modalities", "tasks", "llm", "code", "implementation", "status", "chapter", "claim"),
    *("evidence", "fidelity", "builds_on", "note", "aliases"),
}

ODD_TITLES = [
    "Braces {and} {{more}}",
    "Accents: Ångström, naïve façade, Łódź, Gödel, 量子化",
    "Costs $5 or $ 6, 100% sure",
    "<script>alert('x')</script> & <b>",
    "\"Double\", 'single', ``LaTeX'' and `back` quotes",
    "Back\\slash \\textbf{bold} \\n",
    "a_b^c~d#e@f @misc{g, title={h}}",
    "-- dashes --- and -- more",
    "=1+1",
    "?` and !`",
    "[brackets] and [bold]markup[/bold]",
    "emoji 🎲 and ﬁ ligature",
]


def work_with_title(title: str) -> Work:
    bibtex = (
        f"@misc{{roe2020a,\n  author = {{Roe, Jane}},\n  title = {{{encode(title)}}},\n  year = {{2020}},\n}}"
    )
    fields = references(bibtex)["roe2020a"].fields
    return Work(
        id="a",
        key="roe2020a",
        name="A",
        title=fields["title"],
        authors=("Jane Roe",),
        year=2020,
        kind="model",
        sections=("2.1",),
        note=f"{title}\n\nsecond paragraph",
        bibtex=bibtex,
    )


@pytest.mark.parametrize("title", ODD_TITLES)
def test_odd_titles_survive_every_export(title, repository):
    work = work_with_title(title)
    assert work.title == title

    assert json.loads(to_json([work]))[0]["title"] == title
    assert json.loads(to_json([work]))[0]["note"] == work.note

    (row,) = csv.DictReader(io.StringIO(to_csv([work])))
    quote = "'" if title.startswith(("=", "-")) else ""
    assert (row["title"], row["note"]) == (quote + title, quote + work.note)

    library = parse_bibtex(to_bibtex([work]))
    assert library.failed_blocks == []
    assert [entry.raw.strip() for entry in library.entries] == [work.bibtex]
    assert references(to_bibtex([work]))["roe2020a"].fields["title"] == title

    assert as_csl([work])[0]["title"] == title
    assert title in to_apa([work])


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_any_text_becomes_latex_and_back(text):
    assert decode(encode(text)) == " ".join(text.split())
    assert mistake(encode(text)) is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_title_becomes_bibtex_and_back(text):
    title = " ".join(text.split())
    source = f"@misc{{a,\n  title = {{{encode(title)}}},\n}}\n\n@misc{{b,\n  title = {{B}},\n}}\n"
    found = references(source)
    assert list(found) == ["a", "b"]
    assert found["a"].fields["title"] == title


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"{\L}ukasz M{\"u}ller, Ga\v{s}per, \c{C}a{\u g}lar", "Łukasz Müller, Gašper, Çağlar"),
        ("{VQ-VAE}: a {{Tale}} of -- two", "VQ-VAE: a Tale of – two"),
        (r"$\beta$-VAE with $L_2$ and $x^2$", "β-VAE with L_2 and x^2"),
        (r"100\% of \$5 \& C\# a\_b", "100% of $5 & C# a_b"),
        ("``quoted'' and 'single'", "“quoted” and 'single'"),
        ("two\n   lines~here", "two lines here"),
        (r"\emph{really} \textbf{bold}", "really bold"),
    ],
)
def test_latex_becomes_text(source, text):
    assert decode(source) == text


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_formulas_are_quoted_for_spreadsheets(cell):
    work = work_with_title("A")
    harmful = replace(work, name=cell)
    (row,) = csv.DictReader(io.StringIO(to_csv([harmful], ("id", "name")), newline=""))
    assert row == {"id": "a", "name": f"'{cell}"}


def test_lines_in_csv_cells_end_alike():
    work = work_with_title("A")
    several = replace(work, note="a\r\nb\rc")
    (row,) = csv.DictReader(io.StringIO(to_csv([several], ("note",)), newline=""))
    assert row == {"note": "a\nb\nc"}


def test_only_formulas_are_quoted_in_csv():
    assert to_csv([work_with_title("a=b; c-d")], ("title", "year")) == "title,year\na=b; c-d,2020\n"


# The real catalog


@pytest.fixture(scope="module")
def whole():
    return load()


def test_json_is_the_stable_face(whole):
    objects = json.loads(to_json(whole))
    assert len(objects) == len(whole)
    for found, work in zip(objects, whole, strict=True):
        assert set(found) >= STABLE
        assert found["authors"] == list(work.authors)
        assert found["fidelity"] == {part: list(lines) for part, lines in work.fidelity.items()}


def test_csv_has_a_row_for_each_work_and_a_column_for_each_field(whole):
    rows = list(csv.DictReader(io.StringIO(to_csv(whole), newline="")))
    assert [row["id"] for row in rows] == [work.id for work in whole]
    assert tuple(rows[0]) == FIELDS_EXPORTED
    assert [row["sections"].split("; ") for row in rows] == [list(work.sections) for work in whole]


def test_bibtex_round_trips_through_bibtexparser(whole):
    import bibtexparser

    library = bibtexparser.parse_string(to_bibtex(whole))
    assert library.failed_blocks == []
    assert [entry.key for entry in library.entries] == list(dict.fromkeys(work.key for work in whole))
    again = bibtexparser.parse_string(bibtexparser.write_string(library))
    assert [dict(e.fields_dict.items()).keys() for e in again.entries] == [
        dict(e.fields_dict.items()).keys() for e in library.entries
    ]


def test_csl_names_every_author_and_year(whole):
    papers = {work.key: work for work in whole}.values()
    for item, work in zip(as_csl(whole), papers, strict=True):
        assert (item["id"], item["title"], item["issued"]) == (
            work.key,
            work.title,
            {"date-parts": [[work.year]]},
        )
        assert item["type"] in (
            "article",
            "article-journal",
            "paper-conference",
            "chapter",
            "book",
            "thesis",
            "report",
        )
        assert len(item["author"]) == len(work.authors)
        assert all("literal" in name or (name["family"] and name["given"]) for name in item["author"])


def test_apa_of_a_conference_paper(repository):
    assert to_apa([load(repository.root)["vq-vae"]]) == (
        "van den Oord, A., Vinyals, O., & Kavukcuoglu, K. (2017). Neural Discrete Representation Learning. "
        "Advances in Neural Information Processing Systems, 6306–6315. https://arxiv.org/abs/1711.00937\n"
    )


@pytest.mark.parametrize(
    ("authors", "expected"),
    [
        ("Roe, Jane", "Roe, J. (2020)."),
        ("Roe, Jane and Doe, Jean-Paul Q.", "Roe, J., & Doe, J.-P. Q. (2020)."),
        ("{Discrete AI} and King, Jr., Martin Luther", "Discrete AI, & King, M. L., Jr. (2020)."),
        (" and ".join(f"N{i}, A" for i in range(20)), "N18, A., & N19, A. (2020)."),
        (" and ".join(f"N{i}, A" for i in range(25)), "N18, A., . . . N24, A. (2020)."),
    ],
)
def test_apa_names(authors, expected):
    work = work_with_title("What?")
    bibtex = work.bibtex.replace("Roe, Jane", authors)
    changed = replace(work, bibtex=bibtex)
    assert f"{expected} What?" in to_apa([changed])


def test_no_works_are_still_valid_files():
    assert json.loads(FORMATS["json"]([])) == []
    assert json.loads(FORMATS["csl-json"]([])) == []
    assert list(csv.reader(io.StringIO(FORMATS["csv"]([])))) == [list(FIELDS_EXPORTED)]
    assert FORMATS["bibtex"]([]).strip() == ""


# SQLite


def test_the_database_holds_the_catalog(whole):
    connection = build(whole)
    assert connection.execute("SELECT count(*) FROM works").fetchone() == (len(whole),)
    assert connection.execute("SELECT count(*) FROM authors").fetchone() == (
        sum(len(w.authors) for w in whole),
    )
    assert connection.execute("SELECT number FROM sections ORDER BY position").fetchall() == [
        (section.number,) for section in whole.sections
    ]
    pairs = {(work.id, number) for work in whole for number in work.sections}
    assert set(connection.execute("SELECT work, section FROM work_sections")) == pairs
    for facet in ("techniques", "modalities", "tasks", "llm"):
        pairs = {(work.id, value) for work in whole for value in getattr(work, facet)}
        assert (
            set(connection.execute("SELECT work, value FROM work_facets WHERE facet = ?", [facet])) == pairs
        )
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize(
    ("words", "found"), [("discrete", True), ("kavukcuoglu", True), ("aaron", True), ("nothing", False)]
)
def test_full_text_search(repository, words, found):
    statement = f"SELECT id FROM works_text WHERE works_text MATCH '{words}'"
    columns, rows = select(load(repository.root), statement)
    assert columns == ["id"]
    assert (("vq-vae",) in rows) is found


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM works",
        "UPDATE works SET year = 0",
        "INSERT INTO aliases VALUES ('a', 'b')",
        "DROP TABLE works",
        "CREATE TABLE t (a)",
        "ATTACH DATABASE 'other.db' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA table_info(works)",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "BEGIN",
        "SELEC 1",
        "SELECT missing FROM works",
        "SELECT readfile('/etc/passwd')",
    ],
)
def test_sql_is_for_reading_one_thing(repository, monkeypatch, tmp_path, statement):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((sqlite3.Error, sqlite3.Warning)):
        select(load(repository.root), statement)
    assert [p for p in sorted(tmp_path.iterdir()) if p.name.endswith(".db")] == []
    assert set(before) <= set(tmp_path.iterdir())


def test_recursive_and_grouped_selects_are_reading(repository):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)"
    statement = f"{numbers} SELECT sum(i) AS s FROM n"
    assert select(load(repository.root), statement) == (["s"], [(6,)])
    statement = "SELECT kind, count(*) FROM works GROUP BY kind ORDER BY kind"
    assert select(load(repository.root), statement)[1] == [("model", 1), ("quantizer", 1)]


def test_a_database_file_opens(repository, tmp_path):
    path = tmp_path / "deep" / "catalog.db"
    write(load(repository.root), path)
    write(load(repository.root), path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT title FROM works WHERE id = 'odd'").fetchone()[0].startswith("<script>")
    assert [p.name for p in path.parent.iterdir()] == ["catalog.db"]
