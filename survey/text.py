"""Text as a reader compares it: without case and accents, word by word, and the nearest of some values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORDS = re.compile(r"[^\W_]+")
_PATTERNS = re.compile(r"(?:[^\W_]|\*)+")


def fold(text: str) -> str:
    """Return ``text`` without case, accents and compatibility forms: "Äß ﬁ" becomes "ass fi"."""
    if text.isascii():
        return text.lower()
    # Upper spells out what lower leaves alone ("ß"), lower what upper does ("ẞ"); a final sigma is a sigma.
    text = unicodedata.normalize("NFKD", text).lower().upper().lower().replace("ς", "σ")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c)[0] != "M")


def words(text: str) -> list[str]:
    """Return the folded runs of letters and digits of ``text``."""
    return _WORDS.findall(fold(text))


def patterns(value: str) -> list[str]:
    """Return the words of a query's value, in which ``*`` stays: any run of letters and digits in a word."""
    return _PATTERNS.findall(fold(value))


def nearest(value: str, legal: Iterable[str]) -> str | None:
    """Return the legal value that is most likely meant, or None when nothing is near.

    One that starts with ``value`` (two characters or more) comes first, then the smallest edit distance; ties
    go to the first in the order of ``legal``.
    """
    wanted = fold(value)
    limit = max(1, (len(wanted) + 1) // 3)
    best, best_distance = None, limit + 1
    for candidate in legal:
        other = fold(candidate)
        begins = len(wanted) > 1 and other.startswith(wanted)
        distance = 0 if begins else _edit_distance(wanted, other, limit)
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best


def _edit_distance(a: str, b: str, limit: int) -> int:
    """Levenshtein distance of ``a`` and ``b``, or ``limit + 1`` when their lengths alone exceed it."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
