"""The two engines, Python and JavaScript, give the same works and the same errors."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import survey
from survey import explorer
from survey.catalog import Work
from survey.export import as_object
from survey.query import Index, QueryError
from survey.text import fold, nearest, words

pytestmark = pytest.mark.browser

SCRIPT = Path(survey.__file__).parents[1] / "book" / "_static" / "query.js"

ANSWER = """([works, facets, queries]) => {
  const index = new CodebookQuery.Index(works, facets);
  return queries.map((query) => {
    try {
      return index.query(query).map((work) => work.id);
    } catch (error) {
      if (!(error instanceof CodebookQuery.QueryError)) throw error;
      return { message: error.message, position: error.position, suggestion: error.suggestion };
    }
  });
}"""


@pytest.fixture
def page(visit, tmp_path):
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>")
    page = visit().open(blank.as_uri())
    page.add_script_tag(path=SCRIPT)
    return page


@pytest.fixture(scope="module")
def catalog():
    return survey.load()


def in_python(index, query):
    try:
        return [work.id for work in index.query(query)]
    except QueryError as error:
        return {"message": error.message, "position": error.position, "suggestion": error.suggestion}


def compare(page, works, facets, queries):
    objects = [as_object(work, explorer.FIELDS) for work in works]
    index = Index(works, facets)
    there = page.evaluate(ANSWER, [objects, facets, queries])
    different = [
        {"query": query, "python": here, "javascript": found}
        for query, found in zip(queries, there, strict=True)
        if (here := in_python(index, query)) != found
    ]
    assert different == []
    return there


def test_saved_queries(page, catalog):
    saved = explorer.payload(catalog)["saved"]
    assert 40 <= len(saved) <= 80
    answers = compare(page, catalog.works, catalog.vocabulary, [entry["query"] for entry in saved])
    assert all(isinstance(answer, list) for answer in answers)
    assert len(answers[0]) == len(catalog)


MISTAKES = [
    *(
        "tecnique:VQ",
        "technique:RVX",
        "kind:quantizr",
        "foo:bar",
        "section:2.99",
        "builds_on:vqvae",
        "status:done",
    ),
    *(
        "(a",
        "a)",
        "()",
        "( ",
        '"a',
        'title:"a',
        "title:",
        "title: )",
        "a OR",
        "OR a",
        "AND",
        "NOT",
        "a AND OR b",
    ),
    *(
        "-",
        "a - b",
        "--",
        "&",
        '""',
        '"*',
        "title:&",
        "name>3",
        "technique >= VQ",
        "year:",
        "year:20",
        "year>2020..",
    ),
    *(
        "year:..",
        "year:２０２２",
        "𝒳 é́ kind:x",
        "🎵 tecnique:x",
        "(" * 60,
        "-" * 60 + "a",
        "a\u00a0kind:",
        "a\u2003b",
    ),
    *("kind:ſurvey", "kind:İ", "technique:rvq*", "id:", "constructor:x", "__proto__:x", "kind:constructor"),
]


def test_mistakes(page, catalog):
    compare(page, catalog.works, catalog.vocabulary, MISTAKES)


ODD = [
    ("great", "Großes Modell", "Ein Maß für ﬁne ½ Ⅷ tokens", ("Émile Žižek", "İbrahim Ünal")),
    ("greek", "ΣΊΣΥΦΟΣ", "Σίσυφος and the λόγος", ("Ἀριστοτέλης",)),
    ("cjk", "声音", "音频编码 with 離散 tokens", ("王小明", "김철수")),
    ("hindi", "हिन्दी", "हिन्दी भाषा and ไทย", ("आर्य",)),
    ("markup", "<b>&amp;</b>", "$x^2$ {Braces} </script> `tick` | bar * star", ("O'Neill", "de la Cruz")),
    ("symbols", "∞", "★ → ∅", ("—",)),
]


def test_text_of_all_the_world(page):
    works = [
        Work(id=i, key=f"key-{i}", name=n, title=t, authors=a, year=2000, kind="model", sections=("2.1",))
        for i, n, t, a in ODD
    ]
    pieces = [piece for _, name, title, authors in ODD for piece in (name, *title.split(), *authors)]
    queries = [
        form.format(piece.replace('"', ""))
        for piece in pieces
        for form in ("{}", '"{}"', "title:{}", "author:{}*")
    ]
    answers = compare(page, works, {}, queries)
    assert sum(bool(answer) for answer in answers) > len(queries) / 3


def test_every_character_folds_alike(page):
    # Python and Chromium may know different versions of Unicode: characters that Python lacks are left out.
    known = [
        chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
    ]
    script = """(characters) => JSON.stringify(
      Array.from(characters, (c) => [CodebookQuery.fold(c), CodebookQuery.words(`a${c}b`)])
    )"""
    there = json.loads(page.evaluate(script, "".join(known)))
    here = [[fold(c), words(f"a{c}b")] for c in known]
    assert [(c, a, b) for c, a, b in zip(known, here, there, strict=True) if a != b] == []


def test_suggestions(page):
    legal = ["image", "imu", "video", "Größe", "text to image", "🎵a"]
    typed = ["im", "imag", "vidoe", "grosse", "grösse", "text", "🎵", "x", "", "i", "IMAGES"]
    script = "([typed, legal]) => typed.map((value) => CodebookQuery.nearest(value, legal))"
    assert page.evaluate(script, [typed, legal]) == [nearest(value, legal) for value in typed]


def random_queries(catalog, count):
    """Queries of every form, most of them good, drawn from the catalog's own words."""
    legal = Index(catalog.works, catalog.vocabulary).legal
    titles = sorted({word for work in catalog for word in words(work.title)})
    place = st.tuples(st.integers(0, len(titles) - 1), st.integers(1, 12))
    word = place.map(lambda pair: titles[pair[0]][: pair[1]])
    word = st.one_of(word, word.map("{}*".format), word.map("*{}".format), st.text("aé.-*ß中", min_size=1))
    phrase = st.lists(word, min_size=1, max_size=3).map(lambda parts: f'"{" ".join(parts)}"')
    field = st.sampled_from(
        ["", "title:", "name:", "author=", "venue:", "id:", "key:", "arxiv:", "doi:", "code:"]
    )
    facet = st.sampled_from(
        [f"{name}:{value}" for name in ("technique", "modality", "kind", "llm") for value in legal(name)]
        + ["section:2", "section:ntp", "section:*.1", "llm:none", "code:any", "builds_on:vq-vae", "arxiv:2*"]
    )
    year = st.tuples(st.sampled_from([":", "=", ">", ">=", "<", "<="]), st.integers(1980, 2030))
    term = st.one_of(st.tuples(field, word | phrase).map("".join), facet, year.map("year{0[0]}{0[1]}".format))
    good = st.recursive(
        term,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" ", " AND ", " OR "]), inner).map("".join),
            inner.map("-({})".format),
            inner.map(" NOT {}".format),
            inner.map("({} )".format),
        ),
        max_leaves=5,
    )
    noise = st.text(alphabet='abe*é:=<>()"-.| \u00a0\tANDORT', max_size=8)
    queries = []

    # Drawn first and compared in one go: a call into the browser for each would take minutes.
    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(good, good, st.tuples(noise, good, noise).map("".join)))
    def draw(query):
        queries.append(query)

    draw()
    return queries


def test_random_queries(page, catalog):
    queries = random_queries(catalog, 1500)
    answers = compare(page, catalog.works, catalog.vocabulary, queries)
    assert sum(isinstance(answer, list) and bool(answer) for answer in answers) > 300
    assert sum(isinstance(answer, dict) for answer in answers) > 100
