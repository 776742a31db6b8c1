"""What a query matches: an index over works that answers the terms of ``survey.grammar``.

A set of works is one Python integer with a byte per work (0 or 1): AND, OR and NOT are single operations at
memory speed, and ``itertools.compress`` turns the bytes into works. A field is indexed when first asked for.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain, compress
from operator import and_, or_
from typing import TYPE_CHECKING

from survey.grammar import FIELDS, And, Node, Not, Or, QueryError, Term, parse
from survey.text import nearest, patterns, words

if TYPE_CHECKING:
    from survey.catalog import Work

__all__ = ["Index", "QueryError", "parse"]

TEXT = {"name", "title", "author", "venue", "code"}
"""Fields that are searched word by word; the others are compared as whole values."""

FREE_TEXT = ("name", "title", "author", "venue", "id", "key")
"""Where words without a field are looked for."""

CLOSED = {"kind", "section", "technique", "modality", "task", "llm", "status", "builds_on", "chapter"}
"""Fields whose value must be legal: a typing mistake is an error and not an empty answer."""

OPTIONAL = CLOSED - {"kind", "status"} | {"venue", "arxiv", "doi", "code"}
"""Fields of which ``none`` and ``any`` ask whether there is a value."""

WILDCARD = {"id", "key", "section", "arxiv", "doi"}
"""Fields compared as whole values in which ``*`` stands for anything; in text it stays inside a word."""

STATUSES = ("implemented", "catalogued")

_YEARS = re.compile(r"([0-9]{4})?(\.\.)?([0-9]{4})?")


class Index:
    """Answers queries over ``works``, in their order.

    ``facets`` maps kind, techniques, modalities, tasks, llm, sections and chapter to their legal values; of
    the other closed fields the values in use are legal.
    """

    def __init__(self, works: Sequence[Work], facets: Mapping[str, Iterable[str]]):
        self.works, self.facets = works, facets
        self._everything = int.from_bytes(b"\1" * len(works), "little")
        self._postings: dict[str, dict[str | int, list[int]]] = {}
        self._texts: dict[str, TextIndex] = {}

    def query(self, text: str) -> list[Work]:
        """Return the works that match, in the order of ``works``.

        Raises QueryError for a query outside the grammar, an unknown field or an illegal value.
        """
        tree = parse(text)
        if tree is None:
            return list(self.works)
        return list(compress(self.works, self._matches(tree).to_bytes(len(self.works), "little")))

    def legal(self, field: str) -> list[str]:
        """Return the legal values of a closed field: the declared ones in their order, then others in use."""
        if field == "builds_on":
            return [work.id for work in self.works]
        declared = STATUSES if field == "status" else self.facets.get(FIELDS[field], ())
        return list(dict.fromkeys(chain(declared, self._values(field))))

    def _matches(self, node: Node) -> int:
        match node:
            case Term():
                return self._term(node)
            case Not(part):
                return self._everything ^ self._matches(part)
            case And(parts):
                return reduce(and_, [self._matches(part) for part in parts])
            case Or(parts):
                return reduce(or_, [self._matches(part) for part in parts])

    def _term(self, term: Term) -> int:
        field, value = term.field, term.value.lower()
        if field == "year":
            low, high = _years(term)
            return self._set(found for year, found in self._values("year").items() if low <= year <= high)
        if field in OPTIONAL and value in ("none", "any"):
            present = self._set(self._values(field).values())
            return present if value == "any" else self._everything ^ present
        if field in TEXT or not field:
            return self._words(term)
        matches = _whole_value(field, value)
        if field in CLOSED and not any(matches(legal.lower()) for legal in self.legal(field)):
            suggestion = nearest(term.value, self.legal(field))
            raise QueryError(f"unknown {field} '{term.value}'", term.position, suggestion)
        return self._set(found for held, found in self._values(field).items() if matches(held.lower()))

    def _words(self, term: Term) -> int:
        wanted = patterns(term.value)
        if not wanted:
            raise QueryError(f"no letter or digit in '{term.value}'", term.position)
        if term.field not in self._texts:
            fields = (term.field,) if term.field else FREE_TEXT
            self._texts[term.field] = TextIndex([_text(work, fields) for work in self.works])
        return self._texts[term.field].find(wanted)

    def _values(self, field: str) -> dict[str | int, list[int]]:
        """The positions of the works that have each value of ``field``."""
        if field not in self._postings:
            self._postings[field] = postings = {}
            for position, work in enumerate(self.works):
                for value in _values_of(work, field):
                    postings.setdefault(value, []).append(position)
        return self._postings[field]

    def _set(self, lists: Iterable[Iterable[int]]) -> int:
        return as_set(lists, len(self.works))


def as_set(lists: Iterable[Iterable[int]], count: int) -> int:
    """Return the set of the positions in ``lists``, all below ``count``."""
    flags = bytearray(count)
    for positions in lists:
        for position in positions:
            flags[position] = 1
    return int.from_bytes(flags, "little")


class TextIndex:
    """Words and phrases in texts: a sorted vocabulary for prefixes, and the texts themselves for phrases."""

    DENSE = 1 / 16
    """Words in more than this share of the texts are kept as sets: uniting sets is quicker than positions."""

    def __init__(self, texts: Sequence[str]):
        self.texts = texts
        self.postings: dict[str, list[int]] = {}
        for position, text in enumerate(texts):
            for word in set(text.split()) - {"|"}:
                self.postings.setdefault(word, []).append(position)
        self.dense = {
            word: as_set([positions], len(texts))
            for word, positions in self.postings.items()
            if len(positions) > self.DENSE * len(texts)
        }
        self.worded = as_set([[i for i, text in enumerate(texts) if text.strip(" |")]], len(texts))
        self.vocabulary = sorted(self.postings)
        self._lines = "\n".join(self.vocabulary)

    def find(self, wanted: Sequence[str]) -> int:
        """Return the set of texts that have ``wanted`` as consecutive words.

        ``*`` is any run inside a word; the last word may be the beginning of one unless it has a ``*``.
        """
        last = len(wanted) - 1
        sets = [self._texts_with(word, prefix=i == last) for i, word in enumerate(wanted)]
        if len(sets) == 1:
            return sets[0]
        # Every word must be there; that they are neighbours is seen in the text alone.
        candidates = compress(range(len(self.texts)), reduce(and_, sets).to_bytes(len(self.texts), "little"))
        if not any("*" in word for word in wanted):
            phrase = " " + " ".join(wanted)
            found = [position for position in candidates if phrase in self.texts[position]]
        else:
            expressions = [glob(word) if word.strip("*") else "[^ |]+" for word in wanted]
            end = " " if "*" in wanted[-1] else ""
            search = re.compile(" " + " ".join(expressions) + end).search
            found = [position for position in candidates if search(self.texts[position])]
        return as_set([found], len(self.texts))

    def _texts_with(self, word: str, prefix: bool) -> int:
        """The texts that have a word of the vocabulary which matches one word of a query."""
        if not word.strip("*"):
            return self.worded
        if "*" in word:
            known = re.findall(f"^{glob(word, '.*')}$", self._lines, re.MULTILINE)
        elif prefix:
            known = self._beginning(word)
        else:
            known = [word] if word in self.postings else []
        sparse = as_set((self.postings[w] for w in known if w not in self.dense), len(self.texts))
        return reduce(or_, (self.dense[w] for w in known if w in self.dense), sparse)

    def _beginning(self, prefix: str) -> list[str]:
        start = bisect_left(self.vocabulary, prefix)
        return self.vocabulary[start : bisect_left(self.vocabulary, prefix + "\U0010ffff", start)]


def glob(pattern: str, run: str = "[^ |]*") -> str:
    """Return the regular expression of a pattern in which ``*`` stands for ``run``."""
    return run.join(map(re.escape, re.split(r"\*+", pattern)))


def _years(term: Term) -> tuple[int, int]:
    """The first and the last year that a term allows."""
    match = _YEARS.fullmatch(term.value)
    first, dots, last = match.groups() if match else (None, None, None)
    if dots and (first or last) and term.operator in (":", "="):
        return int(first or 0), int(last or 9999)
    if not first or dots or last:
        message = f"year takes a year such as 2022, or a range as in year:2020..2023, not '{term.value}'"
        raise QueryError(message, term.position)
    year = int(first)
    return {">": (year + 1, 9999), ">=": (year, 9999), "<": (0, year - 1), "<=": (0, year)}.get(
        term.operator, (year, year)
    )


def _whole_value(field: str, wanted: str) -> Callable[[str], object]:
    """The test that ``wanted`` puts to each value of ``field``, both in lower case."""
    if "*" in wanted and field in WILDCARD:
        return re.compile(glob(wanted, ".*"), re.DOTALL).fullmatch
    if field == "section":
        return lambda value: value == wanted or value.startswith((wanted + ".", wanted + "-"))
    return lambda value: value == wanted


def _values_of(work: Work, field: str) -> Iterable[str | int]:
    """The values of ``field``: none, one or several."""
    value = getattr(work, FIELDS[field])
    if value is None or value == "":
        return ()
    return value if isinstance(value, (tuple, list)) else (value,)


def _text(work: Work, fields: Sequence[str]) -> str:
    """The folded words of the fields with a space on both sides; a bar keeps the values apart."""
    values = chain.from_iterable(_values_of(work, field) for field in fields)
    return " " + " | ".join(" ".join(words(value)) for value in values) + " "
