"""The query grammar of the catalog: text to a small syntax tree, with errors that point.

    or   := and ("OR" and)*
    and  := not ("AND"? not)*
    not  := ("NOT" | "-") not | atom
    atom := "(" or ")" | field operator value | "phrase" | word

``book/_static/query.js`` is its twin in the browser: same grammar, same meaning, same messages; a difference
between the two fails ``tests/survey/test_query_parity.py``. What a term matches is in ``survey.query``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from survey.text import nearest

FIELDS = {
    **{name: name for name in ("id", "key", "name", "title", "year", "venue", "arxiv", "doi", "kind")},
    **{"author": "authors", "section": "sections", "technique": "techniques", "modality": "modalities"},
    **{"task": "tasks", "llm": "llm", "status": "status", "builds_on": "builds_on", "code": "code"},
    "chapter": "chapter",
}
"""Each field of the grammar and the attribute of a work that holds its values."""

MAX_DEPTH = 50

# Whitespace is spelt out: Python's \s and JavaScript's \s differ.
_SPACE = " \\t\\r\\n\\f\\v\u00a0"
_SPACES = re.compile(f"[{_SPACE}]*")
_WORD = re.compile(f'[^{_SPACE}()"]+')
_FIELD = re.compile(f"([A-Za-z_]+)[{_SPACE}]*(>=|<=|[:=<>])[{_SPACE}]*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class QueryError(ValueError):
    """A query that cannot be understood.

    ``position`` counts characters from the start of the query; ``suggestion`` is the nearest legal value
    or None.
    """

    def __init__(self, message: str, position: int, suggestion: str | None = None):
        super().__init__(message)
        self.message, self.position, self.suggestion = message, position, suggestion

    def show(self, text: str) -> str:
        """Return two lines: the query, and a caret under the mistake with the message and the suggestion."""
        column = sum(_columns(character) for character in text[: self.position])
        hint = f"; did you mean '{self.suggestion}'?" if self.suggestion else ""
        return f"{_CONTROLS.sub(' ', text)}\n{' ' * column}^ {self.message}{hint}"


def _columns(character: str) -> int:
    """Columns that a terminal gives to a character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@dataclass(frozen=True, slots=True)
class Term:
    """One condition; ``field`` is "" for free text, ``position`` is where its value starts."""

    field: str
    operator: str
    value: str
    position: int


@dataclass(frozen=True, slots=True)
class Not:
    """What ``part`` does not match."""

    part: Node


@dataclass(frozen=True, slots=True)
class And:
    """What every part matches."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """What some part matches."""

    parts: tuple[Node, ...]


Node = Term | Not | And | Or


def parse(text: str) -> Node | None:
    """Return the syntax tree of a query; None for an empty one, which matches everything.

    Raises QueryError for anything outside the grammar and for an unknown field.
    """
    parser = _Parser(text)
    if parser.at_end():
        return None
    tree = parser.alternatives(0)
    if not parser.at_end():  # only a closing parenthesis stops the parser early
        raise QueryError("no parenthesis to close", parser.position)
    return tree


class _Parser:
    """Recursive descent over ``text``; ``position`` is the next character to read."""

    def __init__(self, text: str):
        self.text, self.position = text, 0

    def at_end(self) -> bool:
        """Whether nothing but spaces is left; the spaces are consumed."""
        self.position = _SPACES.match(self.text, self.position).end()
        return self.position == len(self.text)

    def keyword(self) -> str | None:
        """The next word if it is AND, OR or NOT; it is not consumed."""
        if self.at_end():
            return None
        match = _WORD.match(self.text, self.position)
        return match[0] if match and match[0] in ("AND", "OR", "NOT") else None

    def alternatives(self, depth: int) -> Node:
        """Conjunctions with OR between them."""
        parts = [self.conjunction(depth)]
        while self.keyword() == "OR":
            parts.append(self.operand("OR", depth, self.conjunction))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self, depth: int) -> Node:
        """Negations with AND, or nothing, between them."""
        parts = [self.negation(depth)]
        while not self.at_end() and self.text[self.position] != ")" and self.keyword() != "OR":
            spelt = self.keyword() == "AND"
            parts.append(self.operand("AND", depth, self.negation) if spelt else self.negation(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def operand(self, operator: str, depth: int, read: Callable[[int], Node]) -> Node:
        """What stands to the right of ``operator``, which is the next thing to read."""
        start = self.position
        self.position += len(operator)
        if self.at_end() or self.text[self.position] == ")" or self.keyword() in ("AND", "OR"):
            raise QueryError(f"nothing after {operator}", start)
        return read(depth)

    def negation(self, depth: int) -> Node:
        """An atom, with or without NOT or a dash before it."""
        keyword = self.keyword()
        if keyword in ("AND", "OR"):
            raise QueryError(f"nothing before {keyword}", self.position)
        following = self.text[self.position + 1 : self.position + 2]
        dash = self.text[self.position] == "-" and following and not _SPACES.fullmatch(following)
        if not dash and keyword != "NOT":
            return self.atom(depth)
        self.check_depth(depth)
        return Not(self.operand("-" if dash else "NOT", depth + 1, self.negation))

    def atom(self, depth: int) -> Node:
        """A group in parentheses, a field with its value, or a bare value."""
        start = self.position
        if self.text[start] == "(":
            return self.group(depth)
        if self.text[start] == ")":
            raise QueryError("no parenthesis to close", start)
        match = _FIELD.match(self.text, start)
        if match is None:
            return Term("", ":", self.value(), start)
        field, operator = _field(match[1], start), match[2]
        if field != "year" and operator not in (":", "="):
            raise QueryError(f"{field} takes : or =, not {operator}", match.start(2))
        self.position = position = match.end()
        if self.at_end() or self.text[position] in "()":
            raise QueryError(f"no value after {match[1]}{operator}", match.end(2))
        return Term(field, operator, self.value(), position)

    def group(self, depth: int) -> Node:
        """What stands between parentheses, the first of which is the next character."""
        self.check_depth(depth)
        start = self.position
        self.position += 1
        if not self.at_end():
            if self.text[self.position] == ")":
                raise QueryError("nothing between the parentheses", start)
            node = self.alternatives(depth + 1)
            if not self.at_end():
                self.position += 1
                return node
        raise QueryError("parenthesis is never closed", start)

    def value(self) -> str:
        """A bare word, or what stands between two quotes."""
        start = self.position
        if self.text[start] != '"':
            self.position = _WORD.match(self.text, start).end()
            return self.text[start : self.position]
        end = self.text.find('"', start + 1)
        if end < 0:
            raise QueryError("quote is never closed", start)
        self.position = end + 1
        return self.text[start + 1 : end]

    def check_depth(self, depth: int) -> None:
        """Refuse a group or a negation that is nested too deep."""
        if depth >= MAX_DEPTH:
            raise QueryError(f"more than {MAX_DEPTH} levels of parentheses and negations", self.position)


def _field(written: str, position: int) -> str:
    """The field that ``written`` names; plurals are understood."""
    name = written.lower()
    for candidate in (name, name.removesuffix("s"), re.sub("ies$", "y", name)):
        if candidate in FIELDS:
            return candidate
    suggestion = nearest(name, FIELDS)
    hint = "" if suggestion else "; put text that has a colon in quotes"
    raise QueryError(f"unknown field '{written}'{hint}", position, suggestion)
