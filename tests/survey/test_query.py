"""Facts about the query grammar and the index: a small catalog whose every answer can be seen by eye."""

import operator
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.catalog import Work
from survey.grammar import FIELDS, MAX_DEPTH, And, Not, Or, Term, parse
from survey.query import FREE_TEXT, Index, QueryError
from survey.text import fold, nearest, patterns, words

FACETS = {
    "kind": {"quantizer": "", "tokenizer": "", "model": ""},
    "techniques": {"VQ": "", "RVQ": "", "FSQ": "", "k-means": ""},
    "modalities": {"image": "", "audio": "", "video": ""},
    "tasks": {"text to image": "", "reconstruction": ""},
    "llm": {"Llama": "", "GPT-2": ""},
}


def work(id, name, title, year, sections, **values):
    defaults = {"key": f"{id}key", "authors": ("Ada Lovelace",), "kind": "quantizer", "bibtex": ""}
    return Work(id=id, name=name, title=title, year=year, sections=sections, **{**defaults, **values})


WORKS = (
    work(
        "aq",
        "AQ",
        "Additive quantization for extreme compression",
        2014,
        ("2.4",),
        doi="10.1109/CVPR.2014.124",
    ),
    work(
        *("vq-vae", "VQ-VAE", "Neural discrete representation learning", 2017, ("2.1", "ntp-2.2.2")),
        **{"authors": ("Aäron van den Oord", "Oriol Vinyals"), "venue": "NeurIPS", "arxiv": "1711.00937"},
        **{
            "techniques": ("VQ",),
            "modalities": ("image", "audio"),
            "implementation": "impl.quantizers.vq_vae:V",
        },
        **{"chapter": "vq-vae", "key": "oord2017neural"},
    ),
    work(
        *(
            "soundstream",
            "SoundStream",
            "SoundStream: an end-to-end neural audio codec",
            2021,
            ("2.2", "3.2"),
        ),
        **{"kind": "tokenizer", "techniques": ("RVQ",), "modalities": ("audio",), "builds_on": ("vq-vae",)},
        **{"venue": "IEEE/ACM TASLP", "arxiv": "2107.03312", "code": "https://github.com/google/lyra"},
    ),
    work(
        *("fsq", "FSQ", "Finite scalar quantization: VQ-VAE made simple", 2023, ("2.5",)),
        **{"techniques": ("FSQ",), "modalities": ("image", "video"), "tasks": ("text to image",)},
    ),
    work(
        *("lm", "Großes Modell", "A language model of {VQ} codes for $x^2$ <script>", 2024, ("5.10",)),
        **{"kind": "model", "llm": ("Llama",), "modalities": ("image",), "authors": ("Émile Žižek",)},
    ),
)
INDEX = Index(WORKS, FACETS)
EVERYTHING = [w.id for w in WORKS]


def ids(query):
    return [w.id for w in INDEX.query(query)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", EVERYTHING),
        (" \t\n", EVERYTHING),
        ("quantization", ["aq", "fsq"]),
        ("quantiz", ["aq", "fsq"]),
        ("uantization", []),
        ("QUANTIZATION compression", ["aq"]),
        ("aaron", ["vq-vae"]),
        ("zizek", ["lm"]),
        ("grosses", ["lm"]),
        ("GROẞES", ["lm"]),
        ("oord2017", ["vq-vae"]),
        ("VQ-VAE", ["vq-vae", "fsq"]),
        ("vae vq", ["vq-vae", "fsq"]),
        ('"vae neural"', []),  # a phrase does not run from the name into the title
        ('"scalar quant"', ["fsq"]),
        ('"scal quantization"', []),
        ('"oord oriol"', []),
        ("title:neural", ["vq-vae", "soundstream"]),
        ('title:"discrete representation"', ["vq-vae"]),
        ("title:*ization", ["aq", "fsq"]),
        ("title:*izat", []),
        ("title:s*m", ["soundstream"]),
        ('title:"end * end"', ["soundstream"]),
        ('title:"* end neural"', ["soundstream"]),
        ('title:"q*n v*"', ["fsq"]),
        ("title:*", EVERYTHING),
        ("name:grosses", ["lm"]),
        ("author:lovelace", ["aq", "soundstream", "fsq"]),
        ('author:"van den oord"', ["vq-vae"]),
        ("author:oord", ["vq-vae"]),
        ("authors:vinyals", ["vq-vae"]),
        ("venue:taslp", ["soundstream"]),
        ("venue:none", ["aq", "fsq", "lm"]),
        ("code:lyra", ["soundstream"]),
        ("code:any", ["soundstream"]),
        ("-code:none", ["soundstream"]),
        ("technique:vq", ["vq-vae"]),
        ("technique=VQ", ["vq-vae"]),
        ("Technique: VQ", ["vq-vae"]),
        ("techniques:rvq", ["soundstream"]),
        ("modalities:image", ["vq-vae", "fsq", "lm"]),
        ("technique:none", ["aq", "lm"]),
        ("technique:k-means", []),
        ('task:"text to image"', ["fsq"]),
        ("llm:any", ["lm"]),
        ("-llm:none kind:model", ["lm"]),
        ("kind:MODEL", ["lm"]),
        ("status:implemented", ["vq-vae"]),
        ("status:catalogued", ["aq", "soundstream", "fsq", "lm"]),
        ("section:2", ["aq", "vq-vae", "soundstream", "fsq"]),
        ("section:2.1", ["vq-vae"]),
        ("section:ntp", ["vq-vae"]),
        ("section:ntp-2.2", ["vq-vae"]),
        ("section:5.1*", ["lm"]),
        ("section:*.2", ["soundstream", "vq-vae"]),
        ("builds_on:vq-vae", ["soundstream"]),
        ("builds_on:fsq", []),
        ("chapter:vq-vae", ["vq-vae"]),
        ("id:vq-vae", ["vq-vae"]),
        ("id:vq", []),
        ("id:*q", ["aq", "fsq"]),
        ("key:oord2017neural", ["vq-vae"]),
        ("arXiv:1711.00937", ["vq-vae"]),
        ("arxiv:17*", ["vq-vae"]),
        ("arxiv:none", ["aq", "fsq", "lm"]),
        ("doi:10.1109/cvpr.2014.124", ["aq"]),
        ("doi:10.1109/*", ["aq"]),
        ("year:2017", ["vq-vae"]),
        ("year=2017", ["vq-vae"]),
        ("year>2021", ["fsq", "lm"]),
        ("year >= 2021", ["soundstream", "fsq", "lm"]),
        ("year<2017", ["aq"]),
        ("year<=2017", ["aq", "vq-vae"]),
        ("year:2017..2021", ["vq-vae", "soundstream"]),
        ("year:2023..", ["fsq", "lm"]),
        ("year:..2014", ["aq"]),
        ("year:2023..2017", []),
        ("technique:VQ OR technique:FSQ", ["vq-vae", "fsq"]),
        ("kind:model OR modality:image year:2017", ["vq-vae", "lm"]),
        ("(kind:model OR modality:image) year:2017", ["vq-vae"]),
        ("modality:image AND -technique:VQ", ["fsq", "lm"]),
        ("modality:image NOT (technique:VQ OR technique:FSQ)", ["lm"]),
        ("--technique:VQ", ["vq-vae"]),
        ("NOT NOT technique:VQ", ["vq-vae"]),
        ("((technique:VQ))", ["vq-vae"]),
        ("technique:VQ(year:2017)", ["vq-vae"]),
        ("year:2014 -year:2014", []),
        ("or", ["vq-vae"]),
    ],
)
def test_answers(query, expected):
    assert sorted(ids(query), key=EVERYTHING.index) == ids(query)
    assert set(ids(query)) == set(expected)


@pytest.mark.parametrize(
    ("query", "position", "message", "suggestion"),
    [
        ("tecnique:VQ", 0, "unknown field 'tecnique'", "technique"),
        ("year:2017 foo:x", 10, "unknown field 'foo'; put text that has a colon in quotes", None),
        ("technique:RVX", 10, "unknown technique 'RVX'", "RVQ"),
        ("kind:quant", 5, "unknown kind 'quant'", "quantizer"),
        ("modality:smell", 9, "unknown modality 'smell'", None),
        ("status:implementd", 7, "unknown status 'implementd'", "implemented"),
        ("section:2.9", 8, "unknown section '2.9'", "2.4"),
        ("builds_on:vqvae", 10, "unknown builds_on 'vqvae'", "vq-vae"),
        ("technique:V*", 10, "unknown technique 'V*'", "VQ"),
        ("name>3", 4, "name takes : or =, not >", None),
        ("technique >= VQ", 10, "technique takes : or =, not >=", None),
        ("year:", 5, "no value after year:", None),
        ("title: ", 6, "no value after title:", None),
        ("technique:(VQ OR FSQ)", 10, "no value after technique:", None),
        ("(technique: )", 11, "no value after technique:", None),
        ('a "b c', 2, "quote is never closed", None),
        ('title:"b c', 6, "quote is never closed", None),
        ("a (b", 2, "parenthesis is never closed", None),
        ("(", 0, "parenthesis is never closed", None),
        ("a ( )", 2, "nothing between the parentheses", None),
        ("a )", 2, "no parenthesis to close", None),
        (")", 0, "no parenthesis to close", None),
        ("OR a", 0, "nothing before OR", None),
        ("(AND a)", 1, "nothing before AND", None),
        ("a OR", 2, "nothing after OR", None),
        ("a OR OR b", 2, "nothing after OR", None),
        ("a AND )", 2, "nothing after AND", None),
        ("a AND OR b", 2, "nothing after AND", None),
        ("NOT", 0, "nothing after NOT", None),
        ("a -", 2, "no letter or digit in '-'", None),
        ("a & b", 2, "no letter or digit in '&'", None),
        ('""', 0, "no letter or digit in ''", None),
        ("title:::", 6, "no letter or digit in '::'", None),
        ("(" * (MAX_DEPTH + 1), MAX_DEPTH, "more than 50 levels of parentheses and negations", None),
        ("-" * 3000 + "a", MAX_DEPTH, "more than 50 levels of parentheses and negations", None),
        ("𝒳é kind:x", 8, "unknown kind 'x'", None),
    ],
)
def test_errors_point(query, position, message, suggestion):
    with pytest.raises(QueryError) as caught:
        INDEX.query(query)
    error = caught.value
    assert (error.position, error.message, error.suggestion) == (position, message, suggestion)
    assert str(error) == message


@pytest.mark.parametrize(
    "value", ["22", "20x", "..", "2020..2021..2022", "2020-2021", "-2020", "none", "２０２２"]
)
def test_a_year_is_four_digits_or_a_range(value):
    with pytest.raises(QueryError, match=re.escape(f"not '{value}'")) as caught:
        INDEX.query(f"year:{value}")
    assert caught.value.position == 5


def test_a_range_has_no_order():
    with pytest.raises(QueryError, match="2020"):
        INDEX.query("year>2020..2022")


def test_the_caret_stands_under_the_mistake():
    text = "modality:image tecnique:VQ"
    with pytest.raises(QueryError) as caught:
        INDEX.query(text)
    shown, caret = caught.value.show(text).splitlines()
    assert shown == text
    assert caret == " " * 15 + "^ unknown field 'tecnique'; did you mean 'technique'?"


def test_the_caret_counts_columns_of_a_terminal():
    # Two wide characters take four columns, a combining accent none, a tab is shown as one space.
    assert QueryError("m", 5).show("声音e\u0301\tx") == "声音e\u0301 x\n" + " " * 6 + "^ m"


def test_syntax_trees():
    assert parse("") is None
    assert parse("a b OR c") == Or(
        (And((Term("", ":", "a", 0), Term("", ":", "b", 2))), Term("", ":", "c", 7))
    )
    assert parse("-(a)") == Not(Term("", ":", "a", 2))
    assert parse('title="x y"') == Term("title", "=", "x y", 6)
    assert parse("and") == Term("", ":", "and", 0)


def test_no_works():
    assert Index((), FACETS).query("a OR -b year:2020") == []


def test_legal_values_are_the_declared_and_the_used_ones():
    index = Index((work("x", "X", "X", 2020, ("2.1",), techniques=("new",)),), FACETS)
    assert index.legal("technique") == ["VQ", "RVQ", "FSQ", "k-means", "new"]
    assert index.legal("builds_on") == ["x"]
    assert index.legal("status") == ["implemented", "catalogued"]


def test_every_field_is_an_attribute_of_a_work():
    assert all(hasattr(WORKS[0], attribute) for attribute in FIELDS.values())


def test_text_is_folded():
    assert fold("Äß ﬁ Ⅷ ΣΊΣΥΦΟΣ ς") == "ass fi viii σισυφοσ σ"
    assert words("BEiT_v2: $k$-means") == ["beit", "v2", "k", "means"]
    assert patterns("*ization v*") == ["*ization", "v*"]


@given(st.text())
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


def test_the_nearest_value():
    assert nearest("tokeniser", ["quantizer", "tokenizer"]) == "tokenizer"
    assert nearest("im", ["video", "image", "imu"]) == "image"
    assert nearest("zzz", ["video", "image"]) is None
    assert nearest("", ["video"]) is None


# The same semantics once more, slow and plain: each term looks at one work.


def matches(work, node):
    match node:
        case Not(part):
            return not matches(work, part)
        case And(parts):
            return all(matches(work, part) for part in parts)
        case Or(parts):
            return any(matches(work, part) for part in parts)
    if node.field == "year":
        compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
        return compare.get(node.operator, operator.eq)(work.year, int(node.value))
    held = [getattr(work, FIELDS[name]) for name in ([node.field] if node.field else FREE_TEXT)]
    held = [v for value in held for v in (value if isinstance(value, tuple) else (value,)) if v is not None]
    if node.field in ("technique", "kind"):
        return node.value.lower() in [v.lower() for v in held]
    wanted = [pattern.replace("*", ".*") for pattern in patterns(node.value)]
    if "*" not in wanted[-1]:
        wanted[-1] += ".*"
    return any(
        all(map(re.fullmatch, wanted, words(value)[start:]))
        for value in held
        for start in range(len(words(value)) - len(wanted) + 1)
    )


VOCABULARY = ["vector", "vectors", "quantization", "of", "image", "é", "token", "vq"]
TERMS = st.one_of(
    st.lists(
        st.sampled_from([*VOCABULARY, "qu", "v", "v*", "*n", "*e*", "*"]), min_size=1, max_size=3
    ).flatmap(
        lambda parts: st.sampled_from(["", "title:", "name:", "author:"]).map(
            lambda field: f'{field}"{" ".join(parts)}"'
        )
    ),
    st.tuples(st.sampled_from([":", "=", "<", "<=", ">", ">="]), st.integers(2015, 2026)).map(
        lambda t: f"year{t[0]}{t[1]}"
    ),
    st.sampled_from(["technique:VQ", "technique:rvq", "kind:model", "kind:tokenizer"]),
)
QUERIES = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" ", " AND ", " OR "]), inner).map("".join),
        inner.map("-({})".format),
        inner.map("NOT ({})".format),
        inner.map("({})".format),
    ),
    max_leaves=6,
)


def random_works(count, seed=0):
    draw = random.Random(seed)
    return [
        work(
            *(
                f"w{i}",
                draw.choice(VOCABULARY),
                " ".join(draw.choices(VOCABULARY, k=4)),
                draw.randint(2015, 2026),
            ),
            ("2.1",),
            authors=tuple(" ".join(draw.choices(VOCABULARY, k=2)) for _ in range(2)),
            techniques=tuple(draw.sample(["VQ", "RVQ", "FSQ"], k=draw.randint(0, 2))),
            kind=draw.choice(["model", "tokenizer", "quantizer"]),
        )
        for i in range(count)
    ]


RANDOM_WORKS = random_works(60)
RANDOM_INDEX = Index(RANDOM_WORKS, FACETS)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(QUERIES)
def test_the_index_agrees_with_looking_at_each_work(query):
    tree = parse(query)
    assert RANDOM_INDEX.query(query) == [w for w in RANDOM_WORKS if matches(w, tree)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='ab:=<>()"-*é \tANDORNOT0.', max_size=30) | st.text(max_size=20))
def test_any_text_is_a_query_or_a_query_error(text):
    try:
        assert len(INDEX.query(text)) <= len(WORKS)
    except QueryError as error:
        assert 0 <= error.position <= len(text)
        assert error.show(text).count("\n") == 1
