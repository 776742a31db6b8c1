"""What can be wrong with the catalog or with a question to it, and how it is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from survey.text import nearest


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with the catalog: where (path relative to the repository, line from 1) and what."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class CatalogError(ValueError):
    """The catalog cannot be used as it stands; ``problems`` holds everything found wrong."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownWork(KeyError):
    """No work has this id, BibTeX key, arXiv number or DOI; ``nearest`` is the closest id, or None."""

    def __init__(self, text: str, nearest: str | None):
        self.text, self.nearest = text, nearest
        super().__init__(text)

    def __str__(self) -> str:
        hint = f"; the nearest id is {self.nearest!r}" if self.nearest else ""
        return f"no work has the id, BibTeX key, arXiv number or DOI {self.text!r}{hint}"


def one_of(given: str, legal: Iterable[str]) -> str:
    """Say what is legal: the value nearest to ``given`` where one is near, else the first few."""
    legal = list(legal)
    if near := nearest(given, legal):
        return f"a legal value (the nearest is {near!r})"
    if not legal:
        return "but there is none yet"
    return "one of " + ", ".join(legal[:12]) + (", ..." if len(legal) > 12 else "")
